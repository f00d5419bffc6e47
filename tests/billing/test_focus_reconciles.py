"""A month's FOCUS file comes to its invoice and to the ledger, whatever was given back of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.disputes.deciding import Decision, decide
from billing.disputes.opening import Opening, open_disputes
from billing.exports.columns import COLUMNS
from billing.exports.focus import focus_rows
from billing.exports.writers import write
from billing.invoices.closing import close_all
from billing.models import BillingPeriod, Charge, CreditNote, Invoice, PeriodCharge
from core.money import from_micros
from marketplace.models import Organization
from tests.billing.test_invoiced_periods import BEFORE, DAY, THIS, a_market
from tests.builders_billing import Market
from tests.builders_invoices import balance, make_charge, make_tax
from tests.builders_periods import amount, used

pytestmark = pytest.mark.django_db
Rows = list[dict[str, Any]]


def line_of(quantity: str) -> dict[str, str]:
    """At a CNY a core-second."""
    return {"meter": "core_second", "quantity": quantity, "unit_price": "1", "amount": quantity}


def given_back(of: Organization, at: datetime, micros: int | None, *tasks: Charge, months: Sequence[PeriodCharge] = ()) -> None:
    """A dispute about charges, decided: so much of them comes back, or all."""
    told = Opening(of, "wrong_usage", "we held three")
    (dispute,) = open_disputes(told, [one.pk for one in tasks], at, months=[one.pk for one in months])
    decide([Decision(dispute.pk, "upheld" if micros is None else "partly", "so it is", micros)], None, at)


def a_month_of_everything() -> Market:
    """A month's charge and tasks', something given back of each before and after the invoice is final, and an SLA credit."""
    market = a_market(grace_days=20)
    make_tax(market.alice, percent="6", start=BEFORE - 10 * DAY)
    used(market, BEFORE + DAY, 600, 4)
    times = BEFORE + 2 * DAY, THIS - DAY
    used_up = ("12.345678", "7.777777", "2.222222")
    early, late, whole = (make_charge(market, amount(one), *times, lines=[line_of(one)]) for one in used_up)
    make_charge(market, -1_234_567, *times, kind="sla")
    close_all(THIS + DAY)
    given_back(market.alice, THIS + 2 * DAY, amount("1.111111"), early)
    given_back(market.alice, THIS + 2 * DAY, amount("10"), months=[PeriodCharge.objects.get()])
    close_all(THIS + 25 * DAY)
    given_back(market.alice, THIS + 26 * DAY, amount("3.333333"), late)
    given_back(market.alice, THIS + 26 * DAY, None, whole)
    return market


def rows_of(customer: Organization) -> Rows:
    return [row for period in BillingPeriod.objects.filter(organization=customer) for row in focus_rows(period)]


def total(rows: Rows, column: str) -> Decimal:
    return sum((row.get(column) or Decimal(0) for row in rows), Decimal(0))


def test_all_months_come_to_the_ledger_and_every_share_to_who_gets_it() -> None:
    market = a_month_of_everything()

    rows, notes = rows_of(market.alice), CreditNote.objects.all()
    assert len(notes) == 2
    invoiced = Invoice.objects.get(number__isnull=False).total_micros - sum(note.net_micros + note.tax_micros for note in notes)
    assert total(rows, "BilledCost") == from_micros(invoiced) == from_micros(balance("user_receivable", market.alice))
    for share, account, whose in (("Provider", "provider_payable", market.bob), ("Publisher", "publisher_payable", market.carol)):
        assert total(rows, f"x_{share}Share") == from_micros(-balance(account, whose)), share
    told = [row["ChargeDescription"] for row in rows if row["ChargeCategory"] == "Credit"]
    assert sorted(told) == ["Credit note"] * 2 + ["Refund after a dispute"] * 2 + ["Service level credit"]


def test_a_credit_note_of_a_month_has_the_shares_that_its_parties_give_back() -> None:
    market = a_market()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    charge = PeriodCharge.objects.get()
    given_back(market.alice, THIS + 2 * DAY, amount("10"), months=[charge])
    rows = rows_of(market.alice)
    refund = PeriodCharge.objects.get(refunds=charge)
    [note] = [row for row in rows if row["ChargeDescription"] == "Credit note"]
    assert note["x_ProviderShare"] == from_micros(refund.provider_micros) < 0
    assert note["x_PlatformShare"] == from_micros(refund.platform_micros)
    assert total(rows, "x_ProviderShare") == from_micros(-balance("provider_payable", market.bob))
    assert total(rows, "BilledCost") == 30


def test_the_totals_of_credit_notes_are_compared_as_those_of_invoices(tmp_path: Path) -> None:
    market = a_month_of_everything()
    file = tmp_path / "month.csv"
    number = CreditNote.objects.latest("pk").number
    rows = rows_of(market.alice)
    kept = (row for row in rows if row["InvoiceId"] != number or row["ChargeCategory"] != "Credit")
    with file.open("wb") as out:
        write("csv", COLUMNS, kept, out, "focus/1.2")
    told = io.StringIO()
    with pytest.raises(CommandError):
        call_command("check_focus", str(file), totals=True, stdout=told)
    assert f"{number} comes to" in told.getvalue()
