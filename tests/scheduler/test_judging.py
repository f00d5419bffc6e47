"""Results of different owners are compared: one is delivered, who agrees is right, who does not is unpaid."""

from __future__ import annotations

from itertools import chain

import pytest
from django.utils import timezone

from core.errors import Invalid
from marketplace.models import Pool, Result, Task
from scheduler.models import Attempt, Ended, PoolEvent, Trust, Unit, Unjudged
from scheduler.services import judging
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task
from tests.builders_trust import (
    RIGHT,
    WRONG,
    a_checked_version,
    agents_of,
    an_owner,
    ends_of,
    output_of,
    owners_pools,
    take_turns,
)
from tests.scheduler.meanwhile import Running, at_once, stopped_after

pytestmark = pytest.mark.django_db
in_transactions = pytest.mark.django_db(transaction=True)
TWO_OF_THREE = {"quorum": {"of": 3, "need": 2}}


def test_two_owners_that_agree_deliver_one_result_and_count_one_unit() -> None:
    pools = owners_pools("bob", "erin")
    task = take_turns(a_task(version=a_checked_version()), agents_of(pools))
    assert (task.state, task.units_done, task.units_total) == ("delivered", 1, 1)
    assert sorted(Unit.objects.values_list("replica", "state")) == [(0, "done"), (1, "superseded")]
    assert sorted(Attempt.objects.values_list("state", "reason_class")) == [("superseded", ""), ("valid", "")]
    assert Result.objects.get().files == 1
    assert Ended.objects.count() == 2
    assert set(Trust.objects.values_list("pool_id", "streak", "samples")) == {(p.pk, 1, 1) for p in pools.values()}


def test_the_one_who_lies_loses_the_vote_wherever_it_stands() -> None:
    for liar in ("bob", "erin", "dave"):
        pools = owners_pools("bob", "erin", "dave")
        task = take_turns(a_task(version=a_checked_version(TWO_OF_THREE)), agents_of(pools), {liar: WRONG})
        assert task.state == "delivered"
        assert task.attempt_set.get(state="valid").outputs.get().blob_id == output_of(RIGHT)["sha256"]
        for wrong in task.attempt_set.filter(pool=pools[liar]):  # two who agree are enough: it may not have been asked
            assert (wrong.state, wrong.reason_class, wrong.code) == ("invalid", "invalid_result", "outvoted")
            assert Trust.objects.get(pool=pools[liar]).streak == 0
        Pool.objects.all().update(state="retired")


def test_owners_who_disagree_are_asked_one_more_until_two_agree() -> None:
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    task = take_turns(a_task(version=a_checked_version()), agents, {"bob": WRONG, "erin": RIGHT, "dave": RIGHT})
    assert task.state == "delivered"
    states = ends_of(task)
    assert states.pop("bob") in (["invalid"], [])
    assert sorted(chain.from_iterable(states.values())) == ["superseded", "valid"]


def test_a_second_pool_of_the_same_owner_never_gets_the_second_result() -> None:
    bobs = [a_pool(an_owner("bob")), a_pool(an_owner("bob"), rates={"core_second": "0.00001"})]
    erins = a_pool(an_owner("erin"), rates={"core_second": "0.01"})
    task = a_task(version=a_checked_version(), inputs={"count": 4})
    agents = {f"{i}": FakeAgent.of(pool) for i, pool in enumerate([*bobs, erins])}
    take_turns(task, agents)
    assert task.state == "delivered"
    for index in range(4):
        owners = Attempt.objects.filter(unit__index=index).values_list("pool__organization_id", flat=True)
        assert sorted(owners) == sorted({bobs[0].organization_id, erins.organization_id})


def test_nobody_agrees_and_the_task_fails_without_blame() -> None:
    pools = owners_pools("bob", "erin", "dave")
    says = {"bob": b"1\n", "erin": b"2\n", "dave": b"3\n"}
    task = take_turns(a_task(version=a_checked_version()), agents_of(pools), says)
    assert (task.state, task.reason_class) == ("failed", "invalid_result")
    assert "no 2 of them agree" in task.reason
    assert set(Attempt.objects.values_list("state", "code")) == {("invalid", "no_consensus")}
    assert not Trust.objects.exists()
    assert not Pool.objects.exclude(daily_quota=None).exists()


