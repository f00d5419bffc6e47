"""Runs that close months and finalise invoices: sets of accounts, a constant number of statements per chunk.

Every run may be killed and repeated anywhere: a chunk commits whole, what it did is no longer found by the next, an
account's advisory lock keeps two runs apart, and the primary key of InvoicedCharge lets no charge be invoiced twice.
An account for which PostgreSQL refuses what came out (a negative total, a sum beyond 64 bits) is parked; the others go on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction
from django.utils import timezone

from billing.invoices import sql
from billing.invoices.months import rate_months
from billing.invoices.periods import month_of
from billing.invoices.posting import Side, post, post_legs
from billing.models import Invoice, InvoicedCharge, InvoicedPeriod, Leg
from billing.rating.currencies import minor_units
from billing.telling import tell_invoices
from core.errors import Conflict
from marketplace.services.contracts import terms_of

log = logging.getLogger(__name__)
LOCK_KEY: Final = 0x67_66_69_76  # advisory, with the organization: one closer of an account at a time
CHUNK: Final = 2500  # accounts whose months one transaction closes; as many advisory locks fit into PostgreSQL's default
LOOK_BACK: Final = timedelta(days=100)  # unbilled charges older than that are found by a run over everything
LONGEST_CHARGING: Final = timedelta(days=1)  # a charge's time is when its transaction began; it is seen when that commits
SAME: Final = ("period", "organization", "currency", "minor_micros", "due_days", "carries_remainder")  # of what replaces a void one
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))


class Run(NamedTuple):
    """Which accounts (None: all), as of when, and how far back unbilled charges are looked for."""

    now: datetime
    since: datetime
    organizations: list[int] | None
    everything: bool = False

    @classmethod
    def of(cls, now: datetime | None, organizations: Sequence[int] | None, everything: bool) -> Run:
        moment = now or timezone.now()
        since = BEGINNING if everything else moment - LOOK_BACK
        return cls(moment, since, None if organizations is None else list(organizations), everything)

    def arguments(self, **more: Any) -> dict[str, Any]:
        return {"now": self.now, "cutoff": self.now, "since": self.since, "organizations": self.organizations} | more


class Done(NamedTuple):
    """What a run did: months opened, closed, invoices finalised, accounts parked."""

    opened: int = 0
    closed: int = 0
    finalised: int = 0
    parked: int = 0


def close_all(now: datetime | None = None, organizations: Sequence[int] | None = None, *, everything: bool = False) -> Done:
    """Rate what is charged by period, open the months that charges ask for, close those that are over, finalise those whose
    grace has ended.

    everything   look for unbilled charges of any age, not only of the last LOOK_BACK
    """
    run, done = Run.of(now, organizations, everything), Done()
    rate_months(run.organizations, run.since, run.now)
    while True:
        opened = open_months(run)
        closed, parked = _chunks(run, sql.DUE_TO_CLOSE, _close)
        done = Done(done.opened + opened, done.closed + closed, done.finalised, done.parked + parked)
        if not closed:
            break
    while True:
        finalised, parked = _chunks(run, sql.DUE_TO_FINALISE, _finalise)
        done = done._replace(finalised=done.finalised + finalised, parked=done.parked + parked)
        if not finalised:
            return done


def open_months(run: Run) -> int:
    """A month, with an invoice that gathers, for every account that has something unbilled and no month running."""
    with transaction.atomic():
        _run(sql.ROOM, None)
        found = _fetch(sql.ACCOUNTS, run.arguments())
    if not found:
        return 0
    terms = terms_of({organization for organization, *_ in found}, run.now)
    rows = []
    for organization, currency, last, moment in found:
        zone = terms[organization].zone
        start, end = month_of(moment, zone)
        rows.append((organization, currency, max(start, last or start), end, zone.key))
    units = {currency: 10 ** (6 - minor_units(currency)) for _, currency, *_ in rows}
    columns = [list(column) for column in zip(*rows, strict=True)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.OPEN, [*columns, list(units), list(units.values())])
        return int(cursor.rowcount)


def _chunks(run: Run, due: str, work: Callable[[Run, list[int]], int]) -> tuple[int, int]:
    """Do the work for all invoices that are due, chunk by chunk. Returns how many were done, and how many parked."""
    done, parked, after = 0, 0, 0
    while invoices := [row for (row,) in _fetch(due, run.arguments(after=after, limit=CHUNK))]:
        did, put = _apart(run, invoices, work)
        done, parked, after = done + did, parked + put, invoices[-1]
    return done, parked


def _apart(run: Run, invoices: list[int], work: Callable[[Run, list[int]], int]) -> tuple[int, int]:
    """Work on a chunk; if PostgreSQL refuses it, on its halves, so that one impossible account stops nobody else."""
    try:
        with transaction.atomic():
            _run(sql.ROOM, None)
            return work(run, _lock(invoices)), 0
    except (IntegrityError, DataError) as error:
        if len(invoices) == 1:
            return 0, _park(invoices, error)
    halves = (invoices[: len(invoices) // 2], invoices[len(invoices) // 2 :])
    results = [_apart(run, half, work) for half in halves]
    return sum(done for done, _ in results), sum(parked for _, parked in results)


def _lock(invoices: list[int]) -> list[int]:
    return [row for (row,) in _fetch(sql.LOCK, {"invoices": invoices, "key": LOCK_KEY})]


def _park(invoices: list[int], error: DatabaseError) -> int:
    """Nothing is guessed: the month waits for an operator, and says why."""
    code = "total_negative" if "invoice_is_paid_once" in str(error) else "amount_impossible"
    log.error("invoice %s is parked: %s", invoices[0], error)
    _run(sql.PARK, {"invoices": invoices, "code": code, "detail": str(error).splitlines()[0][:300]})
    return 1


def _close(run: Run, invoices: list[int]) -> int:
    owners = Invoice.objects.filter(pk__in=invoices).values_list("organization_id", flat=True)
    terms = list(terms_of(owners, run.now).values())
    given = {"organizations": [t.organization for t in terms], "grace": [t.grace_days for t in terms]}
    given |= {"due": [t.due_days for t in terms], "carries": [t.carries_remainder for t in terms]}
    begun = [row for (row,) in _fetch(sql.BEGIN, run.arguments(invoices=invoices) | given)]
    draw(run, begun)
    return len(begun)


def draw(run: Run, invoices: list[int]) -> None:
    """Lines from the charges that no invoice holds, the rounding line, taxes and totals. A draft is in grace then."""
    arguments = run.arguments(invoices=invoices)
    for statement in (sql.DRAW, sql.DRAW_PERIODS, sql.ROUND, sql.TAX):
        _run(statement, arguments)


def _finalise(run: Run, invoices: list[int]) -> int:
    if stale := _stale(run, invoices):
        for statement in sql.UNDRAW:
            _run(statement, {"invoices": stale})
        draw(run, stale)
    year = timezone.localtime(run.now, ZoneInfo(settings.USAGE_ZONE)).year
    given = {"issuer": settings.INVOICE_ISSUER, "by": json.dumps(settings.ISSUER), "year": year}
    numbered = _fetch(sql.ISSUE, run.arguments(invoices=invoices) | given)
    post_legs(side for row in numbered for side in _sides(*row[1:]))
    issued = [row[0] for row in numbered]
    tell_invoices(issued, "finalized", run.now)
    _run(sql.PAY_NOTHING, run.arguments(invoices=issued))
    tell_invoices(issued, "paid", run.now)
    return len(numbered)


def _stale(run: Run, invoices: list[int]) -> list[int]:
    """Those that must be drawn again. Looks at charges since the first of them was drawn, not at the whole month once more."""
    [(drawn,)] = _fetch(sql.DRAWN, {"invoices": invoices})
    since = run.since if run.everything or drawn is None else max(run.since, drawn - LONGEST_CHARGING)
    return [row for (row,) in _fetch(sql.STALE, run.arguments(invoices=invoices, since=since))]


def _sides(entry: int | None, organization: int, currency: str, more: int, tax: int, carried: int, dropped: int) -> list[Side]:
    """What makes the receivable of an invoice's charges equal to its total: tax, and what rounding did."""
    if entry is None:
        return []
    return [
        Side(entry, "user_receivable", organization, currency, more),
        Side(entry, "platform_tax_payable", None, currency, -tax),
        Side(entry, "user_remainder", organization, currency, carried),
        Side(entry, "platform_rounding", None, currency, dropped),
    ]


