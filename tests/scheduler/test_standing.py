"""A pool's level and reputation: what they rest on, when they end, and who is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.errors import Invalid
from marketplace.models import Pool
from marketplace.services.providers import move_pool, record_selftest
from scheduler.models import PoolEvent, Trust
from scheduler.services.standing import review_levels, standing_of, vouch_for
from scheduler.verification.levels import Standing, level_of
from scheduler.verification.trust import Record
from tests.builders import BENCHMARK, PASSED, a_pool, alice, bob, client_of, mallory, olga
from tests.builders_tasks import a_version

NOW = timezone.now()
PROVEN = Standing(
    state="active",
    has_agent=True,
    verified_at=NOW - timedelta(days=200),
    selftest_at=NOW - timedelta(days=3),
    measured=True,
    quarantined=False,
    audited_until=NOW + timedelta(days=10),
    records=(Record(streak=60, valid=60, samples=60),),
)


@pytest.mark.parametrize(
    ("lacks", "number"),
    [
        ({}, 4),
        ({"audited_until": None}, 3),
        ({"audited_until": NOW - timedelta(days=1)}, 3),
        ({"records": (Record(valid=49, samples=49),)}, 2),
        ({"records": (Record(valid=97, invalid=3, samples=100),)}, 2),
        ({"records": ()}, 2),
        ({"quarantined": True}, 2),
        ({"verified_at": NOW - timedelta(days=89)}, 2),
        ({"selftest_at": NOW - timedelta(days=31)}, 1),
        ({"selftest_at": None}, 1),
        ({"measured": False}, 1),
        ({"has_agent": False}, 0),
        ({"state": "verified"}, 0),
        ({"state": "suspended"}, 0),
    ],
)
def test_a_level_is_the_highest_all_of_whose_conditions_hold(lacks: dict[str, Any], number: int) -> None:
    level = level_of(replace(PROVEN, **lacks), NOW)
    assert level.number == number
    assert bool(level.missing) == (number < 4)


def test_a_level_ends_with_the_first_of_what_it_rests_on() -> None:
    assert level_of(PROVEN, NOW).until == NOW + timedelta(days=10)
    assert level_of(replace(PROVEN, audited_until=NOW + timedelta(days=300)), NOW).until == NOW + timedelta(days=27)


@pytest.mark.django_db
def test_levels_are_reviewed_and_owners_told_once_of_changes_and_of_ends_to_come() -> None:
    pool = a_pool()
    assert review_levels() == 1
    pool.refresh_from_db()
    assert (pool.level, PoolEvent.objects.get().kind) == (2, "level")
    assert review_levels() == 0
    Pool.objects.update(selftest_at=timezone.now() - timedelta(days=25))
    for _ in range(2):
        review_levels()
    assert PoolEvent.objects.filter(kind="level_ends").count() == 1
    Pool.objects.update(selftest_at=timezone.now() - timedelta(days=31))
    assert review_levels() == 1
    pool.refresh_from_db()
    assert (pool.level, pool.level_until) == (1, None)
    assert PoolEvent.objects.order_by("id").last().detail.startswith("L2 to L1; for L2: a self-test")


@pytest.mark.django_db
def test_reviewing_takes_as_many_statements_for_many_pools_as_for_few() -> None:
    counts = []
    for _ in range(2):
        for _ in range(4):
            a_pool()
        with CaptureQueriesContext(connection) as seen:
            review_levels()
        counts.append(len(seen))
    assert counts[0] == counts[1]


@pytest.mark.django_db
def test_an_audit_is_an_operators_word_with_an_end() -> None:
    pool = a_pool()
    for until in (timezone.now() - timedelta(days=1), timezone.now() + timedelta(days=4 * 366)):
        with pytest.raises(Invalid) as caught:
            vouch_for(pool, until)
        assert (caught.value.code, caught.value.field) == ("audit_period", "until")
    assert vouch_for(pool, timezone.now() + timedelta(days=90)).audited_until is not None


def a_record(pool: Pool, **fields: Any) -> Trust:
    return Trust.objects.create(pool=pool, capability_version=a_version(), updated_at=timezone.now(), **fields)


@pytest.mark.django_db
def test_the_owner_sees_what_a_score_is_made_of_for_each_version_and_over_all() -> None:
    pool = a_pool()
    a_record(pool, streak=20, valid=20, samples=20)
    a_record(pool, streak=0, valid=6, invalid=1, lost=1, samples=8)
    seen = standing_of(pool)
    assert [(v["consecutive_valid"], v["check_probability"]) for v in seen["versions"]] == [(20, 0.05), (0, 1.0)]
    assert seen["reputation"]["sample_size"] == 28
    assert seen["reputation"]["score"] == pytest.approx(28 / 31, abs=1e-3)
    assert "14 days" in seen["reputation"]["formula"]
    assert seen["quarantine"] is None


@pytest.mark.django_db
def test_everybody_sees_a_reputation_in_the_market_and_only_the_owner_the_rest() -> None:
    pool, newcomer = a_pool(), a_pool()
    a_record(pool, streak=20, valid=20, samples=20)
    found = {one["identifier"]: one for one in client_of(alice()).get("/api/v1/market/pools").json()["results"]}
    assert found[pool.identifier]["reputation"]["score"] == pytest.approx(22 / 23, abs=1e-3)
    assert found[newcomer.identifier]["reputation"]["status"] == "new"
    address = f"/api/v1/pools/{pool.identifier}/trust"
    assert client_of(bob()).get(address).json()["versions"][0]["consecutive_valid"] == 20
    assert client_of(mallory()).get(address).status_code == 404


@pytest.mark.django_db
def test_an_operator_lifts_a_quarantine_through_the_door() -> None:
    pool = a_pool()
    Pool.objects.update(quarantined_until=timezone.now() + timedelta(hours=1), quarantine_reason="3 wrong results", quarantines=1)
    seen = client_of(bob()).get(f"/api/v1/pools/{pool.identifier}/trust").json()["quarantine"]
    assert (seen["state"], seen["reason"], seen["times"]) == ("closed", "3 wrong results", 1)
    lifted = client_of(olga()).post(f"/api/v1/pools/{pool.identifier}/lift")
    assert (lifted.status_code, lifted.json()["quarantine"]) == (200, None)
    assert lifted.json()["events"][0]["kind"] == "lifted"


@pytest.mark.django_db
def test_a_level_does_not_wait_for_the_hour_when_a_pool_was_moved_or_measured(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, sent = a_pool(), list[str]()
    monkeypatch.setattr("core.wake._send", lambda job, key, delay_s: sent.append(job))
    with django_capture_on_commit_callbacks(execute=True):
        move_pool(pool, "drain")
    assert "scheduler.review_levels" in sent
    sent.clear()
    with django_capture_on_commit_callbacks(execute=True):
        record_selftest(pool.agents.get(), results=PASSED, benchmark=BENCHMARK)
    assert "scheduler.review_levels" in sent
