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
from marketplace.stages import VALIDATES
from scheduler.models import Need
from scheduler.needs import key_of, narrowed
from scheduler.services.ballots import Ballots
from scheduler.services.blaming import absolve
from scheduler.services.canaries import answers_to
from scheduler.services.groups import OPEN, PENDING, Group, Steps, groups_of
from scheduler.services.pacing import PACE_MEMORY, teach_pace
from scheduler.services.placing import notify_pool
from scheduler.services.settling import tell_tasks
from scheduler.services.trusting import Lessons, draw_consequences, learn, records_of
from scheduler.services.validating import Said, validated, validators_needs
from scheduler.snapshots import documents_of
from scheduler.sql import dicts, rows, scalar
from scheduler.verification.trust import NEW, TRUSTED_AFTER
from scheduler.verification.voting import Same, Verdict, Vote, agrees_with_canonical, verdict_of

JUDGE_LOCK: Final = 0x6A756467  # any constant: "judg"
PER_LOOK: Final = 5_000
NO_LESSON: Final = ("no_consensus", "validator_failed", "validated", "inconclusive")  # codes of verdicts that say nothing of a pool

_TAKE: Final = """
DELETE FROM scheduler_unjudged WHERE id IN (
    SELECT id FROM scheduler_unjudged ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING unit_id
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
SELECT first.task_id, v.stage, first.index, v.replica, true, v.need, 'waiting', 0, 0, '{}', v.apart::bigint[]
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::int[], %s::int[]) AS v(id, apart, need, replica, stage)
JOIN scheduler_unit first ON first.id = v.id
ON CONFLICT (task_id, stage, index, replica) DO NOTHING
"""
# Whoever won or confirmed teaches the paces; a wall time and a peak are claims, clamped as in reports.
_JUDGE: Final = f"""
WITH v AS (
    SELECT * FROM unnest(%(id)s::bigint[], %(state)s::text[], %(reason)s::text[], %(code)s::text[], %(detail)s::text[])
        AS v(id, state, reason, code, detail)
), judged AS (
    UPDATE scheduler_attempt a SET state = v.state, reason_class = v.reason, code = v.code, detail = v.detail
    FROM v WHERE a.id = v.id AND a.state = 'reported'
    RETURNING a.id, a.task_id, a.pool_id, a.need_id, a.state, a.reason_class, a.code, a.detail,
              extract(epoch FROM a.ended_at - a.leased_at) * 1000 AS held_ms,
              a.variant, CASE jsonb_typeof(a.usage->'wall_ms') WHEN 'number'
                   THEN least(greatest((a.usage->>'wall_ms')::numeric, 0), 1e12) ELSE 0 END AS wall_ms,
              CASE jsonb_typeof(a.usage->'peak_memory_mib') WHEN 'number'
                   THEN least(greatest((a.usage->>'peak_memory_mib')::numeric, 0), 2147483647)::int ELSE 0 END AS peak_mib,
              (SELECT coalesce(sum(o.bytes), 0) FROM scheduler_output o WHERE o.attempt_id = a.id) AS bytes_out
), queued AS (
    INSERT INTO scheduler_ended (attempt_id, at) SELECT id, now() FROM judged
), paced AS (
    {teach_pace("judged", "state = 'valid' OR reason_class = ''")}
)
SELECT id, task_id, pool_id, state, reason_class AS reason, code, detail FROM judged ORDER BY id
"""


@transaction.atomic
def judge_units(limit: int = PER_LOOK) -> int:
    """Look at queued units and their siblings. Returns how many of the queue's rows were dealt with."""
    if not scalar("SELECT pg_try_advisory_xact_lock(%s)", [JUDGE_LOCK]):
        return 0
    taken = [unit for (unit,) in rows(_TAKE, [limit])]
    if not taken:
        return 0
    groups = groups_of(taken)
    held, left = _hold(groups)
    steps = _decide_all(held)
    _write(steps, {group.task: group.context.version for group in held})
    if left:
        rows("INSERT INTO scheduler_unjudged (unit_id, at) SELECT u, now() FROM unnest(%s::bigint[]) u", [left])
        wake("scheduler.judge", delay_s=0.2)
    return len(taken) - len(left)


