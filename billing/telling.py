"""What billing tells those who listen (docs/webhooks.md): invoices, payments, payouts, disputes, budgets. Set-based.

Called in the transaction of the fact, whose rows the caller holds locked. Where no endpoint listens, nothing is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, F, QuerySet
from django.utils import timezone

from billing.credit.watching import Alert
from billing.models import Dispute, Export, Invoice, Payment, PaymentReversal, Payout, SLAMeasurement
from core.money import text_of
from marketplace.models import Budget, WebhookEndpoint
from marketplace.webhooks.outbox import Event, publish
from marketplace.webhooks.types import EventType

_INVOICE: Final = {
    "id": 4711,
    "number": "GF-2026-000042",
    "state": "finalized",
    "from": "2026-04-30T16:00:00.000000Z",
    "to": "2026-05-31T16:00:00.000000Z",
    "zone": "Asia/Shanghai",
    "currency": "CNY",
    "total": "128.400000",
    "paid": "0.000000",
    "credited": "0.000000",
    "due_at": "2026-07-03T16:00:00.000000Z",
}
_PAYMENT: Final = {
    "id": 77,
    "method": "bank",
    "amount": "128.400000",
    "prepaid": "0.000000",
    "currency": "CNY",
    "received_on": "2026-06-12",
}
_REVERSED: Final = _PAYMENT | {
    "reversed": "128.400000",
    "reason": "returned by the bank",
    "reversed_at": "2026-06-15T02:00:00.000000Z",
    "invoices": [4711],
}
_SLA: Final = {
    "measurement": 5,
    "terms": 2,
    "pool": "310000-G-000003-M",
    "kind": "deadline",
    "day": "2026-03-03",
    "good": 97,
    "total": 100,
    "credit_basis_points": 1000,
    "credit": "12.500000",
    "currency": "CNY",
}
_PAYOUT: Final = {"id": 9, "state": "paid", "amount": "57.780000", "currency": "CNY", "reason": ""}
_WITHDRAWN: Final = _PAYOUT | {"state": "cancelled", "reason": "a payment of what it pays for was reversed", "reserve": "6.420000"}
_DISPUTE: Final = {
    "id": 12,
    "state": "open",
    "reason": "wrong_result",
    "customer": "acme",
    "provider": "bobs-pools",
    "publisher": "carols-programs",
    "charges": 3,
    "disputed": "12.840000",
    "awarded": "0.000000",
    "currency": "CNY",
    "position": "",
    "outcome": "",
    "answer_until": "2026-06-26T08:04:11.250000Z",
}
_BUDGET: Final = {
    "id": 3,
    "name": "rendering",
    "percent": 80,
    "action": "notify",
    "amount": "1000.000000",
    "spent": "640.250000",
    "held": "160.000000",
    "currency": "CNY",
}
_EXPORT: Final = {
    "id": "0196f0c2-7d6e-7c52-9f2e-6f4a0f3c1d11",
    "kind": "charges",
    "schema": "charges/1",
    "format": "parquet",
    "state": "ready",
    "from": "2026-04-30T16:00:00.000000Z",
    "to": "2026-05-31T16:00:00.000000Z",
    "rows": 120_000,
    "bytes": 4_120_000,
    "sha256": "5b2c…",
    "reason": "",
    "expires_at": "2026-06-08T08:00:00.000000Z",
}
_NO_FILE: Final = {"bytes": None, "sha256": "", "expires_at": None}
TYPES: Final = [
    EventType("budget.reached", "a budget's threshold was reached, once per period", _BUDGET),
    EventType("dispute.answered", "its provider accepted or contested it", _DISPUTE | {"state": "answered", "position": "accepts"}),
    EventType("dispute.decided", "it is upheld, partly or rejected", _DISPUTE | {"state": "decided", "outcome": "rejected"}),
    EventType("dispute.opened", "a customer doubts charges; told to all its parties", _DISPUTE),
    EventType("dispute.withdrawn", "the customer gave it up", _DISPUTE | {"state": "withdrawn"}),
    EventType("export.failed", "it cannot be written", _EXPORT | {"state": "failed", "reason": "number_too_large: …"} | _NO_FILE),
    EventType("export.ready", "its file can be fetched, until it expires", _EXPORT),
    EventType("invoice.finalized", "it is numbered and final", _INVOICE),
    EventType("invoice.overdue", "it was not paid in time", _INVOICE | {"state": "overdue"}),
    EventType("invoice.paid", "nothing of it is open any more", _INVOICE | {"state": "paid", "paid": "128.400000"}),
    EventType("invoice.uncollectible", "what is open of it was given up", _INVOICE | {"state": "uncollectible"}),
    EventType("invoice.void", "it was taken back; another takes its place", _INVOICE | {"state": "void"}),
    EventType("payment.received", "money came in for invoices or the wallet", _PAYMENT),
    EventType("payment.reversed", "it, or a part, bounced or was a mistake; the invoices are owed again", _REVERSED),
    EventType("payout.cancelled", "it was withdrawn before any money moved; its shares wait for the next run", _WITHDRAWN),
    EventType("payout.failed", "the gateway refused it; nothing was moved", _PAYOUT | {"state": "failed", "reason": "no account"}),
    EventType("payout.paid", "a provider's or publisher's share is out", _PAYOUT),
    EventType("sla.credited", "a provider gives back a part of a day's charges, for a promise that it did not keep", _SLA),
]


def tell_invoices(invoices: Iterable[int], state: str, at: datetime) -> int:
    """Tell of those of these invoices that are in a state now. Each is told of a state once, and anew after a reversal."""
    rows = Invoice.objects.filter(pk__in=list(invoices), state=state).annotate(again=Count("allocations__reversed"))
    found = _heard(rows.select_related("period").order_by("pk"))
    return publish(_event(one, f"invoice.{state}", f"invoice/{one.pk}", _invoice(one), at, _told(one, state)) for one in found)


def _told(invoice: Invoice, state: str) -> str:
    again: int = getattr(invoice, "again")  # noqa: B009  annotated: how often it came to be owed again
    return f"{state}/{again}" if again else state


def tell_payment(payment: Payment) -> int:
    """Tell of money that came in."""
    subject = f"payment/{payment.pk}"
    return publish([_event(payment, "payment.received", subject, _payment(payment), payment.recorded_at, "received")])


def tell_reversal(reversal: PaymentReversal, invoices: Sequence[int]) -> int:
    """Tell that a payment was taken back, and which invoices are owed again, those that the wallet had paid too."""
    payment, at = reversal.payment, reversal.reversed_at
    data = _payment(payment) | {"reversed": text_of(reversal.amount_micros), "reason": reversal.reason, "reversed_at": at}
    data |= {"invoices": list(invoices)}
    return publish([_event(payment, "payment.reversed", f"payment/{payment.pk}", data, at, "reversed")])


def tell_payout(payout: Payout, at: datetime) -> int:
    """Tell its payee how a payout ended. One that was tried again may fail again: each try is told."""
    told = f"{payout.state}/{payout.attempts_count}"
    return publish([_event(payout, f"payout.{payout.state}", f"payout/{payout.pk}", _payout(payout), at, told)])


def tell_withdrawn(payouts: Collection[int], at: datetime) -> int:
    """Tell payees of payouts that were cancelled, and what these would have kept back: `reserve`, void now. Two statements."""
    if not payouts:
        return 0
    rows = Payout.objects.filter(pk__in=payouts, state=Payout.State.CANCELLED).annotate(kept=F("withholding__amount_micros"))
    return publish(
        _event(one, "payout.cancelled", f"payout/{one.pk}", _payout(one) | {"reserve": text_of(kept or 0)}, at, "cancelled")
        for one, kept in ((one, getattr(one, "kept")) for one in _heard(rows.order_by("pk")))  # noqa: B009  annotated
    )


def tell_sla_credits(measurements: Iterable[SLAMeasurement], at: datetime) -> int:
    """Tell customers what they get back for a day, and why."""
    return publish(
        _event(one, "sla.credited", f"sla/{one.pk}", {
            "measurement": one.pk, "terms": one.terms_id, "pool": one.evidence["pool"], "kind": one.evidence["kind"],
            "day": f"{one.day}", "good": one.good, "total": one.total, "credit_basis_points": one.credit_basis_points,
            "credit": text_of(one.credit_micros), "currency": one.currency,
        }, at, "credited")
        for one in measurements
    )  # fmt: skip


def tell_export(export: Export, at: datetime) -> int:
    """Tell whose export it is how it ended. What operators export of everybody is nobody's to be told."""
    if export.organization_id is None:
        return 0
    names = ("id", "kind", "schema", "format", "state", "rows", "bytes", "sha256", "reason", "expires_at")
    data = {name: getattr(export, name) for name in names} | {"from": export.starts_at, "to": export.ends_at}
    return publish([_event(export, f"export.{export.state}", f"export/{export.pk}", data, at, export.state)])


