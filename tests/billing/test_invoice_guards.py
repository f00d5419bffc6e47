"""What PostgreSQL keeps of invoices, whatever the code does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.invoices.states import MOVES, may_move
from billing.models import (
    BankLine,
    BillingPeriod,
    Charge,
    CreditNote,
    Invoice,
    InvoicedCharge,
    InvoiceLine,
    InvoiceTax,
    Payment,
    PaymentReversal,
    ReversedAllocation,
    Series,
)
from billing.services import charge_task
from tests.builders_billing import make_attempt, make_market, make_need, make_organization, make_task, make_usage
from tests.builders_invoices import (
    APRIL,
    CENT,
    MARCH,
    make_everything,
    make_invoice,
    make_line,
    make_payment,
    make_period,
    make_reversal,
    make_tax,
    move_to,
)

pytestmark = pytest.mark.django_db
TABLES = (
    "billingperiod", "series", "invoice", "invoiceline", "invoicetax", "invoicedcharge", "creditnote", "creditnoteline", "payment",
    "paymentallocation", "bankstatement", "bankline", "gatewaypayment", "dunningnotice",
    "paymentreversal", "reversedallocation",
)  # fmt: skip


def refused(attempt: Callable[[], Any], why: str = "") -> bool:
    try:
        with transaction.atomic():
            attempt()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError as error:
        return why in str(error)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    return False


def run(statement: str) -> Callable[[], Any]:
    def one() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(statement)

    return one


@pytest.mark.parametrize(("before", "after"), list(permutations(MOVES, 2)))
def test_an_invoice_makes_exactly_the_moves_that_are_drawn(before: str, after: str) -> None:
    invoice = make_invoice(make_period(make_organization("alice")), before)
    assert refused(lambda: move_to(invoice, after)) is not may_move(before, after)


def test_months_of_an_account_never_overlap_but_touch_and_another_currency_is_another_account() -> None:
    alice = make_organization("alice")
    make_period(alice)
    day = timedelta(days=1)
    assert refused(lambda: make_period(alice, APRIL - day, APRIL + day), "periods_do_not_overlap")
    make_period(alice, APRIL, APRIL + 30 * day)
    make_period(alice, APRIL - day, APRIL + day, currency="USD")
    make_period(make_organization("bob"), APRIL - day, APRIL + day)


def test_a_closed_month_stays_closed_and_an_open_one_keeps_its_bounds() -> None:
    period = BillingPeriod.objects.filter(pk=make_period(make_organization("alice")).pk)
    assert refused(lambda: period.update(ends_at=APRIL + timedelta(days=1)), "refused")
    assert refused(lambda: period.update(state="closed", cutoff=MARCH), "period_closed_after_its_end")
    period.update(state="closed", cutoff=APRIL)
    assert refused(lambda: period.update(state="open", cutoff=None), "refused")
    assert refused(lambda: period.update(cutoff=APRIL + timedelta(days=1)), "refused")


@pytest.mark.parametrize("change", [{"net_micros": 0}, {"bill_to": {"name": "x"}}, {"number": "GF-2026-000009"}, {"due_at": MARCH}])
@pytest.mark.parametrize("state", ["finalized", "paid", "void"])
def test_a_final_invoice_says_for_ever_what_it_said(state: str, change: dict[str, Any]) -> None:
    invoice = make_invoice(make_period(make_organization("alice")), state)
    assert refused(lambda: Invoice.objects.filter(pk=invoice.pk).update(**change), "refused")


def test_lines_and_taxes_of_a_final_invoice_are_neither_added_nor_changed_nor_removed() -> None:
    alice = make_organization("alice")
    final, draft = make_invoice(make_period(alice)), make_invoice(make_period(alice, APRIL, APRIL + timedelta(days=30)), "grace")
    tax = {"rate": make_tax(), "percent": 6, "base_micros": 0, "amount_micros": 0}
    kept = InvoiceTax.objects.create(invoice=draft, **tax)
    lines = InvoiceLine.objects.filter(invoice=final)
    assert refused(lambda: make_line(final, CENT), "is final")
    assert refused(lambda: lines.update(amount_micros=1), "is final")
    assert refused(lambda: lines.update(invoice=draft, number=9), "is final")
    assert refused(lambda: draft.lines.update(invoice=final, number=9), "is final")
    assert refused(lambda: lines._raw_delete("default"), "is final")
    assert refused(lambda: InvoiceTax.objects.create(invoice=final, **tax), "is final")
    assert refused(lambda: InvoiceTax.objects.filter(pk=kept.pk).update(invoice=final), "is final")
    assert refused(lambda: Invoice.objects.filter(pk=final.pk)._raw_delete("default"))


@pytest.fixture
def charge(db: None) -> Charge:
    market = make_market()
    task = make_task(market)
    make_usage(market, task, make_attempt(market, task, make_need()))
    charge_task(task.pk)
    return Charge.objects.get()


def test_a_charge_stands_in_one_line_only(charge: Charge) -> None:
    alice = make_organization("alice")
    draft = make_invoice(make_period(alice), "grace")
    other = make_line(draft, CENT)
    InvoicedCharge.objects.create(charge=charge, line=draft.lines.first())
    assert refused(lambda: InvoicedCharge.objects.create(charge=charge, line=other), "duplicate key")


def test_a_charge_leaves_a_final_invoice_only_when_it_is_void(charge: Charge) -> None:
    alice = make_organization("alice")
    invoice = make_invoice(make_period(alice), "grace")
    row = InvoicedCharge.objects.create(charge=charge, line=invoice.lines.get())
    move_to(invoice, "finalized")
    rows = InvoicedCharge.objects.filter(pk=row.pk)
    assert refused(lambda: rows._raw_delete("default"), "is final")
    move_to(invoice, "void")
    instead = make_invoice(invoice.period, "grace", replaces=invoice)
    rows.update(line=instead.lines.get())
    assert refused(lambda: rows.update(line=invoice.lines.get()), "is final")


@pytest.mark.parametrize("lie", [{"exact_micros": 1_050 * CENT, "amount_micros": 1_049 * CENT}, {"tax_micros": CENT}])
def test_what_a_final_invoice_says_is_the_sum_of_its_lines(lie: dict[str, int]) -> None:
    invoice = make_invoice(make_period(make_organization("alice")), "grace")
    invoice.lines.update(**lie)
    assert refused(lambda: move_to(invoice, "finalized"), "its lines come to")


def test_a_line_is_of_whole_minor_units() -> None:
    invoice = make_invoice(make_period(make_organization("alice")), "grace", 2)
    invoice.lines.update(amount_micros=CENT - 1, exact_micros=CENT - 1)
    make_line(invoice, CENT + 1)
    assert refused(lambda: move_to(invoice, "finalized"), "its lines come to")


def test_no_more_is_paid_than_is_owed_and_what_was_paid_only_turns_into_credit() -> None:
    invoice = make_invoice(make_period(make_organization("alice")))
    row = Invoice.objects.filter(pk=invoice.pk)
    assert refused(lambda: row.update(paid_micros=invoice.total_micros + 1), "invoice_is_paid_once")
    assert refused(lambda: row.update(state="paid", ended_at=APRIL), "invoice_paid_is_paid")
    row.update(paid_micros=5 * CENT)
    assert refused(lambda: row.update(state="void", ended_at=APRIL), "invoice_void_was_not_paid")
    assert refused(lambda: row.update(paid_micros=4 * CENT), "refused")
    row.update(paid_micros=4 * CENT, credited_micros=CENT)
    assert refused(lambda: row.update(credited_micros=0, paid_micros=5 * CENT), "refused")


def test_what_is_paid_falls_by_exactly_what_is_reversed_and_a_paid_invoice_is_owed_again_only_so() -> None:
    invoice = make_invoice(make_period(make_organization("alice")))
    row, payment = Invoice.objects.filter(pk=invoice.pk), make_payment(invoice, invoice.total_micros)
    row.update(state="paid", paid_micros=invoice.total_micros, ended_at=APRIL)
    owed_again = {"state": "overdue", "ended_at": None}
    assert refused(lambda: row.update(**owed_again, paid_micros=0), "refused")
    make_reversal(payment)
    assert refused(lambda: row.update(**owed_again), "may not go")
    assert refused(lambda: row.update(**owed_again, paid_micros=CENT), "refused")
    assert row.update(**owed_again, paid_micros=0) == 1


def test_an_invoice_has_no_number_before_it_is_final_and_one_lives_per_month() -> None:
    period = make_period(make_organization("alice"))
    draft = make_invoice(period, "grace")
    assert refused(lambda: Invoice.objects.filter(pk=draft.pk).update(number="GF-1"), "invoice_is_numbered_when_final")
    assert refused(lambda: make_invoice(period, "gathering"), "invoice_once_per_period")


def test_numbers_only_grow() -> None:
    series = Series.objects.create(issuer="GF", kind="invoice", year=2026, last=5)
    assert refused(lambda: Series.objects.filter(pk=series.pk).update(last=4), "only grows")


@pytest.mark.parametrize("model", [CreditNote, Payment, PaymentReversal, ReversedAllocation])
def test_documents_never_change(model: Any) -> None:
    make_everything(make_organization("alice"))
    row = model.objects.latest("pk")
    assert refused(lambda: model.objects.filter(pk=row.pk).update(id=0), "append-only")
    assert refused(lambda: model.objects.filter(pk=row.pk)._raw_delete("default"))


def test_a_banks_line_says_what_the_bank_said() -> None:
    make_everything(make_organization("alice"))
    line = BankLine.objects.get()
    assert refused(lambda: BankLine.objects.filter(pk=line.pk).update(state="ignored", payment=None), "refused")
    queued = BankLine.objects.create(
        statement=line.statement, number=2, reference="x", booked_on=line.booked_on, amount_micros=1, currency="CNY", state="queued"
    )
    assert refused(lambda: BankLine.objects.filter(pk=queued.pk).update(amount_micros=2), "refused")
    BankLine.objects.filter(pk=queued.pk).update(state="ignored")


@pytest.mark.parametrize("table", TABLES)
def test_truncate_is_refused_in_every_role(table: str) -> None:
    make_everything(make_organization("alice"))
    assert refused(run(f"TRUNCATE billing_{table} CASCADE"), "append-only")
    assert refused(run(f"SET LOCAL session_replication_role = replica; TRUNCATE billing_{table} CASCADE"), "append-only")


def test_every_guard_is_kept_in_every_role() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE tgenabled <> 'A') FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY(%s)",
            [[f"billing_{table}" for table in TABLES]],
        )
        guards, plain = cursor.fetchone()
    assert guards > 30
    assert plain == 0


def test_a_tax_has_one_rate_at_a_time() -> None:
    rate = make_tax()
    with pytest.raises(IntegrityError, match="tax_rates_do_not_overlap"), transaction.atomic():
        type(rate).objects.create(tax=rate.tax, percent=9, valid=rate.valid)
