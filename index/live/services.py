"""Counting a month of the platform and keeping it. Each night, and on demand; what was kept before stays, and the newest stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from index.defining import canonical, definition_named, ensure_shipped, tree_of
from index.live.sql import COUNTED
from index.method.numbers import stored
from index.models import Observation, ObservationBatch
from index.running.documents import FORMAT

SETTLES: Final = timedelta(days=3)  # so long after a month's end it is counted again
SHRINK: Final = 10  # ratings of the platform's mean
FEWEST: Final = 5  # organizations that rated
CODE: Final = "cpsdi-2023"


@dataclass(frozen=True, slots=True)
class Window:
    """[start, until) of a calendar month in UTC, and when the month before it began."""

    period: str
    before: datetime
    start: datetime
    until: datetime

    @classmethod
    def of(cls, moment: datetime, now: datetime) -> Window:
        """The month of a moment, up to now."""
        start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (start + timedelta(days=32)).replace(day=1)
        return cls(f"{start:%Y-%m}", (start - timedelta(days=1)).replace(day=1), start, min(following, now))


def count_months(now: datetime | None = None) -> list[ObservationBatch]:
    """Count the month that is running, and the one before it while it may still change. May run as often as one likes."""
    ensure_shipped()
    now = now or timezone.now()
    windows = [Window.of(now, now)]
    if now - windows[0].start < SETTLES:
        windows.insert(0, Window.of(windows[0].before, now))
    return [batch for window in windows if (batch := count(window))]


def count(window: Window) -> ObservationBatch | None:
    """Keep what a window comes to, with its number of rows and its bounds. None if nothing has changed since the last count."""
    rows = _counted(window)
    told = {
        "format": FORMAT,
        "period": window.period,
        "rows": [[variable, region, str(value)] for variable, region, value, _ in rows],
    }
    digest = sha256(canonical(told)).hexdigest()
    with transaction.atomic():
        last = ObservationBatch.objects.filter(profile="platform", origin="live", name=_name(window)).order_by("-pk").first()
        if not rows or (last is not None and last.source.get("counted") == digest and last.state == "committed"):
            return None
        return _keep(window, rows, digest)


def _counted(window: Window) -> list[tuple[str, str, Decimal, int]]:
    given: dict[str, Any] = {"start": window.start, "until": window.until, "before": window.before, "currency": settings.CURRENCY}
    given |= {"shrink": SHRINK, "fewest": FEWEST}
    with connection.cursor() as cursor:
        cursor.execute(COUNTED, given)
        found = cursor.fetchall()
    return sorted((variable, region, stored(Decimal(value)), n) for variable, region, value, n in found)


def _keep(window: Window, rows: Sequence[tuple[str, str, Decimal, int]], digest: str) -> ObservationBatch:
    now = timezone.now()
    told = f"{window.start.isoformat()}/{window.until.isoformat()}"
    batch = ObservationBatch.objects.create(
        profile="platform", origin="live", name=_name(window), digest=sha256(f"{digest}/{now.isoformat()}".encode()).hexdigest(),
        source={"title": "Counted by this platform", "window": told, "counted": digest}, rows=len(rows), state="committed",
        created_at=now, committed_at=now,
    )  # fmt: skip
    units = _units()
    Observation.objects.bulk_create([
        Observation(
            batch=batch, region=region, variable=variable, period=window.period, value=value, unit=units[variable],
            vintage=now.date(), source="counted by this platform", row=number,
            evidence={"window": told, "n": n, "query": "index/live/sql.py"},
        )
        for number, (variable, region, value, n) in enumerate(rows, 1)
    ])  # fmt: skip
    return batch


def _units() -> dict[str, str]:
    """What is counted is in the units of the index' own variables."""
    tree = tree_of(definition_named(CODE))
    return {code: one.unit.code for code, one in tree.variables.items() if one.profile == "platform"}


def _name(window: Window) -> str:
    return f"live {window.period}"
