"""When a pool is not there: maintenance that its owner plans, and machines that are wanted back.

Nothing here changes a pool's state: a window and a reclaim are read against the clock, so work resumes by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import F, Func, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from core.wake import wake
from marketplace.models import Agent, CachedBlob, MaintenanceWindow, Pool

AGENT_CHANNEL: Final = "gridfare_pool"  # what a waiting agent's door listens to
EARLY: Final = timedelta(minutes=5)  # a start this long ago still means "now": clocks differ, forms take time
LONGEST: Final = timedelta(days=90)
FARTHEST: Final = timedelta(days=366)
SAME_MOMENT: Final = timedelta(seconds=2)  # an agent tells its reclaim anew in every call, in seconds from then


@dataclass(frozen=True)
class Window:
    """What an owner announces: [start, end), why, and a word for those who wait."""

    start: datetime
    end: datetime
    category: str = MaintenanceWindow.Category.OTHER
    note: str = ""


def plan_window(pool: Pool, window: Window) -> MaintenanceWindow:
    """Announce maintenance.

    Raises Invalid `window_in_the_past | window_empty | window_too_long`, Conflict `window_overlaps | pool_state`.
    """
    if pool.state == Pool.State.RETIRED:
        raise Conflict("pool_state", "a retired pool needs no maintenance", state=pool.state)
    now = timezone.now()
    period = _period(window, now)
    fields = {"category": window.category, "note": window.note, "announced_at": now}
    try:
        with transaction.atomic():
            made = MaintenanceWindow.objects.create(pool=pool, period=period, **fields)
            _tell_agent(pool.pk)
    except IntegrityError as error:
        if "maintenance_windows_do_not_overlap" not in str(error):
            raise
        raise Conflict("window_overlaps", "another window of this pool covers part of it", field="start") from None
    wake("scheduler.sweep")
    return made


def _period(window: Window, now: datetime) -> DateTimeTZRange:
    if window.start < now - EARLY:
        raise Invalid("window_in_the_past", "maintenance is announced before it begins", field="start")
    start = max(window.start, now)
    if window.end <= start:
        raise Invalid("window_empty", "the window would end before it begins", field="end")
    if window.end - start > LONGEST or window.end > now + FARTHEST:
        detail = "a window is at most 90 days long and ends within a year; drain or retire the pool instead"
        raise Invalid("window_too_long", detail, field="end")
    return DateTimeTZRange(start, window.end)


def take_back_window(pool: Pool, number: int) -> None:
    """Take back a window that has not begun, or end one that runs, now. Repeating it is one effect.

    Raises NotFound `window_unknown`, Conflict `window_over`.
    """
    with transaction.atomic():
        own = MaintenanceWindow.objects.filter(pool=pool, pk=number)
        gone, _ = own.filter(period__startswith__gt=Now()).delete()
        ended = gone or own.filter(period__contains=Now()).update(period=_until_now())
        if not ended and own.exists():
            raise Conflict("window_over", "the window is over: it stays as what happened")
        if not ended:
            raise NotFound("window_unknown", "this pool has no such window")
        _tell_agent(pool.pk)
    wake("scheduler.match")


def _until_now() -> Func:
    lower = Func(F("period"), function="lower")
    return Func(lower, Now(), Value("[)"), function="tstzrange", output_field=MaintenanceWindow._meta.get_field("period"))


def windows_of(pool_ids: Collection[int]) -> dict[int, list[tuple[datetime, datetime]]]:
    """Windows that run or are to come, per pool, soonest first: [(start, end)]."""
    found: dict[int, list[tuple[datetime, datetime]]] = {}
    wanted = set(pool_ids)
    rows = MaintenanceWindow.objects.filter(period__endswith__gt=Now())  # few, whatever the number of pools
    for pool_id, period in rows.order_by("period").values_list("pool_id", "period"):
        if pool_id in wanted:
            found.setdefault(pool_id, []).append((period.lower, period.upper))
    return found


def reclaim_pool(pool: Pool, *, in_s: float, for_s: float | None = None) -> Pool:
    """The owner wants the machines back in `in_s` seconds, for `for_s` seconds (None: until `give_back_pool`).

    Nothing new is placed from now on. Raises Conflict `pool_state` where no machine works.
    """
    now = timezone.now()
    until = None if for_s is None else now + timedelta(seconds=in_s + for_s)
    working = Pool.objects.filter(pk=pool.pk, state__in=[Pool.State.ACTIVE, Pool.State.DRAINING])
    with transaction.atomic():
        at = now + timedelta(seconds=in_s)
        if not working.update(reclaim_at=at, reclaim_until=until, reclaimed_by="owner"):
            raise Conflict("pool_state", f"a pool that is {pool.state} has nothing to give back", state=pool.state)
        _tell_agent(pool.pk)
    wake("scheduler.sweep")
    return Pool.objects.get(pk=pool.pk)


def give_back_pool(pool: Pool) -> Pool:
    """The owner no longer needs the machines; a pool that is not reclaimed stays as it is.

    Raises Conflict `reclaimed_by_agent` where the machine's own agent holds it back.
    """
    with transaction.atomic():
        Pool.objects.filter(pk=pool.pk).exclude(reclaimed_by="agent").update(**_NOT_RECLAIMED)
        present = Pool.objects.get(pk=pool.pk)
        if present.reclaim_at is not None:
            detail = "the machine itself is in use; it comes back when its agent says so"
            raise Conflict("reclaimed_by_agent", detail, reclaim_at=present.reclaim_at)
        _tell_agent(pool.pk)
    wake("scheduler.match")
    return present


_NOT_RECLAIMED: Final[dict[str, Any]] = {"reclaim_at": None, "reclaim_until": None, "reclaimed_by": ""}


def agent_reclaims(pool: Pool, in_s: float | None) -> None:
    """What the pool's agent says of its machine in every sync: wanted back in `in_s` seconds, or free (None).

    An owner's reclaim stands above it. Sets the pool's own fields, too, and writes only when something changed.
    """
    if pool.reclaimed_by == "owner" or (in_s is None and pool.reclaimed_by != "agent"):
        return
    at = None if in_s is None else timezone.now() + timedelta(seconds=in_s)
    if at is not None and pool.reclaim_at is not None and not _is_another(pool.reclaim_at, at):
        return
    fields = _NOT_RECLAIMED if at is None else {"reclaim_at": at, "reclaim_until": None, "reclaimed_by": "agent"}
    if Pool.objects.filter(pk=pool.pk).exclude(reclaimed_by="owner").update(**fields):
        for name, value in fields.items():
            setattr(pool, name, value)
    wake("scheduler.match" if at is None else "scheduler.sweep")


def _is_another(known: datetime, told: datetime) -> bool:
    """Both over already is the same moment: "now", told again."""
    now = timezone.now() + SAME_MOMENT
    return abs(known - told) > SAME_MOMENT and not (known <= now and told <= now)


def keep_status(agent: Agent, status: Mapping[str, Any], cached: list[tuple[str, int]] | None) -> None:
    """Keep what an agent told of its machine; `cached` = [(sha256, bytes)] replaces what its pool was known to hold."""
    now = timezone.now()
    Agent.objects.filter(pk=agent.pk).update(status=dict(status), status_at=now)
    if cached is None:
        return
    held = CachedBlob.objects.filter(pool_id=agent.pool_id, kept=False)  # copies that were wished for: storekeeping's
    held.exclude(sha256__in=[sha for sha, _ in cached]).delete()
    rows = [CachedBlob(pool_id=agent.pool_id, sha256=sha, bytes=size, seen_at=now) for sha, size in cached]
    CachedBlob.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["pool", "sha256"], update_fields=["bytes", "seen_at"]
    )


def cached_of(pool_ids: Collection[int], digests: Collection[str]) -> dict[tuple[int, str], int]:
    """Which of these blobs which of these pools say they hold: (pool, sha256) → bytes. For near-data placement."""
    rows = CachedBlob.objects.filter(pool_id__in=list(pool_ids), sha256__in=list(digests))
    return {(pool_id, sha): size for pool_id, sha, size in rows.values_list("pool_id", "sha256", "bytes")}


def windows_shown(pool: Pool) -> QuerySet[MaintenanceWindow]:
    """A pool's windows, past ones too."""
    return MaintenanceWindow.objects.filter(pool=pool)


def _tell_agent(pool_id: int) -> None:
    """Wake the agent's long poll when this transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [AGENT_CHANNEL, str(pool_id)])
