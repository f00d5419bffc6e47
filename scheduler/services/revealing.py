"""Commit before reveal: a pool is bound to its result by a hash before anybody's result leaves its machine.

An attempt of a task whose policy says `commit_reveal` reports a commitment first (signed, as all reports are), waits until
the platform asks for its result, and uploads and reports only then. It is asked when all siblings are bound, or after ten
minutes; one that nobody checks is asked at once, so waiting tells an agent nothing before it is bound itself.

A result that does not fit its commitment is refused, unpaid and counted as wrong, whatever the siblings say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from django.db import transaction

from core.wake import wake
from marketplace.models import Agent
from marketplace.stages import VALIDATES
from scheduler.reports import Report, commitment_of, result_hash_of
from scheduler.services.groups import PENDING, Group, Steps
from scheduler.sql import dicts, rows

REVEAL_AFTER: Final = timedelta(minutes=10)  # a sibling that is slow, or has not found a pool, holds up nobody for longer
PER_SWEEP: Final = 5_000
LIVE: Final = ("leased", "running")

_COMMITS: Final = f"""t.plan->'verify'->'commit_reveal' = 'true' AND u.stage < {VALIDATES}"""
# What nobody checks is asked for at once. Whoever committed before is bound by its first word.
_KEEP: Final = f"""
WITH bound AS (
    SELECT a.id, a.fence, a.unit_id, a.checked, r.hash
    FROM unnest(%(attempt)s::bigint[], %(fence)s::int[], %(hash)s::text[]) AS r(attempt, fence, hash)
    JOIN scheduler_attempt a ON a.id = r.attempt AND a.fence = r.fence
    JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
    WHERE a.agent_id = %(agent)s AND a.state IN ('leased', 'running') AND {_COMMITS}
    ORDER BY a.id FOR SHARE OF a
), kept AS (
    INSERT INTO scheduler_commitment (attempt_id, hash, state, batch_id, at)
    SELECT id, hash, CASE WHEN checked THEN 'committed' ELSE 'asked' END, %(batch)s, now() FROM bound
    ON CONFLICT (attempt_id) DO NOTHING
), queued AS (
    INSERT INTO scheduler_unjudged (unit_id, at) SELECT unit_id, now() FROM bound WHERE checked
)
SELECT id, fence, checked FROM bound
"""
_BOUND: Final = f"""
SELECT a.id, a.fence, c.hash FROM scheduler_attempt a
JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
LEFT JOIN scheduler_commitment c ON c.attempt_id = a.id
WHERE a.id = ANY(%s) AND a.agent_id = %s AND a.state IN ('leased', 'running') AND {_COMMITS}
"""
# A broken word is for the verdict to punish: a unit that nobody checked is checked from now on.
_SHOW: Final = """
WITH shown AS (
    UPDATE scheduler_commitment c SET state = v.state FROM unnest(%s::bigint[], %s::text[]) AS v(attempt, state)
    WHERE c.attempt_id = v.attempt AND c.state IN ('committed', 'asked') RETURNING c.attempt_id, c.state
), doubted AS (
    UPDATE scheduler_attempt a SET checked = true FROM shown
    WHERE a.id = shown.attempt_id AND shown.state = 'broken' AND NOT a.checked RETURNING a.unit_id
)
UPDATE scheduler_unit u SET checked = true FROM doubted WHERE u.id = doubted.unit_id
"""
_ASK: Final = """
UPDATE scheduler_commitment c SET state = 'asked' FROM scheduler_attempt a
WHERE c.attempt_id = ANY(%s) AND c.state = 'committed' AND a.id = c.attempt_id RETURNING a.pool_id
"""
_ASKED: Final = """
SELECT a.id, a.fence FROM scheduler_commitment c JOIN scheduler_attempt a ON a.id = c.attempt_id
WHERE a.id = ANY(%s) AND a.agent_id = %s AND a.state IN ('leased', 'running') AND c.state = 'asked' ORDER BY a.id
"""
_OVERDUE: Final = """
WITH open AS (
    SELECT c.id, c.state, a.unit_id, a.state IN ('leased', 'running') AS live
    FROM scheduler_commitment c JOIN scheduler_attempt a ON a.id = c.attempt_id
    WHERE c.state IN ('committed', 'asked') AND c.at < now() - %s ORDER BY c.at LIMIT %s FOR NO KEY UPDATE OF c SKIP LOCKED
), over AS (
    UPDATE scheduler_commitment c SET state = 'void' FROM open WHERE c.id = open.id AND NOT open.live
)
INSERT INTO scheduler_unjudged (unit_id, at) SELECT unit_id, now() FROM open WHERE live AND state = 'committed' RETURNING unit_id
"""


def keep_commitments(agent: Agent, reports: Iterable[Report], batch: int) -> set[tuple[int, int]]:
    """Keep what live attempts of this agent bind themselves to. Returns the leases it was adopted for."""
    listed = list(reports)
    if not listed:
        return set()
    columns = {"attempt": [r.attempt for r in listed], "fence": [r.fence for r in listed], "hash": [r.commitment for r in listed]}
    kept = dicts(_KEEP, columns | {"agent": agent.pk, "batch": batch})
    if any(row["checked"] for row in kept):
        wake("scheduler.judge")
    return {(row["id"], row["fence"]) for row in kept}


def hold_to_commitments(agent: Agent, reports: list[Report]) -> list[Report]:
    """Compare claimed results with what their attempts are bound to. Two or three statements, the last for those bound.

    A result without a commitment is a node's fault (an agent that does not know how); one that is another than was
    committed to goes on as it is, and its commitment is BROKEN: the verdict refuses it.
    """
    claims = {report.attempt: report for report in reports if report.outcome == "done"}
    bound = {(row["id"], row["fence"]): row["hash"] for row in dicts(_BOUND, [list(claims), agent.pk])} if claims else {}
    if not bound:
        return reports
    digests = sorted({output.sha256 for report in claims.values() for output in report.outputs})
    sizes = dict(rows("SELECT sha256, bytes FROM marketplace_blob WHERE sha256 = ANY(%s)", [digests]))
    states, kept = {}, []
    for report in reports:
        word = bound.get((report.attempt, report.fence), "") if report.outcome == "done" else ""
        if word is None:
            kept.append(_unbound(report))
            continue
        if word:
            fits = commitment_of(result_hash_of(report, sizes), report.salt) == word
            states[report.attempt] = "kept" if fits else "broken"
        kept.append(report)
    if states:
        rows(_SHOW, [sorted(states), [states[attempt] for attempt in sorted(states)]])
    return kept


def _unbound(report: Report) -> Report:
    detail = "the result came without a commitment before it"
    return replace(report, outcome="failed", reason_class="node_fault", code="not_committed", detail=detail, outputs=())


def ask_reveals(group: Group, steps: Steps) -> None:
    """Ask for the results of a group's bound attempts, once all siblings are there and bound, or one has waited long."""
    committed = [one for one in group.attempts if one["commitment"] == "committed" and one["state"] in LIVE]
    if not committed:
        return
    bound = {one["unit_id"] for one in group.attempts if one["commitment"] and one["state"] in LIVE}
    there = [member for member in group.members if member["state"] not in ("superseded", "failed", "cancelled")]
    on_their_way = [member for member in there if member["state"] in PENDING and member["id"] not in bound]
    complete = len(there) >= group.context.policy.initial and not on_their_way
    steps.reveals += [one["id"] for one in committed if complete or one["waited"]]


def send_reveals(attempts: list[int]) -> set[int]:
    """Move commitments to ASKED. Returns the pools whose agents want to hear of it."""
    return {pool for (pool,) in rows(_ASK, [attempts])} if attempts else set()


def asked_of(agent: Agent, attempts: list[int]) -> list[list[int]]:
    """Of attempts that wait with their result: those that may show it, [[attempt, fence]]."""
    return [list(row) for row in rows(_ASKED, [attempts, agent.pk])] if attempts else []


@transaction.atomic
def remind_of_commitments() -> int:
    """The sweep: groups with a commitment older than ten minutes get a look, commitments of ended attempts are void."""
    return len(rows(_OVERDUE, [REVEAL_AFTER, PER_SWEEP]))
