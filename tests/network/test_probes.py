"""Probes: judged by light, by the pool and by what was seen; averaged, agreed between owners, and lies contained."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Agent, Pool
from scheduler.models import Attempt, NetworkLink, Probe, RegionEndpoint
from scheduler.network.probes import LIGHT_S_PER_KM, Bounds, Claim, Sample, agreed, blend, judge
from scheduler.network_snapshot import routes
from scheduler.services.placing import run_round
from scheduler.services.probing import adopt_probes, parse_claims, probe_orders
from tests import builders as build
from tests.builders_http import HttpAgent, answer_in_this_thread
from tests.builders_tasks import FakeAgent, a_task

KM = 1000.0
LIGHT_S = KM * 1.468 / 299_792.458


def claim(**changes: Any) -> Claim:
    values = {"region": "beijing", "rtt_us": (30_000, 31_000, 36_000), "tries": 3, "bytes": 1_000_000, "transfer_us": 100_000}
    return Claim(**{**values, **changes})


def sample(latency_s: float, **changes: Any) -> Sample:
    values = {"latency_p50_s": latency_s, "latency_p90_s": latency_s * 2, "jitter_p99_s": 0.001, "loss": 0.0, "mbps": 100.0}
    return Sample(**{**values, **changes})


def test_a_claim_that_can_be_is_taken_as_it_is() -> None:
    found = judge(claim(), Bounds(KM, 1000))
    assert found.flags == ()
    assert (found.latency_p50_s, found.latency_p90_s, found.mbps) == (0.0155, 0.018, 80.0)
    assert found.jitter_p99_s == pytest.approx(0.003)


def test_nobody_is_faster_than_light() -> None:
    found = judge(claim(rtt_us=(1, 2, 3)), Bounds(KM, 1000))
    assert found.flags == ("faster_than_light",)
    assert found.latency_p50_s == pytest.approx(LIGHT_S)


def test_nobody_has_more_bandwidth_than_the_pool_or_ten_times_what_was_seen() -> None:
    quick = claim(transfer_us=1000)
    assert judge(quick, Bounds(KM, 1000)).mbps == 1000
    assert judge(quick, Bounds(KM, 1000)).flags == ("above_pool_bandwidth",)
    found = judge(quick, Bounds(KM, 1000, seen_mbps=20))
    assert (found.mbps, found.flags) == (200, ("above_pool_bandwidth", "above_seen_transfers"))
    assert judge(claim(), Bounds(KM, 1000, seen_mbps=20)).flags == ()


def test_what_never_came_back_is_loss_and_moving_more_than_allowed_is_flagged() -> None:
    assert judge(claim(tries=6), Bounds(KM, 1000)).loss == 0.5
    assert judge(claim(tries=1), Bounds(KM, 1000)).loss == 0
    assert judge(claim(), Bounds(KM, 1000, budget_bytes=10)).flags == ("over_budget",)


@given(
    st.lists(st.integers(1, 1 << 53), min_size=1, max_size=20),
    st.integers(1, 100),
    st.integers(1, 1 << 53),
    st.integers(1, 1 << 53),
    st.floats(0, 20_000),
    st.floats(1, 1e6),
)
def test_whatever_is_claimed_stays_within_what_can_be(
    trips: list[int], tries: int, size: int, took: int, km: float, mbps: float
) -> None:
    found = judge(claim(rtt_us=tuple(trips), tries=tries, bytes=size, transfer_us=took), Bounds(km, mbps))
    assert max(km * LIGHT_S_PER_KM, 1e-5) <= found.latency_p50_s <= found.latency_p90_s <= 60
    assert 0 < found.mbps <= mbps
    assert 0 <= found.loss <= 1
    assert 0 <= found.jitter_p99_s <= 60


def test_reports_are_averaged_and_the_newest_counts_three_tenths() -> None:
    found = blend(sample(0.010), sample(0.020, flags=("faster_than_light",)))
    assert found.latency_p50_s == pytest.approx(0.013)
    assert found.flags == ("faster_than_light",)
    assert blend(None, sample(0.02)) == sample(0.02)


def test_an_owner_with_many_pools_counts_once_and_flagged_ones_only_alone() -> None:
    liars = [("mallory", sample(0.001)) for _ in range(50)]
    honest = [("bob", sample(0.020)), ("carol", sample(0.022))]
    assert agreed([*liars, *honest]).latency_p50_s == 0.020
    flagged = [("mallory", sample(0.001, flags=("faster_than_light",)))]
    assert agreed([*flagged, honest[0]]).latency_p50_s == 0.020
    assert agreed(flagged).latency_p50_s == 0.001


# -- as rows ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool(db: None) -> Pool:
    RegionEndpoint.objects.create(region=build.a_region("beijing"), url="https://beijing.example/1m")
    return build.a_pool(region="shanghai")


@pytest.fixture
def agent_door(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_in_this_thread(monkeypatch)


def agent_of(pool: Pool) -> Agent:
    return Agent.objects.select_related("pool__region").get(pool=pool)


def later(hours: float = 1) -> None:
    Probe.objects.update(measured_at=F("measured_at") - timedelta(hours=hours))


def the_way() -> NetworkLink:
    return NetworkLink.objects.get(overlay=True)


def test_a_measurement_becomes_the_route_between_two_regions(pool: Pool) -> None:
    (found,) = adopt_probes(agent_of(pool), [claim()])
    way = the_way()
    assert (way.source.region.code, way.target.region.code, way.origin) == ("shanghai", "beijing", "probe")
    assert (way.latency_p50_s, way.free_mbps) == (found.latency_p50_s, 80)
    route = routes()["shanghai", "beijing"]
    assert route.links == (way.pk,)
    assert route.latency_s == pytest.approx(0.018, rel=0.01)
    assert ("beijing", "shanghai") not in routes()


def test_a_second_report_is_averaged_and_one_that_comes_too_soon_is_not(pool: Pool) -> None:
    adopt_probes(agent_of(pool), [claim(rtt_us=(20_000,))])
    adopt_probes(agent_of(pool), [claim(rtt_us=(40_000,))])
    assert the_way().latency_p50_s == 0.010
    later()
    adopt_probes(agent_of(pool), [claim(rtt_us=(40_000,))])
    assert the_way().latency_p50_s == pytest.approx(0.013)
    assert Probe.objects.get().samples == 2


def test_a_liar_is_clamped_flagged_and_outvoted(pool: Pool) -> None:
    mallorys = build.a_pool(build.mallory(), region="shanghai")
    adopt_probes(agent_of(mallorys), [claim(rtt_us=(1,), transfer_us=1)])
    lie = Probe.objects.get(pool=mallorys)
    assert lie.flags == ["faster_than_light", "above_pool_bandwidth"]
    assert lie.flagged == 1
    assert lie.latency_p50_s > 0.003
    assert lie.mbps == mallorys.bandwidth_mbps
    adopt_probes(agent_of(pool), [claim()])
    assert (the_way().latency_p50_s, the_way().free_mbps) == (0.0155, 80)


def test_an_unflagged_liar_with_many_pools_is_still_one_owner_of_three(pool: Pool) -> None:
    for _ in range(3):
        adopt_probes(agent_of(build.a_pool(build.mallory(), region="shanghai")), [claim(rtt_us=(9_000,), transfer_us=9_000)])
    for owner in (build.carol(), build.bob()):
        adopt_probes(agent_of(build.a_pool(owner, region="shanghai")), [claim()])
    assert (the_way().latency_p50_s, the_way().free_mbps) == (0.0155, 80)


def test_claims_are_checked_against_the_transfers_that_the_server_saw(pool: Pool) -> None:
    task = a_task(inputs={"count": 3})
    run_round()
    agent = FakeAgent.of(pool)
    agent.beat(want=3)
    now = timezone.now()
    moved = {"leased_at": now - timedelta(seconds=100), "started_at": now, "usage": {"bytes_in": 12_500_000}}  # 1 Mbit/s
    assert Attempt.objects.filter(task=task).update(**moved) == 3
    adopt_probes(agent_of(pool), [claim()])
    assert Probe.objects.get().flags == ["above_seen_transfers"]
    assert the_way().free_mbps == pytest.approx(10)


def test_old_measurements_of_others_no_longer_count(pool: Pool) -> None:
    adopt_probes(agent_of(build.a_pool(build.mallory(), region="shanghai")), [claim(rtt_us=(90_000,))])
    later(hours=30)
    adopt_probes(agent_of(pool), [claim()])
    assert the_way().latency_p50_s == 0.0155


def test_regions_that_nobody_asked_about_are_left_out(pool: Pool) -> None:
    assert adopt_probes(agent_of(pool), [claim(region="hebei"), claim(region="atlantis")]) == []
    assert Probe.objects.count() == NetworkLink.objects.count() == 0


def test_the_way_within_a_region_is_kept_but_makes_no_link(db: None) -> None:
    RegionEndpoint.objects.create(region=build.a_region("shanghai"), url="https://x.example/")
    adopt_probes(agent_of(build.a_pool(region="shanghai")), [claim(region="shanghai", rtt_us=(300,))])
    assert Probe.objects.get().flags == []
    assert NetworkLink.objects.count() == 0


def test_many_measurements_take_as_many_statements_as_one(pool: Pool) -> None:
    codes = ["hebei", "henan", "hunan", "hubei", "sichuan"]
    for code in codes:
        RegionEndpoint.objects.create(region=build.a_region(code), url="https://x.example/")

    def counted(claims: list[Claim]) -> int:
        with CaptureQueriesContext(connection) as queries:
            adopt_probes(agent_of(pool), claims)
        return len(queries)

    assert counted([claim()]) == counted([claim(region=code) for code in codes]) <= 13


def test_orders_name_endpoints_in_turns_and_the_platforms_own_door(pool: Pool, settings: Any) -> None:
    settings.REGION = "ningxia"
    for one in ("hebei", "henan", "hunan", "hubei", "sichuan", "gansu", "qinghai", "fujian", "hainan"):
        RegionEndpoint.objects.create(region=build.a_region(one), url="https://x.example/")
    orders = probe_orders(agent_of(pool))
    assert len({one["region"] for one in orders["endpoints"]}) == 8
    assert (orders["interval_s"], orders["bytes"]) == (600, 1_000_000)
    RegionEndpoint.objects.all().delete()
    assert probe_orders(agent_of(pool))["endpoints"] == [{"region": "ningxia", "url": "/agent/v1/probe"}]
    settings.REGION = ""
    assert probe_orders(agent_of(pool))["endpoints"] == []


@pytest.mark.parametrize(
    "odd",
    [
        5,
        [5],
        [{}],
        [{"region": 5}],
        [{"region": "x", "rtt_us": [], "tries": 1, "bytes": 1, "transfer_us": 1}],
        [{"region": "x", "rtt_us": [0], "tries": 1, "bytes": 1, "transfer_us": 1}],
        [{"region": "x", "rtt_us": [1.5], "tries": 1, "bytes": 1, "transfer_us": 1}],
        [{"region": "x", "rtt_us": [True], "tries": 1, "bytes": 1, "transfer_us": 1}],
        [{"region": "x", "rtt_us": [1], "tries": 1, "bytes": 1, "transfer_us": -1}],
        [{"region": "x", "rtt_us": [1], "tries": 1, "bytes": 10**30, "transfer_us": 1}],
        [{"region": "x", "rtt_us": [1] * 101, "tries": 1, "bytes": 1, "transfer_us": 1}],
        [{}] * 33,
    ],
)
def test_what_is_not_of_the_protocols_form_is_refused(odd: Any) -> None:
    with pytest.raises(Invalid) as refused:
        parse_claims(odd)
    assert refused.value.code == "invalid_probes"


@pytest.mark.usefixtures("agent_door")
def test_probes_come_and_orders_go_with_a_sync(pool: Pool) -> None:
    agent = HttpAgent.of(pool)
    assert "probe" not in agent.sync().json()
    orders = agent.sync(probes=[]).json()["probe"]
    assert orders["endpoints"] == [{"region": "beijing", "url": "https://beijing.example/1m"}]
    told = {"region": "beijing", "rtt_us": [30_000], "tries": 1, "bytes": 1_000_000, "transfer_us": 100_000}
    assert agent.sync(probes=[told]).status_code == 200
    assert the_way().latency_p50_s == 0.015
    assert agent.sync(probes=[{"region": "beijing"}]).json()["code"] == "invalid_probes"


@pytest.mark.usefixtures("agent_door")
def test_the_door_for_probes_gives_so_many_bytes_within_the_budget(pool: Pool) -> None:
    agent = HttpAgent.of(pool)
    answer = agent.post("/agent/v1/probe", {"bytes": 1000})
    assert (answer.status_code, len(answer.content)) == (200, 1000)
    for odd in (0, -1, 10**9, "5", True, None):
        assert agent.post("/agent/v1/probe", {"bytes": odd}).json()["code"] == "invalid_probe"
