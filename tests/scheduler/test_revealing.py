"""Commit before reveal: everybody is bound to a result before anybody's leaves its machine."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Agent, Pool, Task
from marketplace.policies import Policy, at_least, parse_policy, strengthen
from scheduler.jobs import sweep
from scheduler.models import Attempt, Commitment, Trust, Unit
from scheduler.reports import commitment_of, parse_report
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.verification.shares import dealt
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task
from tests.builders_trust import RIGHT, WRONG, a_checked_version, agents_of, an_owner, ends_of, output_of, owners_pools

pytestmark = pytest.mark.django_db
BOUND = {"exact": {"commit_reveal": True, "adaptive": False}}
THREE = {"quorum": {"of": 3, "need": 2, "commit_reveal": True}}
SALT = "5a17"


def word_of(content: bytes, salt: str = SALT) -> str:
    """The commitment to a result of one table, as docs/protocol.md writes it."""
    line = f"numbers.csv\t{len(content)}\t{hashlib.sha256(content).hexdigest()}\n"
    return commitment_of(hashlib.sha256(line.encode()).hexdigest(), salt)


def commits(agent: FakeAgent, content: bytes = RIGHT) -> Any:
    """The agent binds everything it holds to this result, and goes on holding it."""
    held = dict(agent.held)
    items = [{"attempt": a, "fence": f, "outcome": "committed", "commitment": word_of(content)} for a, f in held.items()]
    settled = agent.report(*items)
    agent.held = held
    return settled


def asked(agent: FakeAgent) -> list[list[int]]:
    return agent.beat(phase="committed").reveal


def shows(agent: FakeAgent, content: bytes = RIGHT, salt: str = SALT) -> Any:
    return agent.done(outputs=[output_of(content)], salt=salt)


def all_lease(agents: dict[str, FakeAgent]) -> None:
    """Rounds, leases and looks until nobody gets more."""
    for _ in range(4):
        Unit.objects.update(not_before=None)
        run_round()
        for agent in agents.values():
            agent.beat(want=10)
        judge_units()


def holders(agents: dict[str, FakeAgent]) -> dict[str, FakeAgent]:
    return {name: agent for name, agent in agents.items() if agent.held}


# -- the policy -------------------------------------------------------------------------------------------------------


def test_it_is_asked_for_in_the_policy_and_can_only_be_added() -> None:
    plain, bound = parse_policy("exact"), parse_policy({"exact": {"commit_reveal": True}})
    assert not plain.commit_reveal
    assert strengthen(plain, bound).commit_reveal
    assert strengthen(bound, plain).commit_reveal
    assert at_least(bound, plain)
    assert not at_least(plain, bound)
    assert Policy.of(bound.document()) == bound
    with pytest.raises(Invalid) as caught:
        parse_policy({"exact": {"commit_reveal": "yes"}})
    assert (caught.value.code, caught.value.field) == ("invalid_verify", "verify.exact.commit_reveal")


@pytest.mark.parametrize("word", [None, 7, "", "a" * 63, "G" * 64, "A" * 64])
def test_a_commitment_that_is_no_hash_is_refused_with_its_field(word: Any) -> None:
    with pytest.raises(Invalid) as caught:
        parse_report({"attempt": 1, "fence": 1, "outcome": "committed", "commitment": word}, "reports.items.0")
    assert (caught.value.code, caught.value.field) == ("invalid_commitment", "reports.items.0.commitment")


# -- the course -------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_before_all_siblings_are_bound_and_then_all_are() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    first, second = agents.values()
    assert commits(first).refused == []
    judge_units()
    assert asked(first) == []
    commits(second)
    judge_units()
    for agent in agents.values():
        assert asked(agent) == [[*lease] for lease in agent.held.items()]
        shows(agent)
    judge_units()
    assert advance_task(task.pk) == "delivered"
    assert set(Commitment.objects.values_list("state", flat=True)) == {"kept"}
    assert sorted(Attempt.objects.values_list("state", flat=True)) == ["superseded", "valid"]
    assert Commitment.objects.exclude(batch__signature="").count() == 2


def test_three_siblings_look_at_once_and_never_meet_at_one_owner() -> None:
    pools = owners_pools("bob", "erin", "dave", "olive")
    more = {f"bob-{n}": a_pool(an_owner("bob"), rates={"core_second": "0.0000001"}) for n in range(3)}
    agents = {name: FakeAgent.of(pool) for name, pool in (pools | more).items()}
    a_task(version=a_checked_version(THREE), inputs={"count": 5})
    run_round()
    for agent in agents.values():
        agent.beat(want=10)
    judge_units()
    looking = Unit.objects.filter(state="waiting")
    assert sorted(looking.values_list("index", "replica")) == [(i, r) for i in range(5) for r in (1, 2)]
    owners = dict(Pool.objects.values_list("pk", "organization_id"))
    for index in range(5):
        aparts = looking.filter(index=index).values_list("apart", flat=True)
        one, other = ({owner for pool, owner in owners.items() if pool not in apart} for apart in aparts)
        assert one
        assert other
        assert not one & other
    all_lease(agents)
    for index in range(5):
        held = list(Attempt.objects.filter(unit__index=index).values_list("pool__organization_id", flat=True))
        assert len(held) == len(set(held)) == 3


def test_a_share_whose_owners_went_away_goes_to_whoever_is_left_once_the_others_have_their_pools() -> None:
    pools = owners_pools("bob", "erin", "dave", "olive")
    agents = agents_of(pools)
    a_task(version=a_checked_version(THREE))
    run_round()
    for agent in agents.values():
        agent.beat(want=1)
    judge_units()
    lonely = max(Unit.objects.filter(state="waiting"), key=lambda unit: len(unit.apart))
    (away,) = Pool.objects.exclude(pk__in=lonely.apart)
    Agent.objects.filter(pool=away).update(lease_until=timezone.now() - timedelta(minutes=1))
    for _ in range(3):
        run_round()
        for agent in agents.values():
            if agent.agent.pool_id != away.pk:
                agent.beat(want=1)
        judge_units()
    owners = set(Attempt.objects.values_list("pool_id", flat=True))
    assert len(owners) == 3
    assert away.pk not in owners


def test_who_shows_another_result_than_it_committed_to_is_refused_whatever_the_others_say() -> None:
    """Bob saw that the others say RIGHT: he changes his mind, and would have agreed with them."""
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version(THREE))
    all_lease(agents)
    for name, agent in agents.items():
        commits(agent, WRONG if name == "bob" else RIGHT)
    judge_units()
    for agent in agents.values():
        assert asked(agent)
        shows(agent, RIGHT)
    judge_units()
    assert advance_task(task.pk) == "delivered"
    lie = Attempt.objects.get(pool=pools["bob"])
    assert (lie.state, lie.reason_class, lie.code) == ("invalid", "invalid_result", "broken_commitment")
    assert lie.commitment.state == "broken"
    assert Trust.objects.get(pool=pools["bob"]).invalid == pytest.approx(1)
    assert Pool.objects.get(pk=pools["bob"].pk).daily_quota == 512
    states = ends_of(task)
    assert sorted(states["erin"] + states["dave"]) == ["superseded", "valid"]


def test_a_lie_that_nobody_would_have_checked_is_refused_too_and_the_unit_is_run_elsewhere() -> None:
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    version = a_checked_version({"exact": {"commit_reveal": True}})
    task = a_task(version=version, inputs={"count": 1})
    Unit.objects.update(checked=False)
    run_round()
    for agent in agents.values():
        agent.beat(want=1)
    ((name, agent),) = holders(agents).items()
    commits(agent, WRONG)
    assert asked(agent)  # nobody checks it: it is asked at once
    shows(agent, RIGHT)
    judge_units()
    assert Attempt.objects.get(pool=pools[name]).code == "broken_commitment"
    for _ in range(3):
        all_lease(agents)
        for other in holders(agents).values():
            commits(other)
        judge_units()
        for other in holders(agents).values():
            if asked(other):
                shows(other)
        judge_units()
    assert advance_task(task.pk) == "delivered"
    assert ends_of(task)[name] == ["invalid"]


def test_a_slow_sibling_holds_nobody_up_for_longer_than_ten_minutes() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    first, second = agents.values()
    commits(first)
    judge_units()
    sweep()
    assert asked(first) == []
    Commitment.objects.update(at=timezone.now() - timedelta(minutes=11))
    sweep()
    assert asked(first)
    shows(first)
    commits(second)
    judge_units()
    assert asked(second)  # alone now, and bound
    shows(second)
    judge_units()
    assert sorted(Attempt.objects.values_list("state", flat=True)) == ["superseded", "valid"]


def test_a_result_without_a_commitment_is_a_faulty_node_not_a_lie() -> None:
    pools = owners_pools("bob", "erin")
    agents = agents_of(pools)
    a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    shows(agents["bob"])
    ended = Attempt.objects.get(pool=pools["bob"])
    assert (ended.state, ended.reason_class, ended.code) == ("failed", "node_fault", "not_committed")
    assert not ended.outputs.exists()


def test_the_first_word_binds_and_a_stale_lease_binds_nobody() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    bob = agents["bob"]
    commits(bob, RIGHT)
    commits(bob, WRONG)
    assert Commitment.objects.get().hash == word_of(RIGHT)
    ((attempt, fence),) = bob.held.items()
    item = {"attempt": attempt, "fence": fence + 1, "outcome": "committed", "commitment": word_of(RIGHT)}
    assert bob.report(item).refused == [(attempt, fence + 1)]
    stranger = agents["erin"].report(item | {"fence": fence})
    assert stranger.refused == [(attempt, fence)]
    a_plain = a_task()
    run_round()
    for agent in agents.values():
        agent.beat(want=10)
    plain = Attempt.objects.get(task=a_plain)
    other = next(agent for agent in agents.values() if agent.agent.pool_id == plain.pool_id)
    assert other.report(item | {"attempt": plain.pk, "fence": plain.fence}).refused == [(plain.pk, plain.fence)]


def test_a_commitment_can_be_neither_changed_nor_moved_against_its_arrows() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    commits(agents["bob"])
    with pytest.raises(IntegrityError), transaction.atomic():
        Commitment.objects.update(hash="0" * 64)
    Commitment.objects.update(state="kept")
    with pytest.raises(IntegrityError), transaction.atomic():
        Commitment.objects.update(state="asked")


def test_a_commitment_of_an_attempt_that_was_lost_is_void_and_its_unit_is_run_again() -> None:
    pools = owners_pools("bob", "erin", "dave")
    agents = agents_of(pools)
    task = a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    first, _ = holders(agents).values()
    commits(first)
    first.failed("node_fault", code="not_asked")
    Commitment.objects.update(at=timezone.now() - timedelta(minutes=11))
    sweep()
    assert Commitment.objects.get().state == "void"
    for _ in range(3):
        all_lease(agents)
        for agent in holders(agents).values():
            commits(agent)
        judge_units()
        for agent in holders(agents).values():
            if asked(agent):
                shows(agent)
        judge_units()
    assert advance_task(task.pk) == "delivered"


def test_who_broke_its_word_is_not_paid_even_if_the_task_is_cancelled_before_the_verdict() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_checked_version(BOUND))
    all_lease(agents)
    for agent in agents.values():
        commits(agent, RIGHT)
    judge_units()
    shows(agents["bob"], WRONG)
    shows(agents["erin"], RIGHT)
    cancel_task(task.pk)
    assert Task.objects.get().state == "cancelled"
    ends = dict(Attempt.objects.values_list("pool__organization__slug", "state"))
    assert ends == {"bobs-pools": "invalid", "erins-pools": "superseded"}


def test_a_machine_that_waits_to_show_a_result_is_free_for_other_units() -> None:
    pool = owners_pools("bob", cores=1)["bob"]
    owners_pools("erin")
    a_task(version=a_checked_version(BOUND))
    agents = agents_of({"bob": pool})
    all_lease(agents)
    if not agents["bob"].held:
        pytest.fail("bob got nothing")
    from scheduler.snapshots import market

    assert {p.id: p.shares for p in market([]).pools}[pool.pk] >= 1
    commits(agents["bob"])
    assert {p.id: p.shares for p in market([]).pools}[pool.pk] == 0


# -- shares -----------------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)), st.integers(1, 6), st.text(max_size=5))
def test_shares_are_disjoint_hold_everybody_and_each_has_somebody_able(
    owners: set[int], able: set[int], shares: int, salt: str
) -> None:
    parts = dealt("secret", salt, owners, able, shares)
    assert len(parts) == shares
    assert sorted(owner for part in parts for owner in part) == sorted(owners)
    if len(owners & able) >= shares:
        assert all(part & able for part in parts)
    assert parts == dealt("secret", salt, sorted(owners, reverse=True), able, shares)
