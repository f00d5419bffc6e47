"""Step 6 of the river, settle: reports of ended attempts become final states, in a constant number of statements.

A report is adopted only for a live attempt of this agent with this fence; anything else comes back as refused.
A batch that was adopted before (its answer was lost) is recognised by its number and answered again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from core.errors import Conflict
from core.wake import wake
from marketplace.models import Agent
from scheduler.models import ReportBatch
from scheduler.reasons import RETRY_DELAY, Policy, Verdict, verdict_of, verdict_of_release
from scheduler.reports import Report, ReportedBatch, SpecOutputs, first_of_each, judge, measured, unasked
from scheduler.services.events import add_events
from scheduler.sql import PART, dicts, rows

# One statement ends the attempts, moves their units, queues them for metering and teaches the pace.
_ADOPT: Final = """
WITH r AS (
    SELECT * FROM unnest(%(attempt)s::bigint[], %(fence)s::int[], %(state)s::text[], %(reason)s::text[],
                         %(code)s::text[], %(detail)s::text[], %(exit)s::int[], %(usage)s::text[],
                         %(wall_ms)s::bigint[], %(unit_state)s::text[], %(counts)s::bool[], %(avoid)s::bool[],
                         %(peak_mib)s::int[], %(bytes_out)s::bigint[])
        AS r(attempt, fence, state, reason, code, detail, exit_code, usage, wall_ms, unit_state, counts, avoid,
             peak_mib, bytes_out)
), ended AS (
    UPDATE scheduler_attempt a
    SET state = r.state, reason_class = r.reason, code = r.code, detail = r.detail, exit_code = r.exit_code,
        usage = r.usage::jsonb, batch_id = %(batch)s, ended_at = now(), progress_ppm = NULL,
        started_at = coalesce(a.started_at, greatest(a.leased_at, now() - r.wall_ms * interval '1 millisecond'))
    FROM r
    WHERE a.id = r.attempt AND a.fence = r.fence AND a.agent_id = ANY(%(agents)s) AND a.state IN ('leased', 'running')
    RETURNING a.id, a.fence, a.unit_id, a.task_id, a.pool_id, a.need_id, a.state, r.reason, r.code, r.detail, r.wall_ms,
              r.unit_state, r.counts, r.avoid, extract(epoch FROM now() - a.leased_at) * 1000 AS held_ms,
              a.variant, r.peak_mib, r.bytes_out
), moved AS (
    UPDATE scheduler_unit u
    SET state = e.unit_state,
        tries = u.tries + e.counts::int,
        avoid = CASE WHEN e.avoid AND NOT u.avoid @> ARRAY[e.pool_id] THEN u.avoid || e.pool_id ELSE u.avoid END,
        pool_id = CASE WHEN e.unit_state = 'waiting' THEN NULL ELSE u.pool_id END,
        not_before = CASE WHEN e.unit_state = 'waiting' AND e.counts THEN now() + %(delay)s ELSE NULL END
    FROM ended e WHERE u.id = e.unit_id AND u.state = 'leased'
), queued AS (
    INSERT INTO scheduler_ended (attempt_id, at) SELECT id, now() FROM ended
), paced AS (
    INSERT INTO scheduler_pace AS p (capability_version_id, stage, variant, pool_id, samples, tflop, seconds, tflop_squared,
                                     product, seconds_squared, memory_mib, memory_most, bytes_out, updated_at)
    SELECT (n.document->>'version')::bigint, (n.document->>'stage')::int, took.variant, took.pool_id, sum(took.samples),
           sum(took.samples * x.tflop), sum(took.seconds), sum(took.samples * x.tflop * x.tflop),
           sum(took.seconds * x.tflop), sum(took.squared), sum(least(took.peaks, took.samples * x.memory)),
           max(least(took.peak, x.memory)), sum(took.bytes_out), now()
    FROM (SELECT need_id, variant, pool_id, count(*) AS samples, sum(s) AS seconds, sum(s * s) AS squared,
                 sum(peak_mib) AS peaks, max(peak_mib) AS peak, sum(bytes_out) AS bytes_out
          FROM (SELECT *, greatest(least(wall_ms, held_ms), 0)::float / 1000 AS s FROM ended WHERE state = 'valid') each
          GROUP BY need_id, variant, pool_id) took
    JOIN scheduler_need n ON n.id = took.need_id
    CROSS JOIN LATERAL (SELECT coalesce(n.document->'variants'->took.variant, '{}') AS own) v
    CROSS JOIN LATERAL (SELECT coalesce(v.own->>'tflop', n.document->>'tflop')::float,
                               (coalesce(v.own->'need', n.document->'need')->>'memory_mib')::int) x(tflop, memory)
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (capability_version_id, stage, variant, pool_id) DO UPDATE
    SET (samples, tflop, seconds, tflop_squared, product, seconds_squared, memory_mib, memory_most, bytes_out, updated_at) = (
        SELECT p.samples * kept + excluded.samples, p.tflop * kept + excluded.tflop,
               p.seconds * kept + excluded.seconds, p.tflop_squared * kept + excluded.tflop_squared,
               p.product * kept + excluded.product, p.seconds_squared * kept + excluded.seconds_squared,
               p.memory_mib * kept + excluded.memory_mib, greatest(p.memory_most, excluded.memory_most),
               p.bytes_out * kept + excluded.bytes_out, now()
        FROM (SELECT least(1.0, %(memory)s / p.samples) AS kept) AS older)
)
SELECT id, fence, unit_id, task_id, pool_id, state, reason, code, detail, unit_state FROM ended
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
SELECT a.id, u.tries, u.fence, now() - t.created_at AS age, t.plan->'retry' AS retry,
       t.cancel_requested_at IS NOT NULL OR t.reason_class <> '' AS stopping
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
WHERE a.id = ANY(%s)
"""
_OUTPUTS: Final = f"""
SELECT a.id, {PART}->'outputs' AS outputs
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
WHERE a.id = ANY(%s)
  AND {PART}->'outputs' <> '[]'::jsonb
