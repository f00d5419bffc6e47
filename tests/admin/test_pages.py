"""Operators see every table, nobody edits what must not change, and no page asks more for more rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Charge, JournalEntry, Leg
from core.admin import OperatorPage
from core.admin.paging import BoundedPaginator
from marketplace.models import ApiKey, JoinToken, Organization, Pool, Region, Task, User
from metering.models import UsageRecord
from scheduler.models import Attempt, Unit
from tests.admin.market import a_settled_task, everything, list_of, models, operator, page_of
from tests.builders import a_pool, a_user, alice, olga

pytestmark = pytest.mark.django_db

EDITABLE = {User, Organization, Region}


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


def test_lists_ask_no_more_for_more_rows() -> None:
    everything()
    client = operator()
    before = {model: counted(client, list_of(model)) for model in models()}
    for _ in range(3):
        everything()
    assert {model: counted(client, list_of(model)) for model in models()} == before
    assert max(before.values()) <= 12


def test_a_tasks_page_asks_no_more_for_more_units() -> None:
    client = operator()
    small, large = a_settled_task(1), a_settled_task(30)
    assert counted(client, page_of(small)) == counted(client, page_of(large)) <= 35


def test_only_parties_people_and_regions_can_be_edited_at_all() -> None:
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
        assert client.post(list_of(model) + "add/", {}).status_code == 403, model
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
    assert "password" not in client.get(page_of(olga().user)).content.decode().lower().replace("password_change", "")


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
