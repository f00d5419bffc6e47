"""Everything about a dispute as one document whose digest anyone can compute again; docs/billing/disputes.md says how.

    {"bundle": {...}, "digest": SHA-256 of the canonical bytes of `bundle`, hexadecimal}

Canonical: JSON in UTF-8, members sorted by name, no white space, no floating-point numbers (amounts and quantities are decimal
text), moments in UTC. Nothing in it depends on when it was asked for: the same rows give the same bytes.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from billing.disputes.queries import item, items_of, messages_of, summary
from billing.models import Charge, Dispute, DisputedCharge, PayoutLine, PeriodCharge
from billing.periods.evidence import evidence_of_charge, evidence_of_period
from core.money import text_of
from scheduler.models import Attempt

Payouts = dict[int, list[dict[str, Any]]]

FORMAT: Final = "gridfare-dispute-1"
_ATTEMPT: Final = ("state", "fence", "reason_class", "code", "detail", "exit_code", "leased_at", "started_at", "ended_at")


def bundle_of(dispute: Dispute) -> bytes:
    """The document's bytes, themselves canonical; a constant number of queries."""
    told = {
        "format": FORMAT,
        "dispute": summary(dispute),
        "messages": messages_of(dispute),
        "charges": _charges(dispute),
    }
    bundle = canonical(told)
    digest = hashlib.sha256(bundle).hexdigest()
    return b'{"bundle":' + bundle + b',"digest":"' + digest.encode() + b'"}'


def canonical(value: Any) -> bytes:
    """A JSON value's canonical bytes."""
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    """Moments, decimals and floats as text; whole numbers stay numbers."""
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if value is None or isinstance(value, bool | str) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def _charges(dispute: Dispute) -> list[dict[str, Any]]:
    rows = items_of(dispute).select_related(
        "charge__usage__pool", "charge__usage__offer__origin", "charge__usage__attempt__unit", "charge__task",
        "charge__organization", "charge__provider",
        "charge__publisher", "charge__entry", "charge__invoiced__line__invoice", "refund__entry", "note",
        "period_charge__organization", "period_charge__provider", "period_charge__publisher", "period_charge__entry",
        "period_refund__entry",
    )  # fmt: skip
    found = list(rows.prefetch_related("charge__usage__offer__rates").order_by("pk"))
    payouts = _payouts(found)
    return [_month(one, payouts) if one.period_charge else _charge(one, payouts) for one in found]


def _month(one: DisputedCharge, payouts: Payouts) -> dict[str, Any]:
    """A charge of a month; each takes as many queries as its evidence does."""
    charge, refund = one.period_charge, one.period_refund
    assert charge is not None  # noqa: S101 asked by who looked
    return {
        "disputed": item(one),
        "evidence": evidence_of_period(charge) | {"currency": charge.currency, "charged_at": charge.rated_at},
        "attempt": None,
        "payouts": payouts.get(-charge.pk, []),
        "refund": refund and _refund(refund),
    }


def _charge(one: DisputedCharge, payouts: Payouts) -> dict[str, Any]:
    charge, refund = one.charge, one.refund
    assert charge is not None  # noqa: S101 asked by who looked
    usage = charge.usage
    return {
        "disputed": item(one),
        "evidence": evidence_of_charge(charge) | {"currency": charge.currency, "charged_at": charge.charged_at},
        "attempt": usage and _attempt(usage.attempt),
        "payouts": payouts.get(charge.pk, []),
        "refund": refund and _refund(refund),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    """The machine's side: when it had the unit, how it ended, in which signed report it said so."""
    told = {name: getattr(attempt, name) for name in _ATTEMPT}
    return {"attempt": attempt.pk, "unit": attempt.unit.pk, "pool": attempt.pool_id, "report": attempt.batch_id} | told


def _refund(refund: Charge | PeriodCharge) -> dict[str, Any]:
    shares = {party: getattr(refund, f"{party}_micros") for party in ("provider", "publisher", "platform")}
    entry = refund.entry and {"key": refund.entry.key, "posted_at": refund.entry.posted_at}
    told = {"charge": refund.pk, "payer": refund.payer, "amount": text_of(refund.amount_micros), "entry": entry}
    return told | {"split": {party: text_of(micros) for party, micros in shares.items()}}


def _payouts(items: list[DisputedCharge]) -> Payouts:
    """Where the shares of each charge and of its refund went; those of months by their number, negative."""
    of = {2 * key + role: one.charge_id for one in items for key in (one.charge_id, one.refund_id) if key for role in (0, 1)}
    of |= {-key: -(one.period_charge_id or 0) for one in items for key in (one.period_charge_id, one.period_refund_id) if key}
    shares = list(of)
    found: Payouts = {}
    for line in PayoutLine.objects.filter(share__in=shares).select_related("payout").order_by("share"):
        told: dict[str, Any] = {"charge": line.charge_id or line.period_charge_id, "role": line.role}
        told |= {"payout": line.payout_id, "state": line.payout.state}
        found.setdefault(of[line.share] or 0, []).append(told | {"amount": text_of(line.amount_micros)})
    return found
