"""The marketplace's jobs. Thin: services do the work; losing one run loses nothing."""

from __future__ import annotations

import logging

from celery import shared_task

from core.wake import awake
from marketplace.services.artifacts import sweep_uploads
from marketplace.services.housekeeping import forget_expired
from marketplace.services.replicas import JOB, place_replicas

log = logging.getLogger(__name__)


@shared_task(name="marketplace.housekeep")
def housekeep() -> None:
    """Every ten minutes: delete what has expired."""
    awake("marketplace.housekeep")
    log.info("forgot %s", {**forget_expired(), "uploads": sweep_uploads()})


@shared_task(name=JOB)
def replicate() -> None:
    """Every few seconds, and when a copy was wished for: the step is its own sweep."""
    awake(JOB)
    place_replicas()
