"""Operators' word on events that were kept apart."""

from __future__ import annotations

from typing import cast

from django.db import transaction
from django.utils import timezone

from core.errors import Conflict, NotFound
from core.wake import wake
from marketplace.models import Organization, Pool, User
from metering.cutoffs import accepted_now
from metering.events.reading import Event, read
from metering.events.sorting import Row
from metering.events.writing import numbers_of, staged
from metering.models import QuarantinedEvent, UsageBatch


def accept_event(number: int, user: User) -> QuarantinedEvent:
    """Count an event that was too old to be taken unseen, as of now.

    NotFound; Conflict `usage_decided` when somebody has decided, `usage_first_stands` for what contradicts a stored event.
    """
    with transaction.atomic():
        kept = _decided(number, user, "accepted")
        event = cast("Event", read(kept.document))  # it could be read when it was kept
        row = Row(kept.key.hex, kept.digest.hex, event, old=False)
        stored = UsageBatch.objects.create(provider=kept.provider, received_at=accepted_now(), rows=1)
        pools = dict(Pool.objects.filter(identifier=event.series.pool).values_list("identifier", "pk"))
        customers = dict(Organization.objects.filter(slug=event.series.subject).values_list("slug", "pk"))
        if staged([row], stored, numbers_of(kept.provider, [event.series], pools, customers)):
            raise Conflict("usage_first_stands", "another event with its source and id was counted meanwhile")
        wake("metering.rollup")
    return kept


def refuse_event(number: int, user: User) -> QuarantinedEvent:
    """Leave an event out for good. NotFound; Conflict `usage_decided`."""
    with transaction.atomic():
        return _decided(number, user, "refused")


def _decided(number: int, user: User, state: str) -> QuarantinedEvent:
    kept = QuarantinedEvent.objects.filter(pk=number).select_related("provider").first()
    if kept is None:
        raise NotFound("not_found", "no such event")
    if kept.reason == QuarantinedEvent.Reason.CONFLICT and state == "accepted":
        raise Conflict("usage_first_stands", "it contradicts an event that is counted; the first stands")
    moved = {"state": state, "decided_at": timezone.now(), "decided_by": user}
    if not QuarantinedEvent.objects.filter(pk=number, state="open").update(**moved):
        raise Conflict("usage_decided", f"it is {kept.state} already")
    for name, value in moved.items():
        setattr(kept, name, value)
    return kept
