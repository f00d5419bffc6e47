"""What is worth more than operators believe a pool of its level alone, is compared, or said to be at the asker's risk."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Pool
from scheduler.matching.misses import nearest
from scheduler.matching.plan import plan
from scheduler.models import Round, Unit
from scheduler.scene import scene, worth_of
from scheduler.services.explaining import explain_task
from scheduler.services.placing import replay_round, run_round
from scheduler.services.standing import standing_of
from scheduler.stored import snapshot_document, snapshot_from
from tests.builders import a_pool as pool_row
from tests.builders_tasks import a_task, a_version
from tests.builders_trust import a_checked_version, owners_pools
from tests.scheduler.values import a_class, a_market, a_pool

RESULT = {"result": 5.0}


def placed(prices: dict[int, dict[str, float]], **need: Any) -> tuple[list[int], dict[str, int]]:
    """Where a class goes: pool 1 is believed up to 4, pool 2 without a limit."""
    asked = a_class(**need)
    (decision,) = plan(a_market([asked], [a_pool(1, worth=4.0), a_pool(2)], prices)).decisions
    return [one.pool_id for one in decision.placements], dict(decision.excluded)


def test_what_is_worth_more_goes_to_a_dearer_pool_that_is_believed() -> None:
    assert placed({1: {"result": 4.5}, 2: {"result": 5.0}}) == ([2], {"trust": 1})
    assert placed({1: {"result": 3.0}, 2: {"result": 5.0}}) == ([1], {})


def test_who_asks_next_to_nothing_makes_no_unit_worth_less() -> None:
    assert placed({1: {"result": 0.000001}, 2: {"result": 10.0}}) == ([2], {"trust": 1})


@pytest.mark.parametrize("said", ["verified", "accept_unproven"])
def test_what_is_compared_or_accepted_goes_there_whatever_it_is_worth(said: str) -> None:
    assert placed({1: {"result": 4.5}, 2: {"result": 5.0}}, **{said: True}) == ([1], {})


@given(st.floats(0, 20), st.floats(0, 20), st.floats(0, 20))
def test_the_higher_the_worth_that_is_believed_the_more_pools_take_it(price: float, worth: float, more: float) -> None:
    asked = a_class()
    for low in (a_pool(1, worth=worth), a_pool(1, worth=worth + more)):
        (decision,) = plan(a_market([asked], [low], {1: {"result": price}})).decisions
        assert bool(decision.placements) == (price <= low.worth)  # type: ignore[operator]


def test_the_smallest_change_is_to_accept_and_of_a_validator_no_change_is_named() -> None:
    for stage, change in ((0, {"constraints.accept_unproven": True}), (100, None)):
        asked = a_class(stage=stage)
        (miss,) = nearest(asked, a_market([asked], [a_pool(1, worth=4.0)], {1: RESULT}))
        assert (miss.lacks, miss.change) == (("trust",), change)


def test_a_round_replays_and_one_of_before_there_were_worths_knows_no_limit() -> None:
    asked = a_class()
    market = a_market([asked], [a_pool(1, worth=4.0), a_pool(2)], {1: RESULT, 2: RESULT})
    document = snapshot_document(market)
    assert plan(snapshot_from(document, {1: asked.document})).decisions == plan(market).decisions
    for pool in document["pools"]:
        del pool["worth"]
    old = snapshot_from(document, {1: asked.document})
    assert [pool.worth for pool in old.pools] == [None, None]


def test_levels_beyond_the_list_have_no_limit(settings: Any) -> None:
    settings.LEVEL_WORTH = (1.0, 20.0)
    assert [worth_of(level) for level in range(5)] == [1.0, 20.0, None, None, None]


@pytest.mark.django_db
def test_a_task_waits_for_a_pool_of_a_higher_level_or_says_that_it_accepts(settings: Any) -> None:
    settings.LEVEL_WORTH = (1.0, 20.0)
    low = pool_row(basis="result", rates={"result": "2"})
    high = pool_row(level=2, basis="result", rates={"result": "3"})
    assert {pool.id: pool.worth for pool in scene().states.values()} == {low.pk: 1.0, high.pk: None}
    assert (standing_of(low)["believed_up_to"], standing_of(high)["believed_up_to"]) == (1.0, None)
    task = a_task(version=a_version())
    Pool.objects.filter(pk=high.pk).update(state="suspended")
    run_round()
    told = explain_task(task)["waiting"]
    assert told is not None
    assert (told["reason"], told["excluded"]) == ("no_pool_fits", {"trust": 1})
    assert told["misses"][0]["change"] == {"constraints.accept_unproven": True}
    with pytest.raises(Invalid) as refused:
        a_task()
    assert refused.value.code == "no_pool_fits"
    assert "accept_unproven: true (or have its results compared, with verify: exact)" in refused.value.detail

    accepting = a_task(constraints={"accept_unproven": True})
    run_round()
    assert Unit.objects.get(task=accepting).pool_id == low.pk
    assert replay_round(Round.objects.latest("id"))
    settings.LEVEL_WORTH = ()
    assert a_task().units_total == 1, "no limit, no floor"


@pytest.mark.django_db
def test_compared_results_may_come_from_pools_of_any_level(settings: Any) -> None:
    settings.LEVEL_WORTH = (0.0,)
    owners_pools("bob", "erin")
    with pytest.raises(Invalid):
        a_task()
    assert a_task(version=a_checked_version()).units_total == 1
