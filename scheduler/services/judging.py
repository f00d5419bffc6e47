"""Step 7 of the river, verify: results of a unit's siblings are compared, and one of them is delivered.

Leases and reports of checked units stand in a queue; a look at a unit and its siblings asks for one more result from
another owner, waits, or decides. One look at a time (an advisory lock that is only tried), so nobody else asks for
results meanwhile; units that another step holds are left in the queue for the next look.

At most one sibling looks for a pool at a time: what the others' owners have is `apart` from it, for good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from core.wake import wake
from marketplace.models import Task
from marketplace.policies import Policy
from scheduler.models import Need
from scheduler.needs import key_of, narrowed
from scheduler.services.ballots import Ballots
from scheduler.services.blaming import absolve
from scheduler.services.pacing import PACE_MEMORY, teach_pace
from scheduler.services.placing import notify_pool
from scheduler.services.settling import tell_tasks
from scheduler.services.trusting import Lessons, draw_consequences, learn, records_of
from scheduler.snapshots import documents_of
from scheduler.sql import dicts, rows, scalar
from scheduler.verification.trust import NEW, TRUSTED_AFTER
from scheduler.verification.voting import Verdict, Vote, agrees_with_canonical, verdict_of

JUDGE_LOCK: Final = 0x6A756467  # any constant: "judg"
PER_LOOK: Final = 5_000
OPEN: Final = ("waiting", "placed")
PENDING: Final = ("blocked", "waiting", "placed", "leased")

_TAKE: Final = """
DELETE FROM scheduler_unjudged WHERE id IN (
    SELECT id FROM scheduler_unjudged ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING unit_id
"""
_MEMBERS: Final = """
SELECT m.id, m.task_id, m.stage, m.index, m.replica, m.state, m.need_id, m.pool_id
FROM (SELECT DISTINCT task_id, stage, index FROM scheduler_unit WHERE id = ANY(%s)) g
JOIN scheduler_unit m ON m.task_id = g.task_id AND m.stage = g.stage AND m.index = g.index
ORDER BY m.task_id, m.stage, m.index, m.replica
"""
_ATTEMPTS: Final = """
SELECT a.id, a.unit_id, a.task_id, a.pool_id, a.state, a.reason_class, p.organization_id AS owner, p.instruction_set
FROM scheduler_attempt a JOIN marketplace_pool p ON p.id = a.pool_id
WHERE a.checked AND a.unit_id = ANY(%s) ORDER BY a.id
"""
_POOLS_OF: Final = "SELECT organization_id, id FROM marketplace_pool WHERE organization_id = ANY(%s) ORDER BY id"
_LOCK: Final = "SELECT id, state FROM scheduler_unit WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
_MOVE: Final = """
UPDATE scheduler_unit u
SET state = v.state, apart = CASE WHEN v.state = 'waiting' THEN v.apart::bigint[] ELSE u.apart END,
    need_id = CASE WHEN v.state = 'waiting' THEN v.need ELSE u.need_id END
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS v(id, state, apart, need) WHERE u.id = v.id
"""
_ASK: Final = """
INSERT INTO scheduler_unit (task_id, stage, index, replica, checked, need_id, state, fence, tries, avoid, apart)
SELECT first.task_id, first.stage, first.index, v.replica, true, v.need, 'waiting', 0, 0, '{}', v.apart::bigint[]
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::int[]) AS v(id, apart, need, replica)
JOIN scheduler_unit first ON first.id = v.id
ON CONFLICT (task_id, stage, index, replica) DO NOTHING
"""
# Whoever won or confirmed teaches the paces; a wall time is a claim, clamped as metering does.
_TOOK: Final = """
    SELECT need_id, pool_id, count(*) AS samples, sum(least(claimed_ms, held_ms)) / 1000.0 AS seconds
    FROM judged WHERE state = 'valid' OR reason_class = '' GROUP BY need_id, pool_id"""
_JUDGE: Final = f"""
WITH v AS (
    SELECT * FROM unnest(%(id)s::bigint[], %(state)s::text[], %(reason)s::text[], %(code)s::text[], %(detail)s::text[])
        AS v(id, state, reason, code, detail)
), judged AS (
    UPDATE scheduler_attempt a SET state = v.state, reason_class = v.reason, code = v.code, detail = v.detail
    FROM v WHERE a.id = v.id AND a.state = 'reported'
    RETURNING a.id, a.task_id, a.pool_id, a.need_id, a.state, a.reason_class, a.code, a.detail,
              extract(epoch FROM a.ended_at - a.leased_at) * 1000 AS held_ms,
              CASE jsonb_typeof(a.usage->'wall_ms') WHEN 'number'
                   THEN least(greatest((a.usage->>'wall_ms')::numeric, 0), 1e12) ELSE 0 END AS claimed_ms
), queued AS (
    INSERT INTO scheduler_ended (attempt_id, at) SELECT id, now() FROM judged
), paced AS (
    {teach_pace(_TOOK)}
)
SELECT id, task_id, pool_id, state, reason_class AS reason, code, detail FROM judged ORDER BY id
"""


@dataclass(frozen=True)
class Context:
    """What a group's task says: its policy, its version, and whether it wants no more results."""

    policy: Policy
    version: int
    stopping: bool


