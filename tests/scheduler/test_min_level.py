"""A task may ask for pools of a level: what is below is left out, and the explanation says which level would do."""

from __future__ import annotations

import pytest

from marketplace.models import Pool
from scheduler.matching.misses import nearest
from scheduler.matching.plan import plan
from scheduler.models import Attempt
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.stored import snapshot_document, snapshot_from
from tests.builders import a_pool as pool_row
from tests.builders import alice, client_of
from tests.builders_tasks import FakeAgent, a_task, a_version
from tests.scheduler.values import a_class, a_market, a_pool


def test_pools_below_the_level_are_left_out_for_trust() -> None:
    pools = [a_pool(1, level=1), a_pool(2, level=3)]
    (decision,) = plan(a_market([a_class(min_level=2)], pools)).decisions
    assert ([placed.pool_id for placed in decision.placements], decision.excluded) == ([2], {"trust": 1})
    (decision,) = plan(a_market([a_class(min_level=4)], pools)).decisions
    assert (decision.placements, decision.excluded) == ((), {"trust": 2})


def test_the_smallest_change_is_the_level_of_the_nearest_pool_and_it_lets_it_in() -> None:
    pools = [a_pool(1, level=0), a_pool(2, level=2), a_pool(3, level=3, probation=True), a_pool(4, level=3, executors=("process",))]
    asked = a_class(min_level=4, trusted=False)
    missed = nearest(asked, a_market([asked], pools), 4)
    assert [(miss.pool, miss.change) for miss in missed] == [
        ("pool-002", {"constraints.min_level": 2}),
        ("pool-001", {"constraints.min_level": 0}),
        ("pool-003", None),
        ("pool-004", None),
    ]
    eased = a_class(min_level=2, trusted=False)
    (decision,) = plan(a_market([eased], pools)).decisions
    assert [placed.pool_id for placed in decision.placements] == [2]


def test_a_floor_of_trust_and_one_of_level_are_both_named() -> None:
    asked = a_class(min_level=2, min_trust="0.9")
    (miss,) = nearest(asked, a_market([asked], [a_pool(1, level=1)]))
    assert miss.change == {"constraints.min_trust": "0.6666", "constraints.min_level": 1}


def test_a_round_with_levels_replays_from_what_was_stored() -> None:
    asked = a_class(min_level=2)
    market = a_market([asked], [a_pool(1, level=1), a_pool(2, level=2)])
    again = snapshot_from(snapshot_document(market), {1: asked.document})
    assert plan(again).decisions == plan(market).decisions


@pytest.mark.django_db
def test_a_task_goes_to_a_dearer_pool_of_its_level_and_asks_for_nothing_with_level_0() -> None:
    low, high = pool_row(rates={"core_second": "0.0000001"}), pool_row(rates={"core_second": "0.5"})
    Pool.objects.filter(pk=high.pk).update(level=3)
    a_task(constraints={"min_level": 2})
    run_round()
    for pool in (low, high):
        FakeAgent.of(pool).beat(want=5)
    assert list(Attempt.objects.values_list("pool_id", flat=True)) == [high.pk]
    again = a_task(constraints={"min_level": 0})
    run_round()
    FakeAgent.of(low).beat(want=5)
    assert Attempt.objects.get(task=again).pool_id == low.pk


@pytest.mark.django_db
@pytest.mark.parametrize("level", [-1, 5, "high"])
def test_a_level_that_there_is_not_is_refused_with_its_field(level: object) -> None:
    pool_row()
    body = {"capability": str(a_version()), "constraints": {"min_level": level}}
    answer = client_of(alice()).post("/api/v1/tasks", body, format="json")
    assert answer.status_code == 422
    assert answer.json()["field"] == "constraints.min_level"


@pytest.mark.django_db
def test_what_no_pool_could_give_is_refused_at_once_and_what_one_could_is_explained() -> None:
    Pool.objects.filter(pk=pool_row().pk).update(level=2)
    task = a_task(constraints={"min_level": 2})
    Pool.objects.update(level=1)
    run_round()
    said = explain_task(task)
    assert "trust" in str(said)
    assert "min_level" in str(said)
