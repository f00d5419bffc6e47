"""Whom to believe, as rows: who may take how much, whose results are checked, and what verdicts and losses teach.

`scheduler/verification/trust.py` decides; each function here runs a constant number of statements, none at all for
units that nobody checks and pools that were never wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from core.wake import wake
from marketplace.models import Agent, Pool, Task
from scheduler.models import Attempt, PoolEvent, Trust
from scheduler.sql import rows
from scheduler.verification.trust import (
    HALF_LIFE,
    QUARANTINE_AFTER,
    QUARANTINE_WINDOW,
    Record,
    drawn,
    expected_valid,
    halved,
    quarantine_of,
    regained,
    replication_probability,
)

Pair = tuple[int, int]  # (pool, capability version)

_STREAKS: Final = """
SELECT t.id, coalesce(known.streak, 0) FROM marketplace_task t
LEFT JOIN scheduler_trust known ON known.capability_version_id = t.capability_version_id AND known.pool_id = %s
WHERE t.id = ANY(%s)
"""
_CHECK: Final = """
WITH chosen AS (
    UPDATE scheduler_attempt SET checked = true WHERE id = ANY(%s) RETURNING unit_id
), marked AS (
    UPDATE scheduler_unit u SET checked = true FROM chosen WHERE u.id = chosen.unit_id
)
INSERT INTO scheduler_unjudged (unit_id, at) SELECT unit_id, now() FROM chosen
"""
# Sums decay as in `trust.decay`; rows in one order, so that two batches never wait for each other.
_LEARN: Final = """
INSERT INTO scheduler_trust AS t (pool_id, capability_version_id, streak, valid, invalid, lost, samples, updated_at)
SELECT pool, version, CASE WHEN invalid + lost > 0 THEN 0 ELSE valid END, valid, invalid, lost, valid + invalid + lost, now()
FROM unnest(%(pool)s::bigint[], %(version)s::bigint[], %(valid)s::int[], %(invalid)s::int[], %(lost)s::int[])
    AS seen(pool, version, valid, invalid, lost)
ORDER BY version, pool
ON CONFLICT (capability_version_id, pool_id) DO UPDATE
SET (streak, valid, invalid, lost, samples, updated_at) = (
    SELECT CASE WHEN excluded.invalid + excluded.lost > 0 THEN 0 ELSE t.streak + excluded.valid::int END,
           t.valid * kept + excluded.valid, t.invalid * kept + excluded.invalid, t.lost * kept + excluded.lost,
           t.samples + excluded.samples, now()
    FROM (SELECT power(0.5, greatest(extract(epoch FROM now() - t.updated_at), 0) / %(half_life)s) AS kept) AS older)
"""


@dataclass(frozen=True)
class Allowance:
    """How many units a pool may take now. `probation`: only checked ones."""

    units: int
    probation: bool = False


@dataclass
class Seen:
    """What was seen of a pool with a version."""

    valid: int = 0
    invalid: int = 0
    lost: int = 0


@dataclass
class Lessons:
    """What verdicts and losses say, by (pool, version)."""

    seen: dict[Pair, Seen] = field(default_factory=dict)

    def of(self, pool: int, version: int) -> Seen:
        return self.seen.setdefault((pool, version), Seen())


def allowance(agent: Agent, wanted: int) -> Allowance:
    """What the pool's quota and quarantine leave of what its agent wants."""
    pool = agent.pool
    units = wanted
    if pool.daily_quota is not None:
        used = pool.quota_used if pool.quota_day == timezone.now().date() else 0
        units = min(units, max(0, pool.daily_quota - used))
    if pool.quarantined_until is None:
        return Allowance(units)
    if pool.quarantined_until > timezone.now():
        return Allowance(0)
    open_ones = Attempt.objects.filter(agent=agent, state__in=Attempt.LIVE).count()
    open_ones += Attempt.objects.filter(pool=pool, state=Attempt.State.REPORTED).count()
    return Allowance(min(units, 1 if open_ones == 0 else 0), probation=True)


def note_leased(agent: Agent, leased: list[dict[str, Any]], allowed: Allowance) -> None:
    """Count the quota, and draw which of the units that may be checked are checked."""
    if leased and agent.pool.daily_quota is not None:
        _count_quota(agent.pool, len(leased))
    undrawn = [row for row in leased if row["checked"] is None]
    chosen = undrawn if allowed.probation else _drawn(agent.pool_id, undrawn)
    if chosen:
        rows(_CHECK, [[row["attempt"] for row in chosen]])
    if chosen or any(row["checked"] for row in leased):
        wake("scheduler.judge")


