"""Invoices as people and programs get them."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from pypdfium2 import PdfDocument

from billing.invoices.closing import close_all
from billing.invoices.pages import csv_of, document, html_of, pdf_of, summary
from billing.models import Invoice
from marketplace.models import Capability, Organization
from tests import builders as build
from tests.billing.test_closing import CENT, DAY, LATER
from tests.builders_billing import make_market
from tests.builders_invoices import MARCH, a_queued_line, make_charge, make_tax

pytestmark = pytest.mark.django_db


def billed() -> Invoice:
    """alice's March: usage, a fee, tax, and usage of February that came late."""
    market, alice = make_market(), build.alice().organization
    make_tax(alice, percent="6", code="vat")
    make_charge(market, 1_234_567, MARCH + DAY, organization=alice)
    make_charge(market, 20 * CENT, MARCH + DAY, kind="fee", organization=alice)
    close_all(MARCH + 2 * DAY, [alice.pk])
    make_charge(market, 3 * CENT, MARCH - DAY, MARCH + 3 * DAY, organization=alice)
    close_all(LATER, [alice.pk])
    return Invoice.objects.get(organization=alice, number__isnull=False)


@pytest.fixture
def invoice() -> Invoice:
    return billed()


def test_a_customer_sees_the_invoice_its_lines_and_their_charges(invoice: Invoice) -> None:
    client = build.client_of(build.alice("billing"))
    (listed,) = client.get("/api/v1/invoices").json()["results"]
    assert (listed["number"], listed["total"]) == (invoice.number, "1.550000")
    told = client.get(f"/api/v1/invoices/{invoice.pk}").json()
    assert [(line["kind"], line["is_correction"], line["amount"]) for line in told["lines"]] == [
        ("usage", False, "1.230000"),
        ("fee", False, "0.200000"),
        ("usage", True, "0.030000"),
    ]
    assert told["taxes"] == [{"tax": "vat", "name": "VAT 增值税", "percent": "6", "base": "1.460000", "amount": "0.090000"}]
    (charge,) = client.get(f"/api/v1/invoices/{invoice.pk}/lines/1/charges").json()["results"]
    assert charge["amount"] == "1.234567"
    assert client.get(f"/api/v1/invoices/{invoice.pk}/lines/9/charges").status_code == 404