def test_a_quorum_of_more_owners_than_there_are_is_refused_with_its_field() -> None:
    owners_pools("bob", "erin")
    a_pool(an_owner("bob"))
    with pytest.raises(Invalid) as caught:
        a_task(version=a_checked_version(TWO_OF_THREE))
    assert (caught.value.code, caught.value.field) == ("too_few_owners", "verify")
    assert caught.value.data == {"owners": 2, "wanted": 3}
    assert not Task.objects.exists()


def test_a_user_strengthens_what_a_capability_does_not_check_and_cannot_weaken_what_it_does() -> None:
    pools = owners_pools("bob", "erin", "dave")
    task = a_task(version=a_checked_version("none"), verify=TWO_OF_THREE)
    assert take_turns(task, agents_of(pools), {"bob": WRONG}).state == "delivered"
    with pytest.raises(Invalid) as caught:
        a_task(version=a_checked_version(TWO_OF_THREE), verify="none")
    assert (caught.value.code, caught.value.field) == ("verify_weaker", "verify")
    with pytest.raises(Invalid) as caught:
        a_task(version=a_checked_version("none"), verify={"quorum": {"of": 3}})
    assert (caught.value.code, caught.value.field) == ("invalid_verify", "verify.quorum")


def test_a_result_that_is_lost_is_asked_of_somebody_else_and_never_of_a_siblings_owner() -> None:
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version())
    first = leased_by(agents)
    agents[first].failed("node_fault")
    judge_units()
    assert take_turns(task, agents).state == "delivered"
    assert ends_of(task)[first][0] == "failed"
    right = Attempt.objects.filter(state__in=["valid", "superseded"])
    assert right.values("pool__organization").distinct().count() == 2
    assert Trust.objects.get(pool=pools[first]).lost == pytest.approx(1, abs=0.01)


def leased_by(agents: dict[str, FakeAgent]) -> str:
    """Place and lease; the owner who got it."""
    run_round()
    for name, agent in agents.items():
        if agent.beat(want=1).leased:
            return name
    raise AssertionError("nobody got it")


def test_a_merge_is_checked_like_the_units() -> None:
    pools = owners_pools("bob", "erin", "dave")
    merge = {"run": ["true"], "outputs": [{"path": "numbers.csv"}]}
    task = a_task(version=a_checked_version(TWO_OF_THREE, merge=merge), inputs={"count": 2})
    take_turns(task, agents_of(pools), {"dave": WRONG})
    assert (task.state, task.units_done) == ("delivered", 3)
    for stage, groups in ((0, 2), (1, 1)):
        units = Unit.objects.filter(stage=stage)
        assert units.filter(state="done").count() == groups
        assert Attempt.objects.filter(unit__in=units, state="invalid").count() <= groups
    assert Attempt.objects.filter(pool=pools["dave"], state__in=["valid", "superseded"]).count() == 0


def test_a_sibling_that_nobody_needs_any_more_is_stopped_and_what_it_took_is_the_platforms() -> None:
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version(TWO_OF_THREE))
    names = [leased_by_judged(agents) for _ in range(3)]
    for name in names[:2]:
        agents[name].done(outputs=[output_of(RIGHT)])
    judge_units()
    assert advance_task(task.pk) == "delivered"
    slow = agents[names[2]]
    (held,) = slow.held.items()
    assert slow.beat(phase="running").stop == [[*held, "user_cancel"]]
    slow.report({"attempt": held[0], "fence": held[1], "outcome": "cancelled"})
    last = Attempt.objects.get(pk=held[0])
    assert (last.state, last.reason_class) == ("superseded", "superseded")
    assert Unit.objects.get(replica=2).state == "superseded"


def leased_by_judged(agents: dict[str, FakeAgent]) -> str:
    name = leased_by(agents)
    judge_units()
    return name


