"""Bills for each side of the market, the market itself, pools and keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from console.bills import month_of
from marketplace.models import ApiKey, JoinToken
from tests import builders as build
from tests.admin.market import a_settled_task
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db


def total_on(answer: Any) -> dict[str, str]:
    return {party: total for party, _, total in answer.context["totals"]}


def test_each_side_sees_what_it_owes_or_earns() -> None:
    a_settled_task()
    user, provider, publisher = (total_on(browser_of(one).get("/bill/")) for one in (build.alice(), build.bob(), build.carol()))
    assert list(user) == ["user"]
    assert list(provider) == ["provider"]
    assert list(publisher) == ["publisher"]
    assert float(user["user"]) > float(provider["provider"]) + float(publisher["publisher"]) > 0


@pytest.mark.parametrize("group", ["task", "pool", "day", "capability"])
def test_the_lines_add_up_to_the_total_however_they_are_grouped(group: str) -> None:
    a_settled_task()
    answer = browser_of(build.alice()).get(f"/bill/?group={group}")
    lines = sum(float(line["share"]) for line in answer.context["lines"])
    assert lines == pytest.approx(float(total_on(answer)["user"]))
    assert float(total_on(answer)["user"]) > 0


def test_an_organization_of_several_sides_has_a_total_for_each() -> None:
    answer = browser_of(build.mallory()).get("/bill/?party=publisher")
    assert list(total_on(answer)) == ["user", "provider", "publisher"]
    assert answer.context["party"] == "publisher"


def test_the_csv_of_a_bill_is_the_api_s() -> None:
    task = a_settled_task()
    client = browser_of(build.alice())
    page = client.get("/bill/").content.decode()
    link = re.search(r'href="(/api/v1/statements\.csv[^"]*)"', page)
    assert link is not None
    answer: Any = client.get(link[1].replace("&amp;", "&"))
    assert answer.status_code == 200
    assert str(task.pk) in b"".join(answer.streaming_content).decode()


NOW = datetime(2026, 3, 15, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("", datetime(2026, 3, 1, tzinfo=UTC), NOW),
        ("2026-03", datetime(2026, 3, 1, tzinfo=UTC), NOW),
        ("2026-02", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        ("2025-12", datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-04", datetime(2026, 3, 1, tzinfo=UTC), NOW),
        ("9999-12", datetime(2026, 3, 1, tzinfo=UTC), NOW),
        ("1066-10", datetime(2026, 3, 1, tzinfo=UTC), NOW),
        ("march", datetime(2026, 3, 1, tzinfo=UTC), NOW),
    ],
)
def test_a_bill_is_of_a_month_that_has_begun(asked: str, start: datetime, end: datetime) -> None:
    assert month_of(asked, NOW) == (start, end)


def test_the_market_shows_active_pools_with_their_prices_today() -> None:
    pool = build.a_pool(rates={"core_second": "0.00002"})
    build.a_pool(state="draining", name="going away")
    page = text_of(browser_of(build.alice()).get("/market/"))
    assert pool.identifier in page
    assert "0.00002 CNY per core second" in page
    assert "going away" not in page


def test_a_pool_that_one_may_not_use_is_not_on_one_s_market() -> None:
    build.a_pool(name="for others", deny_organizations=["acme"])
    assert "for others" not in text_of(browser_of(build.alice()).get("/market/"))


def test_a_provider_sees_its_own_pools_and_makes_a_token_that_is_shown_once() -> None:
    pool = build.a_pool(name="hall 1", rates={"core_second": "0.5"})
    build.a_pool(owner=build.mallory(), name="mallory's")
    client = browser_of(build.bob())
    page = text_of(client.get("/pools/"))
    assert "hall 1" in page
    assert "0.50 CNY per core second" in page
    assert "mallory" not in page
    answer = client.post(f"/pools/{pool.identifier}/join-token/")
    token = re.search(r"gfj_[\w-]+", answer.content.decode())
    assert (answer.status_code, token is not None) == (201, True)
    assert JoinToken.objects.get().created_by == build.bob().user
    assert "gfj_" not in client.get("/pools/").content.decode()


def test_nobody_makes_a_token_for_a_stranger_s_pool_or_a_retired_one() -> None:
    pool = build.a_pool()
    assert browser_of(build.mallory()).post(f"/pools/{pool.identifier}/join-token/").status_code == 404
    assert browser_of(build.bob("viewer")).post(f"/pools/{pool.identifier}/join-token/").status_code == 403
    retired = build.a_pool(state="retired", agent=False)
    assert browser_of(build.bob()).post(f"/pools/{retired.identifier}/join-token/").status_code == 409
    assert not JoinToken.objects.exists()


def test_an_owner_makes_a_key_that_is_shown_once_works_and_is_revoked() -> None:
    client = browser_of(build.alice())
    answer = client.post("/keys/", {"name": "nightly", "scopes": ["tasks:read"], "expires_in_days": "30"})
    key = re.search(r"gf_\w+_[\w-]{20,}", answer.content.decode())
    assert (answer.status_code, key is not None) == (201, True)
    assert key is not None
    program = browser_of(None)
    headers = {"Authorization": f"Bearer {key[0]}"}
    assert program.get("/api/v1/tasks", headers=headers).status_code == 200
    assert key[0] not in client.get("/keys/").content.decode()
    assert "nightly" in text_of(client.get("/keys/"))
    client.post(f"/keys/{ApiKey.objects.get().prefix}/revoke/")
    assert program.get("/api/v1/tasks", headers=headers).status_code == 401
    assert "nightly" not in text_of(client.get("/keys/"))


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({"name": "", "scopes": ["*"]}, "name"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": ["tasks:fly"]}, "scopes"),
        ({"name": "x", "scopes": ["*"], "expires_in_days": "0"}, "expires_in_days"),
    ],
)
def test_a_key_that_cannot_be_made_says_at_which_field(given: dict[str, Any], at: str) -> None:
    answer = browser_of(build.alice()).post("/keys/", given)
    assert (answer.status_code, list(answer.context["errors"])) == (422, [at])
    assert not ApiKey.objects.exists()


def test_who_may_not_make_keys_sees_no_form_for_it() -> None:
    page = text_of(browser_of(build.alice("member")).get("/keys/"))
    assert "Owners make and revoke keys" in page
    assert "Make the key" not in page