def test_operators_pay_credit_and_are_told_why_not(invoice: Invoice) -> None:
    olga, url = build.client_of(build.olga()), f"/api/v1/invoices/{invoice.pk}"
    paid = olga.post(f"{url}/payments", {"amount": "1.00", "reference": "b-1"}, format="json")
    assert (paid.status_code, paid.json()["prepaid"]) == (201, "0.000000")
    refused = olga.post(f"{url}/void", {"reason": "wrong"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_paid")
    note = {"lines": [{"line": 1, "net": "0.50"}], "reason": "slow", "reference": "1"}
    assert olga.post(f"{url}/credit-notes", note, format="json").json()["number"] == "GF-C-2026-000001"
    told = olga.get(url).json()
    assert (told["paid"], told["credited"], told["open"]) == ("1.000000", "0.530000", "0.020000")
    wrong = olga.post("/api/v1/bank-statements", {"name": "x", "content": "cut"}, format="json")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "statement_invalid")
    text = f"reference,date,amount,currency,payer,remittance\nR1,2026-04-20,0.02,CNY,Acme,{invoice.number}\n"
    done = olga.post("/api/v1/bank-statements", {"name": "april.csv", "content": text}, format="json").json()
    assert (done["matched"], done["queued"]) == (1, 0)
    assert olga.get(url).json()["state"] == "paid"
    line = a_queued_line()
    assert [one["id"] for one in olga.get("/api/v1/bank-lines").json()["results"]] == [line.pk]
    assert olga.post(f"/api/v1/bank-lines/{line.pk}/settle", {"invoice": None}, format="json").json()["state"] == "ignored"


@pytest.mark.parametrize(("amount", "status"), [("1.000000", 201), ("0.01", 201), ("0.001", 422), ("0.010001", 422), ("0", 422)])
def test_a_payment_has_the_decimals_of_its_currency(invoice: Invoice, amount: str, status: int) -> None:
    olga = build.client_of(build.olga())
    answer = olga.post(f"/api/v1/invoices/{invoice.pk}/payments", {"amount": amount, "reference": "b"}, format="json")
    assert answer.status_code == status
    assert status == 201 or answer.json()["field"] == "amount"


def test_cells_that_a_spreadsheet_would_run_are_harmless(invoice: Invoice) -> None:
    answer = build.client_of(build.alice()).get(f"/api/v1/invoices/{invoice.pk}/file?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["amount"] for row in rows] == ["1.230000", "0.200000", "0.030000"]
    Capability.objects.filter(pk=invoice.lines.get(number=1).capability_id).update(name="x")
    Organization.objects.filter(capabilities__name="x").update(slug="=cmd()")
    assert b"'=cmd()/x" in csv_of(invoice)


SAID = {
    "en": ["Invoice GF-2026-", "late usage of an earlier month", "To be paid", "1.5 core-seconds", "VAT 增值税 6 %"],
    "zh": ["账单", "以往月份的补记", "应付余额", "1.5 核·秒", "VAT 增值税 6 %"],
}


@pytest.mark.parametrize(("language", "said"), SAID.items())
def test_a_pdf_says_what_the_invoice_says_in_both_languages(invoice: Invoice, language: str, said: list[str]) -> None:
    pages = [page.get_textpage().get_text_range() for page in PdfDocument(pdf_of(invoice, language))]
    for text in [*said, str(invoice.number), "1.55", "2026-03-01", "2026-03-31"]:
        assert text in " ".join(pages).replace("\r\n", " "), text
    assert "core_second" not in " ".join(pages)


def test_an_invoice_names_who_issued_it_as_it_was_then(settings: Any) -> None:
    settings.ISSUER = {"name": "算网运营有限公司", "address": "银川市 1 号", "tax_number": "91640100MA"}
    invoice = billed()
    settings.ISSUER = {"name": "Somebody else", "address": "", "tax_number": ""}
    assert document(invoice)["issuer"] == {"name": "算网运营有限公司", "address": "银川市 1 号", "tax_number": "91640100MA"}
    page = html_of(invoice, "zh")
    assert all(text in page for text in ("销售方", "算网运营有限公司", "银川市 1 号", "税号 91640100MA"))
    with pytest.raises(DatabaseError), transaction.atomic():
        Invoice.objects.filter(pk=invoice.pk).update(issuer={})


def test_an_invoice_names_the_buyer_with_address_and_tax_number_as_they_were_then() -> None:
    owner = build.client_of(build.alice())
    said = {"billing_address": "北京市 中关村 2 号", "tax_number": "91110108MA"}
    assert owner.patch("/api/v1/organization", said, format="json").json().items() >= said.items()
    invoice = billed()
    owner.patch("/api/v1/organization", {"billing_address": "", "tax_number": "new"}, format="json")
    told = owner.get(f"/api/v1/invoices/{invoice.pk}").json()
    assert told["buyer"] == {"name": invoice.bill_to["name"], "address": "北京市 中关村 2 号", "tax_number": "91110108MA"}
    for language, word in (("en", "Tax no."), ("zh", "税号")):
        text = " ".join(" ".join(page.get_textpage().get_text_range() for page in PdfDocument(pdf_of(invoice, language))).split())
        assert "北京市 中关村 2 号" in text
        assert f"{word} 91110108MA" in text
    row = next(csv.DictReader(io.StringIO(csv_of(invoice).decode())))
    assert (row["buyer_address"], row["buyer_tax_number"]) == ("北京市 中关村 2 号", "91110108MA")
    draft = Invoice(organization=Organization.objects.get(pk=invoice.organization_id), period=invoice.period)
    assert summary(draft)["buyer"]["tax_number"] == "new"


@pytest.mark.parametrize(("field", "text"), [("billing_address", "a\nb"), ("tax_number", "<b>"), ("tax_number", "1" * 51)])
def test_a_buyer_s_address_is_one_line_and_a_tax_number_is_one(field: str, text: str) -> None:
    answer = build.client_of(build.alice()).patch("/api/v1/organization", {field: text}, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_page_escapes_names(invoice: Invoice) -> None:
    invoice.bill_to = {"name": "<script>alert(1)</script>"}
    assert "<script>" not in html_of(invoice)


def test_results_are_served_while_an_invoice_is_overdue() -> None:
    from billing.invoices.dunning import climb
    from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

    pool = build.a_pool()
    task = run_to_end(a_task(version=a_version(name="noop")), FakeAgent.of(pool))
    invoice = billed()
    assert invoice.due_at is not None
    climb(invoice.due_at + timedelta(days=60))
    invoice.refresh_from_db()
    assert (invoice.state, invoice.notices.count()) == ("overdue", 4)
    assert build.client_of(build.alice()).get(f"/api/v1/tasks/{task.pk}/result").status_code == 200
