"""What a pool delivered unchecked before it was caught: part of it is run again elsewhere, and differences are told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import Charge
from billing.queries import is_balanced, trial_balance
from billing.services import charge_task
from marketplace.models import CapabilityVersion, Pool, Task, TaskEvent
from metering.services import measure
from scheduler.models import Attempt, PoolEvent, Recheck, Trust, Unit
from scheduler.services.advancing import advance_task
from scheduler.services.expiring import expire_leases
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.services.rechecking import recheck_caught
from scheduler.services.trusting import draw_consequences
from scheduler.verification.trust import recheck_size
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task
from tests.builders_trust import RIGHT, WRONG, a_checked_version, agents_of, an_owner, output_of, owners_pools, take_turns

pytestmark = pytest.mark.django_db


def caught_after(count: int, says: bytes, *, version: CapabilityVersion | None = None) -> tuple[Task, dict[str, Pool]]:
    """Bob delivers so many units unchecked, saying this; then he is caught at lying, and put in quarantine."""
    version = version or a_checked_version()
    pools, second = owners_pools("bob"), owners_pools("zoe")["zoe"]
    task = a_task(version=version, inputs={"count": count})
    Pool.objects.filter(pk=second.pk).update(state="retired")
    Unit.objects.update(checked=False)
    task = take_turns(task, agents_of(pools), {"bob": says})
    assert task.state == "delivered"
    lie = Attempt.objects.filter(pool=pools["bob"]).latest("pk")
    for n in range(3):
        unit = Unit.objects.create(task=task, index=10_000 + n, need=lie.need, state="superseded")
        same = {f: getattr(lie, f) for f in ("task", "pool", "agent", "need", "session", "leased_at")}
        Attempt.objects.create(
            unit=unit, **same, fence=1, checked=True, state="invalid", code="outvoted", reason_class="invalid_result",
            ended_at=timezone.now(),
        )  # fmt: skip
    assert draw_consequences({}, {pools["bob"].pk: 3}) == [pools["bob"].pk]
    return task, pools


def run_elsewhere(agents: dict[str, FakeAgent], says: bytes = RIGHT, rounds: int = 3) -> None:
    for _ in range(rounds):
        Unit.objects.update(not_before=None)
        run_round()
        for agent in agents.values():
            agent.beat(want=100)
            Attempt.objects.filter(state="leased").update(leased_at=timezone.now() - timedelta(minutes=1))
            agent.done(outputs=[output_of(says)], wall_ms=50_000)
        judge_units()


@pytest.mark.parametrize(
    ("results", "again"), [(0, 0), (1, 1), (20, 20), (21, 20), (400, 20), (401, 21), (4_000, 200), (10**6, 200)]
)
def test_all_of_twenty_are_run_again_then_twenty_or_one_in_twenty_and_two_hundred_at_most(results: int, again: int) -> None:
    assert recheck_size(results) == again


def test_what_a_caught_pool_delivered_is_run_again_on_other_owners_pools_and_stays_as_it_was() -> None:
    task, pools = caught_after(3, WRONG)
    delivered = Task.objects.get(pk=task.pk)
    bobs_other = a_pool(an_owner("bob"), rates={"core_second": "0.0000001"})
    others = owners_pools("erin")
    assert recheck_caught() == 3
    assert recheck_caught() == 0  # followed up once
    agents = agents_of({"bob-2": bobs_other} | others)
    run_elsewhere(agents)
    once_more = Task.objects.get(kind="test")
    assert advance_task(once_more.pk) == "delivered"
    assert (once_more.organization_id, once_more.labels) == (task.organization_id, {"recheck": str(task.pk)})
    assert set(Recheck.objects.values_list("state", flat=True)) == {"different"}
    again = Attempt.objects.filter(unit__rechecks__isnull=False)
    assert set(again.values_list("pool_id", "state", "reason_class", "code")) == {(others["erin"].pk, "valid", "", "rechecked")}
    task.refresh_from_db()
    assert (task.state, task.units_done, task.ended_at) == (delivered.state, delivered.units_done, delivered.ended_at)
    assert Attempt.objects.filter(pool=pools["bob"], state="valid").count() == 3
    doubts = TaskEvent.objects.filter(task=task, kind="unit.doubted")
    assert sorted(event.data["index"] for event in doubts) == [0, 1, 2]
    assert Trust.objects.get(pool=pools["bob"]).invalid == pytest.approx(3)
    assert not Trust.objects.filter(pool=others["erin"]).exists()
    kinds = list(PoolEvent.objects.filter(pool=pools["bob"]).order_by("id").values_list("kind", flat=True))
    assert kinds == ["wrong", "quarantined", "rechecks", "doubted", "doubted", "doubted"]


def test_what_was_right_is_confirmed_in_silence_and_the_platform_pays() -> None:
    task, pools = caught_after(2, RIGHT)
    measure()
    charge_task(task.pk)
    task.refresh_from_db()
    assert task.settled_at is not None
    paid = task.cost_micros
    others = owners_pools("erin")
    recheck_caught()
    run_elsewhere(agents_of(others))
    assert set(Recheck.objects.values_list("state", flat=True)) == {"same"}
    assert not TaskEvent.objects.filter(kind="unit.doubted").exists()
    assert not Trust.objects.filter(pool=pools["bob"]).exists()
    assert Trust.objects.get(pool=others["erin"]).streak == 2
    measure()
    once_more = Task.objects.get(kind="test")
    assert advance_task(once_more.pk) == "delivered"
    charge_task(once_more.pk)
    again = Charge.objects.filter(usage__attempt__unit__rechecks__isnull=False)
    assert list(again.values_list("payer", flat=True)) == ["platform"] * 2
    assert all(charge.amount_micros > 0 for charge in again)
    assert is_balanced(trial_balance())
    task.refresh_from_db()
    assert task.cost_micros == paid


def test_only_unchecked_results_of_the_last_week_and_of_that_version_are_run_again() -> None:
    task, pools = caught_after(4, RIGHT)
    owners_pools("erin")
    mine = list(Attempt.objects.filter(task=task, state="valid").order_by("pk"))
    Attempt.objects.filter(pk=mine[0].pk).update(ended_at=timezone.now() - timedelta(days=8))
    Attempt.objects.filter(pk=mine[1].pk).update(checked=True)
    other = a_task(version=a_checked_version())
    Unit.objects.filter(task=other).update(checked=False)
    Pool.objects.filter(pk=pools["bob"].pk).update(quarantined_until=None)
    bob = FakeAgent.of(pools["bob"])
    bob.seq = bob.agent.report_seq
    take_turns(other, {"bob": bob})
    assert recheck_caught() == 2
    assert set(Recheck.objects.values_list("attempt_id", flat=True)) == {mine[2].pk, mine[3].pk}


def test_the_sample_follows_from_the_servers_secret() -> None:
    task, _ = caught_after(30, RIGHT)
    owners_pools("erin")
    assert recheck_caught() == 20
    chosen = set(Recheck.objects.values_list("attempt_id", flat=True))
    assert chosen != set(Attempt.objects.filter(task=task, state="valid").order_by("pk").values_list("pk", flat=True)[:20])
    Unit.objects.filter(rechecks__isnull=False).delete()
    PoolEvent.objects.filter(kind="rechecks").delete()
    assert recheck_caught() == 20
    assert set(Recheck.objects.values_list("attempt_id", flat=True)) == chosen


def test_a_run_again_that_fails_looks_for_another_owner_and_one_that_nobody_can_give_ends_unknown() -> None:
    task, pools = caught_after(1, RIGHT)
    others = owners_pools("erin", "dave")
    agents = agents_of(others)
    recheck_caught()
    run_round()
    first = next(name for name, agent in agents.items() if agent.beat(want=1).leased)
    agents[first].failed("capability_error", exit_code=3)
    judge_units()
    unit = Unit.objects.get(rechecks__isnull=False)
    assert (unit.state, set(unit.apart)) == ("waiting", {pools["bob"].pk, others[first].pk})
    (second,) = set(others) - {first}
    Pool.objects.filter(pk=others[second].pk).update(state="retired")
    expire_leases()
    recheck_caught()
    assert Recheck.objects.get().state == "unknown"
    task.refresh_from_db()
    assert task.state == "delivered"
