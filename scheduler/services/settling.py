"""Step 6 of the river, settle: reports of ended attempts become final states, in a constant number of statements.

A report is adopted only for a live attempt of this agent with this fence; anything else comes back as refused.
A batch that was adopted before (its answer was lost) is recognised by its number and answered again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from core.errors import Conflict
from core.wake import wake
from marketplace.models import Agent
from marketplace.stages import VALIDATES, stage_name
from scheduler.models import ReportBatch, Unit
from scheduler.reasons import RETRY_DELAY, Charge, Policy, Verdict, backoff, verdict_of, verdict_of_release
from scheduler.reports import Report, ReportedBatch, SpecOutputs, first_of_each, judge, measured, unasked
from scheduler.services.blaming import follow_accusations, runs_elsewhere
from scheduler.services.events import add_events
from scheduler.services.pacing import PACE_MEMORY, teach_pace
from scheduler.services.revealing import hold_to_commitments, keep_commitments
from scheduler.services.trusting import note_ended
from scheduler.sql import PART, dicts, rows

# One statement ends the attempts, moves their units, queues them for metering and teaches the pace.
_ADOPT: Final = f"""
WITH r AS (
    SELECT * FROM unnest(%(attempt)s::bigint[], %(fence)s::int[], %(state)s::text[], %(reason)s::text[],
                         %(code)s::text[], %(detail)s::text[], %(exit)s::int[], %(usage)s::text[],
                         %(wall_ms)s::bigint[], %(unit_state)s::text[], %(counts)s::bool[], %(avoid)s::bool[],
                         %(delay)s::interval[], %(peak_mib)s::int[], %(bytes_out)s::bigint[])
        AS r(attempt, fence, state, reason, code, detail, exit_code, usage, wall_ms, unit_state, counts, avoid, delay,
             peak_mib, bytes_out)
), ended AS (
    UPDATE scheduler_attempt a
    SET state = CASE WHEN a.checked AND r.state = 'valid' THEN 'reported' ELSE r.state END,
        reason_class = r.reason, code = r.code, detail = r.detail, exit_code = r.exit_code,
        usage = r.usage::jsonb, batch_id = %(batch)s, ended_at = now(), progress_ppm = NULL,
        started_at = coalesce(a.started_at, greatest(a.leased_at, now() - r.wall_ms * interval '1 millisecond'))
    FROM r
    WHERE a.id = r.attempt AND a.fence = r.fence AND a.agent_id = ANY(%(agents)s) AND a.state IN ('leased', 'running')
    RETURNING a.id, a.fence, a.unit_id, a.task_id, a.pool_id, a.need_id, a.state, r.reason, r.code, r.detail, r.wall_ms,
              CASE WHEN NOT a.checked THEN r.unit_state WHEN r.unit_state = 'done' THEN 'reported'
                   WHEN r.unit_state = 'waiting' THEN 'blocked' ELSE r.unit_state END AS unit_state,
              a.checked, r.counts, r.avoid, r.delay, extract(epoch FROM now() - a.leased_at) * 1000 AS held_ms,
              a.variant, r.peak_mib, r.bytes_out
), moved AS (
    UPDATE scheduler_unit u
    SET state = e.unit_state,
        tries = u.tries + e.counts::int,
        avoid = CASE WHEN e.avoid AND NOT u.avoid @> ARRAY[e.pool_id] THEN u.avoid || e.pool_id ELSE u.avoid END,
        pool_id = CASE WHEN e.unit_state IN ('waiting', 'blocked') THEN NULL ELSE u.pool_id END,
        not_before = CASE WHEN e.unit_state IN ('waiting', 'blocked') AND e.delay > interval '0' THEN now() + e.delay END
    FROM ended e WHERE u.id = e.unit_id AND u.state = 'leased'
), queued AS (
    INSERT INTO scheduler_ended (attempt_id, at) SELECT id, now() FROM ended WHERE state <> 'reported'
), to_judge AS (
    INSERT INTO scheduler_unjudged (unit_id, at) SELECT unit_id, now() FROM ended WHERE checked
), paced AS (
    {teach_pace("ended", "state = 'valid'")}
)
SELECT id, fence, unit_id, task_id, pool_id, state, reason, code, detail, unit_state, checked, counts FROM ended
"""
# Tasks are locked in the order of their ids, so that two batches that end units of the same tasks never wait for each other.
_PROGRESS: Final = """
WITH p AS (
    SELECT t.id, p.done FROM unnest(%s::uuid[], %s::int[]) AS p(task_id, done)
    JOIN marketplace_task t ON t.id = p.task_id ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE marketplace_task t SET units_done = t.units_done + p.done FROM p WHERE t.id = p.id
RETURNING t.id, t.units_done - p.done AS before, t.units_done AS after, t.units_total AS total,
          coalesce(t.units_open, t.units_total) AS open,
          t.plan->'merge_stage' <> 'null' AS merges, t.cancel_requested_at IS NOT NULL OR t.reason_class <> '' AS stopping
"""
# What verdicts need to know of the attempts that did not go well.
_CONTEXT: Final = """
SELECT a.id, u.tries, u.fence, now() - t.created_at AS age, t.plan->'retry' AS retry, u.state = 'superseded' AS superseded,
       t.cancel_requested_at IS NOT NULL OR t.reason_class <> '' AS stopping, a.need_id, a.pool_id, u.stage,
       CASE WHEN NOT a.checked THEN u.apart <> '{}' ELSE EXISTS (
            SELECT FROM scheduler_unit s JOIN scheduler_attempt x ON x.unit_id = s.id AND x.checked
            JOIN marketplace_pool p ON p.id = x.pool_id
            WHERE s.task_id = u.task_id AND s.stage = u.stage AND s.index = u.index AND x.state = 'failed'
              AND x.reason_class = 'capability_error' AND p.organization_id <> own.organization_id) END AS said_before
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
JOIN marketplace_pool own ON own.id = a.pool_id
WHERE a.id = ANY(%s)
"""
_OUTPUTS: Final = f"""
SELECT a.id, {PART}->'outputs' AS outputs, said.promised, said.commits
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
CROSS JOIN LATERAL (
    SELECT {PART}->'outputs' <> '[]'::jsonb AS promised,
           u.stage < {VALIDATES} AND t.plan->'verify'->'commit_reveal' IS NOT DISTINCT FROM 'true'::jsonb AS commits
) said
WHERE a.id = ANY(%s) AND (said.promised OR said.commits)
"""
_SAVE_OUTPUTS: Final = """
INSERT INTO scheduler_output (attempt_id, task_id, path, blob_id, bytes, media_type)
SELECT a.id, a.task_id, o.path, b.sha256, b.bytes, o.media_type
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS o(attempt, path, sha256, media_type)
JOIN scheduler_attempt a ON a.id = o.attempt JOIN marketplace_blob b ON b.sha256 = o.sha256
ON CONFLICT (attempt_id, path) DO NOTHING
"""
_WHERE: Final = """
SELECT a.id, u.stage, t.plan->'stages', u.index, p.identifier FROM scheduler_attempt a
JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id JOIN marketplace_pool p ON p.id = a.pool_id
WHERE a.id = ANY(%s)
"""
# Stopped because its siblings agreed without it: the platform pays for what it took.
SUPERSEDED: Final = {"state": "superseded", "reason": "superseded"}
_ADVANCE: Final = "scheduler.advance"


@dataclass(frozen=True)
class Settled:
    """`accepted`: the batch's number. `refused`: (attempt, fence) that were not adopted."""

    accepted: int
    refused: list[tuple[int, int]]


def settle_reports(agent: Agent, batch: ReportedBatch) -> Settled:
    """Adopt a verified batch of reports. Safe to repeat with the same batch.

    Raises Conflict("broken_chain") when another batch of this number was adopted meanwhile.
    """
    with transaction.atomic():
        row, new = _store_batch(agent, batch)
        if not new:
            return Settled(batch.seq, [])
        listed = first_of_each(batch.reports)
        commits = [report for report in listed if report.outcome == "committed"]
        bound = keep_commitments(agent, commits, row.pk)
        reports = _judged(agent, [report for report in listed if report.outcome != "committed"])
        ended = _end([agent.pk], _decided(reports), batch=row.pk)
        adopted = {(attempt["id"], attempt["fence"]) for attempt in ended}
        _save_outputs([report for report in reports if (report.attempt, report.fence) in adopted])
    refused = [lease for report in reports if (lease := (report.attempt, report.fence)) not in adopted]
    refused += [lease for report in commits if (lease := (report.attempt, report.fence)) not in bound]
    return Settled(batch.seq, refused)


def _store_batch(agent: Agent, batch: ReportedBatch) -> tuple[ReportBatch, bool]:
    row, new = ReportBatch.objects.get_or_create(
        agent=agent,
        seq=batch.seq,
        defaults={
            "prev": batch.prev,
            "digest": batch.digest,
            "signature": batch.signature,
            "items": len(batch.reports),
            "created_at": timezone.now(),
        },
    )
    if new:
        Agent.objects.filter(pk=agent.pk).update(report_seq=batch.seq, report_digest=batch.digest)
    elif row.digest != batch.digest:  # two processes with one key: what the second says must not be lost in silence
        raise Conflict(
            "broken_chain", "another batch of this number was adopted", last_seq=row.seq, last_digest=row.digest
        )
    return row, new


def _judged(agent: Agent, reports: list[Report]) -> list[Report]:
    """Reports after the server's own checks: a claimed result must hold what its outputs promise, in the store.

    And where attempts are bound to their results beforehand, it must be that result.
    """
    claims = [report for report in reports if report.outcome == "done"]
    found = dicts(_OUTPUTS, [[r.attempt for r in claims]])
    judged = _with_outputs(reports, claims, {row["id"]: _loads(row["outputs"]) for row in found if row["promised"]})
    return hold_to_commitments(agent, judged) if any(row["commits"] for row in found) else judged


def _with_outputs(reports: list[Report], claims: list[Report], promised: dict[int, Any]) -> list[Report]:
    if not promised and not any(report.outputs for report in claims):
        return reports
    digests = sorted({output.sha256 for report in claims for output in report.outputs})
    stored = dict(rows("SELECT sha256, bytes FROM marketplace_blob WHERE sha256 = ANY(%s)", [digests]))
    judged = [judge(report, SpecOutputs.of(promised.get(report.attempt, [])), stored) for report in reports]
    return [measured(report, stored) for report in judged]


def _loads(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, (str, bytes)) else value


def _decided(reports: list[Report]) -> list[dict[str, Any]]:
    """The columns of `_ADOPT` for judged reports; what did not go well is decided with its unit's history."""
    history = _history([report.attempt for report in reports if report.outcome != "done"])
    accused = [report.attempt for report in reports if report.reason_class == "capability_error"]
    elsewhere = runs_elsewhere([history[attempt] for attempt in accused if attempt in history])
    for past in history.values():
        past["elsewhere"] = elsewhere.get((past["need_id"], past["pool_id"]), False)
    return [_decide(report, history.get(report.attempt)) for report in reports]


def _history(attempts: list[int]) -> dict[int, dict[str, Any]]:
    found = dicts(_CONTEXT, [attempts]) if attempts else []
    return {row["id"]: row | {"policy": Policy.of(_loads(row["retry"]) or {})} for row in found}


def _decide(report: Report, past: dict[str, Any] | None) -> dict[str, Any]:
    if report.outcome == "done":
        return _column(report, Verdict("waiting", counts=False, avoid_pool=False))  # the unit becomes done
    if past is None:  # nobody knows this attempt: it will be refused
        return _column(report, Verdict("failed", counts=True, avoid_pool=False))
    if report.outcome == "released":
        unable = report.code == "executor_missing"
        return _column(report, _contained(verdict_of_release(fence=past["fence"], unable=unable), past))
    if past["superseded"] and report.outcome == "cancelled":
        return _column(report, Verdict("cancelled", counts=False, avoid_pool=False)) | SUPERSEDED
    if report.outcome == "cancelled" and not past["stopping"]:
        report = unasked(report)
    verdict = _verdict(report, past, lost=False)
    return _column(report, verdict) | {"delay": _wait(verdict, past)}


def _wait(verdict: Verdict, past: dict[str, Any]) -> timedelta:
    return backoff(counts=verdict.counts, tries=past["tries"], fence=past["fence"])


def _verdict(report: Report, past: dict[str, Any], *, lost: bool) -> Verdict:
    facts = {name: past[name] for name in ("tries", "fence", "age", "policy")}
    charge = Charge(report.exit_code, past["said_before"], past.get("elsewhere", False))
    verdict = verdict_of(report.reason_class, lost=lost, proven=charge.proven(past["policy"]), **facts)
    return _contained(verdict, past)


def _contained(verdict: Verdict, past: dict[str, Any]) -> Verdict:
    """A validator that fails is no failure of its task: the look at the results goes on without it."""
    gone = verdict.unit_state == "failed" and past["stage"] >= Unit.Stage.VALIDATE
    return replace(verdict, unit_state="superseded") if gone else verdict


def _end(
    agents: list[UUID], decided: list[dict[str, Any]], *, batch: int | None
) -> list[dict[str, Any]]:
    """End attempts of these agents, in the order of their ids: no deadlocks between batches. Returns those ended."""
    if not decided:
        return []
    ordered = sorted(decided, key=lambda row: int(row["attempt"]))
    columns = {name: [row[name] for row in ordered] for name in ordered[0]}
    ended = dicts(_ADOPT, columns | {"agents": agents, "batch": batch, "memory": PACE_MEMORY})
    note_ended(ended)  # trust before tasks, as verdicts lock them
    follow_accusations(ended)
    tell_tasks(ended)
    return ended


def _column(report: Report, verdict: Verdict) -> dict[str, Any]:
    state = {"done": "valid", "cancelled": "cancelled", "released": "released"}.get(report.outcome, "failed")
    if report.reason_class == "invalid_result":
        state = "failed"
    return {
        "attempt": report.attempt,
        "fence": report.fence,
        "state": state,
        "reason": report.reason_class,
        "code": report.code,
        "detail": report.detail,
        "exit": report.exit_code,
        "usage": report.usage_text,
        "wall_ms": report.wall_ms,
        "unit_state": "done" if report.outcome == "done" else verdict.unit_state,
        "counts": verdict.counts,
        "avoid": verdict.avoid_pool,
        "delay": timedelta(0),
        "peak_mib": report.peak_mib,
        "bytes_out": report.bytes_out,
    }


def tell_tasks(ended: list[dict[str, Any]]) -> None:
    """Progress, events and wakes for the tasks of ended attempts."""
    done: dict[UUID, int] = {}
    troubled: dict[UUID, dict[str, Any]] = {}
    for row in ended:
        done[row["task_id"]] = done.get(row["task_id"], 0) + (row["unit_state"] == "done")
        if row["state"] not in ("valid", "reported", "released", "superseded") or row["unit_state"] == "failed":
            troubled[row["task_id"]] = row
    tasks = sorted(done)
    progress = dicts(_PROGRESS, [tasks, [done[task] for task in tasks]])
    events = [event for row in progress for event in _progress_events(row)]
    places = _places([row["id"] for row in troubled.values()])
    events += [(task, "attempt.failed", _event_of(row) | places[row["id"]]) for task, row in sorted(troubled.items())]
    add_events(events)
    for row in progress:
        step = row["after"] >= min(row["total"] - bool(row["merges"]), row["open"])
        if step or row["stopping"] or row["id"] in troubled:
            wake(_ADVANCE, str(row["id"]))
    if any(row["unit_state"] == "waiting" for row in ended):
        wake("scheduler.match", delay_s=RETRY_DELAY.total_seconds())
    wake("metering.measure")


def _places(attempts: list[int]) -> dict[int, dict[str, Any]]:
    """Which unit of which stage each attempt ran, and where. One statement, none where nothing went wrong."""
    found = rows(_WHERE, [attempts]) if attempts else []
    return {
        attempt: {"stage": stage_name({"stages": _loads(stages)}, stage), "index": index, "pool": pool}
        for attempt, stage, stages, index, pool in found
    }


def _event_of(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "attempt": row["id"],
        "reason_class": row["reason"],
        "code": row["code"],
        "detail": row["detail"],
        "unit": row["unit_state"],
    }


def _progress_events(row: dict[str, Any]) -> list[tuple[UUID, str, dict[str, Any]]]:
    """One event per twentieth of the way, so that a million units make twenty events."""
    if row["after"] * 20 // row["total"] == row["before"] * 20 // row["total"]:
        return []
    return [(row["id"], "task.progress", {"units_done": row["after"], "units_total": row["total"]})]


def _save_outputs(reports: list[Report]) -> None:
    outputs = [(report.attempt, output) for report in reports for output in report.outputs if report.outcome == "done"]
    if not outputs:
        return
    columns = zip(*((a, o.path, o.sha256, o.media_type) for a, o in outputs), strict=True)
    rows(_SAVE_OUTPUTS, [list(column) for column in columns])


def end_attempts(attempts: Iterable[dict[str, Any]], *, code: str, detail: str) -> int:
    """End attempts whose lease ran out or that their agent forgot: lost, a node's fault, nobody reported.

    `attempts` rows hold id, fence, agent_id. Returns how many ended.
    """
    listed = list(attempts)
    history = _history([row["id"] for row in listed])
    decided = [_lost(row, history[row["id"]], code, detail) for row in listed]
    agents = sorted({row["agent_id"] for row in listed})
    return len(_end(agents, decided, batch=None))


def _lost(row: dict[str, Any], past: dict[str, Any], code: str, detail: str) -> dict[str, Any]:
    report = Report(
        attempt=row["id"], fence=row["fence"], outcome="failed", reason_class="node_fault", code=code, detail=detail
    )
    verdict = _verdict(report, past, lost=True)
    return _column(report, verdict) | {"state": "lost", "delay": _wait(verdict, past)}
