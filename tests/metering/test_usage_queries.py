"""What was used, by whatever one asks: the organization sees its own, a provider what its pools did, operators all."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Task
from metering.events.storing import take
from metering.queries import Asked, all_pages, page_of
from metering.windows import moment_in, month_of, zone_named
from tests import builders as build
from tests.builders_billing import (
    START,
    Market,
    make_agent,
    make_attempt,
    make_need,
    make_offer,
    make_pool,
    make_task,
    make_usage,
    make_version,
)
from tests.builders_usage import an_event

pytestmark = pytest.mark.django_db
WHOLE = "from=2020-01-01&to=2030-01-01"


@pytest.fixture
def market(db: None) -> Market:
    """alice's task of two units on bob's pool, and 2.5 GPU hours that the pool metered itself."""
    pool = make_pool(build.bob().organization)
    parties = (build.alice().organization, build.bob().organization, build.carol().organization)
    market = Market(*parties, pool, make_agent(pool), make_offer(pool), make_version(parties[2]))
    task = make_task(market, units=2)
    Task.objects.filter(pk=task.pk).update(labels={"project": "film", "team": "=a"})
    need = make_need()
    for _ in range(2):
        make_usage(market, task, make_attempt(market, task, need), core_ms=1500)
    reported(market, START, "2.5", labels={"project": "film"})
    return market


def reported(market: Market, moment: datetime, quantity: str, **changes: Any) -> None:
    event = an_event(market.pool, market.alice, time=moment, quantity=quantity, **changes)
    [answer] = take(market.pool.organization, [event], now=moment + timedelta(days=1)).answers
    assert answer.status == "accepted"


def get(person: Any, query: str = "", path: str = "usage") -> Any:
    return build.client_of(person).get(f"/api/v1/{path}?{query}")


def rows(person: Any, query: str) -> list[dict[str, Any]]:
    answer = get(person, query)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def test_records_and_events_stand_beside_each_other_each_meter_with_its_unit(market: Market) -> None:
    found = {row["meter"]: row for row in rows(build.alice(), WHOLE)}
    assert set(found) == {
        "core_second", "accelerator_second", "fp32_tflop", "gb_moved", "occupancy_second", "results", "wall", "gpu_hour"
    }  # fmt: skip
    assert (found["core_second"]["quantity"], found["core_second"]["unit"], found["core_second"]["facts"]) == ("3", "second", 2)
    assert (found["gpu_hour"]["quantity"], found["gpu_hour"]["unit"], found["gpu_hour"]["fp32_tflop"]) == ("2.5", "hour", "0")
    assert found["results"]["quantity"] == "2"
    assert found["core_second"]["fp32_tflop"] == found["fp32_tflop"]["quantity"]


def test_everybody_sees_what_is_theirs(market: Market) -> None:
    asked = f"{WHOLE}&meter=gpu_hour"
    assert rows(build.alice(), asked)[0]["quantity"] == "2.5"
    assert rows(build.bob(), asked) == []
    assert rows(build.bob(), f"{asked}&party=provider")[0]["quantity"] == "2.5"
    assert rows(build.olga(), asked) == []
    assert rows(build.olga(), f"{asked}&party=all")[0]["quantity"] == "2.5"
    for party in ("user", "provider"):
        assert rows(build.mallory(), f"{WHOLE}&party={party}") == []
    assert get(build.mallory(), f"{WHOLE}&party=all").json()["code"] == "operators_only"


@pytest.mark.parametrize(
    ("group", "of_records", "of_events"),
    [
        ("organization", "acme", "acme"),
        ("project", "film", "film"),
        ("label:team", "=a", None),
        ("region", "ningxia", "ningxia"),
        ("api_key", None, None),
        ("month", "2026-03", "2026-03"),
        ("day", "2026-03-01", "2026-03-01"),
        ("hour", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
    ],
)
def test_every_grouping_names_what_it_groups_by(market: Market, group: str, of_records: str | None, of_events: str | None) -> None:
    found = {row["meter"]: row[group] for row in rows(build.alice(), f"{WHOLE}&zone=UTC&group_by={group}")}
    assert (found["core_second"], found["gpu_hour"]) == (of_records, of_events)


def test_pools_and_capabilities_are_named_too_and_groups_combine(market: Market) -> None:
    found = rows(build.alice(), f"{WHOLE}&group_by=pool,capability,meter&meter=core_second")
    assert [(row["pool"], row["capability"]) for row in found] == [(market.pool.identifier, str(market.version))]


def test_a_window_is_half_open_and_days_are_the_zones(market: Market) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hour, minute, second in ((29, 0, 0, 0), (29, 23, 59, 59), (30, 0, 0, 0)):
        reported(market, datetime(2026, 3, day, hour, minute, second, tzinfo=berlin), "1", type="spring")
    asked = "zone=Europe/Berlin&group_by=day&meter=spring"
    assert [row["quantity"] for row in rows(build.alice(), f"{asked}&from=2026-03-29&to=2026-03-30")] == ["2"]
    found = rows(build.alice(), f"{asked}&from=2026-03-01&to=2026-04-01")
    assert [(row["day"], row["quantity"]) for row in found] == [("2026-03-29", "2"), ("2026-03-30", "1")]
    hour = "from=2026-03-29T00:00&to=2026-03-29T23:59:59&zone=Europe/Berlin&meter=spring"
    assert rows(build.alice(), hour)[0]["quantity"] == "1"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(zone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu",
                             "America/Santiago", "Africa/Cairo", "Pacific/Apia"]),
       month=st.integers(1, 12), year=st.integers(2024, 2027))  # fmt: skip
def test_the_days_of_a_month_in_any_zone_are_the_month(zone: str, month: int, year: int) -> None:
    there = ZoneInfo(zone)
    first = datetime(year, month, 1, tzinfo=there)
    following = (first + timedelta(days=32)).replace(day=1)
    days = (following.date() - first.date()).days
    edges = [moment_in((first.date() + timedelta(days=n)).isoformat(), there, "from") for n in range(days + 1)]
    lengths = [(b.timestamp() - a.timestamp()) / 3600 for a, b in pairwise(edges)]
    assert edges[-1] == following
    assert set(lengths) <= {22.5, 23, 23.5, 24, 24.5, 25}
    assert month_of(edges[5], there) == first


def test_pages_go_on_where_the_last_one_ended(market: Market) -> None:
    asked = Asked("user", market.alice.pk, START - timedelta(days=1), START + timedelta(days=1), "UTC", ("project",), limit=3)
    pages = list(all_pages(asked))
    assert [len(page) for page in pages] == [3, 3, 2]
    whole, following = page_of(Asked("user", market.alice.pk, asked.start, asked.end, "UTC", ("project",)))
    assert ([row for page in pages for row in page], following) == (whole, None)
    first = get(build.alice(), f"{WHOLE}&limit=5").json()
    second = get(build.alice(), f"{WHOLE}&limit=5&after={first['next']}").json()
    assert (len(first["rows"]), len(second["rows"]), second["next"]) == (5, 3, None)


def test_csv_has_the_same_rows_and_no_formulas(market: Market) -> None:
    answer = get(build.alice(), f"{WHOLE}&group_by=label:team", "usage.csv")
    found = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert len(found) == len(rows(build.alice(), f"{WHOLE}&group_by=label:team"))
    assert {row["label:team"] for row in found} == {"", "'=a"}
    assert sum(Decimal(row["quantity"]) for row in found if row["meter"] == "core_second") == 3


def test_days_in_slots_are_the_customers_own(market: Market) -> None:
    from metering.events.rollups import rebuild

    rebuild()
    [day] = get(build.alice(), "from=2026-03-01&to=2026-03-02&meter=gpu_hour", "usage/days").json()["results"]
    assert (day["day"], len(day["slots"]), day["slots"][240]) == ("2026-03-01", 288, "2.5")
    assert get(build.mallory(), "", "usage/days").json()["results"] == []
    assert get(build.alice(), "to=2026-03-01", "usage/days").json()["results"] == []


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("group_by=colour", "group_unknown", "group_by"),
        ("group_by=label:", "group_unknown", "group_by"),
        ("zone=Mars/Olympus", "zone_unknown", "zone"),
        ("from=yesterday", "invalid_parameter", "from"),
        ("to=2026-02-30", "invalid_parameter", "to"),
        ("from=2026-03-02&to=2026-03-01", "invalid_parameter", "to"),
        ("party=nobody", "invalid_parameter", "party"),
        ("limit=0", "invalid_parameter", "limit"),
        ("meter=a%00", "invalid_parameter", "meter"),
        ("after=xyz", "invalid_cursor", "after"),
        ("after=WyJhIl0", "invalid_cursor", "after"),
    ],
)
def test_what_cannot_be_asked_is_said(db: None, query: str, code: str, field: str) -> None:
    answer = get(build.alice(), query)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)


def test_sums_go_beyond_64_bits(market: Market) -> None:
    for _ in range(3):
        reported(market, START, "9" * 30, type="large")
    assert rows(build.alice(), f"{WHOLE}&meter=large")[0]["quantity"] == str(3 * (10**30 - 1))


def test_zones_are_those_that_people_write() -> None:
    for name in ("", "localtime", "posixrules", "../etc/passwd", "asia/shanghai"):
        with pytest.raises(Invalid):
            zone_named(name)
    assert zone_named("Asia/Shanghai").key == "Asia/Shanghai"
