"""Why a task's units are where they are, why they still wait, and what it would cost."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.errors import Invalid
from marketplace.models import Agent, MaintenanceWindow, Pool, Task
from scheduler.models import Unit
from scheduler.services.drafting import Asker, Request
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.services.quoting import Quote, quote_task
from tests.builders import a_pool, alice
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.django_db
SLOW = {"demand": {"tflop": "0.125"}}  # ten seconds on the pool of the tests
MERGE = {"run": ["merge"], "outputs": [], "demand": {"tflop": "0.25"}}


def waiting(task: Task) -> dict[str, Any]:
    found = explain_task(task)["waiting"]
    assert found is not None
    return dict(found)


def quoted(version: Any, **fields: Any) -> Quote:
    return quote_task(Asker(alice().organization), Request(str(version), **{"inputs": {}} | fields))


def test_units_that_wait_for_a_free_pool_say_so_and_name_the_candidates() -> None:
    pool = a_pool()
    a_pool(region="gansu")
    task = a_task(version=a_version(**SLOW), inputs={"count": 100}, constraints={"regions": ["ningxia"]})
    run_round()
    told = waiting(task)
    assert (told["reason"], told["units"], told["excluded"]) == ("waiting_for_capacity", 84, {"region": 1})
    assert [c["pool"] for c in told["candidates"]] == [pool.identifier]
    assert told["candidates"][0]["wait_s"] > 0


def test_units_whose_pools_are_away_say_so() -> None:
    a_pool()
    a_pool(cores=1, region="gansu")
    task = a_task(version=a_version(resources={"cores": 4, "memory_mib": 64, "disk_mib": 64}))
    Agent.objects.filter(pool__cores=8).update(lease_until=timezone.now() - timedelta(hours=1))
    told = waiting(task)
    assert (told["reason"], told["excluded"], told["candidates"]) == ("pools_offline", {"cores": 1}, [])
    assert "1 pool could run it, but its agent has not been heard of" in told["detail"]


@pytest.mark.parametrize(
    ("pool", "reason", "told"),
    [
        ({"quarantined_until": HOUR}, "pools_quarantined", "its results were wrong, it is in quarantine until "),
        ({"reclaim_at": timedelta(0)}, "pools_closed", "it is in maintenance, or wanted back by its owner"),
        ({"reclaim_at": timedelta(0), "reclaim_until": HOUR}, "pools_closed", "wanted back by its owner until "),
        ({"quarantined_until": -HOUR}, "pools_quarantined", "its results were wrong, it is in quarantine"),
    ],
)
def test_units_whose_pool_is_heard_of_but_takes_no_work_say_why(pool: dict[str, timedelta], reason: str, told: str) -> None:
    a_pool()
    task, now = a_task(), timezone.now()
    whose = {"reclaimed_by": "owner"} if "reclaim_at" in pool else {}
    Pool.objects.update(**whose, **{name: now + ahead for name, ahead in pool.items()})
    why = waiting(task)
    assert why["reason"] == reason
    assert why["detail"].startswith("1 pool could run it, but it")
    assert told in why["detail"]


def test_of_pools_that_are_away_for_several_reasons_the_most_frequent_is_named_and_all_are_counted() -> None:
    pools = [a_pool() for _ in range(4)]
    task, soon = a_task(), timezone.now() + HOUR
    Pool.objects.filter(pk__in=[pool.pk for pool in pools[:2]]).update(quarantined_until=soon)
    MaintenanceWindow.objects.create(pool=pools[2], announced_at=timezone.now(), period=(timezone.now() - HOUR, soon))
    Agent.objects.filter(pool=pools[3]).update(lease_until=timezone.now() - HOUR)
    why = waiting(task)
    assert why["reason"] == "pools_quarantined"
    parts = why["detail"].removeprefix("4 pools could run it, but ").split("; ")
    assert [part[:20] for part in parts] == ["of 1 its agent has n", "of 1 it is in mainte", "of 2 their results w"]
    assert parts[1].endswith(f"until {soon:%Y-%m-%d %H:%M:%S} UTC")


def test_units_that_no_pool_fits_count_the_pools_by_dimension_those_away_too() -> None:
    a_pool()
    a_pool(region="gansu")
    a_pool(region="shanghai", instruction_set="aarch64")
    variants = [{"instruction_set": "x86_64", "accelerator": None}]
    task = a_task(version=a_version(variants=variants))
    Pool.objects.filter(instruction_set="x86_64").update(deny_organizations=["acme"])
    Agent.objects.filter(pool__region__code="gansu").update(lease_until=timezone.now() - timedelta(hours=1))
    told = waiting(task)
    assert (told["reason"], told["excluded"]) == ("no_pool_fits", {"policy": 2, "architecture": 1})
    assert told["detail"].endswith("most are left out by policy")


def test_a_market_without_any_pool_is_a_reason_too() -> None:
    a_pool()
    task = a_task()
    Pool.objects.update(state="suspended")
    told = waiting(task)
    assert (told["reason"], told["excluded"]) == ("no_pool_fits", {})
    assert told["detail"] == "the market has no active pool"


def test_a_task_in_which_nothing_waits_needs_no_reason() -> None:
    agent = FakeAgent.of(a_pool())
    task = run_to_end(a_task(), agent)
    assert explain_task(task)["waiting"] is None


def test_what_was_placed_says_where_and_what_spoke_for_it() -> None:
    west, east = a_pool(rates={"core_second": "0.00001"}), a_pool(rates={"core_second": "0.01"}, region="shanghai")
    task = a_task(inputs={"count": 4})
    run_round()
    told = explain_task(task)
    assert told["where"] == [
        {"pool": west.identifier, "region": "ningxia", "stage": 0, "part": "unit", "state": "placed", "units": 4}
    ]
    (decision,) = told["decisions"]
    assert [c["pool"] for c in decision["candidates"]] == [west.identifier, east.identifier]
    assert decision["candidates"][0]["cost"] < decision["candidates"][1]["cost"]
    assert (decision["stage"], decision["excluded"]) == ("unit", {})


def everything_counted() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


def test_a_quote_writes_nothing() -> None:
    a_pool()
    version = a_version(merge=MERGE, **SLOW)
    alice()
    before = everything_counted()
    quoted(version, inputs={"count": 1000})
    assert everything_counted() == before


def test_a_quote_is_the_price_of_all_units_the_merge_and_the_fees() -> None:
    a_pool(rates={"core_second": "0.0001"})
    version = a_version(merge=MERGE, fee={"per_task": "0.5", "per_unit": "0.01"}, **SLOW)
    quote = quoted(version, inputs={"count": 1000})
    option = quote.options["cheapest"]
    assert option is not None
    assert Decimal(option["price"]) == Decimal("0.0001") * (10 * 1000 + 20) + Decimal("0.01") * 1000 + Decimal("0.5")
    assert option["seconds"] == pytest.approx(1000 / 8 * 10 + 20)
    assert (quote.units, quote.tflop, quote.feasible, quote.excluded) == (1000, "125.000", 1, {})
    assert [pool["units"] for pool in option["pools"]] == [1000]


def test_the_quote_of_a_huge_task_takes_no_more_statements_than_that_of_a_small_one() -> None:
    a_pool(rates={"core_second": "0.0001"})
    version = a_version(**SLOW, limits={"units": 1_000_000})
    quoted(version)  # what changes rarely has been read
    with CaptureQueriesContext(connection) as few:
        small = quoted(version, inputs={"count": 10}).options["cheapest"]
    with CaptureQueriesContext(connection) as many:
        huge = quoted(version, inputs={"count": 1_000_000}).options["cheapest"]
    assert small is not None
    assert huge is not None
    assert len(many) == len(few)
    assert Decimal(huge["price"]) == Decimal(small["price"]) * 100_000
    assert [pool["units"] for pool in huge["pools"]] == [1_000_000]


def test_the_fastest_quote_is_dearer_and_quicker_than_the_cheapest() -> None:
    a_pool(rates={"core_second": "0.0000001"}, fp32_mflops=20_000)
    a_pool(rates={"core_second": "0.001"}, fp32_mflops=800_000)
    quote = quoted(a_version(**SLOW))
    cheap, fast = quote.options["cheapest"], quote.options["fastest"]
    assert cheap is not None
    assert fast is not None
    assert Decimal(cheap["price"]) < Decimal(fast["price"])
    assert cheap["seconds"] > fast["seconds"]


def test_a_quote_for_what_no_pool_can_run_says_why() -> None:
    a_pool()
    a_pool(region="gansu")
    quote = quoted(a_version(), constraints={"max_price": "0.000000001", "regions": ["gansu"]})
    assert quote.options == dict.fromkeys(["cheapest", "fastest", "greenest", "balanced"])
    assert (quote.feasible, quote.excluded) == (0, {"region": 1, "price": 1})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"inputs": {"count": 0}}, "inputs.count"),
        ({"constraints": {"regions": ["atlantis"]}}, "constraints.regions"),
        ({"deadline": timezone.now() - timedelta(hours=1)}, "deadline"),
    ],
)
def test_a_quote_checks_what_a_submit_would(fields: dict[str, Any], field: str) -> None:
    a_pool()
    with pytest.raises(Invalid) as caught:
        quoted(a_version(), **fields)
    assert caught.value.field == field


def test_what_a_pool_is_about_to_do_makes_the_next_task_wait_in_its_quote() -> None:
    a_pool()
    version = a_version(**SLOW)
    idle = quoted(version).options["cheapest"]
    a_task(version=version, inputs={"count": 100})
    run_round()
    busy = quoted(version).options["cheapest"]
    assert idle is not None
    assert busy is not None
    assert Unit.objects.filter(state="placed").exists()
    assert busy["seconds"] > idle["seconds"]
