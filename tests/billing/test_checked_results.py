"""Who is paid for results that were compared: the user pays one, the platform the ones that agreed, nobody a wrong one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing.models import Charge
from billing.queries import is_balanced, trial_balance
from billing.services import charge_task
from marketplace.models import Task
from metering.models import UsageRecord
from metering.services import measure
from scheduler.models import Attempt
from scheduler.services.advancing import cancel_task
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import a_task
from tests.builders_trust import RIGHT, WRONG, a_checked_version, agents_of, an_owner, output_of, take_turns

pytestmark = pytest.mark.django_db


def charged(task: Task) -> dict[str, tuple[str, int]]:
    """Who paid what to each owner."""
    measure()
    assert charge_task(task.pk)
    assert is_balanced(trial_balance())
    return {
        charge.provider.slug.removesuffix("s-pools"): (charge.payer, charge.provider_micros)
        for charge in Charge.objects.filter(task=task, kind="usage").select_related("provider")
    }


def a_market(**erins: Any) -> dict[str, Any]:
    prices = {"basis": "result", "rates": {"result": "0.01"}}
    return agents_of({name: a_pool(an_owner(name), **prices | erins) for name in ("bob", "erin", "dave")})


def test_the_user_pays_one_result_the_platform_the_other_and_a_liar_gets_nothing() -> None:
    agents = a_market()
    task = take_turns(a_task(version=a_checked_version(fee={"per_unit": "0.5"})), agents, {"bob": WRONG})
    paid = charged(task)
    assert paid["bob"] == ("nobody", 0) or "bob" not in paid
    right = {name: row for name, row in paid.items() if name != "bob"}
    assert sorted(payer for payer, _ in right.values()) == ["platform", "user"]
    assert {micros for _, micros in right.values()} == {9_500}, "a result is worth the same, whoever pays it"
    task.refresh_from_db()
    assert task.cost_micros == 510_000, "one result and one fee"


def test_a_wrong_result_is_measured_as_invalid_and_charged_to_nobody() -> None:
    agents = a_market()
    a_task(version=a_checked_version({"quorum": {"of": 3, "need": 2}}))
    for _ in range(3):
        run_round()
        for agent in agents.values():
            agent.beat(want=1)
        judge_units()
    task = take_turns(Task.objects.get(), agents, {"dave": WRONG})
    assert task.state == "delivered"
    paid = charged(task)
    assert paid["dave"] == ("nobody", 0)
    record = UsageRecord.objects.get(outcome="invalid")
    assert (record.reason_class, record.fp32_gflop) == ("invalid_result", Decimal(0))
    assert Charge.objects.get(usage_id=record.pk).reason == "invalid_result/delivered"


def test_measuring_waits_for_the_verdict() -> None:
    agents = a_market()
    a_task(version=a_checked_version())
    run_round()
    for agent in agents.values():
        agent.beat(want=1)
        agent.done(outputs=[output_of(RIGHT)])
    assert Attempt.objects.get().state == "reported"
    assert measure().taken == 0
    assert not UsageRecord.objects.exists()


def test_without_agreement_the_user_pays_nothing_and_only_trusted_pools_are_paid() -> None:
    agents = a_market(basis="occupancy", rates={"occupancy_second": "0.01"})
    version = a_checked_version()
    trusted = agents["erin"].agent.pool
    trusted.trust.create(capability_version=version, streak=10, valid=10, samples=10, updated_at="2026-01-01T00:00:00Z")
    says = {"bob": b"1\n", "erin": b"2\n", "dave": b"3\n"}
    task = a_task(version=version)
    for _ in range(3):
        take_turns(task, agents, says, rounds=2)
        Attempt.objects.filter(state="reported").update(leased_at="2026-01-01T00:00:00Z")
    paid = charged(task)
    assert task.state == "failed"
    assert {name for name, (payer, _) in paid.items() if payer == "platform"} <= {"erin"}
    assert [payer for payer, _ in paid.values()].count("user") == 0
    task.refresh_from_db()
    assert task.cost_micros == 0


def test_a_result_that_a_cancelled_task_no_longer_compares_is_paid_by_the_platform() -> None:
    agents = a_market(basis="occupancy", rates={"occupancy_second": "0.01"})
    task = a_task(version=a_checked_version())
    run_round()
    for agent in agents.values():
        agent.beat(want=1)
        Attempt.objects.update(leased_at="2026-01-01T00:00:00Z")
        agent.done(wall_ms=2_000, outputs=[output_of(RIGHT)])
    cancel_task(task.pk)
    ((payer, micros),) = charged(task).values()
    assert (payer, micros) == ("platform", 19_000)