def _hold(groups: list[Group]) -> tuple[list[Group], list[int]]:
    """Lock what nobody else holds: the groups that stand as they were read, and one unit of each other group."""
    locked = dict(rows(_LOCK, [[member["id"] for group in groups for member in (*group.members, *group.validators)]]))
    held, left = [], []
    for group in groups:
        if all(locked.get(member["id"]) == member["state"] for member in (*group.members, *group.validators)):
            held.append(group)
        else:
            left.append(group.members[0]["id"])
    return held, left


@dataclass
class Wishes:
    """Groups that want something: one more result, the validator's word, or to be given up (with the reason)."""

    more: list[Group] = field(default_factory=list)
    words: list[Group] = field(default_factory=list)
    given_up: list[tuple[Group, str]] = field(default_factory=list)


def _decide_all(groups: list[Group]) -> Steps:
    voted = [a["id"] for g in groups for a in (*g.attempts, *g.tries) if a["state"] in ("reported", "valid")]
    answers = answers_to({group.context.known for group in groups if group.context.known})
    voted += answers.values()
    ballots, steps, wishes = Ballots.of(voted), Steps(), Wishes()
    for group in groups:
        same = partial(ballots.same, group.context.policy)
        if group.context.known and group.reported() and not group.decided:
            _mark(group, answers, ballots, steps)
        elif group.decided:
            _judge_late(group, same, ballots, steps)
        elif not (group.context.stopping or group.in_state("failed")):
            _look_at(group, same, ballots, steps, wishes)
    _ask_for_more(wishes.more, wishes.words, steps)
    _give_up(wishes.given_up, steps)
    return steps


def _look_at(group: Group, same: Same, ballots: Ballots, steps: Steps, wishes: Wishes) -> None:
    said = validated(group, ballots, steps) if group.context.policy.validator else Said(ballots.of_attempt, same)
    verdict = said.verdict or _verdict(group, said)
    if verdict.kind == "won":
        _deliver(group, verdict, said, steps)
    elif verdict.kind == "none":
        wishes.given_up.append((group, said.broken))
    elif said.asks:
        wishes.words.append(group)
    elif (verdict.kind == "more" or group.in_state("blocked")) and not group.in_state(*OPEN):
        wishes.more.append(group)


def _mark(group: Group, answers: dict[tuple[UUID, int, int], int], ballots: Ballots, steps: Steps) -> None:
    """A canary's one result against the known answer."""
    unit, attempt = group.members[0], group.reported()[0]["id"]
    answer = answers.get((group.context.known or group.task, unit["stage"], unit["index"]))
    said = Said(ballots.of_attempt, partial(ballots.same, group.context.policy))
    if answer is not None and said.same(said.ballot(answer), said.ballot(attempt)):
        _deliver(group, Verdict("won", attempt), said, steps)
        return
    steps.verdicts.append((attempt, "invalid", "invalid_result", "canary", "another answer was known to be right"))
    steps.units.append((unit["id"], "failed", "", 0))


def _verdict(group: Group, said: Said) -> Verdict:
    votes = [Vote(one["id"], said.ballot(one["id"])) for one in group.voters()]
    votes = [vote for vote in votes if vote.ballot is not None]
    return verdict_of(group.context.policy, votes, len(group.in_state(*PENDING)), len(group.members), said.same)


def _deliver(group: Group, verdict: Verdict, said: Said, steps: Steps) -> None:
    """The canonical result is the unit's; who confirmed it is paid by the platform, who lost the vote by nobody."""
    unit = next(a["unit_id"] for a in group.attempts if a["id"] == verdict.canonical)
    steps.verdicts.append((verdict.canonical, "valid", "", "", ""))
    _sort(group, verdict.canonical, said, steps)
    for member in group.members:
        if member["id"] == unit:
            steps.units.append((unit, "done", "", 0))
        elif member["state"] in (*PENDING, "reported"):
            steps.units.append((member["id"], "superseded", "", 0))
            if member["state"] == "leased":
                steps.stopped.add(member["pool_id"])
    steps.absolved += [a for a in group.attempts if a["state"] == "failed" and a["reason_class"] == "capability_error"]


