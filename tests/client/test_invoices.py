"""The invoices' commands: what they ask of the platform, and what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.conftest import Run
from tests.client.platform import Platform

INVOICE = {
    "id": 7, "number": "GF-2026-000001", "organization": "acme", "state": "finalized", "currency": "CNY", "bill_to": "Acme",
    "period": {"from": "2026-02-28T16:00:00Z", "to": "2026-03-31T16:00:00Z", "zone": "Asia/Shanghai"}, "total": "1.550000",
    "open": "1.550000", "due_at": "2026-04-19T16:00:00Z",
    "lines": [
        {"number": 1, "kind": "usage", "capability": "carol/render", "pool": None, "charges": 2, "amount": "1.46", "tax": "0.09"},
    ],
}  # fmt: skip
CHARGE = {
    "id": 3,
    "kind": "usage",
    "reason": "valid/delivered",
    "pool": None,
    "charged_at": "2026-03-01T16:00:00Z",
    "amount": "1.2",
}
LINE = {
    "id": 4, "reference": "R1", "booked_on": "2026-04-20", "amount": "2.00", "currency": "CNY", "payer": "Bob", "remittance": "hi",
    "why": "no_invoice", "state": "ignored",
}  # fmt: skip
ANSWERS = {
    "GET /invoices": {"results": [INVOICE], "next": None},
    "GET /invoices/7": INVOICE,
    "GET /invoices/7/lines/1/charges": {"results": [CHARGE], "next": None},
    "POST /invoices/7/void": INVOICE,
    "POST /invoices/7/give-up": INVOICE,
    "POST /invoices/7/credit-notes": {"number": "GF-C-2026-000001", "net": "0.50", "tax": "0.03"},
    "POST /invoices/7/payments": {"id": 9, "amount": "1.55", "prepaid": "0.00"},
    "POST /invoices/7/gateway-payments": {"gateway": "sandbox", "key": "k", "amount": "1.55", "state": "open"},
    "POST /bank-statements": {"id": 1, "matched": 2, "queued": 1},
    "GET /bank-lines": {"results": [LINE], "next": None},
    "POST /bank-lines/4/settle": LINE,
}


@pytest.fixture(autouse=True)
def told(platform: Platform) -> None:
    platform.answers |= ANSWERS


def test_invoices_and_what_they_are_made_of_are_shown(run: Run) -> None:
    assert "GF-2026-000001" in run("invoice", "list").out
    assert run("invoice", "list", "--json").json == [INVOICE]
    shown = run("invoice", "show", "7").out
    assert all(word in shown for word in ("GF-2026-000001", "Acme", "finalized", "carol/render", "1.46"))
    assert "valid/delivered" in run("invoice", "charges", "7", "1").out


def test_a_file_is_written_whole(run: Run, platform: Platform, tmp_path: Path) -> None:
    platform.answers["GET /invoices/7/file"] = b"%PDF-1.7"
    file = tmp_path / "invoice.pdf"
    assert run("invoice", "get", "7", "--output", str(file), "--language", "zh", "--json").json["bytes"] == 8
    assert file.read_bytes() == b"%PDF-1.7"
    assert run("invoice", "get", "7", "--output", str(file), "--format", "papyrus").code == 2


def test_operators_correct_and_record_payments(run: Run, platform: Platform, tmp_path: Path) -> None:
    assert "GF-2026-000001" in run("invoice", "void", "7", "--reason", "wrong").out
    assert "GF-2026-000001" in run("invoice", "give-up", "7", "--reason", "gone").out
    credit = ("invoice", "credit", "7", "--line", "1", "--net", "0.50", "--reason", "slow", "--reference", "1")
    assert "GF-C-2026-000001: 0.50 and 0.03 tax" in run(*credit).out
    assert "payment 9" in run("invoice", "pay", "7", "1.55", "--reference", "b-1", "--on", "2026-04-20").out
    assert "sandbox payment k of 1.55: open" in run("invoice", "pay-online", "7").out
    statement = tmp_path / "april.csv"
    statement.write_text("reference,date,amount,currency,payer,remittance\n")
    assert "2 lines matched, 1 wait" in run("invoice", "import", str(statement)).out
    assert "no_invoice" in run("invoice", "bank-lines").out
    assert "R1 is ignored" in run("invoice", "settle", "4").out
    assert platform.calls[-1] == "POST /api/v1/bank-lines/4/settle"


MONTH = {
    "number": 7, "organization": "acme", "currency": "CNY", "starts_at": "2026-02-28T16:00:00Z", "state": "parked",
    "parked_code": "total_negative", "parked_detail": "the total is below zero", "freed": [],
}  # fmt: skip


def test_operators_free_months_that_are_parked(run: Run, platform: Platform) -> None:
    platform.answers["GET /billing-periods"] = {"results": [MONTH], "next": None}
    platform.answers["POST /billing-periods/7/free"] = MONTH | {"state": "open"}
    assert "total_negative" in run("invoice", "parked").out
    assert "the next run closes it" in run("invoice", "free", "7", "--reason", "the price was put right").out
    assert run("invoice", "free", "7").code == 2


PAYMENT = {
    "number": 9, "organization": "acme", "method": "bank", "reference": "R1", "received_on": "2026-04-20", "amount": "1.550000",
    "prepaid": "0.000000", "currency": "CNY", "reversed_at": None, "reversed_amount": None, "reversal_reason": "",
}  # fmt: skip


def test_payments_are_shown_and_operators_take_one_back(run: Run, platform: Platform) -> None:
    platform.answers["GET /payments"] = {"results": [PAYMENT], "next": None}
    gone = PAYMENT | {"reversed_at": "2026-04-25T02:00:00Z", "reversed_amount": "0.550000"}
    gone |= {"reversal_reason": "returned by the bank"}
    platform.answers["POST /payments/9/reverse"] = gone
    assert all(word in run("payment", "list").out for word in ("1.550000", "R1", "bank"))
    assert "returned by the bank" in run("payment", "reverse", "9", "--reason", "returned by the bank").out
    assert run("payment", "reverse", "9", "--reason", "x", "--amount", "0.55", "--json").json == gone
    assert run("payment", "reverse", "9").code == 2


def test_an_organization_says_what_stands_on_its_invoices(run: Run, platform: Platform) -> None:
    platform.answers["PATCH /organization"] = {"name": "Acme", "billing_address": "Main St 1", "tax_number": "9111"}
    platform.answers["GET /organization"] = {"name": "Acme", "billing_address": "", "tax_number": ""}
    assert "address -, tax number -" in run("invoice", "profile").out
    assert "address Main St 1, tax number 9111" in run("invoice", "profile", "--address", "Main St 1", "--tax-number", "9111").out
