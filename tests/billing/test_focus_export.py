"""A month as FOCUS 1.2: every row is explained, and its rows add up to what was invoiced."""

from __future__ import annotations

import csv
import io
from base64 import b64encode
from collections import defaultdict
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.exports.columns import COLUMNS
from billing.exports.focus import focus_rows
from billing.exports.rows import Charged, Document, Part, rows_of_line
from billing.models import BillingPeriod, Charge, CreditNote, CreditNoteLine, Invoice, InvoicedCharge, InvoiceTax, Series
from billing.services import charge_task
from tests import builders as build
from tests.billing.test_statements import market  # noqa: F401  the cast's market
from tests.builders_billing import Market, make_attempt, make_need, make_task, make_usage
from tests.builders_invoices import APRIL, CENT, MARCH, make_entry, make_line, make_period, make_tax, move_to

GOLDEN = [  # category, class, invoice, billed, contracted, quantity, unit, price, SKU meter, provider
    ("Usage", "", "GF-2026-000001", "0.1234", "0.1234", "1.234", "Core-Seconds", "0.1", "CPU Time", "Bobs-Pools"),
    ("Usage", "", "GF-2026-000001", "0.02", "0.02", "1.0", "Units", "0.02", "Publisher Fee", "Bobs-Pools"),
    ("Adjustment", "", "GF-2026-000001", "-0.0034", "-0.0034", "", "", "", "", "Gridfare"),
    ("Tax", "", "GF-2026-000001", "0.01", "0.01", "", "", "", "", "Gridfare"),
    ("Credit", "Correction", "GF-C-2026-000001", "-0.01", "-0.01", "", "", "", "", "Gridfare"),
]
SHOWN = (
    "ChargeCategory", "ChargeClass", "InvoiceId", "BilledCost", "ContractedCost", "PricingQuantity", "PricingUnit",
    "ContractedUnitPrice", "SkuMeter", "ProviderName",
)  # fmt: skip


def an_invoiced_month(market: Market) -> BillingPeriod:  # noqa: F811
    """One task of 0.1434 CNY in a line of 0.14, a fen of tax, and a fen taken back."""
    task = make_task(market, terms={"fee_per_unit": "0.02", "platform_basis_points": 1000})
    make_usage(market, task, make_attempt(market, task, make_need()), core_ms=1234)
    assert charge_task(task.pk)
    exact, net = sum(Charge.objects.values_list("amount_micros", flat=True)), 14 * CENT
    period, rate = make_period(market.alice), make_tax()
    invoice = Invoice.objects.create(
        period=period, organization=market.alice, currency="CNY", minor_micros=CENT, exact_micros=exact, net_micros=net,
        carried_out_micros=exact - net, tax_micros=CENT, total_micros=net + CENT,
    )  # fmt: skip
    line = make_line(invoice, net, kind="usage", exact_micros=exact, tax_micros=CENT)
    for charge in Charge.objects.all():
        InvoicedCharge.objects.create(charge=charge, line=line)
    InvoiceTax.objects.create(invoice=invoice, rate=rate, percent=rate.percent, base_micros=net, amount_micros=CENT)
    for state in ("draft", "grace", "finalized"):
        move_to(invoice, state)
    series = Series.objects.create(issuer="GF", kind="credit_note", year=2026)
    note = CreditNote.objects.create(
        invoice=invoice, series=series, sequence=1, number="GF-C-2026-000001", key="test/credit", net_micros=CENT, tax_micros=0,
        prepaid_micros=0, reason="goodwill", entry=make_entry(), issued_at=APRIL,
    )  # fmt: skip
    CreditNoteLine.objects.create(note=note, line=line, net_micros=CENT, tax_micros=0)
    return period


def asked(form: str = "csv", person: Any = None) -> Any:
    return build.client_of(person or build.alice()).get(f"/api/v1/exports/focus?month=2026-03&format={form}")


def test_a_small_month_is_written_row_by_row(market: Market) -> None:  # noqa: F811
    an_invoiced_month(market)
    answer = asked()
    body = b"".join(answer.streaming_content)
    found = list(csv.DictReader(io.StringIO(body.decode())))
    assert [tuple(row[name] for name in SHOWN) for row in found] == GOLDEN
    assert list(found[0]) == [column.name for column in COLUMNS]
    first = found[0]
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == ("2026-02-28T16:00:00Z", "2026-03-31T16:00:00Z")
    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"]) == ("2026-03-01T12:00:00Z", "2026-03-01T12:00:10Z")
    assert (first["PublisherName"], first["InvoiceIssuerName"], first["BillingCurrency"]) == ("Carols-Programs", "Gridfare", "CNY")
    assert answer["Repr-Digest"] == f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"