@dataclass
class Group:
    """A unit's siblings in the order of their replicas, with their checked attempts."""

    task: UUID
    context: Context
    members: list[dict[str, Any]]
    attempts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def decided(self) -> bool:
        return any(member["state"] == "done" for member in self.members)

    def in_state(self, *states: str) -> list[dict[str, Any]]:
        return [member for member in self.members if member["state"] in states]

    def reported(self) -> list[dict[str, Any]]:
        return [attempt for attempt in self.attempts if attempt["state"] == "reported"]

    def voters(self) -> list[dict[str, Any]]:
        """The reported attempts that vote, in the order of their replicas: one for each owner."""
        order = {member["id"]: member["replica"] for member in self.members}
        first: dict[int, dict[str, Any]] = {}
        for attempt in sorted(self.reported(), key=lambda one: order[one["unit_id"]]):
            first.setdefault(attempt["owner"], attempt)
        return list(first.values())

    def owners(self) -> set[int]:
        """Owners who hold a sibling, or have had their say."""
        said = ("leased", "running", "reported", "valid", "invalid", "superseded")
        return {a["owner"] for a in self.attempts if a["state"] in said or a["reason_class"] == "capability_error"}


@dataclass
class Steps:
    """What a look decided, as columns of the statements that write it."""

    units: list[tuple[int, str, str, int]] = field(default_factory=list)  # id, state, apart, need
    asked: list[tuple[int, str, int, int]] = field(default_factory=list)  # a sibling, apart, need, replica
    verdicts: list[tuple[int, str, str, str, str]] = field(default_factory=list)  # attempt, state, reason, code, detail
    stopped: set[int] = field(default_factory=set)  # pools that run what nobody needs any more
    absolved: list[dict[str, Any]] = field(default_factory=list)  # attempts that blamed a capability which works


@transaction.atomic
def judge_units(limit: int = PER_LOOK) -> int:
    """Look at queued units and their siblings. Returns how many of the queue's rows were dealt with."""
    if not scalar("SELECT pg_try_advisory_xact_lock(%s)", [JUDGE_LOCK]):
        return 0
    taken = [unit for (unit,) in rows(_TAKE, [limit])]
    if not taken:
        return 0
    groups = _groups(taken)
    held, left = _hold(groups)
    steps = _decide_all(held)
    _write(steps, {group.task: group.context.version for group in held})
    if left:
        rows("INSERT INTO scheduler_unjudged (unit_id, at) SELECT u, now() FROM unnest(%s::bigint[]) u", [left])
        wake("scheduler.judge", delay_s=0.2)
    return len(taken) - len(left)


def _groups(units: list[int]) -> list[Group]:
    members: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in dicts(_MEMBERS, [units]):
        members[row["task_id"], row["stage"], row["index"]].append(row)
    contexts = _contexts({task for task, _, _ in members})
    groups = [Group(key[0], contexts[key[0]], listed) for key, listed in members.items()]
    by_unit = {member["id"]: group for group in groups for member in group.members}
    for attempt in dicts(_ATTEMPTS, [list(by_unit)]):
        by_unit[attempt["unit_id"]].attempts.append(attempt)
    return groups


