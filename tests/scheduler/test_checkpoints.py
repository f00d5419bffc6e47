"""What a running attempt saves, who goes on from it, and what of a reclaimed attempt is paid."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from billing.models import Charge
from billing.services import charge_task
from core.errors import Invalid
from metering.models import UsageRecord
from metering.services import measure
from scheduler.models import Attempt, Checkpoint, Unit
from scheduler.services.advancing import advance_task
from scheduler.services.checkpoints import MAX_FILES, parse_checkpoints, save_checkpoints
from scheduler.services.expiring import expire_leases
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_billing import START, make_attempt, make_market, make_need, make_task
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of
from tests.builders_trust import a_checked_version, agents_of, an_owner, owners_pools, take_turns

pytestmark = pytest.mark.django_db
STATE = b"half of the work"


def saved(attempt: int, fence: int, content: bytes = STATE, path: str = "state/half.bin", **usage: int) -> dict[str, Any]:
    """A checkpoint of one file that the store has."""
    store_bytes(content)
    file = {"path": path, "sha256": sha_of(content), "bytes": len(content)}
    return {"attempt": attempt, "fence": fence, "files": [file], "usage": usage}


def save(agent: FakeAgent, *items: dict[str, Any]) -> list[tuple[int, int, str]]:
    return save_checkpoints(agent.agent, parse_checkpoints(list(items)))


def a_resumable_task(**fields: Any) -> Any:
    return a_task(version=a_version(checkpoint={"paths": ["state/*"], "every_s": 5}), **fields)


def leased(agent: FakeAgent) -> tuple[int, int, list[Any]]:
    """(attempt, fence, files to go on from) of the one lease that a sync hands out now."""
    Unit.objects.update(not_before=None)
    run_round()
    answer = agent.beat(want=1)
    (lease,) = answer.document()["leases"]
    return lease[0], lease[1], lease[6] if len(lease) > 6 else []


def test_a_spec_tells_what_to_save_and_how_often_and_others_say_nothing_of_it() -> None:
    agent = FakeAgent.of(a_pool())
    a_resumable_task()
    run_round()
    (spec,) = agent.beat(want=1).document()["specs"].values()
    assert spec["checkpoint"] == {"paths": ["state/*"], "every_s": 5}
    a_task()
    run_round()
    (spec,) = agent.beat(want=1).document()["specs"].values()
    assert "checkpoint" not in spec


def test_the_last_checkpoint_replaces_the_ones_before() -> None:
    agent = FakeAgent.of(a_pool())
    a_resumable_task()
    attempt, fence, _ = leased(agent)
    assert save(agent, saved(attempt, fence, b"one", wall_ms=1), saved(attempt, fence, b"two", wall_ms=2)) == []
    assert save(agent, saved(attempt, fence, b"three", wall_ms=3)) == []
    kept = Checkpoint.objects.get()
    assert (kept.attempt_id, kept.number, kept.bytes, kept.usage) == (attempt, 2, 5, {"wall_ms": 3})
    assert kept.files == [{"path": "state/half.bin", "sha256": sha_of(b"three"), "bytes": 5}]


@pytest.mark.parametrize("end", ["reclaimed", "node_fault", "lost", "restarted"])
def test_the_next_attempt_goes_on_from_the_last_checkpoint_on_another_pool(end: str) -> None:
    first = FakeAgent.of(a_pool())
    a_resumable_task()
    attempt, fence, files = leased(first)
    assert files == []
    save(first, saved(attempt, fence))
    if end in ("reclaimed", "node_fault"):
        first.failed(end)
    elif end == "restarted":
        FakeAgent(first.agent).beat()
    else:
        first.agent.pool.agents.update(lease_until=timezone.now() - timedelta(seconds=1))
        assert expire_leases()["lost"] == 1
    second = FakeAgent.of(a_pool(rates={"core_second": "0.5"}))
    again, next_fence, files = leased(second)
    assert again != attempt
    assert files == [{"path": "state/half.bin", "sha256": sha_of(STATE), "bytes": len(STATE)}]
    assert (next_fence, Attempt.objects.get(pk=again).pool_id) == (2, second.agent.pool_id)


def test_a_lost_answer_tells_again_what_to_go_on_from() -> None:
    agent = FakeAgent.of(a_pool())
    a_resumable_task()
    attempt, fence, _ = leased(agent)
    save(agent, saved(attempt, fence))
    agent.failed("reclaimed")
    again, _, files = leased(agent)
    agent.held.clear()
    (lease,) = agent.beat().document()["leases"]
    assert (lease[0], lease[6]) == (again, files)


@pytest.mark.parametrize("reason", ["capability_error", "limit_exceeded"])
def test_a_program_that_failed_by_itself_begins_anew(reason: str) -> None:
    """What it saved may be what it failed of."""
    agent = FakeAgent.of(a_pool())
    a_task(version=a_version(checkpoint={"paths": ["state/*"]}, retry={"on": ["capability_error", "limit_exceeded"]}))
    attempt, fence, _ = leased(agent)
    save(agent, saved(attempt, fence))
    agent.failed(reason)
    _, _, files = leased(agent)
    assert files == []


RESUMABLE = {"checkpoint": {"paths": ["state/*"], "every_s": 5}}


@pytest.mark.parametrize("verify", ["exact", {"exact": {"adaptive": False}}])
def test_where_results_are_compared_nobody_goes_on_from_what_another_owner_saved(verify: Any) -> None:
    """Or bob could save a poisoned state, have erin finish it, and confirm it as her sibling."""
    bobs = a_pool(an_owner("bob"), rates={"core_second": "0.0001"})
    agents = {"bob": FakeAgent.of(bobs), "erin": FakeAgent.of(a_pool(an_owner("erin"), rates={"core_second": "0.5"}))}
    a_task(version=a_checked_version(verify, **RESUMABLE))
    attempt, fence, _ = leased(agents["bob"])
    save(agents["bob"], saved(attempt, fence))
    agents["bob"].failed("reclaimed")
    judge_units()
    again, _, files = leased(agents["erin"])
    assert Attempt.objects.get(pk=again).unit_id == Attempt.objects.get(pk=attempt).unit_id
    assert files == []


def test_where_results_are_compared_an_owner_goes_on_from_its_own_checkpoint_even_on_another_pool() -> None:
    first = a_pool(an_owner("bob"), rates={"core_second": "0.0001"})
    second = a_pool(an_owner("bob"), rates={"core_second": "0.5"})
    owners_pools("erin", rates={"core_second": "0.9"})
    a_task(version=a_checked_version(**RESUMABLE))
    agent = FakeAgent.of(first)
    attempt, fence, _ = leased(agent)
    save(agent, saved(attempt, fence))
    agent.failed("reclaimed")
    judge_units()
    _, _, files = leased(FakeAgent.of(second))
    assert [file["sha256"] for file in files] == [sha_of(STATE)]


def test_siblings_never_share_a_checkpoint() -> None:
    agents = agents_of(owners_pools("bob", "erin", "dave"))
    a_task(version=a_checked_version({"quorum": {"of": 3, "need": 2}}, **RESUMABLE))
    seen = []
    for _ in agents:
        run_round()
        for agent in agents.values():
            for lease in agent.beat(want=1).document()["leases"]:
                seen.append(lease)
                save(agent, saved(lease[0], lease[1], b"state of %d" % lease[0]))
        judge_units()
    assert len(seen) == Checkpoint.objects.values("unit").count() == 3
    assert [lease for lease in seen if len(lease) > 6] == []


def test_a_run_that_is_to_confirm_an_accusation_begins_anew_whatever_was_saved_before() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    a_resumable_task()
    run_round()
    first = next(agent for agent in agents.values() if agent.beat(want=1).leased)
    ((attempt, fence),) = first.held.items()
    save(first, saved(attempt, fence))
    first.failed("reclaimed")
    Unit.objects.update(not_before=None, avoid=[])
    attempt, fence, files = leased(first)
    assert files
    first.failed("capability_error", exit_code=9)
    other = next(agent for agent in agents.values() if agent is not first)
    _, _, files = leased(other)
    assert files == []


@pytest.mark.parametrize(("verify", "payers"), [("none", {"user"}), ({"exact": {"adaptive": False}}, {"nobody"})])
def test_a_state_that_nobody_else_may_go_on_from_is_not_paid(verify: Any, payers: set[str]) -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    task = a_task(version=a_checked_version(verify, **RESUMABLE))
    run_round()
    first = next(agent for agent in agents.values() if agent.beat(want=1).leased)
    ((attempt, fence),) = first.held.items()
    Attempt.objects.update(leased_at=timezone.now() - timedelta(minutes=1))
    save(first, saved(attempt, fence, wall_ms=900, core_ms=900))
    first.failed("reclaimed")
    take_turns(task, agents)
    measure()
    assert charge_task(task.pk)
    assert set(Charge.objects.filter(usage__attempt_id=attempt).values_list("payer", flat=True)) == payers


def test_what_an_attempt_went_on_from_is_no_checkpoint_of_its_own() -> None:
    """Otherwise a machine could be paid again and again for the same state."""
    agent = FakeAgent.of(a_pool())
    a_resumable_task()
    attempt, fence, _ = leased(agent)
    save(agent, saved(attempt, fence))
    agent.failed("reclaimed")
    again, next_fence, _ = leased(agent)
    assert save(agent, saved(again, next_fence)) == [(again, next_fence, "unchanged")]
    assert save(agent, saved(again, next_fence, b"further")) == []
    assert Checkpoint.objects.count() == 2


def test_checkpoints_that_cannot_be_kept_are_refused_one_by_one() -> None:
    agent, stranger = FakeAgent.of(a_pool()), FakeAgent.of(a_pool(rates={"core_second": "0.5"}))
    a_resumable_task()
    attempt, fence, _ = leased(agent)
    missing = saved(attempt, fence)
    missing["files"][0] |= {"sha256": "f" * 64}
    wrong_size = saved(attempt, fence)
    wrong_size["files"][0] |= {"bytes": 5}
    assert save(agent, missing) == save(agent, wrong_size) == [(attempt, fence, "not_uploaded")]
    assert save(agent, saved(attempt, fence, path="elsewhere/a")) == [(attempt, fence, "not_declared")]
    assert save(agent, saved(attempt, fence + 1)) == [(attempt, fence + 1, "stale_lease")]
    assert save(stranger, saved(attempt, fence)) == [(attempt, fence, "stale_lease")]
    agent.done()
    assert save(agent, saved(attempt, fence)) == [(attempt, fence, "stale_lease")]
    assert not Checkpoint.objects.exists()


def test_a_capability_without_checkpoints_has_none_to_keep() -> None:
    agent = FakeAgent.of(a_pool())
    a_task()
    attempt, fence, _ = leased(agent)
    assert save(agent, saved(attempt, fence)) == [(attempt, fence, "stale_lease")]


def test_a_checkpoint_larger_than_the_units_disk_is_not_kept() -> None:
    agent = FakeAgent.of(a_pool())
    small = {"cores": 1, "memory_mib": 64, "disk_mib": 1}
    a_task(version=a_version(checkpoint={"paths": ["state/*"]}, resources=small, limits={"units": 10}))
    attempt, fence, _ = leased(agent)
    assert save(agent, saved(attempt, fence, bytes(2**20 + 1))) == [(attempt, fence, "too_large")]


FILE = {"path": "state/a", "sha256": "a" * 64, "bytes": 1}


@pytest.mark.parametrize(
    "body",
    [
        None, {}, [1], [{}], [{"attempt": 1, "fence": 1, "files": []}], [{"attempt": -1, "fence": 1, "files": [FILE]}],
        [{"attempt": 2**63, "fence": 1, "files": [FILE]}], [{"attempt": True, "fence": 1, "files": [FILE]}],
        [{"attempt": 1, "fence": 2**31, "files": [FILE]}], [{"attempt": 1, "fence": 1, "files": [FILE, FILE]}],
        [{"attempt": 1, "fence": 1, "files": [FILE | {"path": "../a"}]}],
        [{"attempt": 1, "fence": 1, "files": [FILE | {"sha256": "a"}]}],
        [{"attempt": 1, "fence": 1, "files": [FILE | {"bytes": 1.5}]}],
        [{"attempt": 1, "fence": 1, "files": [FILE] * (MAX_FILES + 1)}], [{}] * 201,
    ],
)  # fmt: skip
def test_nonsense_is_refused_as_a_whole(body: Any) -> None:
    with pytest.raises(Invalid) as problem:
        parse_checkpoints(body)
    assert problem.value.code == "invalid_checkpoint"


def charges_of(task: Any) -> list[tuple[str, str, Decimal]]:
    rows = Charge.objects.filter(task=task).order_by("pk")
    return [(c.reason, c.payer, Decimal(c.amount_micros) / 10**6) for c in rows]


def test_a_reclaimed_attempt_is_paid_up_to_its_last_checkpoint_and_the_rest_is_nobodys() -> None:
    """40 s on the first pool, 25 of them up to the checkpoint; then 30 s on the second, which delivers."""
    first = FakeAgent.of(a_pool(rates={"core_second": "0.10"}))
    task = a_resumable_task()
    attempt, fence, _ = leased(first)
    Attempt.objects.filter(pk=attempt).update(leased_at=timezone.now() - timedelta(seconds=60))
    save(first, saved(attempt, fence, wall_ms=25_000, core_ms=25_000))
    first.failed("reclaimed", usage={"wall_ms": 40_000, "core_ms": 40_000})
    second = FakeAgent.of(a_pool(rates={"core_second": "0.20"}))
    again, _, _ = leased(second)
    Attempt.objects.filter(pk=again).update(leased_at=timezone.now() - timedelta(seconds=60))
    second.done(wall_ms=30_000)
    assert advance_task(task.pk) == "delivered"
    measure()
    assert charge_task(task.pk)
    records = UsageRecord.objects.order_by("pk").values_list("outcome", "reason_class", "core_ms")
    assert list(records) == [("failed", "checkpointed", 25_000), ("valid", "", 30_000)]
    assert charges_of(task) == [
        ("checkpointed/delivered", "user", Decimal("2.5")),
        ("valid/delivered", "user", Decimal(6)),
    ]


def test_without_a_checkpoint_a_reclaimed_attempt_is_nobodys() -> None:
    agent = FakeAgent.of(a_pool(rates={"core_second": "0.10"}))
    task = a_resumable_task()
    leased(agent)
    agent.failed("reclaimed", usage={"wall_ms": 40_000, "core_ms": 40_000})
    leased(agent)
    agent.done(wall_ms=0)
    advance_task(task.pk)
    measure()
    charge_task(task.pk)
    assert charges_of(task)[0] == ("reclaimed/delivered", "nobody", Decimal(0))


@pytest.mark.parametrize("reason", ["node_fault", "capability_error"])
def test_only_a_reclaim_is_paid_for_its_checkpoint(reason: str) -> None:
    agent = FakeAgent.of(a_pool())
    a_resumable_task()
    attempt, fence, _ = leased(agent)
    save(agent, saved(attempt, fence, wall_ms=5))
    agent.failed(reason)
    measure()
    assert UsageRecord.objects.get().reason_class == reason


@pytest.mark.parametrize(
    ("claim", "wall_ms", "flags"),
    [({"wall_ms": 3_000}, 3_000, []), ({"wall_ms": 9_000}, 4_000, ["wall_ms"]), ({}, 0, []), (None, 0, [])],
)
def test_a_checkpoints_claim_is_bounded_by_the_moment_it_arrived(claim: Any, wall_ms: int, flags: list[str]) -> None:
    """Ten seconds of lease, the checkpoint after four: PostgreSQL measures as `up_to_checkpoint` says."""
    from metering.meters import Lease, up_to_checkpoint
    from metering.meters import measure as pure

    market = make_market()
    need = make_need()
    attempt = make_attempt(market, make_task(market), need, state="failed", reason_class="reclaimed")
    at = START + timedelta(seconds=4)
    Checkpoint.objects.create(attempt=attempt, unit=attempt.unit, at=at, files=[], bytes=0, usage=claim)
    measure()
    record = UsageRecord.objects.get()
    assert (record.reason_class, record.wall_ms, record.flags) == ("checkpointed", wall_ms, flags)
    lease = Lease(START, START + timedelta(seconds=10), "failed", 1, 512, 0, "1", 600, 1000)
    assert pure(up_to_checkpoint(lease, at), claim).wall_ms == wall_ms
    assert record.ended_at == START + timedelta(seconds=10)
