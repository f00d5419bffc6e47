"""What is awarded is taken back in rows of its own: refunds, their entries, and credit notes. Nothing is edited.

A refund is a charge of kind `refund` with what each party gives back; of a month it is a revision (`billing/disputes/months.py`).
Who gets it depends on where the disputed charge stands:

on no final invoice      the refund is the customer's: it is drawn into the month's invoice beside the charge, and taxed with it
on a final invoice       a credit note gives it back with its tax; the refund is the platform's, which bore the note, so that its
                         cost of both comes to nothing. A note is of whole minor units: what rounding leaves is carried to the
                         customer's next invoice, what the invoice has no room for becomes prepaid balance
on one that was given up the platform lost it already: the refund is the platform's, and no note is made
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.db.models import Sum

from billing.correcting import SPENT
from billing.disputes.awards import Award, taken_back
from billing.disputes.months import refund_months
from billing.invoices.credit_notes import Taking, issue_credit_notes, tax_of
from billing.invoices.posting import Side, post_legs
from billing.models import Charge, CreditNote, Dispute, InvoiceLine, JournalEntry
from billing.services import Posting, post
from core.money import text_of

Place = tuple[int, int | None]  # a dispute and an invoice


class Made(NamedTuple):
    """What was written for an award: a task's refund or a month's, and a credit note."""

    refund: int | None
    note: int | None
    month: int | None


def take_back(disputes: Mapping[int, Dispute], awards: Sequence[Award], at: datetime) -> dict[int, Made]:
    """Write what awards come to: item's key -> what was made. Tasks, accounts and invoices are locked by the caller."""
    if not awards:
        return {}
    notes = _notes(disputes, [award for award in awards if award.item.final], at)
    of_tasks = [award for award in awards if award.item.task is not None]
    refunds = {award.item.id: one.pk for award, one in zip(of_tasks, _refunds(disputes, of_tasks, at), strict=True)}
    with connection.cursor() as cursor:
        cursor.execute(SPENT, [sorted({award.item.task for award in of_tasks if award.item.task and not award.item.final})])
    months = refund_months(disputes, [award for award in awards if award.item.task is None], at)
    made = {}
    for item, _ in awards:
        note = notes.get((item.dispute, item.invoice))
        made[item.id] = Made(refunds.get(item.id), note.pk if note else None, months.get(item.id))
    return made


def _refunds(disputes: Mapping[int, Dispute], awards: Sequence[Award], at: datetime) -> list[Charge]:
    """Charges below zero, one for each award, and one entry for each dispute and task."""
    if not awards:
        return []
    places = sorted({(award.item.dispute, award.item.task) for award in awards if award.item.task})
    entries = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"refund/{dispute}/{task}", kind="refund", task_id=task, memo=f"dispute {dispute}", posted_at=at)
        for dispute, task in places
    )
    posted = dict(zip(places, entries, strict=True))
    refunds = Charge.objects.bulk_create(
        _refund(disputes[award.item.dispute], award, posted[award.item.dispute, award.item.task], at)
        for award in awards
        if award.item.task
    )
    post(_posting(refund) for refund in refunds)
    return refunds


def _refund(dispute: Dispute, award: Award, entry: JournalEntry, at: datetime) -> Charge:
    item, amount = award.item, text_of(-award.micros)
    task, publishers = item.task, dispute.publisher_id
    assert task is not None and publishers is not None  # noqa: S101, PT018 of tasks only
    provider, publisher, platform = taken_back((item.provider, item.publisher, item.platform), award.micros)
    return Charge(
        kind=Charge.Kind.REFUND, usage_id=item.usage, task_id=task, organization_id=dispute.organization_id,
        provider_id=dispute.provider_id, publisher_id=publishers, payer="platform" if item.final else "user",
        reason="disputed", currency=dispute.currency, amount_micros=-award.micros, provider_micros=-provider,
        publisher_micros=-publisher, platform_micros=-platform, entry=entry, charged_at=at,
        lines=[{"meter": "refund", "quantity": "1", "unit_price": amount, "amount": amount}],
    )  # fmt: skip


