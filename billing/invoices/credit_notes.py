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

from billing.invoices.payments import count, open_micros
from billing.invoices.posting import Side, post, post_legs
from billing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, JournalEntry, Series
from billing.telling import tell_invoices
from core.errors import Conflict, Invalid

_NEXT = (
    "INSERT INTO billing_series AS series (issuer, kind, year, last) VALUES (%s, 'credit_note', %s, %s) "
    "ON CONFLICT (issuer, kind, year) DO UPDATE SET last = series.last + excluded.last RETURNING id, last"
)


class Taking(NamedTuple):
    """What is taken back of an invoice: its key, line's number -> net micros. `key` names the cause: the same makes one note."""

    invoice: int
    amounts: Mapping[int, int]
    reason: str
    key: str


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
    (note,) = issue_credit_notes([Taking(invoice.pk, amounts, reason, key)], now)
    return note


def issue_credit_notes(takings: Sequence[Taking], now: datetime | None = None) -> list[CreditNote]:
    """The same for any number of invoices, in their order, all or none; a constant number of statements."""
    at = now or timezone.now()
    with transaction.atomic():
        held = _lock({taking.invoice for taking in takings})
        notes = {note.key: note for note in CreditNote.objects.filter(key__in=[taking.key for taking in takings])}
        fresh = [taking for taking in takings if taking.key not in notes]
        if fresh:
            notes |= {note.key: note for note in _issue(held, fresh, at)}
    return [notes[taking.key] for taking in takings]


def _lock(invoices: set[int]) -> dict[int, Invoice]:
    rows = Invoice.objects.filter(pk__in=invoices).order_by("due_at", "pk").select_for_update()
    return {one.pk: one for one in rows}


def _issue(held: Mapping[int, Invoice], takings: Sequence[Taking], at: datetime) -> list[CreditNote]:
    invoices = [held[taking.invoice] for taking in takings]
    for invoice in invoices:
        if invoice.number is None:
            raise Conflict("invoice_not_final", "this invoice is not final yet: it still changes by itself")
        if invoice.state not in {"finalized", "overdue", "paid"}:
            raise Conflict("invoice_over", f"this invoice is {invoice.state}")
    parts = _parts(held, takings)
    notes = _notes(invoices, takings, parts, at)
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(note=note, line=part.line, net_micros=part.net, tax_micros=part.tax)
        for note, mine in zip(notes, parts, strict=True)
        for part in mine
    )
    touched = {invoice.pk: invoice for invoice in invoices}
    Invoice.objects.bulk_update(touched.values(), ["paid_micros", "credited_micros", "state", "ended_at"])
    tell_invoices(list(touched), "paid", at)
    return notes


def _parts(held: Mapping[int, Invoice], takings: Sequence[Taking]) -> list[list[Part]]:
    """What each note takes back of each line; several notes of one line go on from each other."""
    rows = InvoiceLine.objects.filter(invoice__in=held).annotate(before=Sum("credited__net_micros"))
    lines = {(line.invoice_id, line.number): line for line in rows.filter(number__in={n for t in takings for n in t.amounts})}
    before = {place: int(line.before or 0) for place, line in lines.items()}
    parts = []
    for taking in takings:
        if not taking.amounts or any((taking.invoice, number) not in lines for number in taking.amounts):
            raise Invalid("credit_invalid", "this invoice has no such line", field="lines")
        mine = []
        for number in sorted(taking.amounts):
            place, net = (taking.invoice, number), taking.amounts[number]
            mine.append(_part(lines[place], before[place], net, held[taking.invoice].minor_micros))
            before[place] += net
        parts.append(mine)
    return parts


def _part(line: InvoiceLine, before: int, net: int, minor: int) -> Part:
    if net <= 0 or net % minor or before + net > line.amount_micros:
        raise Invalid("credit_invalid", f"line {line.number} has no such amount to take back", field="lines")
    return Part(line, net, tax_of(line.tax_micros, line.amount_micros, before, net, minor))


def _notes(
    invoices: Sequence[Invoice], takings: Sequence[Taking], parts: Sequence[Sequence[Part]], at: datetime
) -> list[CreditNote]:
    """The notes with their entries; the invoices count what is credited."""
    year = timezone.localtime(at, ZoneInfo(settings.USAGE_ZONE)).year
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, [settings.INVOICE_ISSUER, year, len(takings)])
        series, last = cursor.fetchone()
    notes = []
    for place, (invoice, taking, mine) in enumerate(zip(invoices, takings, parts, strict=True), last - len(takings) + 1):
        net, tax = sum(part.net for part in mine), sum(part.tax for part in mine)
        if net + tax > invoice.total_micros - invoice.credited_micros:  # lines below zero took some of it back already
            raise Invalid("credit_invalid", "no more is taken back than the invoice asks for", field="lines")
        prepaid = max(net + tax - open_micros(invoice), 0)
        count(invoice, paid=-prepaid, credited=net + tax, at=at)
        number = f"{settings.INVOICE_ISSUER}-C-{year}-{place:06d}"
        note = CreditNote(invoice=invoice, series=Series(pk=series), sequence=place, number=number, key=taking.key)
        note.net_micros, note.tax_micros, note.prepaid_micros, note.reason, note.issued_at = net, tax, prepaid, taking.reason, at
        notes.append(note)
    _post(notes, at)
    return CreditNote.objects.bulk_create(notes)


def _post(notes: Sequence[CreditNote], at: datetime) -> None:
    entries = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"credit-note/{note.number}", kind="credit_note", posted_at=at) for note in notes
    )
    sides = []
    for note, entry in zip(notes, entries, strict=True):
        note.entry = entry
        owner, currency, total = note.invoice.organization_id, note.invoice.currency, note.net_micros + note.tax_micros
        sides += [
            Side(entry.pk, "platform_cost", None, currency, note.net_micros),
            Side(entry.pk, "platform_tax_payable", None, currency, note.tax_micros),
            Side(entry.pk, "user_receivable", owner, currency, note.prepaid_micros - total),
            Side(entry.pk, "user_prepaid", owner, currency, -note.prepaid_micros),
        ]
    post_legs(sides)


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
