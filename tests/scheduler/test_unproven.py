"""Community pools below the operators' level are not believed alone: compared, accepted by the task, or left out for trust."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from core.errors import Invalid
from marketplace.models import Pool
from scheduler.matching.misses import nearest
from scheduler.matching.plan import plan
from scheduler.models import Attempt, Need, Round, Unit
from scheduler.needs import need_document
from scheduler.scene import is_unproven
from scheduler.services.expanding import expand_task
from scheduler.services.explaining import explain_task
from scheduler.services.placing import replay_round, run_round
from scheduler.services.rechecking import _needs
from scheduler.services.standing import standing_of
from scheduler.services.submitting import TestRun, submit_tests
from scheduler.stored import snapshot_document, snapshot_from
from tests.builders import a_pool as pool_row
from tests.builders import alice, client_of
from tests.builders_tasks import FakeAgent, a_task, a_version
from tests.builders_trust import a_checked_version, agents_of, an_owner, ends_of, owners_pools, take_turns
from tests.scheduler.values import a_class, a_market, a_pool, markets

VALIDATES = 100


def placed(**need: Any) -> tuple[list[int], dict[str, int]]:
    """Where a class goes whose only pools are an unproven one and a dearer one that is proven."""
    pools = [a_pool(1, unproven=True), a_pool(2)]
    prices = {1: {"core_second": 0.0001}, 2: {"core_second": 0.01}}
    (decision,) = plan(a_market([a_class(**need)], pools, prices)).decisions
    return [one.pool_id for one in decision.placements], dict(decision.excluded)


def test_what_nobody_compares_goes_to_a_dearer_pool_that_is_proven() -> None:
    assert placed() == ([2], {"trust": 1})


@pytest.mark.parametrize("said", ["verified", "accept_unproven"])
def test_what_is_compared_or_accepted_goes_to_the_unproven_pool_like_to_any(said: str) -> None:
    assert placed(**{said: True}) == ([1], {})


def test_that_it_accepts_unproven_pools_lowers_no_floor_that_it_set_itself() -> None:
    assert placed(accept_unproven=True, min_level=2) == ([], {"trust": 2})
    assert placed(accept_unproven=True, min_trust="0.9") == ([], {"trust": 2})


@given(markets())
def test_an_unproven_pool_never_gets_a_unit_that_is_neither_compared_nor_accepted(market: Any) -> None:
    odd = {pool.id for pool in market.pools if pool.id % 2}
    market = replace(market, pools=[replace(pool, unproven=pool.id in odd) for pool in market.pools])
    for decision in plan(market).decisions:
        assert not odd & {one.pool_id for one in decision.placements}


def test_the_smallest_change_is_to_accept_them_and_of_a_validator_no_change_is_named() -> None:
    asked, judging = a_class(), a_class(stage=VALIDATES)
    (miss,) = nearest(asked, a_market([asked], [a_pool(1, unproven=True)]))
    assert (miss.lacks, miss.change) == (("trust",), {"constraints.accept_unproven": True})
    (miss,) = nearest(judging, a_market([judging], [a_pool(1, unproven=True)]))
    assert (miss.lacks, miss.change) == (("trust",), None)


def test_a_round_with_unproven_pools_replays_from_what_was_stored() -> None:
    asked = a_class()
    market = a_market([asked], [a_pool(1, unproven=True), a_pool(2)])
    again = snapshot_from(snapshot_document(market), {1: asked.document})
    assert plan(again).decisions == plan(market).decisions


@pytest.mark.parametrize(
    ("verify", "stage", "said"),
    [("none", 0, {"accept_unproven"}), ("exact", 0, {"verified"}), ("exact", VALIDATES, set())],
)
def test_a_need_says_what_makes_up_for_a_missing_record(verify: str, stage: int, said: set[str]) -> None:
    part = {"need": {"cores": 1}, "tflop": "1", "limits": {"run_s": 60}, "units": 1, "split": {"by": "one"}}
    plan_: Any = part | {"variants": [], "fee": {"per_unit": "0", "per_task": "0"}, "verify": verify, "validate_stage": part}
    document = need_document(
        plan=plan_ | {"merge_stage": None}, stage=stage, version_id=1, trusted=True, organization="acme", objective="cheapest",
        constraints={"accept_unproven": True}, bytes_in=0, offers_at="",
    )  # fmt: skip
    assert document.keys() & {"verified", "accept_unproven"} == said


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "level", "floor", "unproven"),
    [("community", 2, 3, True), ("community", 3, 3, False), ("general", 0, 3, False), ("community", 0, 0, False)],
)
def test_only_community_pools_below_the_operators_level_are_unproven(
    kind: str, level: int, floor: int, unproven: bool, settings: Any
) -> None:
    settings.COMMUNITY_PROVEN_LEVEL = floor
    pool = pool_row(kind=kind, level=level)
    assert (is_unproven(pool), standing_of(pool)["unproven"]) == (unproven, unproven)


@pytest.mark.django_db
def test_a_task_waits_for_a_proven_pool_and_runs_where_it_says_that_it_accepts() -> None:
    home = pool_row(kind="community", rates={"core_second": "0.00001"})
    away = pool_row(rates={"core_second": "0.01"})
    task = a_task()
    Pool.objects.filter(pk=away.pk).update(state="suspended")
    run_round()
    assert Unit.objects.get(task=task).state == "waiting"
    told = explain_task(task)["waiting"]
    assert told is not None
    assert (told["reason"], told["excluded"]) == ("no_pool_fits", {"trust": 1})
    assert told["misses"][0]["change"] == {"constraints.accept_unproven": True}

    accepting = a_task(constraints={"accept_unproven": True})
    run_round()
    assert Unit.objects.get(task=accepting).pool_id == home.pk
    assert replay_round(Round.objects.latest("id"))


@pytest.mark.django_db
def test_a_pool_that_reaches_the_level_is_believed_from_then_on_and_one_that_loses_it_no_more() -> None:
    pool = pool_row(kind="community", level=3)
    first = a_task()
    run_round()
    assert Unit.objects.get(task=first).pool_id == pool.pk
    Pool.objects.filter(pk=pool.pk).update(level=2)
    with pytest.raises(Invalid, match="believed"):
        a_task()


@pytest.mark.django_db
def test_a_publishers_test_takes_the_word_of_unproven_pools_where_there_are_no_others() -> None:
    home = pool_row(kind="community")
    (test,) = submit_tests(a_version(), [TestRun("one", {"count": 1})])
    expand_task(test.pk)
    run_round()
    assert Unit.objects.get(task=test).pool_id == home.pk
    pool_row(rates={"core_second": "9"})
    (test,) = submit_tests(a_version(), [TestRun("one", {"count": 1})])
    assert test.constraints == {}, "a proven pool, however dear, is asked first"
    Pool.objects.update(cores=1)
    with pytest.raises(Invalid, match="no pool of the market could run this"):
        submit_tests(a_version(resources={"cores": 4, "memory_mib": 64, "disk_mib": 64}), [TestRun("one", {"count": 1})])


@pytest.mark.django_db
def test_compared_results_of_two_owners_may_come_from_community_pools() -> None:
    pools = owners_pools("bob", "erin", kind="community")
    task = a_task(version=a_checked_version())
    assert take_turns(task, agents_of(pools)).state == "delivered"
    assert sorted(state for states in ends_of(task).values() for state in states) == ["superseded", "valid"]


@pytest.mark.django_db
def test_a_user_may_have_compared_what_the_capability_does_not_and_community_pools_take_it() -> None:
    pools = owners_pools("bob", "erin", kind="community")
    version = a_checked_version("none")
    with pytest.raises(Invalid, match="believed"):
        a_task(version=version)
    task = a_task(version=version, verify="exact")
    assert take_turns(task, agents_of(pools)).state == "delivered"
    assert Attempt.objects.filter(task=task).count() == 2


@pytest.mark.django_db
def test_a_validator_is_no_unproven_pools_to_run_whatever_the_task_accepts() -> None:
    owners_pools("bob", "erin", "frank", kind="community")
    version = a_checked_version({"validator": {"run": ["python", "check.py"]}})
    with pytest.raises(Invalid) as refused:
        a_task(version=version, constraints={"accept_unproven": True})
    assert (refused.value.code, refused.value.field) == ("too_few_owners", "verify")
    for name in ("grace", "heidi"):
        pool_row(an_owner(name))
    assert a_task(version=version).units_total == 1


@pytest.mark.django_db
def test_what_is_run_again_to_doubt_another_goes_to_no_unproven_pool() -> None:
    Need.objects.create(key="x", document=a_class(verified=True, deadline=1).document)
    (again,) = _needs({Need.objects.get().pk}).values()
    assert not Need.objects.get(pk=again).document.keys() & {"verified", "accept_unproven", "deadline"}


@pytest.mark.django_db
def test_over_http_it_is_refused_quoted_accepted_and_run() -> None:
    client, pool = client_of(alice()), pool_row(kind="community")
    body: dict[str, Any] = {"capability": str(a_version())}
    refused = client.post("/api/v1/tasks", body)
    assert (refused.status_code, refused.json()["code"], refused.json()["excluded"]) == (422, "no_pool_fits", {"trust": 1})
    quoted = client.post("/api/v1/quotes", body).json()
    assert (quoted["feasible"], quoted["excluded"], quoted["cheapest"]) == (0, {"trust": 1}, None)

    body["constraints"] = {"accept_unproven": True}
    quoted = client.post("/api/v1/quotes", body).json()
    assert (quoted["feasible"], quoted["excluded"]) == (1, {})
    made = client.post("/api/v1/tasks", body)
    assert made.status_code == 201
    assert made.json()["constraints"] == {"accept_unproven": True}
    wrong = client.post("/api/v1/tasks", body | {"constraints": {"accept_unproven": "perhaps"}})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "constraints.accept_unproven")
    expand_task(made.json()["id"])
    run_round()
    assert len(FakeAgent.of(pool).beat(want=1).leased) == 1
    where = client.get(f"/api/v1/tasks/{made.json()['id']}/explain").json()["where"]
    assert [one["pool"] for one in where] == [pool.identifier]