def _contexts(tasks: set[UUID]) -> dict[UUID, Context]:
    return {
        task.pk: Context(
            Policy.of(task.plan.get("verify")),
            task.capability_version_id,
            task.ended_at is not None or task.cancel_requested_at is not None or bool(task.reason_class),
        )
        for task in Task.objects.filter(pk__in=tasks)
    }


def _hold(groups: list[Group]) -> tuple[list[Group], list[int]]:
    """Lock what nobody else holds: the groups that stand as they were read, and one unit of each other group."""
    locked = dict(rows(_LOCK, [[member["id"] for group in groups for member in group.members]]))
    held, left = [], []
    for group in groups:
        if all(locked.get(member["id"]) == member["state"] for member in group.members):
            held.append(group)
        else:
            left.append(group.members[0]["id"])
    return held, left


def _decide_all(groups: list[Group]) -> Steps:
    ballots = Ballots.of([a["id"] for g in groups for a in g.attempts if a["state"] in ("reported", "valid")])
    steps, more, undecided = Steps(), [], []
    for group in groups:
        same = partial(ballots.same, group.context.policy)
        if group.decided:
            _judge_late(group, same, ballots, steps)
        elif not group.context.stopping:
            votes = [Vote(one["id"], ballots.of_attempt(one["id"])) for one in group.voters()]
            verdict = _verdict(group, votes, same)
            if verdict.kind == "won":
                _deliver(group, verdict, same, ballots, steps)
            elif verdict.kind == "none":
                undecided.append(group)
            elif (verdict.kind == "more" or group.in_state("blocked")) and not group.in_state(*OPEN):
                more.append(group)
    _ask_for_more(more, steps)
    _give_up(undecided, steps)
    return steps


def _verdict(group: Group, votes: list[Vote], same: Any) -> Verdict:
    pending = len(group.in_state(*PENDING))
    return verdict_of(group.context.policy, votes, pending, len(group.members), same)


def _deliver(group: Group, verdict: Verdict, same: Any, ballots: Ballots, steps: Steps) -> None:
    """The canonical result is the unit's; who confirmed it is paid by the platform, who lost the vote by nobody."""
    unit = next(a["unit_id"] for a in group.attempts if a["id"] == verdict.canonical)
    steps.verdicts.append((verdict.canonical, "valid", "", "", ""))
    _sort(group, verdict.canonical, same, ballots, steps)
    for member in group.members:
        if member["id"] == unit:
            steps.units.append((unit, "done", "", 0))
        elif member["state"] in (*PENDING, "reported"):
            steps.units.append((member["id"], "superseded", "", 0))
            if member["state"] == "leased":
                steps.stopped.add(member["pool_id"])
    steps.absolved += [a for a in group.attempts if a["state"] == "failed" and a["reason_class"] == "capability_error"]


def _judge_late(group: Group, same: Any, ballots: Ballots, steps: Steps) -> None:
    """Results that came after the verdict are compared with the one that was delivered."""
    canonical = next((a["id"] for a in group.attempts if a["state"] == "valid"), None)
    if canonical is not None:
        _sort(group, canonical, same, ballots, steps)


def _sort(group: Group, canonical: int, same: Any, ballots: Ballots, steps: Steps) -> None:
    votes = [Vote(a["id"], ballots.of_attempt(a["id"])) for a in group.reported() if a["id"] != canonical]
    agree, wrong = agrees_with_canonical(ballots.of_attempt(canonical), votes, same)
    steps.verdicts += [(attempt, "superseded", "", "", "") for attempt in agree]
    detail = "results of other owners agreed on another one"
    steps.verdicts += [(attempt, "invalid", "invalid_result", "outvoted", detail) for attempt in wrong]