def tell_disputes(disputes: Iterable[int], told: str, at: datetime) -> int:
    """Tell customer, provider and publisher what happened to disputes: opened, answered, decided or withdrawn."""
    rows = Dispute.objects.filter(pk__in=list(disputes)).select_related("organization", "provider", "publisher").order_by("pk")
    return publish(
        Event(party, f"dispute.{told}", f"dispute/{one.pk}", _dispute(one), at, f"dispute/{one.pk}/{told}")
        for one in rows
        for party in sorted({one.organization_id, one.publisher_id or one.respondent_id, one.provider_id or one.respondent_id})
    )


def tell_alerts(alerts: Sequence[Alert]) -> None:
    """Tell of budgets' thresholds that were reached just now."""
    budgets = {one.pk: one for one in _heard(Budget.objects.filter(pk__in={alert.budget for alert in alerts}))}
    at = timezone.now()
    pairs = [(budgets[alert.budget], alert) for alert in alerts if alert.budget in budgets]
    publish(
        _event(budget, "budget.reached", f"budget/{budget.pk}", _alert(budget, alert), at, str(alert.id)) for budget, alert in pairs
    )


def _heard(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.filter(organization__in=WebhookEndpoint.objects.values("organization"))


def _event(of: Any, kind: str, subject: str, data: dict[str, Any], at: datetime, told: str) -> Event:
    return Event(of.organization_id, kind, subject, data, at, f"{subject}/{told}")


def _payout(one: Payout) -> dict[str, Any]:
    amount = {"amount": text_of(one.amount_micros), "currency": one.currency}
    return {"id": one.pk, "state": one.state} | amount | {"reason": one.reason}


def _payment(one: Payment) -> dict[str, Any]:
    amounts = {"amount": text_of(one.amount_micros), "prepaid": text_of(one.prepaid_micros), "currency": one.currency}
    return {"id": one.pk, "method": one.method} | amounts | {"received_on": one.received_on.isoformat()}


def _invoice(one: Invoice) -> dict[str, Any]:
    amounts = {"total": one.total_micros, "paid": one.paid_micros, "credited": one.credited_micros}
    data = {"id": one.pk, "number": one.number, "state": one.state, "from": one.period.starts_at, "to": one.period.ends_at}
    data |= {"zone": one.period.zone, "currency": one.currency, "due_at": one.due_at}
    return data | {name: text_of(micros) for name, micros in amounts.items()}


def _dispute(one: Dispute) -> dict[str, Any]:
    data = {"id": one.pk, "state": one.state, "reason": one.reason, "currency": one.currency, "charges": one.charges_count}
    data |= {"customer": one.organization.slug, "provider": one.provider and one.provider.slug}
    data |= {"publisher": one.publisher and one.publisher.slug}
    data |= {"position": one.position, "outcome": one.outcome, "answer_until": one.answer_until}
    return data | {"disputed": text_of(one.disputed_micros), "awarded": text_of(one.awarded_micros)}


def _alert(budget: Budget, alert: Alert) -> dict[str, Any]:
    amounts = {"amount": alert.amount, "spent": alert.spent, "held": alert.held}
    said = {"id": budget.pk, "name": budget.name, "percent": alert.percent, "action": alert.action, "currency": budget.currency}
    return said | {name: text_of(micros) for name, micros in amounts.items()}