def _count_quota(pool: Pool, units: int) -> None:
    today = timezone.now().date()
    used = pool.quota_used if pool.quota_day == today else 0
    pool.quota_day, pool.quota_used = today, used + units
    Pool.objects.filter(pk=pool.pk).update(quota_day=today, quota_used=pool.quota_used)


def _drawn(pool_id: int, undrawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not undrawn:
        return []
    streaks = dict(rows(_STREAKS, [pool_id, sorted({row["task_id"] for row in undrawn})]))
    chances = {task: replication_probability(streak) for task, streak in streaks.items()}
    secret = settings.SECRET_KEY
    return [row for row in undrawn if drawn(secret, row["unit"], row["fence"], chances[row["task_id"]])]


def note_ended(ended: list[dict[str, Any]]) -> None:
    """A loss or a node's fault ends a streak where results are checked. Rows as `settling` ends them."""
    if any(row["checked"] for row in ended):
        wake("scheduler.judge")
    note_lost([row for row in ended if row["state"] == "lost" or row["reason"] == "node_fault"])


def note_lost(lost: list[dict[str, Any]]) -> None:
    """Attempts that came to nothing by their node. Rows hold task_id and pool_id."""
    if not lost:
        return
    tasks = Task.objects.filter(pk__in={row["task_id"] for row in lost}, plan__verify__compare__isnull=False)
    versions = dict(tasks.values_list("pk", "capability_version_id"))
    lessons = Lessons()
    for row in lost:
        if row["task_id"] in versions:
            lessons.of(row["pool_id"], versions[row["task_id"]]).lost += 1
    learn(lessons)


def learn(lessons: Lessons) -> None:
    """Add to the records; a wrong or lost result ends the streak."""
    if not lessons.seen:
        return
    pairs = sorted(lessons.seen)
    columns: dict[str, Any] = {"pool": [pool for pool, _ in pairs], "version": [version for _, version in pairs]}
    for name in ("valid", "invalid", "lost"):
        columns[name] = [getattr(lessons.seen[pair], name) for pair in pairs]
    rows(_LEARN, columns | {"half_life": HALF_LIFE.total_seconds()})


# -- consequences ---------------------------------------------------------------------------------------------------

_WRONG: Final = """
SELECT pool_id, count(*) FROM scheduler_attempt
WHERE state = 'invalid' AND code <> 'no_consensus' AND pool_id = ANY(%s) AND ended_at > now() - %s GROUP BY pool_id
"""
_CONSEQUENCES: Final = """
UPDATE marketplace_pool p
SET daily_quota = c.quota, quarantined_until = CASE WHEN c.until = '' THEN NULL ELSE c.until::timestamptz END,
    quarantines = c.times, quarantine_reason = c.reason
FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::int[], %s::text[]) AS c(id, quota, until, times, reason)
WHERE p.id = c.id
"""
# A pool in quarantine keeps nothing that it has not begun, and what it runs unchecked is checked after all.
_TAKE_BACK: Final = """
UPDATE scheduler_unit SET state = 'waiting', pool_id = NULL WHERE id IN (
    SELECT id FROM scheduler_unit WHERE state = 'placed' AND pool_id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)
"""
_DOUBT: Final = """
WITH free AS (
    SELECT a.id FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id
    WHERE a.state IN ('leased', 'running') AND NOT a.checked AND u.checked IS NULL
      AND a.agent_id IN (SELECT id FROM marketplace_agent WHERE pool_id = ANY(%s))
    FOR NO KEY UPDATE OF a SKIP LOCKED
), doubted AS (
    UPDATE scheduler_attempt a SET checked = true FROM free WHERE a.id = free.id RETURNING a.unit_id
), marked AS (
    UPDATE scheduler_unit u SET checked = true FROM doubted WHERE u.id = doubted.unit_id
)
INSERT INTO scheduler_unjudged (unit_id, at) SELECT unit_id, now() FROM doubted
"""


def draw_consequences(
    right: Mapping[int, int], wrong: Mapping[int, int], why: Mapping[int, str] = MappingProxyType({})
) -> list[int]:
    """Quota and quarantine of pools after verdicts: how many results of each were right and wrong, and `why` they were wrong.

    Returns the pools that are in quarantine now and were not before.
    """
    touched = sorted({*wrong, *_limited(right)})
    if not touched:
        return []
    pools = list(Pool.objects.filter(pk__in=touched).order_by("pk").select_for_update(no_key=True))
    today = dict(rows(_WRONG, [sorted(wrong), QUARANTINE_WINDOW])) if wrong else {}
    changed = [_consequence(pool, right.get(pool.pk, 0), wrong.get(pool.pk, 0), today.get(pool.pk, 0)) for pool in pools]
    columns = [[pool.pk for pool in pools], *(list(column) for column in zip(*changed, strict=True))]
    rows(_CONSEQUENCES, columns)
    _tell(pools, changed, wrong, why)
    caught = [pool.pk for pool, (_, until, times, _) in zip(pools, changed, strict=True) if times > pool.quarantines]
    if caught:
        rows(_TAKE_BACK, [caught])
        rows(_DOUBT, [caught])
        wake("scheduler.match")
        wake("scheduler.recheck")
    return caught


def _tell(
    pools: list[Pool], changed: list[tuple[int | None, str, int, str]], wrong: Mapping[int, int], why: Mapping[int, str]
) -> None:
    """Owners hear of wrong results, and that their pool is in quarantine, or back."""
    events, now = [], timezone.now()
    for pool, (quota, until, times, reason) in zip(pools, changed, strict=True):
        if count := wrong.get(pool.pk, 0):
            told = f"{count} result{'s' if count > 1 else ''}, unpaid: {why.get(pool.pk, '')}"[:160]
            events.append(PoolEvent(pool=pool, kind=PoolEvent.Kind.WRONG, detail=f"{told}; quota {quota} units a day", at=now))
        if times > pool.quarantines:
            events.append(PoolEvent(pool=pool, kind=PoolEvent.Kind.QUARANTINED, detail=f"until {until[:16]}: {reason}", at=now))
        elif pool.quarantined_until is not None and not until:
            events.append(PoolEvent(pool=pool, kind=PoolEvent.Kind.RETURNED, detail=reason, at=now))
    PoolEvent.objects.bulk_create(events)


def _limited(right: Mapping[int, int]) -> list[int]:
    """Of the pools that were right, those with a limit that this may ease."""
    held = Pool.objects.filter(pk__in=list(right)).exclude(daily_quota=None, quarantined_until=None)
    return list(held.values_list("pk", flat=True)) if right else []


def _consequence(pool: Pool, right: int, wrong: int, wrong_today: int) -> tuple[int | None, str, int, str]:
    """(quota, end of quarantine or "", quarantines so far, why)."""
    quota = halved(pool.daily_quota, wrong) if wrong else regained(pool.daily_quota, right)
    now, until = timezone.now(), pool.quarantined_until
    on_probation = until is not None and until <= now
    if wrong and (on_probation or (until is None and wrong_today >= QUARANTINE_AFTER)):
        times = pool.quarantines + 1
        reason = "wrong again on probation" if on_probation else f"{wrong_today} wrong results within a day"
        return quota, (now + quarantine_of(times)).isoformat(), times, reason
    if right and on_probation:
        return quota, "", pool.quarantines, "came back: a checked result was right"
    return quota, "" if until is None else until.isoformat(), pool.quarantines, pool.quarantine_reason


def lift_quarantine(pool: Pool) -> bool:
    """An operator's word: the pool takes work as before, its quota without limit. True if it was held."""
    held = Pool.objects.filter(pk=pool.pk).exclude(quarantined_until=None, daily_quota=None)
    lifted = held.update(quarantined_until=None, daily_quota=None, quarantine_reason="lifted by an operator")
    if lifted:
        PoolEvent.objects.create(pool=pool, kind=PoolEvent.Kind.LIFTED, detail="by an operator", at=timezone.now())
        wake("scheduler.match")
    return bool(lifted)


# -- reads ----------------------------------------------------------------------------------------------------------


def records_of(pool_ids: Iterable[int], versions: Iterable[int] | None = None) -> dict[Pair, Record]:
    """What is known of pools with versions (of all versions, if none are named). One statement."""
    known = Trust.objects.filter(pool_id__in=list(pool_ids))
    if versions is not None:
        known = known.filter(capability_version_id__in=list(versions))
    now = timezone.now()
    return {(row.pool_id, row.capability_version_id): record_of(row, now - row.updated_at) for row in known}


def record_of(row: Trust, age: timedelta) -> Record:
    return Record(row.streak, row.valid, row.invalid, row.lost, row.samples, age)


def trust_of(versions: Iterable[int]) -> dict[Pair, float]:
    """The probability that a result is right, by (pool, version), of pools that have a record. One statement.

    For the planner's cost. Pools without a record have a newcomer's expectation, 2/3.
    """
    now = timezone.now()
    found = Trust.objects.filter(capability_version_id__in=list(versions))
    records = {(row.pool_id, row.capability_version_id): record_of(row, now - row.updated_at) for row in found}
    return {pair: expected_valid(record) for pair, record in records.items()}