@pytest.mark.parametrize(("says", "end"), [(RIGHT, ("superseded", "")), (WRONG, ("invalid", "invalid_result"))])
def test_a_result_that_comes_after_the_verdict_is_judged_by_it(says: bytes, end: tuple[str, str]) -> None:
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    a_task(version=a_checked_version(TWO_OF_THREE))
    names = [leased_by_judged(agents) for _ in range(3)]
    for name in names[:2]:
        agents[name].done(outputs=[output_of(RIGHT)])
    judge_units()
    agents[names[2]].done(outputs=[output_of(says)])
    judge_units()
    last = Attempt.objects.get(unit__replica=2)
    assert (last.state, last.reason_class) == end
    assert Task.objects.get().units_done == 1
    assert Ended.objects.count() == 3


def test_cancelling_ends_results_that_wait_for_a_verdict() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_checked_version())
    agents[leased_by(agents)].done(outputs=[output_of(RIGHT)])
    judge_units()
    assert cancel_task(task.pk).state == "cancelled"
    assert set(Unit.objects.values_list("state", flat=True)) == {"cancelled"}
    assert Attempt.objects.values_list("state", "reason_class").get() == ("superseded", "superseded")
    assert Ended.objects.count() == 1
    judge_units()
    assert not Unjudged.objects.exists()


def test_what_nobody_checks_has_no_sibling_and_no_row_in_the_queue() -> None:
    pool = a_pool()
    a_task(inputs={"count": 50})
    run_round()
    agent = FakeAgent.of(pool)
    agent.beat(want=50)
    agent.done()
    assert not Unjudged.objects.exists()
    assert not Trust.objects.exists()
    assert Unit.objects.filter(replica=0, checked=False, apart=[]).count() == 50


# -- at the same time -------------------------------------------------------------------------------------------------


@in_transactions
def test_two_looks_at_once_ask_for_one_more_result_once() -> None:
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    a_task(version=a_checked_version(), inputs={"count": 3})
    run_round()
    for agent in agents.values():
        agent.beat(want=10)
    at_once(judge_units, judge_units)
    judge_units()
    assert sorted(Unit.objects.values_list("index", "replica")) == [(i, r) for i in range(3) for r in range(2)]


@in_transactions
def test_a_report_that_is_being_adopted_is_left_to_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look must neither wait for the report nor decide without it."""
    from scheduler.services import settling

    agents = agents_of(owners_pools("bob", "erin"))
    a_task(version=a_checked_version())
    names = [leased_by_judged(agents) for _ in range(2)]
    agents[names[0]].done(outputs=[output_of(RIGHT)])
    claim = output_of(RIGHT)
    with stopped_after(monkeypatch, settling, "add_events", lambda: agents[names[1]].done(outputs=[claim])):
        assert Running(judge_units).start().result == 0
    assert set(Attempt.objects.values_list("state", flat=True)) == {"reported"}
    judge_units()
    assert sorted(Attempt.objects.values_list("state", flat=True)) == ["superseded", "valid"]
    assert Task.objects.get().units_done == 1


@in_transactions
@pytest.mark.parametrize("locked", [True, False])
def test_a_second_look_at_the_same_results_waits_its_turn(locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control is the case without locks: both looks then ask for the same result, and only the index keeps it single."""
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    a_task(version=a_checked_version())
    leased_by(agents)
    asked: list[int] = []
    write = judging._write
    monkeypatch.setattr(judging, "_write", lambda steps, versions: (asked.append(len(steps.asked)), write(steps, versions)))
    if not locked:
        monkeypatch.setattr(judging, "scalar", lambda *_: True)
        monkeypatch.setattr(judging, "_hold", lambda groups: (groups, []))
    with stopped_after(monkeypatch, judging, "_decide_all", judge_units):
        Unjudged.objects.create(unit=Unit.objects.get(), at=timezone.now())
        assert Running(judge_units).start().result == (0 if locked else 1)
    assert sum(asked) == (1 if locked else 2)
    assert sorted(Unit.objects.values_list("replica", flat=True)) == [0, 1]


def test_the_owner_of_a_wrong_result_hears_of_it_at_once_and_the_owners_of_right_ones_nothing() -> None:
    pools = owners_pools("bob", "erin", "dave")
    take_turns(a_task(version=a_checked_version()), agents_of(pools), {"bob": WRONG})
    (event,) = PoolEvent.objects.all()
    assert (event.pool, event.kind) == (pools["bob"], "wrong")
    assert event.detail == "1 result, unpaid: others had another one; quota 512 units a day"