def _posting(refund: Charge) -> Posting:
    parties = (refund.organization_id, refund.provider_id, refund.publisher_id, refund.currency, refund.payer)
    shares = (refund.provider_micros, refund.publisher_micros, refund.platform_micros)
    return Posting(refund.entry_id, *parties, 1, refund.amount_micros, *shares)


def _notes(disputes: Mapping[int, Dispute], awards: Sequence[Award], at: datetime) -> dict[Place, CreditNote]:
    """Credit notes for what stands on final invoices, one for each dispute and invoice, and entries for what they leave."""
    sums: dict[Place, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for award in awards:
        if award.item.line is not None:
            sums[award.item.dispute, award.item.invoice][award.item.line] += award.micros
    rows = InvoiceLine.objects.filter(pk__in={line for lines in sums.values() for line in lines}).select_related("invoice")
    found = {line.pk: line for line in rows.annotate(before=Sum("credited__net_micros"))}
    creditable = {place: lines for place, lines in sums.items() if found[next(iter(lines))].invoice.state != "uncollectible"}
    room = Room(found)
    nets = {place: room.nets(lines) for place, lines in creditable.items()}
    takings = [
        Taking(found[next(iter(creditable[place]))].invoice_id, amounts, f"dispute {place[0]}", f"dispute/{place[0]}/{place[1]}")
        for place, amounts in nets.items()
        if amounts
    ]
    issued = issue_credit_notes(takings, at) if takings else []
    _post_rest(disputes, {place: sum(lines.values()) - sum(nets[place].values()) for place, lines in creditable.items()}, found, at)
    return dict(zip([place for place, amounts in nets.items() if amounts], issued, strict=True))


class Room:
    """What lines and their invoices can still be credited; each note that is asked for takes from it."""

    def __init__(self, lines: Mapping[int, InvoiceLine]) -> None:
        self.lines = lines
        self.before = {key: int(getattr(line, "before", None) or 0) for key, line in lines.items()}
        self.left = {line.invoice_id: line.invoice.total_micros - line.invoice.credited_micros for line in lines.values()}

    def nets(self, wanted: Mapping[int, int]) -> dict[int, int]:
        """Line's number -> net, rounded to minor units, half up; lines that have no room are left out."""
        found = {}
        for key, micros in sorted(wanted.items()):
            line, minor = self.lines[key], self.lines[key].invoice.minor_micros
            net = min((2 * micros + minor) // (2 * minor) * minor, line.amount_micros - self.before[key])
            if net <= 0:
                continue
            gross = net + tax_of(line.tax_micros, line.amount_micros, self.before[key], net, minor)
            if gross <= self.left[line.invoice_id]:
                found[line.number] = net
                self.before[key] += net
                self.left[line.invoice_id] -= gross
        return found


def _post_rest(
    disputes: Mapping[int, Dispute], rests: Mapping[Place, int], lines: Mapping[int, InvoiceLine], at: datetime
) -> None:
    """What was awarded and is in no note: parts of a minor unit are carried, more than one becomes prepaid balance."""
    invoices = {line.invoice_id: line.invoice for line in lines.values()}
    due = {place: rest for place, rest in rests.items() if rest}
    entries = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"refund/{dispute}/rest/{invoice}", kind="refund", posted_at=at) for dispute, invoice in due
    )
    sides = []
    for entry, ((dispute, number), rest) in zip(entries, due.items(), strict=True):
        invoice, whose = invoices[number or 0], disputes[dispute]
        prepaid = max(rest, 0) // invoice.minor_micros * invoice.minor_micros
        kind, owner = ("user_remainder", whose.organization_id) if invoice.carries_remainder else ("platform_rounding", None)
        sides += [
            Side(entry.pk, "platform_cost", None, whose.currency, rest),
            Side(entry.pk, kind, owner, whose.currency, prepaid - rest),
            Side(entry.pk, "user_prepaid", whose.organization_id, whose.currency, -prepaid),
        ]
    post_legs(sides)