def _judge_late(group: Group, same: Same, ballots: Ballots, steps: Steps) -> None:
    """Results that came after the verdict are compared with the one that was delivered."""
    canonical = next((a["id"] for a in group.attempts if a["state"] == "valid"), None)
    if canonical is not None:
        _sort(group, canonical, Said(ballots.of_attempt, same), steps)


def _sort(group: Group, canonical: int, said: Said, steps: Steps) -> None:
    votes = [Vote(a["id"], said.ballot(a["id"])) for a in group.reported() if a["id"] != canonical]
    agree, wrong = agrees_with_canonical(said.ballot(canonical), votes, said.same)
    steps.verdicts += [(attempt, "superseded", "", "", "") for attempt in agree]
    detail = "results of other owners agreed on another one"
    steps.verdicts += [(attempt, "invalid", "invalid_result", "outvoted", detail) for attempt in wrong]


def _ask_for_more(groups: list[Group], words: list[Group], steps: Steps) -> None:
    """A sibling that was sent back looks for a pool again, or a new one does: never on a pool of an owner who has one.

    A validator (`words`) runs where none of the results comes from.
    """
    if not (groups or words):
        return
    pools: dict[int, list[int]] = defaultdict(list)
    owners = {owner for group in groups for owner in group.owners()} | {o for group in words for o in group.no_judges()}
    for owner, pool in rows(_POOLS_OF, [sorted(owners)]):
        pools[owner].append(pool)
    needs = _needs(groups) | validators_needs(words)
    for group in groups:
        apart = _set_apart(group.owners(), pools)
        _seek(group.members, group.members[0], 0, apart, needs[id(group)], steps)
    for group in words:
        apart = _set_apart(group.no_judges(), pools)
        _seek(group.validators, group.members[0], VALIDATES, apart, needs[id(group)], steps)


def _set_apart(owners: set[int], pools: dict[int, list[int]]) -> str:
    return "{" + ",".join(str(pool) for pool in sorted(pool for owner in owners for pool in pools[owner])) + "}"


def _seek(siblings: list[dict[str, Any]], first: dict[str, Any], stage: int, apart: str, need: int, steps: Steps) -> None:
    blocked = [one for one in siblings if one["state"] == "blocked"]
    if blocked:
        steps.units.append((blocked[0]["id"], "waiting", apart, need))
    else:
        replica = siblings[-1]["replica"] + 1 if siblings else 0
        steps.asked.append((first["id"], apart, need, replica, first["stage"] + stage))


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


def _give_up(groups: list[tuple[Group, str]], steps: Steps) -> None:
    """No agreement: the unit fails. The platform pays pools that have earned its trust, and blames nobody.

    Where it was the validator that broke, everybody who gave a result is paid.
    """
    if not groups:
        return
    known = records_of({a["pool_id"] for g, _ in groups for a in g.attempts}, {g.context.version for g, _ in groups})
    for group, broken in groups:
        detail = broken or f"{len(group.reported())} results, and no {group.context.policy.need} of them agree"
        reason, code = ("platform_fault", "validator_failed") if broken else ("invalid_result", "no_consensus")
        for attempt in group.reported():
            trusted = known.get((attempt["pool_id"], group.context.version), NEW).streak >= TRUSTED_AFTER
            state = "superseded" if trusted or broken else "invalid"
            steps.verdicts.append((attempt["id"], state, reason, code, detail))
        first, *others = group.in_state("reported")  # somebody has: what nobody could run was failed by its own sweep
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
    blamed = [row for row in judged if row["code"] not in NO_LESSON]
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
    if row["code"] in ("no_consensus", "validator_failed", "canary"):
        return row | {"unit_state": "failed"}
    return row | {"unit_state": "done" if row["state"] == "valid" else "superseded"}


def _columns(listed: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*listed, strict=True)]
