"""Races about money: what must come once comes once, and a control for each guard shows what would come without it.

Two do the same at once, and meet between reading and writing.

lock        as it is: one waits, or finds nothing to do
PostgreSQL  without any lock, so that both read the same: constraints and triggers refuse the second
            (of two payments of one invoice only the lock knows)
nothing     without these either, and the money moves twice: so the race is one, and each guard keeps it alone

Holds have theirs in test_credit.py, disputes in test_dispute_races.py.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import date, timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from django.db import DatabaseError, connection
from django.db.models import Sum
from django.test import TransactionTestCase

import billing.services
from billing.invoices import closing, payments
from billing.invoices.closing import close_all
from billing.invoices.payments import Receipt, record_payment
from billing.models import PaymentAllocation, Payout
from billing.periods import rate_periods, runs, safe_cutoff
from billing.services import charge_tasks
from billing.settlement import payouts
from billing.settlement.payouts import gather
from core.errors import DomainError
from marketplace.models import Contract
from tests.billing.histories import execute
from tests.builders_billing import make_attempt, make_market, make_need, make_organization, make_task, make_usage
from tests.builders_invoices import APRIL, CENT, MARCH, balance, make_charge, make_invoice, make_period, make_tax
from tests.builders_periods import MARCH as MONTH
from tests.builders_periods import at, close, period_market, used
from tests.builders_settlement import DAY, LATER, UNIT, a_share, invoiced

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 0.3  # seconds that one waits for the other, who may be waiting for the lock
LOCKS = re.compile(r" FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED)?(?=\s*(?:\)|$))")


class Race(NamedTuple):
    """What two do at once, where they meet, how much money moved, and PostgreSQL's guards: (table, name)."""

    work: Callable[[], Any]
    meet: tuple[Any, str]
    moved: Callable[[], int]
    once: int
    guards: tuple[tuple[str, str], ...]


def a_month_is_rated() -> Race:
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, at("2026-02-03 10:00"), 600)
    close(market, date(2026, 2, 1))  # so that its subject is there
    used(market, at("2026-03-03 10:00"), 600, 4)
    cutoffs = iter([safe_cutoff(), safe_cutoff()])
    work = lambda: rate_periods([market.alice.pk], MONTH, next(cutoffs), final=True)  # noqa: E731
    return Race(
        work, (runs, "post_lines"), lambda: balance("user_receivable", market.alice) - 10 * UNIT, 40 * UNIT,
        (("billing_periodcharge", "period_charged_once"),),
    )  # fmt: skip


def an_invoice_becomes_final() -> Race:
    market = make_market()
    terms = {"zone": "Asia/Shanghai", "currency": "CNY", "grace_days": 3, "due_days": 14, "carries_remainder": True}
    Contract.objects.create(organization=market.alice, valid=(MARCH - 90 * DAY, None), signed_at=MARCH - 90 * DAY, **terms)
    make_tax(market.alice)
    make_charge(market, 100 * CENT, MARCH + DAY)
    close_all(APRIL + timedelta(hours=1))
    work = lambda: close_all(APRIL + 4 * DAY, [market.alice.pk])  # noqa: E731
    return Race(
        work, (closing, "_stale"), lambda: -balance("platform_tax_payable"), 6 * CENT, (("billing_invoice", "invoice_is_frozen"),)
    )


def payouts_are_gathered() -> Race:
    invoiced(a_share(make_market(), 20 * UNIT))
    moved = lambda: int(Payout.objects.aggregate(sum=Sum("amount_micros"))["sum"] or 0)  # noqa: E731
    return Race(lambda: gather(LATER), (payouts, "_terms"), moved, 20 * UNIT, (("billing_payoutline", "checked_update"),))


def a_task_is_charged() -> Race:
    market = make_market(rates={"core_second": "1"})
    task = make_task(market, terms={"fee_per_unit": "0"})
    make_usage(market, task, make_attempt(market, task, make_need()))
    guards = (("billing_journalentry", "billing_journalentry_key_key"), ("billing_charge", "charge_once_per_usage"))
    moved = lambda: balance("user_receivable", market.alice)  # noqa: E731
    return Race(lambda: charge_tasks([task.pk]), (billing.services, "_post"), moved, 1_500_000, guards)


def an_invoice_is_paid() -> Race:
    alice = make_organization("alice")
    invoice, serial = make_invoice(make_period(alice)), count(1)
    told: dict[str, Any] = {"currency": "CNY", "micros": invoice.total_micros, "method": "bank", "received_on": date(2026, 4, 2)}

    def work() -> None:
        record_payment(Receipt(f"race/{next(serial)}", organization=alice.pk, invoices=[invoice.pk], **told))

    moved = lambda: int(PaymentAllocation.objects.aggregate(sum=Sum("amount_micros"))["sum"] or 0)  # noqa: E731
    return Race(work, (payments, "_check"), moved, invoice.total_micros, ())


RACES = [a_month_is_rated, an_invoice_becomes_final, payouts_are_gathered, a_task_is_charged, an_invoice_is_paid]


@pytest.fixture
def without() -> Iterator[Callable[[str, str], None]]:
    """Takes a trigger, constraint or unique index away; what was written meanwhile goes before it comes back."""
    back: list[str] = []

    def drop(table: str, name: str) -> None:
        constraint = execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", name)
        index = execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", name)
        if constraint:
            execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            back.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint[0][0]}")
        elif index:
            execute(f"DROP INDEX {name}")
            back.append(index[0][0])
        else:
            execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
            back.append(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")

    yield drop
    if back:
        TransactionTestCase._fixture_teardown(None)  # type: ignore[arg-type]
    for statement in back:
        execute(statement)


def unlocked(execute: Any, statement: str, values: Any, many: bool, context: Any) -> Any:
    """The statement with nobody waiting for anybody: advisory locks are shared, rows are read without."""
    text = re.sub(r"(pg_(?:try_)?advisory_xact_lock)\(", r"\1_shared(", statement)
    return execute(LOCKS.sub("", text), values, many, context)


def run(race: Race, monkeypatch: pytest.MonkeyPatch, *, locks: bool) -> None:
    """Two at once."""
    begin, inside = threading.Barrier(2), threading.Barrier(2)
    module, name = race.meet
    original = getattr(module, name)
    met = threading.local()

    def meeting(*given: Any, **named: Any) -> Any:
        if not getattr(met, "done", False):
            met.done = True
            with suppress(threading.BrokenBarrierError):
                inside.wait(PATIENCE)
        return original(*given, **named)

    monkeypatch.setattr(module, name, meeting)

    def one() -> None:
        with ExitStack() as stack:
            stack.callback(connection.close)
            if not locks:
                stack.enter_context(connection.execute_wrapper(unlocked))
            begin.wait(10)
            with suppress(DatabaseError, DomainError):  # refused; what counts is what moved
                race.work()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


@pytest.mark.parametrize(
    ("prepare", "kept_by"),
    [(one, by) for one in RACES for by in ("lock", "PostgreSQL", "nothing") if (one, by) != (an_invoice_is_paid, "PostgreSQL")],
    ids=lambda given: given if isinstance(given, str) else given.__name__,
)
def test_money_moves_once_and_without_any_guard_it_would_move_twice(
    prepare: Callable[[], Race], kept_by: str, without: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    race = prepare()
    if kept_by == "nothing":
        for guard in race.guards:
            without(*guard)
    run(race, monkeypatch, locks=kept_by == "lock")
    assert race.moved() == race.once * (2 if kept_by == "nothing" else 1)
