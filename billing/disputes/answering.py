"""What the parties say: the respondent's answer, messages, and the customer's withdrawal. Guarded moves of sets, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from billing.disputes.states import LIVE
from billing.models import Dispute, DisputedCharge, DisputeMessage
from billing.telling import tell_disputes
from core.errors import Conflict, NotFound
from marketplace.models import Organization, User


def answer(
    disputes: Sequence[int], respondent: Organization, position: str, text: str, by: User, now: datetime | None = None
) -> list[Dispute]:
    """The respondent accepts or contests: open -> answered. Raises NotFound `not_found`, Conflict `dispute_moved`."""
    at = now or timezone.now()
    with transaction.atomic():
        held = _held(disputes, "open", respondent=respondent)
        Dispute.objects.filter(pk__in=[one.pk for one in held]).update(state="answered", position=position, answered_at=at)
        said = [DisputeMessage(dispute=one, role=role_of(one, respondent), author=by, text=text, at=at) for one in held]
        DisputeMessage.objects.bulk_create(said)
        tell_disputes([one.pk for one in held], "answered", at)
    return _again(held)


def withdraw(disputes: Sequence[int], organization: Organization, now: datetime | None = None) -> list[Dispute]:
    """The customer gives disputes up; their shares may go out. Raises NotFound `not_found`, Conflict `dispute_moved`."""
    at = now or timezone.now()
    with transaction.atomic():
        held = _held(disputes, *LIVE, organization=organization)
        keys = [one.pk for one in held]
        DisputedCharge.objects.filter(dispute__in=keys).update(state="withdrawn")
        Dispute.objects.filter(pk__in=keys).update(state="withdrawn", ended_at=at)
        tell_disputes(keys, "withdrawn", at)
    return _again(held)


def say(dispute: Dispute, organization: Organization | None, text: str, by: User, now: datetime | None = None) -> DisputeMessage:
    """Add a message; `organization` None: the platform speaks. Raises Conflict `dispute_moved` once the dispute has ended."""
    with transaction.atomic():
        held = Dispute.objects.select_for_update(no_key=True).get(pk=dispute.pk)
        if held.state not in LIVE:
            raise Conflict("dispute_moved", f"this dispute is {held.state}: nothing is added to it")
        role = "platform" if organization is None else role_of(held, organization)
        return DisputeMessage.objects.create(dispute=held, role=role, author=by, text=text, at=now or timezone.now())


def role_of(dispute: Dispute, organization: Organization) -> str:
    """As whom an organization speaks in a dispute."""
    if organization.pk == dispute.organization_id:
        return "customer"
    return "provider" if organization.pk == dispute.provider_id else "publisher"


def _held(disputes: Sequence[int], *states: str, **whose: Organization) -> list[Dispute]:
    """These disputes, locked in one order; all are somebody's and in one of the states."""
    found = list(Dispute.objects.filter(pk__in=set(disputes), **whose).order_by("pk").select_for_update())
    if len(found) != len(set(disputes)):
        raise NotFound("not_found", "no such dispute")
    for one in found:
        if one.state not in states:
            raise Conflict("dispute_moved", f"dispute {one.pk} is {one.state}", dispute=one.pk)
    return found


def _again(held: Sequence[Dispute]) -> list[Dispute]:
    rows = Dispute.objects.select_related("organization", "provider", "publisher", "respondent")
    return list(rows.filter(pk__in=[one.pk for one in held]).order_by("pk"))
