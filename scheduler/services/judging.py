"""Step 7 of the river, verify: results of a unit's siblings are compared, and one of them is delivered.

Leases and reports of checked units stand in a queue; a look at a unit and its siblings asks for one more result from
another owner, waits, or decides. One look at a time (an advisory lock that is only tried), so nobody else asks for
results meanwhile; units that another step holds are left in the queue for the next look.

At most one sibling looks for a pool at a time: what the others' owners have is `apart` from it, for good. Where results
are committed to first, all look at once, each in a share of the owners of its own (services/siblings.py).
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
from scheduler.services.ballots import Ballots
from scheduler.services.blaming import absolve
from scheduler.services.canaries import answers_to
from scheduler.services.groups import PENDING, Group, Steps, groups_of
from scheduler.services.pacing import PACE_MEMORY, teach_pace
from scheduler.services.placing import notify_pool
from scheduler.services.rechecking import close_rechecks, judge_again, policies_of, tell_of_doubts
from scheduler.services.revealing import LIVE, ask_reveals, send_reveals
from scheduler.services.settling import tell_tasks
from scheduler.services.siblings import ask_for_more, wants_siblings
from scheduler.services.trusting import Lessons, draw_consequences, learn, records_of
from scheduler.services.unstable import flag_unstable
from scheduler.services.validating import Said, validated
from scheduler.sql import dicts, rows, scalar
from scheduler.verification.trust import NEW, TRUSTED_AFTER
from scheduler.verification.voting import Same, Verdict, Vote, agrees_with_canonical, verdict_of

QUIET: Final = {"state": "superseded", "unit_state": "superseded"}  # nothing happened to the task, but it is locked with the others
JUDGE_LOCK: Final = 0x6A756467  # any constant: "judg"
PER_LOOK: Final = 5_000
# Codes of verdicts that say nothing of a pool.
NO_LESSON: Final = ("no_consensus", "validator_failed", "validated", "inconclusive", "rechecked")

_TAKE: Final = """
DELETE FROM scheduler_unjudged WHERE id IN (
    SELECT id FROM scheduler_unjudged ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING unit_id
"""
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
    policies = policies_of([member["rechecks"] for group in groups for member in group.members if member["rechecks"]])
    voted += policies
    ballots, steps, wishes = Ballots.of(voted), Steps(), Wishes()
    for group in groups:
        same = partial(ballots.same, group.context.policy)
        _refuse_broken(group, steps)
        if group.context.known and group.reported() and not group.decided:
            _mark(group, answers, ballots, steps)
        elif group.decided:
            _judge_late(group, same, ballots, steps)
        elif group.members[0]["rechecks"] and group.reported():
            judge_again(group, Said(ballots.of_attempt, partial(ballots.same, policies[group.members[0]["rechecks"]])), steps)
        elif not (group.context.stopping or group.in_state("failed")):
            _look_at(group, same, ballots, steps, wishes)
    ask_for_more(wishes.more, wishes.words, steps)
    _give_up(wishes.given_up, steps)
    return steps


def _look_at(group: Group, same: Same, ballots: Ballots, steps: Steps, wishes: Wishes) -> None:
    said = validated(group, ballots, steps) if group.context.policy.validator else Said(ballots.of_attempt, same)
    verdict = said.verdict or _verdict(group, said)
    if verdict.kind == "won":
        _deliver(group, verdict, said, steps)
    elif verdict.kind == "none" and _only_an_accuser_speaks_against(group, said):
        _deliver(group, Verdict("won", group.voters()[0]["id"]), said, steps)
    elif verdict.kind == "none":
        wishes.given_up.append((group, said.broken))
    elif said.asks:
        wishes.words.append(group)
    else:
        ask_reveals(group, steps)
        if wants_siblings(group, verdict):
            wishes.more.append(group)


def _only_an_accuser_speaks_against(group: Group, said: Said) -> bool:
    """One owner says that the capability failed, another has a result, and nobody else can be had to say who is right.

    A result is more than the word that there can be none: it is delivered, and the accuser's node was at fault.
    """
    accused = any(one["state"] == "failed" and one["reason_class"] == "capability_error" for one in group.attempts)
    return accused and not said.broken and not group.broken() and len(group.voters()) == 1


def _refuse_broken(group: Group, steps: Steps) -> None:
    """Who showed another result than it was bound to has changed it: wrong, whatever the siblings say."""
    detail = "the result is not the one that was committed to"
    steps.verdicts += [(one["id"], "invalid", "invalid_result", "broken_commitment", detail) for one in group.broken()]


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
    """Results that came after the verdict are compared with the one that was delivered: nobody has to be bound any more."""
    steps.reveals += [one["id"] for one in group.attempts if one["commitment"] == "committed" and one["state"] in LIVE]
    canonical = next((a["id"] for a in group.attempts if a["state"] == "valid"), None)
    if canonical is not None:
        _sort(group, canonical, Said(ballots.of_attempt, same), steps)


def _sort(group: Group, canonical: int, said: Said, steps: Steps) -> None:
    votes = [Vote(a["id"], said.ballot(a["id"])) for a in group.reported() if a["id"] != canonical]
    agree, wrong = agrees_with_canonical(said.ballot(canonical), votes, said.same)
    steps.verdicts += [(attempt, "superseded", "", "", "") for attempt in agree]
    detail = "results of other owners agreed on another one"
    steps.verdicts += [(attempt, "invalid", "invalid_result", "outvoted", detail) for attempt in wrong]


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
    for pool in sorted(steps.stopped | send_reveals(steps.reveals)):
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
    doubts = close_rechecks(steps.rechecked)
    for row in doubts:
        lessons.of(row["pool_id"], row["version"]).invalid += 1
    learn(lessons)
    draw_consequences(right, wrong, _why_wrong(blamed))
    flag_unstable({versions[row["task_id"]] for row in judged if row["code"] == "no_consensus"})
    tell_tasks([*(_told(row) for row in judged), *(row | QUIET for row in doubts)])
    tell_of_doubts(doubts)


def _why_wrong(blamed: list[dict[str, Any]]) -> dict[int, str]:
    """For each pool that was wrong, in which way. Of a canary its owner hears nothing else than of any lost vote."""
    codes: dict[int, set[str]] = defaultdict(set)
    for row in blamed:
        if row["state"] == "invalid":
            broken = row["code"] == "broken_commitment"
            codes[row["pool_id"]].add("not what was committed to" if broken else "others had another one")
    return {pool: " and ".join(sorted(found)) for pool, found in codes.items()}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A verdict as `tell_tasks` hears it: the canonical result is a unit done, once for all siblings."""
    if row["code"] in ("no_consensus", "validator_failed", "canary"):
        return row | {"unit_state": "failed"}
    return row | {"unit_state": "done" if row["state"] == "valid" else "superseded"}


def _columns(listed: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*listed, strict=True)]
