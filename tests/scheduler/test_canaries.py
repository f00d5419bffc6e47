"""Known answers: a pool on probation, or new, gets a test case that looks like any task, and never bills a user."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Charge
from billing.services import charge_task
from marketplace.models import Pool, Task
from metering.services import measure
from scheduler.models import Pace, Trust, Unit
from scheduler.queries import tasks_of
from scheduler.services.canaries import is_due, plant_canaries
from scheduler.services.expanding import expand_task
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.services.submitting import TestRun, submit_tests
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent
from tests.builders_trust import RIGHT, WRONG, a_checked_version, agents_of, an_owner, owners_pools, take_turns

pytestmark = pytest.mark.django_db


def a_market(verify: Any = "exact", **manifest: Any) -> tuple[dict[str, Pool], dict[str, FakeAgent]]:
    """Three owners, and a version whose test was delivered."""
    pools = owners_pools("bob", "erin", "dave")
    version, agents = a_checked_version(verify, **manifest), agents_of(pools)
    (test,) = submit_tests(version, [TestRun("one", {"count": 1})])
    expand_task(test.pk)
    assert take_turns(test, agents).state == "delivered"
    return pools, agents


def on_probation(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk).update(quarantined_until=timezone.now() - timedelta(seconds=1), quarantines=1)


@pytest.mark.parametrize(("says", "back"), [(RIGHT, True), (WRONG, False)])
def test_a_pool_on_probation_comes_back_with_the_known_answer_and_with_no_other(says: bytes, back: bool) -> None:
    pools, agents = a_market()
    Pace.objects.all().delete()
    on_probation(pools["dave"])
    assert plant_canaries() == 1
    assert plant_canaries() == 0, "one at a time"
    canary = Task.objects.get(labels__has_key="canary")
    assert canary.kind == "test"
    task = take_turns(canary, agents, {"dave": says})
    assert task.state == ("delivered" if back else "failed")
    attempt = task.attempt_set.get()
    assert attempt.pool == pools["dave"], "nobody else was asked"
    assert (attempt.state, attempt.code) == (("valid", "") if back else ("invalid", "canary"))
    pool = Pool.objects.get(pk=pools["dave"].pk)
    assert (pool.quarantined_until is None) == back
    assert pool.quarantines == (1 if back else 2)


def test_a_canary_is_paid_by_the_platform_and_a_wrong_one_by_nobody() -> None:
    for says, payer in ((RIGHT, "platform"), (WRONG, "nobody")):
        pools, agents = a_market()
        Pace.objects.all().delete()
        on_probation(pools["dave"])
        plant_canaries()
        task = take_turns(Task.objects.filter(labels__has_key="canary").latest("pk"), agents, {"dave": says})
        measure()
        assert charge_task(task.pk)
        assert Charge.objects.get(task=task).payer == payer
        Pool.objects.update(state="retired")


def test_the_agent_is_told_nothing_of_a_canary() -> None:
    pools, agents = a_market()
    Pace.objects.all().delete()
    on_probation(pools["dave"])
    plant_canaries()
    run_round()
    document = str(agents["dave"].beat(want=5).document())
    assert "noop" in document
    for word in ("canary", "known", "verify", "checked"):
        assert word not in document
    judge_units()
    assert Unit.objects.filter(task__labels__has_key="canary").count() == 1


@pytest.mark.parametrize(
    ("work", "due"),
    [
        ({"done": 0}, False),
        ({"done": 1}, True),
        ({"done": 100, "canaries": 1}, False),
        ({"done": 101, "canaries": 1}, True),
        ({"done": 101, "canaries": 1, "open": 1}, False),
        ({"done": 10_000, "checked": 50}, False),
    ],
)
def test_a_new_pool_gets_one_canary_for_every_hundred_units_until_it_is_known(work: dict[str, int], due: bool) -> None:
    assert is_due(a_pool(), {"done": 0, "checked": 0, "canaries": 0, "open": 0} | work) == due


def test_where_no_answer_is_known_no_canary_is_planted() -> None:
    pools, _ = a_market({"tolerance": {"files": ["*.csv"]}})
    on_probation(pools["dave"])
    assert plant_canaries() == 0


def test_a_canary_of_a_program_with_stages_is_one_pools_from_its_first_unit_to_its_last() -> None:
    sort = {"name": "sort", "run": ["sort"], "split": {"by": "units", "over": "unit", "chunk": "1"}}
    stages = [one | {"outputs": [{"path": "numbers.csv"}]} for one in (sort, {"name": "bind", "run": ["bind"]})]
    for says, ends in ((RIGHT, ["delivered", 3]), (WRONG, ["failed", 1])):
        pools, agents = a_market(stages=stages)
        Pace.objects.all().delete()
        on_probation(pools["dave"])
        assert plant_canaries() == 1
        task = take_turns(Task.objects.filter(labels__has_key="canary").latest("pk"), agents, {"dave": says})
        attempts = list(task.attempt_set.all())
        assert [task.state, len(attempts)] == ends
        assert {(one.pool_id, one.checked) for one in attempts} == {(pools["dave"].pk, True)}
        Pool.objects.update(state="retired")


def test_a_canary_that_its_pool_lost_is_tried_there_again_and_nowhere_else() -> None:
    pools, agents = a_market()
    Pace.objects.all().delete()
    on_probation(pools["dave"])
    plant_canaries()
    canary = Task.objects.get(labels__has_key="canary")
    run_round()
    agents["dave"].beat(want=1)
    assert len(agents["dave"].held) == 1
    agents["dave"].report(*({"attempt": a, "fence": f, "outcome": "failed", "reason_class": "node_fault", "code": "disk_full"}
                            for a, f in agents["dave"].held.items()))  # fmt: skip
    take_turns(canary, agents)
    assert [attempt.pool_id for attempt in canary.attempt_set.all()] == [pools["dave"].pk] * 2


def test_its_publisher_sees_no_canary_for_publishers_may_have_pools() -> None:
    pools, _ = a_market()
    Pace.objects.all().delete()
    on_probation(pools["dave"])
    plant_canaries()
    canary = Task.objects.get(labels__has_key="canary")
    assert canary.pk not in {task.pk for task in tasks_of(canary.organization, operator=False)}
    assert canary.pk in {task.pk for task in tasks_of(None, operator=True)}
    assert tasks_of(canary.organization, operator=False).count() == 1, "its own test it sees"


def test_a_new_pool_that_has_worked_is_tried() -> None:
    pools, agents = a_market()
    newcomer = a_pool(an_owner("fay"))
    Pace.objects.exclude(pk=Pace.objects.latest("pk").pk).delete()
    Pace.objects.update(pool=newcomer)
    assert plant_canaries() == 1
    canary = Task.objects.get(labels__has_key="canary")
    task = take_turns(canary, agents | agents_of({"fay": newcomer}))
    assert task.state == "delivered"
    assert Trust.objects.get(pool=newcomer).streak == 1
    assert pools