"""
_SAVE_OUTPUTS: Final = """
INSERT INTO scheduler_output (attempt_id, task_id, path, blob_id, bytes, media_type)
SELECT a.id, a.task_id, o.path, b.sha256, b.bytes, o.media_type
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS o(attempt, path, sha256, media_type)
JOIN scheduler_attempt a ON a.id = o.attempt JOIN marketplace_blob b ON b.sha256 = o.sha256
ON CONFLICT (attempt_id, path) DO NOTHING
"""
_ADVANCE: Final = "scheduler.advance"
PACE_MEMORY: Final = 200.0  # samples that what was learned before counts for, at most


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
        reports = _judged(first_of_each(batch.reports))
        ended = _end([agent.pk], _decided(reports), batch=row.pk, delay=RETRY_DELAY)
        adopted = {(attempt["id"], attempt["fence"]) for attempt in ended}
        _save_outputs([report for report in reports if (report.attempt, report.fence) in adopted])
    refused = [lease for report in reports if (lease := (report.attempt, report.fence)) not in adopted]
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


def _judged(reports: list[Report]) -> list[Report]:
    """Reports after the server's own checks: a claimed result must hold what its outputs promise, in the store."""
    claims = [report for report in reports if report.outcome == "done"]
    promised = {row["id"]: _loads(row["outputs"]) for row in dicts(_OUTPUTS, [[r.attempt for r in claims]])}
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
        return _column(report, verdict_of_release(fence=past["fence"], unable=unable))
    if report.outcome == "cancelled" and not past["stopping"]:
        report = unasked(report)
    return _column(report, _verdict(report, past, lost=False))


def _verdict(report: Report, past: dict[str, Any], *, lost: bool) -> Verdict:
    facts = {name: past[name] for name in ("tries", "fence", "age", "policy")}
    return verdict_of(report.reason_class, lost=lost, **facts)


def _end(
    agents: list[UUID], decided: list[dict[str, Any]], *, batch: int | None, delay: timedelta
) -> list[dict[str, Any]]:
    """End attempts of these agents, in the order of their ids: no deadlocks between batches. Returns those ended."""
    if not decided:
        return []
    ordered = sorted(decided, key=lambda row: int(row["attempt"]))
    columns = {name: [row[name] for row in ordered] for name in ordered[0]}
    ended = dicts(_ADOPT, columns | {"agents": agents, "batch": batch, "delay": delay, "memory": PACE_MEMORY})
    _tell_tasks(ended)
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
        "peak_mib": report.peak_mib,
        "bytes_out": report.bytes_out,
    }


def _tell_tasks(ended: list[dict[str, Any]]) -> None:
    """Progress, events and wakes for the tasks of ended attempts."""
    done: dict[UUID, int] = {}
    troubled: dict[UUID, dict[str, Any]] = {}
    for row in ended:
        done[row["task_id"]] = done.get(row["task_id"], 0) + (row["unit_state"] == "done")
        if row["state"] not in ("valid", "released") or row["unit_state"] == "failed":
            troubled[row["task_id"]] = row
    tasks = sorted(done)
    progress = dicts(_PROGRESS, [tasks, [done[task] for task in tasks]])
    events = [event for row in progress for event in _progress_events(row)]
    events += [(task, "attempt.failed", _event_of(row)) for task, row in sorted(troubled.items())]
    add_events(events)
    for row in progress:
        step = row["after"] >= min(row["total"] - bool(row["merges"]), row["open"])
        if step or row["stopping"] or row["id"] in troubled:
            wake(_ADVANCE, str(row["id"]))
    if any(row["unit_state"] == "waiting" for row in ended):
        wake("scheduler.match", delay_s=RETRY_DELAY.total_seconds())
    wake("metering.measure")


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
    return len(_end(agents, decided, batch=None, delay=timedelta(0)))


def _lost(row: dict[str, Any], past: dict[str, Any], code: str, detail: str) -> dict[str, Any]:
    report = Report(
        attempt=row["id"], fence=row["fence"], outcome="failed", reason_class="node_fault", code=code, detail=detail
    )
    return _column(report, _verdict(report, past, lost=True)) | {"state": "lost"}
