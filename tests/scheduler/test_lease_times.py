"""How long leases live: by what kind of pool it is, and longer for all when the fleet is large."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from marketplace.models import Agent
from scheduler.lease_times import BY_KIND, BY_TIER, RENEWALS, lease_seconds, renew_seconds, stretch_of
from scheduler.services import fleet as fleets
from scheduler.services.expiring import expire_leases
from scheduler.services.fleet import Fleet
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task

KINDS, TIERS = ["general", "intelligent", "super", "community"], ["cloud", "edge", "end"]
classes = st.tuples(st.sampled_from(KINDS), st.sampled_from(TIERS))
fleets_of = st.dictionaries(classes, st.integers(0, 10**6))


@pytest.mark.parametrize(
    ("kind", "tier", "seconds"),
    [
        ("general", "cloud", 60), ("intelligent", "cloud", 60), ("general", "edge", 180), ("general", "end", 180),
        ("community", "end", 180), ("community", "cloud", 180), ("super", "cloud", 300), ("super", "edge", 300),
    ],
)  # fmt: skip
def test_each_class_of_pool_has_its_time(kind: str, tier: str, seconds: int) -> None:
    assert lease_seconds(kind, tier, base_s=60) == seconds


def test_every_kind_and_tier_that_has_a_factor_exists() -> None:
    assert set(BY_KIND) <= set(KINDS)
    assert set(BY_TIER) == set(TIERS)


@given(fleet=fleets_of, base=st.integers(5, 600), most=st.integers(1, 10_000))
def test_renewals_stay_below_the_bound_however_large_the_fleet(fleet: dict[tuple[str, str], int], base: int, most: int) -> None:
    stretch = stretch_of(fleet, base_s=base, most_per_s=most)
    calls = sum(n * RENEWALS / lease_seconds(*one, base_s=base, stretch=stretch) for one, n in fleet.items())
    assert calls <= most * (1 + 1e-9)


@given(fleet=fleets_of, one=classes, more=st.integers(0, 10**6))
def test_a_larger_fleet_never_shortens_a_lease(fleet: dict[tuple[str, str], int], one: tuple[str, str], more: int) -> None:
    larger = fleet | {one: fleet.get(one, 0) + more}
    assert stretch_of(larger, base_s=60, most_per_s=500) >= stretch_of(fleet, base_s=60, most_per_s=500)


def test_a_small_fleet_keeps_its_leases() -> None:
    assert stretch_of({("general", "cloud"): 1_000}, base_s=60, most_per_s=500) == 1.0


@given(agents=st.integers(0, 10**7), lease=st.integers(3, 10_000))
def test_an_agent_renews_three_times_in_a_lease_at_least(agents: int, lease: int) -> None:
    assert renew_seconds(agents, lease, most_per_s=500) <= lease / RENEWALS


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "tier", "seconds"), [("general", "cloud", 60), ("community", "end", 180), ("super", "cloud", 300)]
)
def test_a_sync_renews_for_as_long_as_the_class_is_given(kind: str, tier: str, seconds: int) -> None:
    agent = FakeAgent.of(a_pool(kind=kind, tier=tier))
    agent.beat()
    until = Agent.objects.get(pk=agent.agent.pk).lease_until
    assert until is not None
    left = (until - timezone.now()).total_seconds()
    assert seconds - 10 < left <= seconds


@pytest.mark.django_db
def test_a_fleet_is_counted_by_class_and_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool(), a_pool(kind="super"), a_pool(kind="super")
    gone = a_pool()
    Agent.objects.filter(pool=gone).update(lease_until=timezone.now() - timedelta(seconds=1))
    fleet = Fleet()
    fleet.refresh()
    assert fleet.counts == {("general", "cloud"): 1, ("super", "cloud"): 2}
    a_pool()
    fleet.refresh()
    assert sum(fleet.counts.values()) == 3
    monkeypatch.setattr(fleets, "COUNTED_FOR_S", 0.0)
    fleet.refresh()
    assert sum(fleet.counts.values()) == 4


@pytest.mark.django_db
def test_leases_grow_with_the_fleet_and_the_answer_says_so() -> None:
    pool, fleet = a_pool(), Fleet(counts={("general", "cloud"): 40_000})
    assert fleet.times(pool) == {"lease_s": 240, "renew_s": 80}
    assert Fleet(counts={("general", "cloud"): 10}).times(pool) == {"lease_s": 60, "renew_s": 1.0}


@pytest.mark.django_db
@pytest.mark.parametrize("jump", [timedelta(days=-30), timedelta(days=30)])
def test_a_lease_follows_the_database_clock_whatever_the_web_server_thinks_the_time_is(
    monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    agent = FakeAgent.of(a_pool())
    a_task()
    run_round()
    real = timezone.now
    monkeypatch.setattr("scheduler.services.leasing.timezone.now", lambda: real() + jump)
    agent.beat(want=1)
    monkeypatch.undo()
    until = Agent.objects.get(pk=agent.agent.pk).lease_until
    assert until is not None
    assert timedelta(0) < until - timezone.now() <= timedelta(seconds=60)
    assert expire_leases()["lost"] == 0
