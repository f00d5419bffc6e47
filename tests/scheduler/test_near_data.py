"""Work goes to its data exactly when that is cheaper, or faster, in the user's terms: from rows to placements and back.

A file of 10 MB lies in Shanghai. The near pool keeps a copy of it; the far pool would have to fetch it over a link.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.models import Agent, Offer, Pool, Rate, Task
from marketplace.services.availability import keep_status
from marketplace.services.replicas import drop_replica, place_replicas, replicate
from scheduler.models import Decision, Need, NetworkLink, Unit
from scheduler.services.explaining import explain_task
from scheduler.services.placing import replay_round, run_round
from tests import builders as build
from tests.builders_capabilities import an_artifact
from tests.builders_network import a_link
from tests.builders_storage import a_store, tells
from tests.builders_tasks import a_task, a_version

pytestmark = pytest.mark.django_db
SIZE = 10_000_000
FILES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"file": {"type": "string", "format": "artifact"}},
}


class Near:
    """Two pools that are paid by the unit, links from Shanghai to both, alice's file, and a copy at the near pool."""

    def __init__(self, near: str = "0.011", far: str = "0.010", per_gb: str = "0.5", mbps: float = 1000.0) -> None:
        build.an_organization("acme", region=build.a_region("shanghai"))
        self.near = a_store("gansu", basis="result", rates={"result": near})
        self.far = build.a_pool(region="guangdong", basis="result", rates={"result": far})
        for region in ("gansu", "guangdong"):
            fields = {"price_per_gb": Decimal(per_gb), "free_mbps": mbps, "capacity_mbps": 1000}
            a_link("at-shanghai", f"at-{region}", regions=("shanghai", region), **fields)
        self.file = an_artifact(build.alice(), b"x" * SIZE)
        self.version = a_version(inputs=FILES, split={"by": "range", "stop": "1"}, tests=[])

    def copy(self) -> None:
        replicate(self.file, None, ["gansu"])
        place_replicas()
        tells(self.near, self.file.blob_id)

    def task(self, **fields: Any) -> Task:
        return a_task(version=self.version, inputs={"file": str(self.file.pk)}, **fields)

    def goes_to(self, **fields: Any) -> Pool:
        task = self.task(**fields)
        assert run_round() == 1
        pool = Unit.objects.get(task=task).pool
        assert pool is not None
        return pool


@pytest.fixture(autouse=True)
def _large(settings: Any) -> None:
    settings.LARGE_BYTES = 1_000_000


def test_without_a_copy_work_goes_where_it_is_cheaper_by_a_little() -> None:
    market = Near()
    assert market.goes_to() == market.far


def test_with_a_copy_it_goes_there_and_back_again_when_the_copy_is_gone() -> None:
    market = Near()
    market.copy()
    assert market.goes_to() == market.near
    drop_replica(market.file, "gansu")
    assert market.goes_to() == market.far


def test_where_the_other_pool_is_much_cheaper_the_file_goes_to_the_work() -> None:
    market = Near(far="0.001")
    market.copy()
    assert market.goes_to() == market.far


def test_both_decisions_are_explained_term_by_term() -> None:
    market = Near()
    market.copy()
    task = market.task()
    run_round()
    near, far = explain_task(task)["decisions"][0]["candidates"]
    assert [near["pool"], far["pool"]] == [market.near.identifier, market.far.identifier]
    assert (near["egress"], near["transfer_s"]) == (0, 0)
    assert far["egress"] == pytest.approx(0.005)
    assert far["transfer_s"] == pytest.approx(0.083, abs=0.01)
    assert (near["price"], far["price"]) == (pytest.approx(0.011), pytest.approx(0.010))
    assert near["cost"] < far["cost"]


def test_a_slow_link_that_costs_nothing_matters_to_who_is_in_a_hurry_and_not_to_who_asks_for_the_cheapest() -> None:
    market = Near(per_gb="0", mbps=1.0)
    market.copy()
    assert market.goes_to(objective="cheapest") == market.far
    assert market.goes_to(objective="fastest") == market.near


def test_what_a_cache_holds_counts_as_a_copy_does_and_files_below_the_bound_do_not(settings: Any) -> None:
    market = Near()
    keep_status(Agent.objects.get(pool=market.near), {}, [(market.file.blob_id, SIZE)])
    assert market.goes_to() == market.near
    settings.LARGE_BYTES = 100_000_000
    assert market.goes_to() == market.far
    assert "inputs" not in Need.objects.latest("pk").document


def test_a_pool_that_has_the_file_is_not_expected_to_charge_for_moving_it() -> None:
    market = Near(per_gb="0")
    Rate.objects.bulk_create(Rate(offer=offer, meter="gb_moved", unit_price=Decimal("0.5")) for offer in Offer.objects.all())
    market.copy()
    assert market.goes_to() == market.near
    prices = {one["pool"]: one["price"] for one in Decision.objects.latest("pk").candidates}
    assert prices == {market.near.identifier: pytest.approx(0.011), market.far.identifier: pytest.approx(0.015)}


def test_a_round_that_weighed_copies_replays() -> None:
    market = Near()
    market.copy()
    market.goes_to()
    decision = Decision.objects.select_related("round").latest("pk")
    drop_replica(market.file, "gansu")
    NetworkLink.objects.all().delete()
    (again,) = replay_round(decision.round)
    assert [[p.pool_id, p.units] for p in again.placements] == decision.placed == [[market.near.pk, 1]]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 20))
def test_work_goes_to_the_copy_exactly_when_that_costs_less(near: int, far: int, per_gb: int) -> None:
    """Prices in thousandths and tenths a GB, so that no difference is below the worth of the seconds."""
    for model in (NetworkLink, Unit):
        model.objects.all().delete()
    Agent.objects.all().update(lease_until=None)
    market = Near(f"0.{near:03}", f"0.{far:03}", f"0.{per_gb:02}7" if per_gb else "0.007")
    market.copy()
    way = float(NetworkLink.objects.latest("pk").price_per_gb) * SIZE / 1e9
    there = market.goes_to()
    margin = far / 1000 + way - near / 1000
    if abs(margin) > 0.0005:
        assert there == (market.near if margin > 0 else market.far)
