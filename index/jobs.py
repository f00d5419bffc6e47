"""The index' job: each night the platform counts itself. Thin: `live/services.py` does the work."""

from __future__ import annotations

from celery import shared_task

from core.wake import awake
from index.live.services import count_months


@shared_task(name="index.count")
def count_job() -> None:
    """Count this month, and the last one while it may still change."""
    awake("index.count")
    count_months()
