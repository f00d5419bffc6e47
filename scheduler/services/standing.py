"""A pool's standing as everybody may see it: level, reputation, quarantine; and the hourly review of levels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from core.errors import Invalid
from marketplace.models import Agent, Pool
from scheduler.models import PoolEvent, Trust
from scheduler.scene import is_unproven, worth_of
from scheduler.services.trusting import record_of, records_of
from scheduler.sql import rows
from scheduler.verification.levels import Level, Standing, ends_soon, level_of
from scheduler.verification.trust import Record, decay, replication_probability, reputation

Kind = PoolEvent.Kind
LONGEST_AUDIT: Final = timedelta(days=3 * 366)

_LEVELS: Final = """
UPDATE marketplace_pool p SET level = v.level, level_until = CASE WHEN v.until = '' THEN NULL ELSE v.until::timestamptz END,
       level_reason = v.reason
FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[]) AS v(id, level, until, reason) WHERE p.id = v.id
"""


def joined(records: Iterable[Record]) -> Record:
    """The records of a pool with all versions as one, each brought to now. A streak is a matter of one version."""
    listed = list(records)
    sums = {name: sum(getattr(one, name) * decay(one.age) for one in listed) for name in ("valid", "invalid", "lost")}
    return Record(samples=sum(one.samples for one in listed), **sums)


def reputations_of(pool_ids: Collection[int]) -> Mapping[int, dict[str, Any]]:
    """The public reputation of pools, over all versions, in one statement; pools without a verdict are left out."""
    by_pool: dict[int, list[Record]] = defaultdict(list)
    for (pool, _), record in records_of(pool_ids).items():
        by_pool[pool].append(record)
    return {pool: reputation(joined(records)) for pool, records in by_pool.items()}


def standing_of(pool: Pool) -> dict[str, Any]:
    """Everything about a pool's trust, for its owner: what counts, how, and what follows from it."""
    now = timezone.now()
    known = Trust.objects.filter(pool=pool).select_related("capability_version__capability__organization")
    records = [(row, record_of(row, now - row.updated_at)) for row in known.order_by("capability_version_id")]
    return {
        "pool": pool.identifier,
        "level": pool.level,
        "level_until": pool.level_until,
        "level_missing": pool.level_reason,
        "unproven": is_unproven(pool),
        "believed_up_to": worth_of(pool.level),
        "reputation": reputation(joined(record for _, record in records)),
        "quarantine": _quarantine_of(pool, now),
        "daily_quota": pool.daily_quota,
        "versions": [_version_of(row, record) for row, record in records],
        "events": list(PoolEvent.objects.filter(pool=pool).order_by("-id").values("kind", "detail", "at")[:20]),
    }


def _quarantine_of(pool: Pool, now: datetime) -> dict[str, Any] | None:
    if pool.quarantined_until is None:
        return None
    state = "closed" if pool.quarantined_until > now else "half_open"
    return {"state": state, "until": pool.quarantined_until, "reason": pool.quarantine_reason, "times": pool.quarantines}


def _version_of(row: Trust, record: Record) -> dict[str, Any]:
    return {
        "capability": str(row.capability_version),
        "consecutive_valid": row.streak,
        "check_probability": round(replication_probability(row.streak), 4),
        "reputation": reputation(record),
    }


# -- levels -----------------------------------------------------------------------------------------------------------


@transaction.atomic
def review_levels() -> int:
    """Decide every pool's level anew, and tell owners of changes and of ends within a week. Returns the changes."""
    now = timezone.now()
    agents = Agent.objects.filter(pool=OuterRef("pk"), retired_at__isnull=True)
    pools = list(Pool.objects.exclude(state=Pool.State.RETIRED).annotate(has_agent=Exists(agents)).order_by("pk"))
    records: dict[int, list[Record]] = defaultdict(list)
    for (pool, _), record in records_of(pool.pk for pool in pools).items():
        records[pool].append(record)
    levels = {pool.pk: level_of(_standing(pool, records[pool.pk]), now) for pool in pools}
    changed = [pool for pool in pools if _as_row(pool) != _level_row(levels[pool.pk])]
    if changed:
        columns = zip(*((pool.pk, *_level_row(levels[pool.pk])) for pool in changed), strict=True)
        rows(_LEVELS, [list(column) for column in columns])
    moved = [pool for pool in changed if pool.level != levels[pool.pk].number]
    tell_owners((pool.pk, Kind.LEVEL, _change(pool, levels[pool.pk])) for pool in moved)
    _give_notice(levels, now)
    return len(moved)


def _standing(pool: Any, records: list[Record]) -> Standing:
    return Standing(
        state=pool.state,
        has_agent=pool.has_agent,
        verified_at=pool.verified_at,
        selftest_at=pool.selftest_at or pool.verified_at,
        measured=pool.fp32_mflops > 0,
        quarantined=pool.quarantined_until is not None,
        audited_until=pool.audited_until,
        records=tuple(records),
    )


def _as_row(pool: Pool) -> tuple[int, str, str]:
    return pool.level, pool.level_until.isoformat() if pool.level_until else "", pool.level_reason


def _level_row(level: Level) -> tuple[int, str, str]:
    return level.number, level.until.isoformat() if level.until else "", level.missing


def _change(pool: Pool, level: Level) -> str:
    more = f"; for L{level.number + 1}: {level.missing}" if level.missing else ""
    return f"L{pool.level} to L{level.number}{more}"[:200]


def _give_notice(levels: Mapping[int, Level], now: datetime) -> None:
    """One notice for each end: the end itself stands in it, so it is not told twice."""
    ending = {pool: level for pool, level in levels.items() if ends_soon(level, now)}
    told = set(PoolEvent.objects.filter(pool_id__in=list(ending), kind=Kind.LEVEL_ENDS).values_list("pool_id", "detail"))
    notices = {(pool, f"L{level.number} ends {level.until:%Y-%m-%d %H:%M} UTC") for pool, level in ending.items()}
    tell_owners((pool, Kind.LEVEL_ENDS, detail) for pool, detail in sorted(notices - told))


def tell_owners(events: Iterable[tuple[int, str, str]]) -> None:
    """Write events of pools: (pool, kind, detail)."""
    now = timezone.now()
    PoolEvent.objects.bulk_create(PoolEvent(pool_id=pool, kind=kind, detail=detail, at=now) for pool, kind, detail in events)


def vouch_for(pool: Pool, until: datetime) -> Pool:
    """An operator's word that an independent audit holds until then. Raises Invalid `audit_period`."""
    now = timezone.now()
    if not now < until <= now + LONGEST_AUDIT:
        raise Invalid("audit_period", "an audit holds from now on, for three years at most", field="until")
    with transaction.atomic():
        Pool.objects.filter(pk=pool.pk).update(audited_until=until)
        tell_owners([(pool.pk, Kind.AUDITED, f"until {until:%Y-%m-%d}")])
        review_levels()
    return Pool.objects.get(pk=pool.pk)