def _ask_for_more(groups: list[Group], steps: Steps) -> None:
    """A sibling that was sent back looks for a pool again, or a new one does: never on a pool of an owner who has one."""
    if not groups:
        return
    pools: dict[int, list[int]] = defaultdict(list)
    for owner, pool in rows(_POOLS_OF, [sorted({owner for group in groups for owner in group.owners()})]):
        pools[owner].append(pool)
    needs = _needs(groups)
    for group in groups:
        apart = "{" + ",".join(str(p) for p in sorted(p for o in group.owners() for p in pools[o])) + "}"
        need = needs[id(group)]
        if blocked := group.in_state("blocked"):
            steps.units.append((blocked[0]["id"], "waiting", apart, need))
        else:
            steps.asked.append((group.members[0]["id"], apart, need, group.members[-1]["replica"] + 1))


def _needs(groups: list[Group]) -> dict[int, int]:
    """The need of the next sibling, by `id(group)`: narrowed to what the first ran on where the policy says so."""
    needs = {id(group): int(group.members[0]["need_id"]) for group in groups}
    narrow = [group for group in groups if group.context.policy.homogeneous and group.attempts]
    if not narrow:
        return needs
    documents = documents_of({needs[id(group)] for group in narrow})
    wanted = {id(g): narrowed(documents[needs[id(g)]], g.attempts[0]["instruction_set"]) for g in narrow}
    keys = {group: key_of(document) for group, document in wanted.items()}
    Need.objects.bulk_create(
        [Need(key=keys[group], document=document) for group, document in wanted.items()], ignore_conflicts=True
    )
    made = dict(Need.objects.filter(key__in=set(keys.values())).values_list("key", "id"))
    return needs | {group: made[key] for group, key in keys.items()}


def _give_up(groups: list[Group], steps: Steps) -> None:
    """No agreement: the unit fails. The platform pays pools that have earned its trust, and blames nobody."""
    if not groups:
        return
    known = records_of({a["pool_id"] for g in groups for a in g.attempts}, {g.context.version for g in groups})
    for group in groups:
        detail = f"{len(group.reported())} results, and no {group.context.policy.need} of them agree"
        for attempt in group.reported():
            trusted = known.get((attempt["pool_id"], group.context.version), NEW).streak >= TRUSTED_AFTER
            state = "superseded" if trusted else "invalid"
            steps.verdicts.append((attempt["id"], state, "invalid_result", "no_consensus", detail))
        first, *others = group.in_state("reported")  # somebody reported: what nobody could run was failed by its sweep
        steps.units.append((first["id"], "failed", "", 0))
        steps.units += [(member["id"], "superseded", "", 0) for member in others]


def _write(steps: Steps, versions: dict[UUID, int]) -> None:
    if steps.units:
        rows(_MOVE, _columns(sorted(steps.units)))
    if steps.asked:
        rows(_ASK, _columns(steps.asked))
    if steps.asked or any(state == "waiting" for _, state, _, _ in steps.units):
        wake("scheduler.match")
    if steps.verdicts:
        _conclude(steps, versions)
    absolve(steps.absolved)
    for pool in sorted(steps.stopped):
        notify_pool(pool)


def _conclude(steps: Steps, versions: dict[UUID, int]) -> None:
    names = ("id", "state", "reason", "code", "detail")
    columns = dict(zip(names, _columns(sorted(steps.verdicts)), strict=True))
    judged = dicts(_JUDGE, columns | {"memory": PACE_MEMORY})
    blamed = [row for row in judged if row["code"] != "no_consensus"]
    lessons, right, wrong = Lessons(), defaultdict[int, int](int), defaultdict[int, int](int)
    for row in blamed:
        seen, counts = lessons.of(row["pool_id"], versions[row["task_id"]]), right
        if row["state"] == "invalid":
            seen.invalid, counts = seen.invalid + 1, wrong
        else:
            seen.valid += 1
        counts[row["pool_id"]] += 1
    learn(lessons)
    draw_consequences(right, wrong)
    tell_tasks([_told(row) for row in judged])


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A verdict as `tell_tasks` hears it: the canonical result is a unit done, once for all siblings."""
    if row["code"] == "no_consensus":
        return row | {"unit_state": "failed"}
    return row | {"unit_state": "done" if row["state"] == "valid" else "superseded"}


def _columns(listed: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*listed, strict=True)]
