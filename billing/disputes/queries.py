"""What can be asked about disputes: who sees which, and their charges."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from billing.models import Dispute, DisputedCharge
from core.money import text_of
from marketplace.models import Organization


def disputes_shown(organization: Organization | None) -> QuerySet[Dispute]:
    """The disputes that an organization has part in as customer, provider or publisher; with None all, for operators."""
    rows = Dispute.objects.select_related("organization", "provider", "publisher", "respondent")
    if organization is None:
        return rows
    return rows.filter(Q(organization=organization) | Q(provider=organization) | Q(publisher=organization))


def items_of(dispute: Dispute) -> QuerySet[DisputedCharge]:
    """A dispute's charges with what their documents show."""
    return dispute.items.select_related("charge__usage__pool", "refund", "note", "charge__invoiced__line__invoice")


def summary(dispute: Dispute) -> dict[str, Any]:
    """A dispute in short, amounts as decimal text."""
    names = ("id", "state", "reason", "position", "outcome", "currency", "opened_at", "answer_until", "answered_at", "ended_at")
    told = {name: getattr(dispute, name) for name in names}
    parties = {"customer": dispute.organization.slug, "provider": dispute.provider and dispute.provider.slug}
    parties |= {"publisher": dispute.publisher.slug, "respondent": dispute.respondent.slug}
    amounts = {"disputed": text_of(dispute.disputed_micros), "awarded": text_of(dispute.awarded_micros)}
    return told | parties | amounts | {"charges": dispute.charges_count}


def messages_of(dispute: Dispute) -> list[dict[str, Any]]:
    """What was said, oldest first."""
    return [{"role": one.role, "text": one.text, "at": one.at} for one in dispute.messages.order_by("pk")]


def item(one: DisputedCharge) -> dict[str, Any]:
    """A disputed charge: where it stands, and what was taken back of it."""
    charge, invoiced = one.charge, getattr(one.charge, "invoiced", None)
    return {
        "charge": charge.pk,
        "kind": charge.kind,
        "task": str(charge.task_id),
        "attempt": charge.usage.attempt_id if charge.usage else None,
        "pool": charge.usage.pool.identifier if charge.usage else None,
        "state": one.state,
        "amount": text_of(one.micros),
        "awarded": text_of(one.awarded_micros),
        "refund": one.refund_id,
        "credit_note": one.note.number if one.note else None,
        "invoice": invoiced.line.invoice_id if invoiced else None,
        "line": invoiced.line.number if invoiced else None,
    }
