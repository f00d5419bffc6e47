"""Months are closed once, lines are rounded once, and the journal says what the invoice says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from threading import Barrier, Thread

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.invoices.closing import close_all, void_invoice
from billing.invoices.tax import shares_of_tax
from billing.models import BillingPeriod, Invoice, InvoicedCharge, InvoiceLine
from billing.queries import is_balanced, trial_balance
from core.errors import Conflict
from marketplace.models import Contract
from tests.builders_billing import Market, make_market, make_organization
from tests.builders_invoices import APRIL, MARCH, balance, make_charge, make_tax

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SOON = APRIL + timedelta(hours=1)  # the month is over, its grace is not
LATER = APRIL + 4 * DAY
CENT = 10_000


def sign(market: Market, **fields: object) -> None:
    terms = {"zone": "Asia/Shanghai", "currency": "CNY", "grace_days": 3, "due_days": 14, "carries_remainder": True} | fields
    Contract.objects.create(organization=market.alice, valid=(MARCH - 400 * DAY, None), signed_at=MARCH, **terms)


def test_a_month_goes_from_gathering_to_a_numbered_invoice() -> None:
    market = make_market()
    sign(market)
    make_charge(market, 1_234_567, MARCH + DAY)
    close_all(MARCH + 2 * DAY)
    invoice = Invoice.objects.get()
    assert (invoice.state, invoice.number) == ("gathering", None)
    assert (invoice.period.starts_at, invoice.period.ends_at) == (MARCH, APRIL)
    close_all(SOON)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.net_micros) == ("grace", 1_230_000)
    done = close_all(LATER)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.number, done.finalised) == ("finalized", "GF-2026-000001", 1)
    assert invoice.due_at == datetime(2026, 4, 19, 16, tzinfo=UTC)  # the midnight in Shanghai after the fourteenth day
    assert invoice.bill_to == {"name": "Alice", "slug": market.alice.slug, "address": "", "tax_number": ""}
    assert close_all(LATER) == (0, 0, 0, 0)


def test_bounds_are_half_open_in_the_contracts_zone() -> None:
    market = make_market()
    sign(market, zone="America/New_York", grace_days=0)
    edge = datetime(2026, 4, 1, 4, tzinfo=UTC)  # midnight in New York, after the change of clocks
    for moment in (edge - timedelta(microseconds=1), edge):
        make_charge(market, 5 * CENT, moment)
    close_all(edge + DAY)
    march, april = Invoice.objects.order_by("period__starts_at")
    assert march.period.starts_at == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert march.period.ends_at == april.period.starts_at == edge
    assert (march.net_micros, march.state, april.state) == (5 * CENT, "finalized", "gathering")


def test_lines_are_grouped_by_capability_pool_and_basis_and_fees_stand_apart() -> None:
    market, other = make_market(), make_market("occupancy", {"occupancy_second": "1"})
    for micros in (4_000, 3_000):
        make_charge(market, micros, MARCH + DAY)
    make_charge(market, 20_000, MARCH + DAY, kind="fee")
    make_charge(other, 50_000, MARCH + DAY, organization=market.alice)
    close_all(SOON)
    lines = InvoiceLine.objects.exclude(kind="remainder").order_by("number")
    assert sorted((line.kind, line.basis, line.charges, line.exact_micros, line.amount_micros) for line in lines) == [
        ("fee", "", 1, 20_000, 20_000),
        ("usage", "consumption", 2, 7_000, 10_000),
        ("usage", "occupancy", 1, 50_000, 50_000),
    ]
    two = next(line for line in lines if line.charges == 2)
    assert two.quantities["core_second"] == "3"
    assert two.invoiced.count() == 2
    assert two.pool == market.pool


def test_late_usage_of_the_month_joins_its_invoice_in_grace_and_later_a_correction_of_the_next() -> None:
    market = make_market()
    make_charge(market, 10 * CENT, MARCH + DAY)
    close_all(SOON)
    make_charge(market, 5 * CENT, APRIL - DAY, SOON + DAY)
    close_all(LATER)
    first = Invoice.objects.get(state="finalized")
    assert first.net_micros == 15 * CENT
    make_charge(market, 7 * CENT, MARCH + DAY, LATER + DAY)
    make_charge(market, 1 * CENT, APRIL + DAY, LATER + DAY)
    close_all(APRIL + 40 * DAY)
    second = Invoice.objects.get(period__starts_at=APRIL)
    late = second.lines.get(is_correction=True)
    assert (late.service_from, late.service_to, late.amount_micros) == (MARCH, APRIL, 7 * CENT)
    assert second.lines.get(is_correction=False).service_from == APRIL
    first.refresh_from_db()
    assert first.net_micros == 15 * CENT


@pytest.mark.parametrize(
    ("currency", "minor", "net"), [("CNY", 10_000, 1_500_000), ("JPY", 1_000_000, 2_000_000), ("KWD", 1_000, 1_500_000)]
)
def test_minor_units_are_the_currencys(currency: str, minor: int, net: int) -> None:
    market = make_market()
    make_charge(market, 1_500_000, MARCH + DAY, currency=currency)
    close_all(SOON)
    invoice = Invoice.objects.get()
    assert (invoice.minor_micros, invoice.net_micros) == (minor, net)


def test_what_rounding_leaves_is_carried_until_it_is_a_cent_and_the_receivable_is_what_is_invoiced() -> None:
    market = make_market()
    owed = []
    for month in range(4):
        make_charge(market, 1_004_000, MARCH + timedelta(days=1 + 31 * month))
        close_all(APRIL + timedelta(days=5 + 31 * month))
        owed.append(Invoice.objects.filter(state="finalized").latest("pk").net_micros)
        assert balance("user_receivable", market.alice) == sum(owed)
        assert abs(balance("user_remainder", market.alice)) <= CENT // 2
    assert owed == [1_000_000, 1_010_000, 1_000_000, 1_010_000]  # 4.016 in all, 0.004 below 4.02
    assert sum(owed) + balance("user_remainder", market.alice) == 4 * 1_004_000
    assert is_balanced(trial_balance())


def test_a_contract_may_have_the_remainder_dropped_by_a_line_that_says_so() -> None:
    market = make_market()
    sign(market, carries_remainder=False)
    make_charge(market, 1_004_000, MARCH + DAY)
    close_all(LATER)
    invoice = Invoice.objects.get()
    line = invoice.lines.get(kind="rounding")
    assert (line.exact_micros, line.amount_micros, invoice.dropped_micros) == (4_000, 0, 4_000)
    assert balance("user_receivable", market.alice) == 1_000_000
    assert balance("platform_rounding") == 4_000


def test_tax_is_rounded_once_per_rate_and_shared_among_the_lines() -> None:
    market, other = make_market(), make_market()
    make_tax(market.alice, percent="6")
    make_tax(market.alice, percent="0.5")
    for number in range(3):
        where, kind = market if number else other, "fee" if number == 2 else "usage"
        make_charge(where, 33 * CENT, MARCH + DAY, organization=market.alice, kind=kind)
    close_all(SOON)
    close_all(LATER)
    invoice = Invoice.objects.get()
    assert sorted((tax.base_micros, tax.amount_micros) for tax in invoice.taxes.all()) == [(99 * CENT, 0), (99 * CENT, 6 * CENT)]
    assert [line.tax_micros for line in invoice.lines.order_by("number")] == [2 * CENT] * 3
    assert (invoice.total_micros, invoice.state) == (105 * CENT, "finalized")
    assert balance("platform_tax_payable") == -6 * CENT
    assert balance("user_receivable", market.alice) == invoice.total_micros


@given(st.integers(-100, 100), st.lists(st.integers(-50, 100), min_size=1, max_size=6))
def test_a_taxs_parts_add_up_to_it_even_where_lines_give_something_back(tax: int, lines: list[int]) -> None:
    parts = shares_of_tax(tax, lines)
    assert sum(parts) == (tax if sum(lines) else 0)
    base = sum(lines) or 1
    assert all(abs(Fraction(tax * line, base) - part) < 1 for line, part in zip(lines, parts, strict=True)) or not sum(lines)


@settings(max_examples=15, deadline=None, database=None)
@given(micros=st.lists(st.integers(1, 10**9), min_size=1, max_size=6), percent=st.sampled_from(["0", "3", "6", "19.6", "100"]))
def test_whatever_is_charged_the_invoice_is_the_sum_of_its_lines_and_the_journal_agrees(micros: list[int], percent: str) -> None:
    alice = make_organization("alice")
    make_tax(alice, percent=percent)
    for one in micros:
        make_charge(make_market(), one, MARCH + DAY, organization=alice)
    close_all(SOON, [alice.pk])
    close_all(LATER, [alice.pk])
    invoice = Invoice.objects.get(organization=alice)
    lines = list(invoice.lines.order_by("number"))
    units = [line.amount_micros // CENT for line in lines]
    assert [line.tax_micros // CENT for line in lines] == list(shares_of_tax(invoice.tax_micros // CENT, units))
    assert balance("user_receivable", alice) == invoice.total_micros
    assert balance("user_remainder", alice) == sum(micros) - invoice.net_micros


def test_a_void_invoice_gives_its_charges_to_the_one_that_takes_its_place() -> None:
    market = make_market()
    make_tax(market.alice)
    charge = make_charge(market, 1_004_000, MARCH + DAY)
    close_all(SOON)
    close_all(LATER)
    wrong = Invoice.objects.get()
    instead = void_invoice(wrong, "wrong address", LATER)
    wrong.refresh_from_db()
    assert (wrong.state, wrong.reason, instead.state, instead.replaces_id) == ("void", "wrong address", "grace", wrong.pk)
    assert balance("user_receivable", market.alice) == 1_004_000
    close_all(LATER)
    instead.refresh_from_db()
    assert (instead.number, instead.total_micros) == ("GF-2026-000002", wrong.total_micros)
    assert InvoicedCharge.objects.get(charge=charge).line.invoice == instead
    assert balance("user_receivable", market.alice) == instead.total_micros
    assert wrong.lines.exists()


def test_an_invoice_that_was_paid_even_in_part_is_not_voided() -> None:
    market = make_market()
    make_charge(market, 100 * CENT, MARCH + DAY)
    close_all(SOON)
    with pytest.raises(Conflict, match="still changes"):
        void_invoice(Invoice.objects.get(), "no", SOON)
    close_all(LATER)
    Invoice.objects.update(paid_micros=CENT)
    with pytest.raises(Conflict, match="credit note") as refused:
        void_invoice(Invoice.objects.get(), "no", LATER)
    assert refused.value.code == "invoice_paid"


def test_an_impossible_account_is_parked_and_the_others_go_on() -> None:
    market = make_market()
    for _ in range(3):
        make_charge(market, 2**62, MARCH + DAY)
    fine = make_market()
    make_charge(fine, 5 * CENT, MARCH + DAY)
    assert close_all(SOON).parked == 1
    parked = BillingPeriod.objects.get(organization=market.alice)
    assert (parked.state, parked.parked_code) == ("parked", "amount_impossible")
    assert Invoice.objects.get(organization=fine.alice).state == "grace"
    assert close_all(SOON).parked == 0


def test_more_accounts_ask_no_more_statements() -> None:
    def close(accounts: int, month: int) -> int:
        start = MARCH + timedelta(days=40 * month)
        for _ in range(accounts):
            make_charge(make_market(), 123_456, start)
        with CaptureQueriesContext(connection) as queries:
            done = close_all(start + timedelta(days=45))
        assert (done.closed, done.finalised) == (accounts, accounts)
        return len(queries)

    close(1, 0)  # accounts of the platform are made once
    assert close(2, 3) == close(12, 6)


@pytest.mark.django_db(transaction=True)
def test_a_month_that_two_close_at_once_is_closed_once() -> None:
    market = make_market()
    make_charge(market, 5 * CENT, MARCH + DAY)
    control = make_market()
    make_charge(control, 5 * CENT, MARCH + DAY)
    close_all(MARCH + 2 * DAY)
    done = []
    barrier = Barrier(2)

    def closer() -> None:
        barrier.wait()
        done.append(close_all(SOON, [market.alice.pk]))
        done.append(close_all(LATER, [market.alice.pk]))
        connections.close_all()

    threads = [Thread(target=closer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    close_all(LATER, [market.alice.pk])
    close_all(LATER, [control.alice.pk])  # alone, as a control
    close_all(LATER + 4 * DAY, [control.alice.pk])
    raced, alone = (Invoice.objects.get(organization=one.alice) for one in (market, control))
    assert (raced.state, raced.net_micros) == (alone.state, alone.net_micros) == ("finalized", 5 * CENT)
    assert sum(one.closed for one in done) == 1
    assert list(Invoice.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2]
