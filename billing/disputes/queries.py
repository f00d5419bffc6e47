"""What can be asked about disputes: who sees which, and their charges."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from billing.disputes.states import LIVE, may_move
from billing.models import Charge, Dispute, DisputedCharge, PeriodCharge
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
    return dispute.items.select_related(
        "charge__usage__pool", "refund", "note", "charge__invoiced__line__invoice", "period_charge__offer__pool",
        "period_charge__version__capability__organization", "period_charge__invoiced__line__invoice",
    )  # fmt: skip


def open_to(dispute: Dispute, organization: Organization | None, *, operator: bool = False) -> frozenset[str]:
    """What an organization (with none, or as an operator too: the platform) may do about a dispute now. Pure."""
    mine = organization.pk if organization else None
    may = {
        "answer": mine == dispute.respondent_id and may_move(dispute.state, "answered"),
        "withdraw": mine == dispute.organization_id and may_move(dispute.state, "withdrawn"),
        "decide": operator and may_move(dispute.state, "decided"),
        "say": dispute.state in LIVE,
    }
    return frozenset(name for name, can in may.items() if can)


def dispute_about(charge: Charge | PeriodCharge) -> int | None:
    """The dispute that a charge is, or was decided, in; None while there is none or it was withdrawn."""
    of = {"period_charge" if isinstance(charge, PeriodCharge) else "charge": charge.pk}
    held = DisputedCharge.objects.filter(**of).exclude(state="withdrawn")  # what the unique index holds
    return held.values_list("dispute_id", flat=True).first()


def summary(dispute: Dispute) -> dict[str, Any]:
    """A dispute in short, amounts as decimal text."""
    names = ("id", "state", "reason", "position", "outcome", "currency", "opened_at", "answer_until", "answered_at", "ended_at")
    told = {name: getattr(dispute, name) for name in names}
    parties = {"customer": dispute.organization.slug, "provider": dispute.provider and dispute.provider.slug}
    parties |= {"publisher": dispute.publisher and dispute.publisher.slug, "respondent": dispute.respondent.slug}
    amounts = {"disputed": text_of(dispute.disputed_micros), "awarded": text_of(dispute.awarded_micros)}
    return told | parties | amounts | {"charges": dispute.charges_count}


def messages_of(dispute: Dispute) -> list[dict[str, Any]]:
    """What was said, oldest first."""
    return [{"role": one.role, "text": one.text, "at": one.at} for one in dispute.messages.order_by("pk")]


def item(one: DisputedCharge) -> dict[str, Any]:
    """A disputed charge: where it stands, and what was taken back of it."""
    charge = one.charge or one.period_charge
    invoiced = getattr(charge, "invoiced", None)
    return _of(one) | {
        "state": one.state,
        "amount": text_of(one.micros),
        "awarded": text_of(one.awarded_micros),
        "refund": one.refund_id,
        "period_refund": one.period_refund_id,
        "credit_note": one.note.number if one.note else None,
        "invoice": invoiced.line.invoice_id if invoiced else None,
        "line": invoiced.line.number if invoiced else None,
    }


def _of(one: DisputedCharge) -> dict[str, Any]:
    """Which charge it is, and of what."""
    nothing = dict.fromkeys(("charge", "period_charge", "kind", "meter", "task", "attempt", "pool", "capability"))
    if (month := one.period_charge) is not None:
        listed = {"pool": month.pool, "capability": month.capability}
        return nothing | listed | {"period_charge": month.pk, "kind": "period", "meter": month.meter}
    charge = one.charge
    assert charge is not None  # noqa: S101 one of both, as a CHECK has it
    found = nothing | {"charge": charge.pk, "kind": charge.kind, "task": str(charge.task_id)}
    return found | ({"attempt": charge.usage.attempt_id, "pool": charge.usage.pool.identifier} if charge.usage else {})
