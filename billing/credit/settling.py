"""Invoices that are owed are paid from the wallet: grants first, then prepaid money, before anybody is asked for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple

from django.db import connection, transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from billing.credit.sources import Debt, Source, Use, in_order, spend
from billing.invoices.dunning import follow_blocks
from billing.invoices.posting import Side, post_legs
from billing.invoices.states import OWED
from billing.models import Grant, GrantMove, Invoice, JournalEntry, Payment, PaymentAllocation
from billing.telling import tell_invoices
from marketplace.models import Allowance
from marketplace.services.credit import lock_allowances

CHUNK: Final = 1000  # organizations of one transaction
_PAY: Final = """
UPDATE billing_invoice invoice
   SET paid_micros = invoice.paid_micros + used.micros,
       state = CASE WHEN used.micros = total_micros - paid_micros - credited_micros THEN 'paid' ELSE state END,
       ended_at = CASE WHEN used.micros = total_micros - paid_micros - credited_micros THEN %s::timestamptz END
  FROM (SELECT invoice, sum(micros) AS micros FROM unnest(%s::bigint[], %s::bigint[]) AS one (invoice, micros) GROUP BY 1) used
 WHERE invoice.id = used.invoice
"""


class Wallet(NamedTuple):
    organization: int
    currency: str


def settle_from_wallet(organizations: Iterable[int] | None = None, now: datetime | None = None) -> int:
    """Pay what these organizations (None: all) owe by final invoices from their wallets, the first due first.

    A constant number of statements per thousand organizations; repeating it pays nothing twice, as an invoice's own `paid`
    says what is still open. Returns how many payments were made.
    """
    at = now or timezone.now()
    found = sorted(_with_both(organizations))
    paid = sum(_settle(found[start : start + CHUNK], at) for start in range(0, len(found), CHUNK))
    if paid:
        follow_blocks()  # who has paid is free again
    return paid


def _owed() -> Q:
    return Q(state__in=OWED, total_micros__gt=F("paid_micros") + F("credited_micros"))


def _with_both(organizations: Iterable[int] | None) -> set[int]:
    """Who has something in a wallet and owes something."""
    wallets = Allowance.objects.filter(prepaid_micros__gt=0)
    if organizations is not None:
        wallets = wallets.filter(organization__in=set(organizations))
    owing = Invoice.objects.filter(_owed()).values("organization")
    return set(wallets.filter(organization__in=owing).values_list("organization", flat=True))


def _settle(organizations: Sequence[int], at: datetime) -> int:
    with transaction.atomic():
        rows = Invoice.objects.filter(_owed(), organization__in=organizations).order_by("due_at", "pk")
        invoices = {one.pk: one for one in rows.select_for_update()}
        lock_allowances(organizations)
        sources = _sources(organizations)
        debts = defaultdict(list)
        for one in invoices.values():
            open_micros = one.total_micros - one.paid_micros - one.credited_micros
            debts[Wallet(one.organization_id, one.currency)].append(Debt(one.pk, open_micros))
        uses = [use for wallet, owed in debts.items() for use in spend(in_order(sources[wallet], at), owed)]
        if uses:
            _post(uses, invoices, at)
    return len(uses)


def _sources(organizations: Sequence[int]) -> dict[Wallet, list[Source]]:
    """What wallets hold, their allowances locked: what is in no grant is prepaid."""
    found: dict[Wallet, list[Source]] = defaultdict(list)
    for grant in Grant.objects.filter(organization__in=organizations, left_micros__gt=0).order_by("pk").select_for_update():
        found[Wallet(grant.organization_id, grant.currency)].append(Source(grant.left_micros, grant.pk, grant.expires_at))
    for one in Allowance.objects.filter(organization__in=organizations):
        grants = found[Wallet(one.organization_id, one.currency)]
        grants.append(Source(int(one.prepaid_micros) - sum(source.micros for source in grants)))
    return found


def _post(uses: Sequence[Use], invoices: dict[int, Invoice], at: datetime) -> None:
    """An entry per invoice; a payment per source of it. Keys say from which paid amount on, and after how many reversals, so
    that each is made once.
    """
    parts = {number: list(group) for number, group in groupby(uses, key=lambda use: use.invoice)}
    again = reversals_of(parts)
    made = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"wallet/{number}/{invoices[number].paid_micros}{again.get(number, '')}", kind="settle", posted_at=at)
        for number in parts
    )
    entries = dict(zip(parts, made, strict=True))
    post_legs(side for use in uses for side in _sides(use, invoices[use.invoice], entries[use.invoice]))
    payments = Payment.objects.bulk_create(_payment(use, invoices[use.invoice], entries[use.invoice], at) for use in uses)
    pairs = list(zip(uses, payments, strict=True))
    PaymentAllocation.objects.bulk_create(
        PaymentAllocation(payment=payment, invoice_id=use.invoice, amount_micros=use.micros) for use, payment in pairs
    )
    GrantMove.objects.bulk_create(
        GrantMove(grant_id=use.grant, kind="used", amount_micros=use.micros, payment=payment, entry=payment.entry, moved_at=at)
        for use, payment in pairs
        if use.grant is not None
    )
    with connection.cursor() as cursor:
        cursor.execute(_PAY, [at, [use.invoice for use in uses], [use.micros for use in uses]])
    tell_invoices(parts, "paid", at)


def reversals_of(invoices: Iterable[int]) -> dict[int, str]:
    """Of invoices whose payments were reversed: `/` and how many of them. Such an invoice comes to the same amounts again."""
    rows = PaymentAllocation.objects.filter(invoice__in=list(invoices), reversed__isnull=False)
    return {invoice: f"/{many}" for invoice, many in rows.values_list("invoice").annotate(Count("pk"))}


def _sides(use: Use, invoice: Invoice, entry: JournalEntry) -> Iterable[Side]:
    kind = "user_prepaid" if use.grant is None else "user_grant"
    yield Side(entry.pk, kind, invoice.organization_id, invoice.currency, use.micros)
    yield Side(entry.pk, "user_receivable", invoice.organization_id, invoice.currency, -use.micros)


def _payment(use: Use, invoice: Invoice, entry: JournalEntry, at: datetime) -> Payment:
    source = "prepaid" if use.grant is None else f"grant-{use.grant}"
    return Payment(
        key=f"{entry.key}/{source}",
        organization_id=invoice.organization_id,
        currency=invoice.currency,
        method=Payment.Method.PREPAID if use.grant is None else Payment.Method.GRANT,
        amount_micros=use.micros,
        reference=invoice.number or "",
        received_on=timezone.localdate(at),
        recorded_at=at,
        entry=entry,
    )