def test_an_account_is_called_as_it_calls_itself_in_ascii(market: Market) -> None:  # noqa: F811
    type(market.alice).objects.update(name="爱丽丝")
    type(market.alice).objects.filter(pk=market.alice.pk).update(ascii_name="Ailisi Ltd")
    type(market.bob).objects.filter(pk=market.bob.pk).update(ascii_name="Bob's Iron")
    found = list(focus_rows(BillingPeriod.objects.get(pk=an_invoiced_month(market).pk)))
    assert {(row["BillingAccountName"], row["x_BillingAccountLocalName"]) for row in found} == {("Ailisi Ltd", "爱丽丝")}
    assert {row["ProviderName"] for row in found if row["ChargeCategory"] == "Usage"} == {"Bob's Iron"}


def test_rows_add_up_to_the_invoice_and_shares_to_the_charge(market: Market) -> None:  # noqa: F811
    period = an_invoiced_month(market)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    found = list(focus_rows(period))
    for row in found:
        sums[row["InvoiceId"]] += row["BilledCost"]
    assert sums == {"GF-2026-000001": Decimal("0.15"), "GF-C-2026-000001": Decimal("-0.01")}
    shares = sum(row.get(f"x_{who}Share", Decimal(0)) for row in found for who in ("Provider", "Publisher", "Platform"))
    assert shares == Decimal("0.1434") - Decimal("0.01")  # the platform bears what it gave out of goodwill


def test_parquet_holds_the_same_rows_with_types(market: Market) -> None:  # noqa: F811
    period = an_invoiced_month(market)
    table = pq.read_table(io.BytesIO(b"".join(asked("parquet").streaming_content)))
    assert table.column("BilledCost").to_pylist() == [row["BilledCost"] for row in focus_rows(period)]
    assert str(table.schema.field("BilledCost").type) == "decimal128(38, 21)"
    assert str(table.schema.field("ChargePeriodStart").type) == "timestamp[ms, tz=UTC]"
    assert not table.schema.field("BilledCost").nullable


@pytest.mark.django_db
def test_before_the_invoice_is_issued_there_is_a_header_and_without_a_month_nothing() -> None:
    make_period(build.alice().organization)
    assert b"".join(asked().streaming_content).count(b"\r\n") == 1
    refusal = asked(person=build.mallory())
    assert (refusal.status_code, refusal.json()["code"]) == (404, "no_such_period")


def test_more_charges_make_no_more_statements(market: Market) -> None:  # noqa: F811
    period = an_invoiced_month(market)
    with CaptureQueriesContext(connection) as asked_of_it:
        list(focus_rows(period))
    assert len(asked_of_it) <= 6


@pytest.mark.parametrize(
    ("kind", "exact", "amount", "category"),
    [("period", 105, 1 * CENT, "Usage"), ("period", -105, -CENT, "Adjustment"), ("remainder", 0, CENT, "Adjustment")],
)
def test_a_line_without_charges_is_one_row_of_its_amount(kind: str, exact: int, amount: int, category: str) -> None:
    document = Document("GF-1", None, "alice", "爱丽丝", "CNY", MARCH, APRIL, "Gridfare")
    [row] = rows_of_line(document, Part(1, kind, False, MARCH, APRIL, exact, amount), ())
    assert (row["ChargeCategory"], row["BilledCost"]) == (category, Decimal(amount) / 1_000_000)
    assert (row["BillingAccountName"], row["x_BillingAccountLocalName"]) == ("alice", "爱丽丝")


@pytest.mark.parametrize(("kind", "why"), [("refund", "Refund after a dispute"), ("sla", "Service level credit")])
def test_what_was_given_back_is_a_credit_without_a_price(kind: str, why: str) -> None:
    document = Document("GF-1", None, "alice", "Alice", "CNY", MARCH, APRIL, "Gridfare")
    charge = Charged(
        id=1, started_at=MARCH, ended_at=APRIL, lines=[{"meter": kind, "quantity": "1", "unit_price": "-0.01", "amount": "-0.01"}],
        provider="bob", provider_name="Bob", publisher="carol", publisher_name="Carol", service="carol/render", task="t", version=1,
        offer=None, pool=None, region=None, region_name=None, provider_micros=-CENT, publisher_micros=0, platform_micros=0,
        kind=kind, amount_micros=-CENT,
    )  # fmt: skip
    [row] = rows_of_line(document, Part(1, kind, False, MARCH, APRIL, -CENT, -CENT), [charge])
    assert (row["ChargeCategory"], row["ChargeDescription"], row["BilledCost"]) == ("Credit", why, Decimal("-0.01"))
    assert row.get("SkuId") is None
    assert row["x_ProviderShare"] == Decimal("-0.01")


def test_each_row_says_what_it_is_for_in_chinese_too(market: Market) -> None:  # noqa: F811
    found = focus_rows(BillingPeriod.objects.get(pk=an_invoiced_month(market).pk))
    told = [row["x_ChargeDescriptionZh"] for row in found]
    assert [text.rpartition("：")[2] for text in told] == ["核时", "能力使用费", "账单行尾差", "税额 6%", "贷项通知单"]
