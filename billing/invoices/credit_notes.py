"""Credit notes: what is taken back of a final invoice, as documents of their own; and what is given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from billing.invoices.payments import open_micros, settle
from billing.invoices.posting import post
from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, Series
from billing.telling import tell_invoices
from core.errors import Conflict, Invalid

_NEXT = (
    "INSERT INTO billing_series AS series (issuer, kind, year, last) VALUES (%s, 'credit_note', %s, 1) "
    "ON CONFLICT (issuer, kind, year) DO UPDATE SET last = series.last + 1 RETURNING id, last"
)


class Part(NamedTuple):
    """What a note takes back of a line."""

    line: InvoiceLine
    net: int
    tax: int


def tax_of(line_tax: int, line_net: int, before: int, net: int, minor: int) -> int:
    """The tax on a part of a line: of all that is taken back, less what was taken back before. Pure.

    However a line is taken back in parts, in the end its whole tax is.

    >>> [tax_of(5, 90, before, 30, 1) for before in (0, 30, 60)]
    [2, 1, 2]
    """

    def up_to(amount: int) -> int:
        return (2 * line_tax * amount + line_net * minor) // (2 * line_net * minor) * minor

    return up_to(before + net) - up_to(before)


def issue_credit_note(
    invoice: Invoice, amounts: Mapping[int, int], reason: str, key: str, now: datetime | None = None
) -> CreditNote:
    """Take back amounts (line's number -> net micros) of an invoice. The same key again returns the note that there is.

    What was paid already becomes prepaid balance. Raises Conflict `invoice_not_final | invoice_over`, Invalid `credit_invalid`.
    """
    at = now or timezone.now()
    with transaction.atomic():
        held = Invoice.objects.select_for_update().get(pk=invoice.pk)
        if known := CreditNote.objects.filter(key=key).first():
            return known
        if held.number is None:
            raise Conflict("invoice_not_final", "this invoice is not final yet: it still changes by itself")
        if held.state not in {"finalized", "overdue", "paid"}:
            raise Conflict("invoice_over", f"this invoice is {held.state}")
        parts = _parts(held, amounts)
        note = _note(held, parts, reason, key, at)
        CreditNoteLine.objects.bulk_create(
            CreditNoteLine(note=note, line=part.line, net_micros=part.net, tax_micros=part.tax) for part in parts
        )
        total = note.net_micros + note.tax_micros
        settle(held, paid=-note.prepaid_micros, credited=total, at=at)
        tell_invoices([held.pk], "paid", at)
    return note


def _parts(invoice: Invoice, amounts: Mapping[int, int]) -> list[Part]:
    lines = {line.number: line for line in invoice.lines.filter(number__in=amounts).annotate(before=Sum("credited__net_micros"))}
    if not amounts or lines.keys() != amounts.keys():
        raise Invalid("credit_invalid", "this invoice has no such line", field="lines")
    parts = []
    for number, line in lines.items():
        net, before = amounts[number], line.before or 0
        if net <= 0 or net % invoice.minor_micros or before + net > line.amount_micros:
            raise Invalid("credit_invalid", f"line {number} has no such amount to take back", field="lines")
        parts.append(Part(line, net, tax_of(line.tax_micros, line.amount_micros, before, net, invoice.minor_micros)))
    return parts


def _note(invoice: Invoice, parts: Sequence[Part], reason: str, key: str, at: datetime) -> CreditNote:
    net, tax = sum(part.net for part in parts), sum(part.tax for part in parts)
    prepaid = max(net + tax - open_micros(invoice), 0)
    year = timezone.localtime(at, ZoneInfo(settings.USAGE_ZONE)).year
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, [settings.INVOICE_ISSUER, year])
        series, sequence = cursor.fetchone()
    number = f"{settings.INVOICE_ISSUER}-C-{year}-{sequence:06d}"
    sides = [
        ("platform_cost", None, net),
        ("platform_tax_payable", None, tax),
        ("user_receivable", invoice.organization_id, prepaid - net - tax),
        ("user_prepaid", invoice.organization_id, -prepaid),
    ]
    return CreditNote.objects.create(
        invoice=invoice,
        series=Series(pk=series),
        sequence=sequence,
        number=number,
        key=key,
        net_micros=net,
        tax_micros=tax,
        prepaid_micros=prepaid,
        reason=reason,
        issued_at=at,
        entry=post(f"credit-note/{number}", "credit_note", at, invoice.currency, sides),
    )


def give_up(invoice: Invoice, reason: str, now: datetime | None = None) -> Invoice:
    """What is open of an overdue invoice becomes the platform's loss. Raises Conflict `invoice_not_overdue`."""
    at = now or timezone.now()
    with transaction.atomic():
        held = Invoice.objects.select_for_update().get(pk=invoice.pk)
        if held.state != Invoice.State.OVERDUE:
            raise Conflict("invoice_not_overdue", "only an overdue invoice is given up")
        lost = open_micros(held)
        sides = [("platform_loss", None, lost), ("user_receivable", held.organization_id, -lost)]
        post(f"invoice/{held.number}/loss", "loss", at, held.currency, sides)
        held.state, held.ended_at, held.reason = Invoice.State.UNCOLLECTIBLE, at, reason
        held.save(update_fields=["state", "ended_at", "reason"])
        tell_invoices([held.pk], "uncollectible", at)
    return held
