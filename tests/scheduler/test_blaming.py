"""A capability is blamed when two owners' pools say so; where it works for another, the first was at fault, unpaid."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Charge
from billing.queries import is_balanced, trial_balance
from billing.services import charge_task
from metering.services import measure
from scheduler.models import Attempt, Trust, Unit
from scheduler.reasons import Charge as Accusation
from scheduler.reasons import Policy
from scheduler.services.advancing import advance_task
from scheduler.services.expiring import expire_leases
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version
from tests.builders_trust import RIGHT, a_checked_version, agents_of, an_owner, output_of, owners_pools

pytestmark = pytest.mark.django_db
FAILED: dict[str, Any] = {"exit_code": 9, "code": "exit_nonzero", "detail": "so sorry"}


def leased_by(agents: dict[str, FakeAgent]) -> str:
    """Place and lease; the owner who got it."""
    Unit.objects.update(not_before=None)
    run_round()
    for name, agent in agents.items():
        if agent.beat(want=1).leased:
            return name
    raise AssertionError("nobody got it")


def test_one_pools_word_is_checked_by_another_owners_pool() -> None:
    bobs = [a_pool(an_owner("bob")), a_pool(an_owner("bob"))]
    agents = agents_of({"one": bobs[0], "two": bobs[1], "erin": a_pool(an_owner("erin"), rates={"core_second": "0.01"})})
    task = a_task(version=a_version())
    assert leased_by(agents) in ("one", "two")
    for name in ("one", "two"):
        agents[name].failed("capability_error", **FAILED)
    unit = Unit.objects.get()
    assert (unit.state, unit.tries, unit.apart) == ("waiting", 0, sorted(pool.pk for pool in bobs))
    assert leased_by(agents) == "erin"
    agents["erin"].failed("capability_error", **FAILED)
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert (task.reason_class, task.reason) == ("capability_error", "unit 0: so sorry")
    assert set(Attempt.objects.values_list("reason_class", flat=True)) == {"capability_error"}


def test_where_it_works_for_another_the_first_is_the_nodes_fault_and_nobody_pays_it() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_version())
    first = leased_by(agents)
    agents[first].failed("capability_error", usage={"wall_ms": 900, "core_ms": 900}, **FAILED)
    second = leased_by(agents)
    assert second != first
    agents[second].done(wall_ms=900)
    assert advance_task(task.pk) == "delivered"
    assert list(Attempt.objects.order_by("id").values_list("state", "reason_class")) == [
        ("failed", "node_fault"),
        ("valid", ""),
    ]
    measure()
    assert charge_task(task.pk)
    assert sorted(Charge.objects.values_list("payer", flat=True)) == ["nobody", "user"]
    assert is_balanced(trial_balance())


def test_where_only_one_owner_can_run_it_one_is_enough() -> None:
    agents = agents_of({"one": a_pool(an_owner("bob")), "two": a_pool(an_owner("bob"))})
    a_pool(an_owner("erin"), cores=1, memory_mib=1)
    task = a_task(version=a_version())
    agents[leased_by(agents)].failed("capability_error", **FAILED)
    assert advance_task(task.pk) == "failed"
    assert Attempt.objects.count() == 1


def test_an_exit_code_that_the_manifest_calls_deterministic_needs_no_second_run() -> None:
    retry, agents = {"deterministic": [9]}, agents_of(owners_pools("bob", "erin"))
    for exit_code, state in ((9, "failed"), (8, "waiting")):
        task = a_task(version=a_version(retry=retry))
        agents[leased_by(agents)].failed("capability_error", **FAILED | {"exit_code": exit_code})
        assert Unit.objects.get(task=task).state == state
        Unit.objects.filter(task=task, state="waiting").update(state="cancelled")


def test_the_accusation_stands_when_nobody_else_comes_within_ten_minutes() -> None:
    pools = owners_pools("bob", "erin")
    agents = agents_of(pools)
    task = a_task(version=a_version())
    first = leased_by(agents)
    agents[first].failed("capability_error", **FAILED)
    (other,) = set(pools) - {first}
    pools[other].agents.update(lease_until=timezone.now() - timedelta(hours=1))
    assert expire_leases()["stranded"] == 0
    Unit.objects.update(not_before=timezone.now() - timedelta(minutes=11))
    assert expire_leases()["stranded"] == 1
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert (task.reason_class, task.reason) == ("capability_error", "unit 0: so sorry")


def test_a_confirming_run_that_no_pool_of_the_market_can_give_is_given_up_at_once() -> None:
    pools = owners_pools("bob", "erin")
    agents = agents_of(pools)
    task = a_task(version=a_version())
    first = leased_by(agents)
    agents[first].failed("capability_error", **FAILED)
    (other,) = set(pools) - {first}
    type(pools[other]).objects.filter(pk=pools[other].pk).update(state="retired")
    assert expire_leases()["stranded"] == 1
    assert advance_task(task.pk) == "failed"


def test_among_checked_results_a_sibling_that_succeeds_speaks_against_the_accuser() -> None:
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version())
    first = leased_by(agents)
    agents[first].failed("capability_error", **FAILED)
    for _ in range(6):
        judge_units()
        Unit.objects.update(not_before=None)
        run_round()
        for name in set(agents) - {first}:
            agents[name].beat(want=1)
            agents[name].done(outputs=[output_of(RIGHT)])
    assert advance_task(task.pk) == "delivered"
    accuser = Attempt.objects.get(pool=pools[first])
    assert (accuser.state, accuser.reason_class) == ("failed", "node_fault")
    assert Trust.objects.get(pool=pools[first]).streak == 0


def test_two_owners_of_checked_results_can_blame_a_capability() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_checked_version())
    agents[leased_by(agents)].failed("capability_error", **FAILED)
    judge_units()
    agents[leased_by(agents)].failed("capability_error", **FAILED)
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert task.reason_class == "capability_error"


def test_of_two_owners_the_one_that_succeeds_is_believed_and_the_accuser_is_a_faulty_node() -> None:
    """No third owner can be had to decide: a result is more than the word that there can be none."""
    pools = owners_pools("bob", "erin")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version())
    accuser = leased_by(agents)
    agents[accuser].failed("capability_error", **FAILED)
    judge_units()
    agents[leased_by(agents)].done(outputs=[output_of(RIGHT)])
    for _ in range(5):
        judge_units()
        expire_leases()
    assert advance_task(task.pk) == "delivered"
    attempts = Attempt.objects.order_by("id").values_list("pool_id", "state", "reason_class")
    (other,) = set(pools) - {accuser}
    assert list(attempts) == [(pools[accuser].pk, "failed", "node_fault"), (pools[other].pk, "valid", "")]
    assert Trust.objects.get(pool=pools[accuser]).lost == pytest.approx(1, abs=0.01)
    assert not Unit.objects.exclude(state__in=["done", "superseded"]).exists()


def test_a_result_alone_is_not_enough_where_nobody_accused_the_capability() -> None:
    """The second owner's machine is gone for good: one result, and nobody to compare it with."""
    pools = owners_pools("bob", "erin")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version())
    first = leased_by(agents)
    agents[first].done(outputs=[output_of(RIGHT)])
    (other,) = set(pools) - {first}
    type(pools[other]).objects.filter(pk=pools[other].pk).update(state="retired")
    for _ in range(8):
        judge_units()
        expire_leases()
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert task.reason_class == "invalid_result"


@pytest.mark.parametrize(
    ("said_before", "elsewhere", "exit_code", "proven"),
    [(False, True, 9, False), (True, True, 9, True), (False, False, 9, True), (False, True, 3, True), (False, True, None, False)],
)
def test_an_accusation_needs_a_second_owner_unless_there_is_none_or_the_exit_code_says_enough(
    said_before: bool, elsewhere: bool, exit_code: int | None, proven: bool
) -> None:
    assert Accusation(exit_code, said_before, elsewhere).proven(Policy(deterministic=(3,))) == proven
