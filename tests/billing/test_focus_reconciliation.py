"""A month with everything in it: its FOCUS rows come to invoices, credit notes and the ledger, by invoice and by currency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from django.db.models import F, Sum
from django.utils import timezone

from billing.correcting import correct_usage
from billing.credit.settling import settle_from_wallet
from billing.exports.checks import check
from billing.exports.columns import BY_NAME, COLUMNS
from billing.exports.focus import focus_rows
from billing.exports.writers import cell
from billing.invoices.closing import close_all
from billing.invoices.credit_notes import issue_credit_note
from billing.models import BillingPeriod, CreditNote, Invoice, Leg, PeriodCharge
from billing.services import charge_tasks
from core.money import from_micros
from tests.billing.test_invoiced_periods import BEFORE, DAY, THIS, a_market
from tests.builders_billing import Market, make_agent, make_attempt, make_need, make_offer, make_pool, make_task, make_usage
from tests.builders_invoices import CENT, make_charge, make_tax
from tests.builders_periods import corrected, used
from tests.builders_wallet import give, pay_in

pytestmark = pytest.mark.django_db
NAMES: Final = [column.name for column in COLUMNS]
OWED: Final = ("user_receivable", "user_prepaid")  # what is taken back of a paid invoice becomes prepaid
MONEY: Final = ("payment", "grant", "settle")  # entries of money that came in or was moved, not of what is owed


def a_task(market: Market, labels: Mapping[str, str], **usage: Any) -> Any:
    """A task of two units that was charged in the month, with a fee."""
    end = BEFORE + 2 * DAY
    task = make_task(market, units=2, labels=labels, terms={"fee_per_unit": "0.0333", "platform_basis_points": 1000})
    type(task).objects.filter(pk=task.pk).update(ended_at=end)
    records = []
    for number in (1, 2):
        attempt = make_attempt(market, task, make_need(), leased_at=end - DAY, ended_at=end - DAY / number / 2)
        numbers = {"core_ms": 1_234_567 * number, "fp32_gflop": 7_200_000, "measured_at": end}
        records.append(make_usage(market, task, attempt, **numbers, **usage))
    charge_tasks([task.pk])
    return records


@pytest.fixture
def month() -> Market:
    """Tasks and a peak, two currencies, two taxes, a grant and a payment, late corrections, and credit notes on paid and unpaid."""
    market = a_market()
    make_tax(market.alice, percent="6", start=BEFORE - 400 * DAY)
    make_tax(market.alice, percent="0.7", start=BEFORE - 400 * DAY)
    used(market, BEFORE + DAY, 600, 4)
    peaked = used(market, BEFORE + 3 * DAY, 600, 1)
    pool = make_pool(market.bob)
    by_task = Market(market.alice, market.bob, market.carol, pool, make_agent(pool), make_offer(pool), market.version)
    first, _ = a_task(by_task, {"project": "电影", "stage": "rough"})
    make_charge(by_task, 7_654_321, BEFORE + DAY, timezone.now(), currency="USD", lines=[
        {"meter": "core_second", "quantity": "7654.321", "unit_price": "0.001", "amount": "7.654321"},
    ])  # fmt: skip
    give(market.alice, 300, days=400)
    pay_in(market.alice, 9000)
    close_all()
    settle_from_wallet([market.alice.pk])
    correct_usage(first.pk, {"core_ms": 500_000})
    corrected(peaked, held_core_ms=9 * peaked.wall_ms)
    close_all()
    close_all(THIS + 40 * DAY)
    for number, invoice in enumerate(Invoice.objects.filter(number__isnull=False, total_micros__gt=0).order_by("id")):
        line = invoice.lines.filter(amount_micros__gte=50 * CENT).earliest("number")
        issue_credit_note(invoice, {line.number: 50 * CENT}, "slow", f"test/{number}")
    return market


def rows_of(market: Market) -> list[dict[str, Any]]:
    periods = BillingPeriod.objects.filter(organization=market.alice).order_by("starts_at", "currency")
    return [row for period in periods for row in focus_rows(period)]


def sums(rows: list[dict[str, Any]], *names: str) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = defaultdict(Decimal)
    for row in rows:
        found[tuple(row[name] for name in names)] += row["BilledCost"]
    return dict(found)


def test_rows_come_to_every_invoice_and_every_credit_note(month: Market) -> None:
    documents = {
        (invoice.number, invoice.currency): from_micros(invoice.total_micros)
        for invoice in Invoice.objects.filter(number__isnull=False)
        if invoice.lines.exists()
    }
    documents |= {
        (note.number, note.invoice.currency): -from_micros(note.net_micros + note.tax_micros) for note in CreditNote.objects.all()
    }
    assert {currency for _, currency in documents} == {"CNY", "USD"}
    assert CreditNote.objects.filter(prepaid_micros__gt=0).count() == 1
    assert CreditNote.objects.count() >= 2
    assert sums(rows_of(month), "InvoiceId", "BillingCurrency") == documents


def test_rows_come_to_the_ledger_in_every_currency(month: Market) -> None:
    owed = (
        Leg.objects.filter(account__organization=month.alice, account__kind__in=OWED)
        .exclude(entry__kind__in=MONEY)
        .values("account__currency")
        .annotate(micros=Sum(F("debit_micros") - F("credit_micros")))
    )
    assert sums(rows_of(month), "BillingCurrency") == {(row["account__currency"],): from_micros(row["micros"]) for row in owed}


def test_every_row_keeps_the_rules_and_every_kind_of_row_is_there(month: Market) -> None:
    rows = rows_of(month)
    found = list(check(NAMES, ({name: cell(BY_NAME[name], row.get(name)) for name in NAMES} for row in rows)))
    assert found == []
    kinds = {(row["ChargeCategory"], row.get("ChargeClass")) for row in rows}
    assert kinds >= {
        ("Usage", None), ("Adjustment", None), ("Adjustment", "Correction"), ("Tax", None), ("Tax", "Correction"),
        ("Credit", "Correction"),
    }  # fmt: skip


def test_a_months_peak_is_one_row_with_its_consumption_policy_slot_and_proof(month: Market) -> None:
    charge = PeriodCharge.objects.get(revision=0)
    [row] = [row for row in rows_of(month) if row.get("x_ChargeId") == f"period/{charge.pk}"]
    assert (row["ConsumedQuantity"], row["ConsumedUnit"], row["SkuMeter"]) == (4, "Cores", "Peak of Cores Held")
    assert (row["PricingQuantity"], row["ContractedUnitPrice"], row["BilledCost"]) == (4, 10, 40)
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"], row["ChargeFrequency"]) == (BEFORE, THIS, "Recurring")
    assert (row["x_PeakPolicy"], row["x_EventDigest"]) == ("month_max", charge.digest)
    assert row["x_PeakSlot"].startswith(f"{BEFORE + DAY:%Y-%m-%d}/")
    assert row["x_ProviderShare"] + row["x_PlatformShare"] == 40


def test_what_is_corrected_later_names_the_line_that_it_corrects_and_counts_no_usage_twice(month: Market) -> None:
    rows = rows_of(month)
    late = [row for row in rows if row["ChargeCategory"] == "Adjustment" and row.get("ChargeClass") and row.get("x_ChargeId")]
    first = Invoice.objects.filter(currency="CNY", number__isnull=False).earliest("id").number
    assert {row["x_OriginalLineId"].split("/")[0] for row in late} == {first}
    assert {row["ChargeDescription"] for row in late} == {"Correction of usage", "Correction of a month"}
    assert all(row.get("ConsumedQuantity") is None for row in late)


def test_tags_projects_and_normalised_work_stand_in_the_rows(month: Market) -> None:
    rows = [row for row in rows_of(month) if row.get("Tags")]
    assert {row["SubAccountId"] for row in rows} == {"%E7%94%B5%E5%BD%B1"}
    assert {row["SubAccountType"] for row in rows} == {"Project"}
    assert all(row["Tags"] == {"project": "电影", "stage": "rough"} for row in rows)
    assert sum(row.get("x_StandardFp32TflopsHours", 0) for row in rows) == 4


def test_a_corrected_month_that_is_still_open_is_no_correction_to_focus() -> None:
    market = a_market(grace_days=3)
    used(market, BEFORE + DAY, 600, 4)
    close_all(THIS + DAY)
    used(market, BEFORE + 2 * DAY, 600, 6)
    close_all(THIS + DAY)
    close_all(THIS + 4 * DAY + timedelta(minutes=1))
    assert {(row["ChargeCategory"], row["ChargeClass"]) for row in rows_of(market)} == {("Usage", None), ("Adjustment", None)}
    assert sums(rows_of(market), "BillingCurrency") == {("CNY",): 60}
