"""The marketplace's jobs. Thin: services do the work; losing one run loses nothing."""

from __future__ import annotations

import logging

from celery import shared_task

from core.wake import awake
from marketplace.services.artifacts import sweep_uploads
from marketplace.services.contracts import follow_zones
from marketplace.services.housekeeping import forget_expired
from marketplace.services.replicas import JOB, place_replicas
from marketplace.webhooks.background import background
from marketplace.webhooks.outbox import JOB as SEND
from marketplace.webhooks.replaying import forget_old, put_right

log = logging.getLogger(__name__)


@shared_task(name="marketplace.housekeep")
def housekeep() -> None:
    """Every ten minutes: delete what has expired, and follow contracts that have begun."""
    awake("marketplace.housekeep")
    follow_zones()
    log.info("forgot %s", {**forget_expired(), **forget_old(), "uploads": sweep_uploads()})


@shared_task(name=JOB)
def replicate() -> None:
    """Every few seconds, and when a copy was wished for: the step is its own sweep."""
    awake(JOB)
    place_replicas()


@shared_task(name=SEND)
def send_webhooks() -> None:
    """When events are written, and every few seconds for retries and lost wakes: the sender looks for itself what is due."""
    awake(SEND)
    background.start()


@shared_task(name="marketplace.tidy_webhooks")
def tidy_webhooks() -> None:
    """Every minute: what a race left late is due."""
    if put_right():
        background.start()
