"""Each step of the way of money, killed before any of its statements and begun again, comes to the rows of one left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing.models import Invoice
from billing.queries import is_balanced, trial_balance
from billing.settlement.reserves import Terms, agree_terms
from tests import builders as build
from tests.billing.killed_run import WORKS
from tests.builders_billing import make_attempt, make_market, make_need, make_task
from tests.builders_credit import allow, end, held_task, use
from tests.builders_invoices import APRIL, CENT, make_charge, make_payment, make_tax, move_to
from tests.builders_killed import Victim, a_victim, changed, ends, money_columns, money_rows
from tests.builders_periods import at, period_market, priced_by_month, used
from tests.builders_settlement import UNIT, a_share
from tests.builders_wallet import give, owe, pay_in

DAY = timedelta(days=1)
NOW = APRIL + DAY
Given = dict[str, Any]


def told(now: datetime = NOW, **given: Any) -> Given:
    return given | {"now": now.isoformat()}


def a_submit() -> Given:
    market = make_market()
    allow(market, 100)
    return told(task=str(make_task(market, state="running").pk), price="7.5")


def a_task_that_outgrows_its_hold() -> Given:
    market = make_market()
    allow(market, 2)
    use(market, held_task(market, "0.5", units=4), "1.5")
    return told()


def ended_attempts() -> Given:
    market, need = make_market(), make_need()
    for number in range(3):
        make_attempt(market, make_task(market), need, state="lost" if number == 1 else "valid")
    return told()


def held_tasks_that_ended() -> Given:
    market = make_market()
    allow(market, 100)
    tasks = [held_task(market, "5", terms={"fee_per_task": "0.5"}) for _ in range(2)]
    for task, price in zip(tasks, ("1", "2"), strict=True):
        for _ in range(3):
            use(market, task, price)
        end(task)
    return told(tasks=[str(task.pk) for task in tasks])


def late_usage_of_three_months() -> Given:
    market = period_market("monthly_peak", {"held_cores": "10", "surcharge": {"model": "percentage", "percent": "5"}})
    packs = {"model": "package", "size": "2", "price": "3"}
    priced_by_month(market, per_unit=packs, share={"model": "percentage", "percent": "10"})
    for month, cores in (("01", 3), ("02", 4), ("03", 5)):
        used(market, at(f"2026-{month}-03 10:00"), 600, cores)
    return told(organizations=[market.alice.pk])


def a_final_invoice() -> Given:
    market = make_market()
    make_tax(market.alice)
    make_charge(market, 1_234_567, APRIL - DAY)
    WORKS["close"](told(APRIL + 40 * DAY, organizations=[market.alice.pk]))
    return told(invoice=Invoice.objects.get(organization=market.alice, number__isnull=False).pk)


def an_owed_and_a_paid_invoice() -> Given:
    market = make_market()
    owed = owe(market.alice, 900)
    paid = owe(market.alice, 700)
    make_payment(paid, 700 * CENT)
    move_to(paid, "paid")
    return told(invoices=[owed.pk, paid.pk], micros=300 * CENT)


def two_overdue_invoices() -> Given:
    market = make_market()
    invoices = [owe(market.alice, cents).pk for cents in (900, 700)]
    WORKS["dun"](told(APRIL + 60 * DAY))
    key = f"transfer/{market.alice.pk}"
    return told(APRIL + 61 * DAY, key=key, organization=market.alice.pk, micros=2000 * CENT, invoices=invoices)


def a_wallet_and_two_debts() -> Given:
    market = make_market()
    give(market.alice, 500, 30, key=f"welcome/{market.alice.pk}")
    pay_in(market.alice, 900, key=f"bank/{market.alice.pk}")
    for cents in (800, 700):
        owe(market.alice, cents)
    return told(organization=market.alice.pk)


def money_that_bounced_and_was_spent() -> Given:
    market = make_market()
    payment = pay_in(market.alice, 900, key=f"bounced/{market.alice.pk}")
    for cents in (500, 300):
        owe(market.alice, cents)
    WORKS["wallet"](told(organization=market.alice.pk))
    give(market.alice, 200, 30, key=f"consolation/{market.alice.pk}")  # it pays what is owed again
    return told(payment=payment.pk)


def a_reserve_that_is_over_and_a_payee_who_owes() -> Given:
    """Bob's is due to be released while something is due; carol owes, and draws on hers."""
    market = make_market()
    for payee in (market.bob, market.carol):
        agree_terms(payee, Terms(1000, 2 if payee == market.bob else 60), now=NOW - 9 * DAY)
    a_share(market, 200 * UNIT, 100 * UNIT, payer="platform", at=NOW - 9 * DAY)
    WORKS["payout"](told())
    a_share(market, 30 * UNIT, payer="platform", at=NOW - 7 * DAY)
    a_share(market, 0, -5 * UNIT, kind="delta", at=NOW)
    return told(NOW + 2 * DAY)


def an_invoice_long_overdue() -> Given:
    owe(make_market().alice, 900)
    return told(APRIL + 70 * DAY)


STORIES: dict[str, tuple[Callable[[], Given], int]] = {  # and how many statements it sends at least
    "hold": (a_submit, 3),
    "watch": (a_task_that_outgrows_its_hold, 3),
    "measure": (ended_attempts, 2),
    "charge": (held_tasks_that_ended, 6),
    "rate": (late_usage_of_three_months, 10),
    "void": (a_final_invoice, 6),
    "credit": (an_owed_and_a_paid_invoice, 8),
    "pay": (two_overdue_invoices, 6),
    "wallet": (a_wallet_and_two_debts, 6),
    "reverse": (money_that_bounced_and_was_spent, 12),
    "dun": (an_invoice_long_overdue, 2),
    "payout": (a_reserve_that_is_over_and_a_payee_who_owes, 14),
}


# Months are rated in one transaction with many statements, each run of which takes long: the suite takes every fourth.
STRIDES = {} if "EVERY_STATEMENT" in os.environ else {"rate": 4}


def alone(work: str, columns: dict[str, list[str]]) -> dict[str, int]:
    """What an undisturbed run changes; the second one: the first makes accounts and series that all share."""
    for _ in range(2):
        given = STORIES[work][0]()
        before = money_rows(columns)
        WORKS[work](given)
    return changed(before, money_rows(columns))


def killed_before(statement: int, victim: Victim, work: str, columns: dict[str, list[str]]) -> tuple[int, dict[str, int]]:
    """How the run ended, and what it changed together with the one that repeats it."""
    given = STORIES[work][0]()
    before = money_rows(columns)
    ended = ends(victim, work, given, statement)
    WORKS[work](given)
    return ended, changed(before, money_rows(columns))


@pytest.mark.django_db(transaction=True)
def test_every_step_killed_before_any_statement_comes_to_the_same_rows() -> None:
    columns = money_columns()
    build.olga()  # approves payouts
    with a_victim() as victim:
        for work, (_, least) in STORIES.items():
            expected, statement, ended = alone(work, columns), 0, -9
            assert expected, f"{work} does nothing"
            while ended == -9:
                statement += STRIDES.get(work, 1)
                ended, found = killed_before(statement, victim, work, columns)
                assert found == expected, f"{work} killed before statement {statement}"
            assert ended == 0
            assert statement > least, work
    assert is_balanced(trial_balance())
