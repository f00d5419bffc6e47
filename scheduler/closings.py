"""Reads of when pools close (`closing.py`), in one statement for many."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.utils import timezone

from marketplace.models import Pool
from marketplace.services.availability import windows_of
from scheduler.closing import Closing, closing_of


def closings_of(pools: Sequence[Pool]) -> dict[int, Closing]:
    """The closing of each pool that has one in sight."""
    windows, now = windows_of([pool.pk for pool in pools]), timezone.now()
    told = [pool for pool in pools if pool.pk in windows or pool.reclaim_at is not None]
    found = {
        pool.pk: closing_of(
            now,
            reclaim_at=pool.reclaim_at,
            reclaim_until=pool.reclaim_until,
            windows=windows.get(pool.pk, []),
            notice_s=settings.RECLAIM_NOTICE_SECONDS,
        )
        for pool in told
    }
    return {pool_id: closing for pool_id, closing in found.items() if closing != Closing()}
