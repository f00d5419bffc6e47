"""Sending again: one delivery, or everything since a moment; and forgetting what is old."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import NotFound
from core.wake import wake
from marketplace.auth import Caller
from marketplace.models import WebhookDelivery, WebhookEndpoint
from marketplace.webhooks import sql
from marketplace.webhooks.endpoints import endpoint_of
from marketplace.webhooks.outbox import JOB

FORGET_MOST: Final = 10_000
_ENDED: Final = ("delivered", "given_up")


def deliveries_of(endpoint: WebhookEndpoint) -> QuerySet[WebhookDelivery]:
    """An endpoint's deliveries with their events."""
    return WebhookDelivery.objects.filter(endpoint=endpoint).select_related("event")


def delivery_of(caller: Caller, endpoint_id: UUID, delivery_id: int) -> WebhookDelivery:
    """One of them. Raises NotFound `webhook_unknown` or `delivery_unknown`."""
    found = deliveries_of(endpoint_of(caller, endpoint_id)).filter(pk=delivery_id).first()
    if found is None:
        raise NotFound("delivery_unknown", "no such delivery")
    return found


def replay_deliveries(deliveries: Iterable[int]) -> int:
    """Send these again; those that wait for their next try, now. Those under way are left alone. Returns how many.

    What is sent again is no longer an end that later events may pass: one that is not sent yet waits for it.
    """
    ids = sorted(deliveries)
    given = {"ids": ids, "now": timezone.now()}
    with transaction.atomic():
        _lock(WebhookEndpoint.objects.filter(deliveries__in=ids).values_list("pk", flat=True))
        count = _count(sql.HURRY_THESE, given) + _count(sql.REPLAY_THESE, given)
        wake(JOB)
    return count


def replay_since(endpoint: WebhookEndpoint, since: datetime, *, failed_only: bool = False) -> int:
    """Send an endpoint everything that was written for it since a moment, in order. Returns how many deliveries.

    Events from before the endpoint was there, or of types that it did not ask for then, are sent too, as far as they are
    kept; with `failed_only` just what was given up.
    """
    given = {"endpoint": endpoint.pk, "since": since, "now": timezone.now(), "states": ["given_up"] if failed_only else [*_ENDED]}
    with transaction.atomic():
        _lock([endpoint.pk])
        count = _count(sql.REPLAY_SENT, given)
        count += 0 if failed_only else _count(sql.REPLAY_MISSED, given)
        wake(JOB)
    return count


def put_right() -> int:
    """Make due what waits for nothing any more."""
    return _count(sql.PUT_RIGHT, {"now": timezone.now()})


def forget_old(now: datetime | None = None) -> dict[str, int]:
    """Delete events older than GRIDFARE_WEBHOOK_DAYS with all that hangs on them, and as old entries of the log."""
    before = (now or timezone.now()) - timedelta(days=settings.WEBHOOK_DAYS)
    given = {"before": before, "most": FORGET_MOST}
    with transaction.atomic():
        return {"webhook_tries": _count(sql.FORGET_LOG, given), "webhook_events": _count(sql.FORGET, given)}


def _lock(endpoints: Iterable[UUID]) -> None:
    """In the order in which senders take them, so that nobody waits for each other."""
    _count(sql.LOCK, [sorted(set(endpoints))])


def _count(statement: str, given: object) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)  # type: ignore[arg-type]
        return int(cursor.rowcount)
