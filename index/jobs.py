"""The index' jobs: each night the platform counts itself, and when pools and charges move the preview does. Thin."""

from __future__ import annotations

from celery import shared_task

from core.wake import awake
from index.live.services import count_months
from index.preview.counting import forget, recount


@shared_task(name="index.count")
def count_job() -> None:
    """Count this month, and the last one while it may still change; forget previews of long ago."""
    awake("index.count")
    count_months()
    forget()


@shared_task(name="index.preview")
def preview_job() -> None:
    """Woken by pools and charges, and each minute for what a lost wake left: one recount, however many there were."""
    awake("index.preview")
    recount()
