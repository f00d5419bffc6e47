"""Who gets which page, what a page costs, and what it lets in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.models import Task
from marketplace.services.replicas import pin
from tests import builders as build
from tests.admin.market import a_settled_task
from tests.builders_capabilities import an_artifact
from tests.builders_storage import a_replica
from tests.builders_tasks import a_task, a_version
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db

OWNER, MEMBER, BILLING, VIEWER = "owner", "member", "billing", "viewer"
EVERYBODY = {OWNER: 200, MEMBER: 200, BILLING: 200, VIEWER: 200, "stranger": 200, "anonymous": 302}
# page -> what each of alice's people, a stranger and nobody get
PAGES: dict[str, dict[str, int]] = {
    "/": EVERYBODY | {"anonymous": 200},
    "/login/": EVERYBODY | {"anonymous": 200},
    "/organization/": EVERYBODY,
    "/tasks/": EVERYBODY,
    "/tasks/{task}/": EVERYBODY | {"stranger": 404},
    "/artifacts/": EVERYBODY,
    "/artifacts/{artifact}/": EVERYBODY | {"stranger": 404},
    "/capabilities/": EVERYBODY,
    "/capabilities/{capability}/": EVERYBODY,
    "/capabilities/acme/nothing/": {**dict.fromkeys(EVERYBODY, 404), "anonymous": 302},
    "/market/": EVERYBODY,
    "/network/": EVERYBODY,
    "/pools/": EVERYBODY,
    "/bill/": EVERYBODY | {VIEWER: 403},
    "/invoices/": EVERYBODY | {VIEWER: 403},
    "/payments/": EVERYBODY | {VIEWER: 403},
    "/service-levels/": EVERYBODY | {VIEWER: 403},
    "/billing-profile/": EVERYBODY,
    "/charges/": EVERYBODY | {VIEWER: 403},
    "/disputes/": EVERYBODY | {VIEWER: 403},
    "/exports/": EVERYBODY | {VIEWER: 403},
    "/usage/": EVERYBODY | {VIEWER: 403},
    "/payables/": EVERYBODY | {VIEWER: 403},
    "/payouts/": EVERYBODY | {VIEWER: 403},
    "/credit/": EVERYBODY | {VIEWER: 403},
    "/keys/": EVERYBODY,
}
_READ_ONLY = {BILLING: 403, VIEWER: 403, "anonymous": 302}
# what a form does -> who may send it
FORMS: dict[str, dict[str, int]] = {
    "/tasks/{task}/cancel/": {OWNER: 302, MEMBER: 302, BILLING: 403, VIEWER: 403, "stranger": 404, "anonymous": 302},
    "/artifacts/{artifact}/replicate/": {OWNER: 422, MEMBER: 422, BILLING: 403, VIEWER: 403, "stranger": 404, "anonymous": 302},
    "/artifacts/{artifact}/replicas/ningxia/drop/": {**dict.fromkeys((OWNER, MEMBER, "stranger"), 404), **_READ_ONLY},
    "/artifacts/{artifact}/pin/": {OWNER: 422, MEMBER: 422, BILLING: 403, VIEWER: 403, "stranger": 404, "anonymous": 302},
    "/artifacts/{artifact}/unpin/": {OWNER: 302, MEMBER: 302, BILLING: 403, VIEWER: 403, "stranger": 404, "anonymous": 302},
    "/capabilities/{capability}/": EVERYBODY,  # a quote
    "/pools/{pool}/join-token/": {OWNER: 404, MEMBER: 404, BILLING: 403, VIEWER: 403, "stranger": 404, "anonymous": 302},
    "/billing-profile/": {OWNER: 302, MEMBER: 403, BILLING: 403, VIEWER: 403, "stranger": 302, "anonymous": 302},
    "/keys/": {OWNER: 422, MEMBER: 403, BILLING: 403, VIEWER: 403, "stranger": 422, "anonymous": 302},
    "/keys/{key}/revoke/": {OWNER: 302, MEMBER: 403, BILLING: 403, VIEWER: 403, "stranger": 404, "anonymous": 302},
}


def browser_as(who: str) -> Client:
    if who == "anonymous":
        return browser_of(None)
    return browser_of(build.mallory() if who == "stranger" else build.alice(who))


def filled(url: str, task: Task) -> str:
    key = build.a_key(build.alice()).split("_")[1] if "{key}" in url else ""
    pool = build.a_pool().identifier if "{pool}" in url else ""
    artifact = an_artifact(build.alice(), b"a scene").pk if "{artifact}" in url else ""
    return url.format(artifact=artifact, task=task.pk, capability=task.capability_version.capability, key=key, pool=pool)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_asks_who_it_is(page: str) -> None:
    build.a_pool()
    url = filled(page, a_task())
    given = {who: browser_as(who).get(url).status_code for who in PAGES[page]}
    assert given == PAGES[page]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_asks_who_it_is(form: str) -> None:
    build.a_pool()
    task = a_task()
    given = {who: browser_as(who).post(filled(form, task)).status_code for who in FORMS[form]}
    assert given == FORMS[form]


@pytest.mark.parametrize("form", FORMS)
def test_who_is_unknown_changes_nothing_and_is_not_led_back_to_a_form(form: str) -> None:
    build.a_pool()
    answer = browser_as("anonymous").post(filled(form, a_task()))
    assert answer["Location"] == "/login/?next=/"


def test_only_pages_that_read_are_read() -> None:
    build.a_pool()
    task = a_task()
    client = browser_as(OWNER)
    for url in ("/tasks/{task}/cancel/", "/artifacts/{artifact}/pin/", "/pools/{pool}/join-token/", "/keys/{key}/revoke/"):
        assert client.get(filled(url, task)).status_code == 405
    assert client.put("/tasks/").status_code == 405
    assert client.options("/tasks/").status_code == 405
    assert client.head("/tasks/").status_code == 200


def test_a_suspended_organization_only_reads() -> None:
    build.a_pool()
    task = a_task()
    organization = build.alice().organization
    organization.suspended_at = task.created_at
    organization.save()
    client = browser_as(OWNER)
    assert client.get(f"/tasks/{task.pk}/").status_code == 200
    answer = client.post(f"/tasks/{task.pk}/cancel/")
    assert (answer.status_code, "may only read" in text_of(answer)) == (403, True)


def test_pages_are_sealed_against_other_sites_and_kept_by_nobody() -> None:
    for client in (browser_as(OWNER), browser_as("anonymous")):
        for url in ("/login/", "/tasks/"):
            answer = client.get(url)
            if answer.status_code == 200:
                assert "no-store" in answer["Cache-Control"]
                assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
                assert "script-src" not in answer["Content-Security-Policy"], "default-src 'self' allows no inline script"


def test_text_of_users_is_never_markup() -> None:
    build.a_pool()
    evil = "<script>alert(1)</script>"
    task = a_task(name=evil, labels={"x": evil})
    client = browser_as(OWNER)
    for url in ("/tasks/", f"/tasks/{task.pk}/"):
        page = client.get(url).content.decode()
        assert evil not in page
        assert "&lt;script&gt;" in page


def test_a_nul_character_reaches_no_query() -> None:
    client = browser_as(OWNER)
    assert client.get("/tasks/?state=%00").status_code == 422
    assert client.post("/keys/", {"name": "\x00"}).status_code == 422


ODD = ["older=x", "older=7", "state=nothing", "party=x&group=y&month=z&after=w", "month=9999-12", "month=0001-01", "before=x"]

MONEY = ["/credit/", "/invoices/", "/charges/", "/payables/", "/payouts/", "/usage/", "/payments/", "/service-levels/"]


@pytest.mark.parametrize("query", [*ODD, "before=9" * 30, "after=x"])
def test_odd_questions_are_answered_as_if_not_asked(query: str) -> None:
    client = browser_as(OWNER)
    for url in ("/tasks/", "/artifacts/", "/bill/", *MONEY, "/capabilities/", "/market/", "/network/", "/pools/"):
        assert client.get(f"{url}?{query}").status_code == 200


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    return len(asked)


def more_of_everything() -> None:
    build.a_pool(owner=build.alice())
    a_settled_task(5)
    build.a_key(build.alice())
    artifact = an_artifact(build.alice(), uuid4().bytes, f"{uuid4()}.obj")
    a_replica(artifact, state="held")
    pin(artifact, None, timezone.now() + timedelta(days=1))


STEADY = ["/", "/tasks/", "/artifacts/", "/capabilities/", "/market/", "/pools/", "/bill/", "/bill/?group=day", "/keys/"]


@pytest.mark.parametrize("url", STEADY)
def test_a_page_costs_the_same_however_much_there_is(url: str) -> None:
    more_of_everything()
    client = browser_as(OWNER)
    few = queries_of(client, url)
    for _ in range(3):
        more_of_everything()
    assert queries_of(client, url) == few <= 9


def test_the_page_of_a_large_task_costs_what_that_of_a_small_one_does() -> None:
    client = browser_as(OWNER)
    counts = [queries_of(client, f"/tasks/{a_settled_task(units).pk}/") for units in (1, 40)]
    assert counts[0] == counts[1] <= 21


def test_tasks_come_in_pages_newest_first() -> None:
    build.a_pool()
    version = a_version()
    tasks = [a_task(version=version, expanded=False, name=f"task {number:02}") for number in range(35)]
    client = browser_as(OWNER)
    page: Any = client.get("/tasks/")
    names = names_on(page)
    assert names == [task.name for task in reversed(tasks[5:])]
    older = client.get(f"/tasks/?{page.context['older']}")
    assert names_on(older) == [task.name for task in reversed(tasks[:5])]
    assert older.context["older"] == ""


def test_tasks_are_found_by_state() -> None:
    build.a_pool()
    a_task(name="still open")
    client = browser_as(OWNER)
    assert names_on(client.get("/tasks/?state=queued")) == ["still open"]
    assert names_on(client.get("/tasks/?state=failed")) == []


def names_on(answer: Any) -> list[str]:
    pairs: Callable[..., Any] = answer.context.__getitem__
    return [task.name for task, _ in pairs("tasks")]
