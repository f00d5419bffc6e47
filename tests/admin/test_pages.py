"""Operators see every table, nobody edits what must not change, and no page asks more for more rows."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from unfold.sites import UnfoldAdminSite

from billing.models import Charge, FreedPeriod, JournalEntry, Leg, PaymentReversal, ReserveTerms, Tax, TaxAssignment, TaxRate
from config.admin_site import GROUPS
from core.admin import OperatorPage
from core.admin.paging import BoundedPaginator
from marketplace.models import ApiKey, JoinToken, Offer, Organization, Pool, Region, Task, TaskEvent, User
from metering.models import UsageRecord
from scheduler.models import Attempt, Decision, NetworkLink, NetworkNode, RegionEndpoint, Unit
from tests.admin.market import a_settled_task, an_open_task, everything, list_of, models, operator, page_of
from tests.builders import a_pool, a_user, alice, olga

pytestmark = pytest.mark.django_db

OUR_APPS = ("marketplace", "scheduler", "metering", "billing")
EDITABLE = {User, Organization, Region, NetworkNode, NetworkLink, RegionEndpoint}
MADE_BY_SERVICES = {FreedPeriod, PaymentReversal, ReserveTerms, Tax, TaxAssignment, TaxRate}  # a form, and a service behind it


def counted(client: Client, url: str) -> int:
    """The queries of a page that is there."""
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(url)
    assert answer.status_code == 200, url
    return len(queries)


def test_every_list_and_one_page_of_each_answer() -> None:
    everything()
    client = operator()
    for model in models():
        row = model.objects.order_by("-pk").first()
        assert row is not None, model
        counted(client, list_of(model))
        counted(client, page_of(row))


def test_every_model_of_ours_has_a_page_and_a_place_in_the_sidebar() -> None:
    ours = {model for app in OUR_APPS for model in apps.get_app_config(app).get_models(include_auto_created=False)}
    assert ours <= set(models())
    listed = {name for _, items in GROUPS for _, name, _ in items}
    assert {f"{model._meta.app_label}_{model._meta.model_name}" for model in models()} == listed


def test_every_page_has_the_sidebar_and_makes_no_list_of_all_models_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = operator()
    assert "/admin/marketplace/task/" in client.get("/admin/marketplace/").content.decode()  # the page that shows the list
    monkeypatch.setattr(UnfoldAdminSite, "get_app_list", lambda *_: pytest.fail("the list is made"))
    page = client.get(list_of(Pool)).content.decode()
    links = dict(re.findall(r'<li><a href="(/admin/\w+/\w+/)" class="([^"]+)">', page))
    assert set(links) >= {list_of(model) for model in models()}
    assert [link for link, style in links.items() if style.endswith(" active")] == [list_of(Pool)]


def test_every_page_calls_its_object_by_a_name_that_people_read() -> None:
    everything()
    client = operator()
    for model in models():
        page = client.get(page_of(model.objects.order_by("-pk").first())).content.decode()
        assert f"{model.__name__} object" not in page, model
        assert " micros<" not in page, model


def test_lists_are_called_by_words_of_the_language() -> None:
    said = {str(model._meta.verbose_name_plural) for model in models()}
    assert {"attempts not yet measured", "capabilities", "costs so far", "journal entries", "report batches"} <= said


def test_lists_ask_no_more_for_more_rows() -> None:
    everything()
    client = operator()
    before = {model: counted(client, list_of(model)) for model in models()}
    for _ in range(3):
        everything()
    assert {model: counted(client, list_of(model)) for model in models()} == before
    assert max(before.values()) <= 19  # 9 are the session, permissions, the time limit around the rest; notes have their own


def test_a_tasks_page_asks_no_more_for_more_units() -> None:
    client = operator()
    small, large = a_settled_task(1), a_settled_task(30)
    assert counted(client, page_of(small)) == counted(client, page_of(large)) <= 35


def test_only_parties_people_and_the_map_can_be_edited_at_all() -> None:
    from django.contrib import admin

    assert {model for model, page in admin.site._registry.items() if isinstance(page, OperatorPage)} == EDITABLE


def test_what_must_not_change_refuses_a_post_even_of_a_superuser() -> None:
    everything()
    client = Client()
    client.force_login(a_user("root", is_staff=True, is_superuser=True))
    for model in models():
        if model in EDITABLE:
            continue
        row = model.objects.order_by("-pk").first()
        assert client.post(page_of(row), {"state": "done"}).status_code == 403, model
        assert client.post(list_of(model) + "add/", {}).status_code == (200 if model in MADE_BY_SERVICES else 403), model
        assert client.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403, model


def test_operators_who_are_no_superusers_edit_nothing() -> None:
    client, pool = operator(), a_pool()
    for row in (pool.organization, pool.region, olga().user):
        assert client.post(page_of(row), {"name": "mine", "is_superuser": "on"}).status_code == 403
    assert not User.objects.get(username="olga").is_superuser


def test_a_superuser_admits_a_provider() -> None:
    client, row = Client(), alice().organization
    client.force_login(a_user("root", is_staff=True, is_superuser=True))
    answer = client.post(page_of(row), {"name": "Acme", "is_user": "on", "is_provider": "on", "quota_bytes": "0"})
    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.name, row.is_provider, row.slug) == ("Acme", True, "acme")


def test_others_are_sent_to_the_login() -> None:
    for client in (Client(), Client()):
        assert client.get("/admin/").status_code == 302
    client = Client()
    client.force_login(alice().user)
    for url in ("/admin/", list_of(Task), page_of(a_pool())):
        answer = client.get(url)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_a_task_leads_to_its_postings_and_a_leg_leads_back() -> None:
    task, client = everything(), operator()
    page = client.get(page_of(task)).content.decode()
    attempt, usage = Attempt.objects.filter(task=task).latest("pk"), UsageRecord.objects.filter(task=task).latest("pk")
    charge = Charge.objects.filter(task=task, usage=usage).get()
    entry = JournalEntry.objects.filter(task=task).latest("pk")
    leg = Leg.objects.filter(entry=entry).latest("pk")
    for row in (attempt, attempt.unit, usage, charge, entry, leg, leg.account):
        assert page_of(row) in page
    assert page_of(entry) in client.get(page_of(leg)).content.decode()
    assert page_of(task) in client.get(page_of(leg)).content.decode()
    assert page_of(charge) in client.get(page_of(entry)).content.decode()
    back = client.get(page_of(charge)).content.decode()
    assert all(page_of(row) in back for row in (usage, attempt, attempt.unit, task))


def test_the_lists_that_a_task_links_to_hold_its_rows_only() -> None:
    task, client = everything(), operator()
    a_settled_task()
    page = client.get(page_of(task)).content.decode()
    for model in (Unit, Attempt, UsageRecord, Charge, JournalEntry, TaskEvent):
        url = list_of(model, task=task.pk)
        assert url in page
        assert {row.task_id for row in client.get(url).context["cl"].result_list} == {task.pk}
    charge = Charge.objects.filter(task=task).latest("pk")
    legs = client.get(list_of(Leg, entry=charge.entry_id)).context["cl"].result_list
    assert {leg.entry_id for leg in legs} == {charge.entry_id}


def test_legs_say_whose_accounts_they_move() -> None:
    everything()
    page = operator().get(list_of(Leg)).content.decode()
    assert all(words in page for words in ("user receivable", "acme", "platform revenue", "platform"))
    assert "user_receivable:" not in page


def test_a_decision_shows_its_candidates_side_by_side() -> None:
    an_open_task()
    decision = Decision.objects.latest("pk")
    page = operator().get(page_of(decision)).content.decode()
    assert "Best candidates" in page
    assert decision.candidates[0]["pool"] in page


def test_values_are_shown_as_people_read_them() -> None:
    task, client = everything(), operator()
    record = UsageRecord.objects.filter(task=task).latest("pk")
    assert f"{record.memory_mib_ms / 1_024_000:.3f} GiB s" in client.get(page_of(record)).content.decode()
    offer = client.get(list_of(Offer)).content.decode()
    assert "</time> to open" in offer


def test_a_filter_and_a_search_find_by_whole_keys() -> None:
    task, client = everything(), operator()
    other = a_settled_task()
    for query in ({"task": str(task.pk)}, {"q": str(task.pk)}):
        rows = client.get(list_of(Unit, **query)).context["cl"].result_list
        assert {row.task_id for row in rows} == {task.pk}
    assert list(client.get(list_of(Task, q=str(other.pk))).context["cl"].result_list) == [other]
    for nonsense in ({"task": "no-number"}, {"q": "no-number"}, {"q": "9" * 40}):
        assert not client.get(list_of(Unit, **nonsense)).context["cl"].result_list


def test_secrets_hashes_are_not_shown() -> None:
    everything()
    client = operator()
    key, token = ApiKey.objects.latest("pk"), JoinToken.objects.latest("pk")
    assert key.secret_hash[:8] not in client.get(page_of(key)).content.decode()
    assert token.token_hash[:8] not in client.get(page_of(token)).content.decode()
    user = a_user("olga", password="a long and odd sentence 8")
    assert user.password.split("$")[-1] not in client.get(page_of(user)).content.decode()
    superuser = Client()
    superuser.force_login(a_user("root", is_staff=True, is_superuser=True))
    assert user.password.split("$")[-1] not in superuser.get(page_of(user)).content.decode()


def test_what_a_program_printed_cannot_become_part_of_the_page() -> None:
    task = everything()
    Task.objects.filter(pk=task.pk).update(name="<script>alert(1)</script>", reason="<b>bold</b>")
    page = operator().get(page_of(task)).content.decode()
    assert "<script>alert(1)" not in page
    assert "<b>bold" not in page


def test_large_tables_are_not_counted_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.admin.paging.COUNTED", 3)
    for _ in range(5):
        a_pool(agent=False)
    some = BoundedPaginator(Pool.objects.order_by("pk"), 2)
    assert (some.count, some.more, some.told) == (3, True, "more than 3")
    few = BoundedPaginator(Pool.objects.filter(pk=Pool.objects.latest("pk").pk).order_by("pk"), 2)
    assert (few.count, few.more, few.told) == (1, False, "1")


def test_lists_join_only_the_tables_that_their_columns_name() -> None:
    everything()
    client = operator()
    for model in models():
        with CaptureQueriesContext(connection) as queries:
            client.get(list_of(model))
        assert max(one["sql"].count(" JOIN ") for one in queries) <= 5, model