def void_invoice(invoice: Invoice, reason: str, now: datetime | None = None) -> Invoice:
    """Take an invoice back before anything was paid; its charges go to another one, in grace, which is returned.

    Raises Conflict `invoice_not_final | invoice_paid | invoice_over`.
    """
    run = Run.of(now, [invoice.organization_id], everything=True)
    with transaction.atomic():
        _run(sql.WAIT, {"key": LOCK_KEY, "organization": invoice.organization_id})  # a run may be drawing this account's charges
        held = Invoice.objects.select_for_update().select_related("period").get(pk=invoice.pk)
        _check_void(held)
        _take_back(held, run.now)
        Invoice.objects.filter(pk=held.pk).update(state="void", ended_at=run.now, reason=reason)
        tell_invoices([held.pk], "void", run.now)
        InvoicedCharge.objects.filter(line__invoice=held).delete()
        InvoicedPeriod.objects.filter(line__invoice=held).delete()
        same = {name: getattr(held, name) for name in SAME}
        instead = Invoice.objects.create(state="grace", grace_until=run.now, cutoff=run.now, replaces=held, **same)
        draw(run, [instead.pk])
    instead.refresh_from_db()
    return instead


def _check_void(invoice: Invoice) -> None:
    if invoice.number is None:
        raise Conflict("invoice_not_final", "this invoice is not final yet: it still changes by itself")
    if invoice.paid_micros or invoice.credited_micros:
        raise Conflict("invoice_paid", "money was paid for this invoice: issue a credit note instead of voiding it")
    if invoice.state not in {"finalized", "overdue"}:
        raise Conflict("invoice_over", f"this invoice is {invoice.state} already")


def _take_back(invoice: Invoice, now: datetime) -> None:
    if invoice.entry_id is not None:
        legs = Leg.objects.filter(entry=invoice.entry_id).values_list(
            "account__kind", "account__organization", "credit_micros", "debit_micros"
        )
        sides = [(kind, organization, credit - debit) for kind, organization, credit, debit in legs]
        post(f"invoice/{invoice.number}/void", "void", now, invoice.currency, sides)


def _fetch(statement: str, arguments: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())


def _run(statement: str, arguments: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
