"""What comes in is counted once, pays what it is for, and what nobody can tell waits for a person."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from billing.invoices.bank import Line, Owed, import_statement, match, parse_camt, parse_csv, settle_line
from billing.invoices.credit_notes import give_up, issue_credit_note
from billing.invoices.dunning import climb, follow_blocks, to_be_blocked
from billing.invoices.gateways import Sandbox, begin_payment, take_word
from billing.invoices.payments import Receipt, record_payment
from billing.models import BankLine, BankStatement, CreditNote, DunningNotice, Invoice, Payment
from billing.queries import is_balanced, trial_balance
from core.errors import Conflict, DomainError, Invalid, NotAllowed
from marketplace.models import SpendBlock
from tests.billing.test_closing import CENT, DAY, LATER
from tests.builders_billing import make_market
from tests.builders_invoices import MARCH, balance, make_charge, make_invoice, make_line, make_period, make_tax, move_to

MONEY = 100 * CENT
OWED = Owed(1, "GF-2026-000001", "finalized", "CNY", MONEY, "Alice")


def line(text: str = "", micros: int = MONEY, currency: str = "CNY", payer: str = "Alice") -> Line:
    return Line("ref", date(2026, 4, 20), micros, currency, payer, text)


def test_matching_goes_by_the_number_then_by_amount_and_payer_and_never_guesses() -> None:
    twin = Owed(2, "GF-2026-000002", "overdue", "CNY", MONEY, "alice ")
    assert match(line("invoice gf-2026-000001, thanks", 5), [OWED, twin]) == (OWED, "")
    assert match(line("", MONEY), [OWED]) == (OWED, "")
    assert match(line("", MONEY), [OWED, twin]) == (None, "several_invoices")
    assert match(line("GF-2026-000001 GF-2026-000002"), [OWED, twin]) == (None, "several_invoices")
    assert match(line("", MONEY - 1), [OWED]) == (None, "no_invoice")
    assert match(line("", payer="Mallory"), [OWED]) == (None, "no_invoice")
    paid = Owed(1, OWED.number, "paid", "CNY", 0, "Alice")
    assert match(line(OWED.number), [paid]) == (None, "not_owed")
    assert match(line(OWED.number, currency="USD"), [OWED]) == (None, "other_currency")


CAMT = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt><Id>S1</Id>
<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id></Acct>
<Ntry><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-04-20</Dt></BookgDt>
<AcctSvcrRef>A1</AcctSvcrRef><NtryDtls><TxDtls><RltdPties><Dbtr><Pty><Nm>Alice</Nm></Pty></Dbtr></RltdPties>
<RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
<Ntry><Amt Ccy="CNY">9.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-04-20</Dt></BookgDt></Ntry>
<Ntry><Amt Ccy="CNY">7.50</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-04-20</Dt></BookgDt></Ntry>
</Stmt></BkToCstmrStmt></Document>"""


def test_a_camt_document_tells_its_booked_credits() -> None:
    account, lines = parse_camt(CAMT.format(amount="100.25", text="GF-2026-000001").encode())
    assert account == "DE02120300000000202051"
    assert lines == [
        Line("A1", date(2026, 4, 20), 100_250_000, "CNY", "Alice", "GF-2026-000001"),
        Line("DE02120300000000202051/S1/3", date(2026, 4, 20), 7_500_000, "CNY", "", ""),
    ]


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><Document>&c;</Document>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><Document>&b;</Document>'


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, "<Document/>", "<", CAMT[:700], CAMT.format(amount="1,5", text="")])
def test_what_is_no_statement_is_refused(data: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_camt(data.encode())
    assert refused.value.code == "statement_invalid"


HEAD = "reference,date,amount,currency,payer,remittance\n"
ROW = "R1,2026-04-20,100.00,CNY,Alice,GF-2026-000001\n"


@pytest.mark.parametrize(
    "data",
    [
        "", "a,b\n", HEAD + ROW[:-1], HEAD + ROW[:12] + "\n", HEAD + ROW + ROW, HEAD + ROW.replace("100.00", "-100.00"),
        HEAD + ROW.replace("CNY", "XYZ"), HEAD + ROW.replace("2026-04-20", "20.4.2026"), HEAD + ROW.replace("100.00", "9" * 30),
        HEAD + '"R1,2026',
    ],
)  # fmt: skip
def test_a_csv_that_is_cut_or_wrong_is_refused(data: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_csv(data.encode())
    assert refused.value.code == "statement_invalid"


def an_invoice(micros: int = MONEY, **fields: object) -> Invoice:
    """A final invoice of an alice of its own."""
    market = make_market()
    make_charge(market, micros, MARCH + DAY)
    from billing.invoices.closing import close_all

    close_all(LATER, [market.alice.pk])
    return Invoice.objects.get(organization=market.alice)


def pay(invoice: Invoice, micros: int, key: str = "k") -> Payment:
    mine = {"organization": invoice.organization_id, "currency": "CNY", "invoices": [invoice.pk]}
    return record_payment(Receipt(key=key, micros=micros, method="operator", received_on=date(2026, 4, 20), **mine))


@pytest.mark.django_db
def test_two_long_keys_that_differ_at_their_end_are_two_payments() -> None:
    invoice = an_invoice()
    pay(invoice, CENT, "bank/" + "x" * 94 + "1")
    pay(invoice, CENT, "bank/" + "x" * 94 + "2")
    assert fresh(invoice).paid_micros == 2 * CENT


def fresh(invoice: Invoice) -> Invoice:
    invoice.refresh_from_db()
    return invoice


@pytest.mark.django_db
def test_a_payment_in_parts_pays_and_what_is_too_much_becomes_prepaid() -> None:
    invoice = an_invoice()
    pay(invoice, 40 * CENT, "a")
    assert fresh(invoice).state == "finalized"
    assert pay(invoice, 70 * CENT, "b").prepaid_micros == 10 * CENT
    assert (fresh(invoice).state, invoice.paid_micros) == ("paid", MONEY)
    assert balance("user_receivable", invoice.organization) == 0
    assert balance("user_prepaid", invoice.organization) == -10 * CENT
    assert balance("platform_cash") == 110 * CENT


@pytest.mark.django_db
def test_the_same_payment_counts_once_and_another_under_its_name_is_a_conflict() -> None:
    invoice = an_invoice()
    assert pay(invoice, 10 * CENT) == pay(invoice, 10 * CENT)
    assert fresh(invoice).paid_micros == 10 * CENT
    with pytest.raises(Conflict, match="another amount"):
        pay(invoice, 11 * CENT)


@pytest.mark.django_db
def test_nothing_is_paid_for_what_is_not_owed() -> None:
    invoice = an_invoice()
    pay(invoice, MONEY, "a")
    for micros, key in ((CENT, "b"), (0, "c")):
        with pytest.raises(DomainError):
            pay(invoice, micros, key)
    assert Payment.objects.count() == 1


@pytest.mark.django_db
def test_a_statement_pays_what_fits_and_queues_the_rest_once() -> None:
    invoice = an_invoice()
    data = CAMT.format(amount="1.00", text=invoice.number).encode()
    statement = import_statement(data, "april.xml")
    assert fresh(invoice).state == "paid"
    queued = BankLine.objects.get(state="queued")
    assert (queued.why, queued.amount_micros) == ("no_invoice", 7_500_000)
    assert import_statement(data, "again.xml") == statement
    import_statement(data.replace(b"<Id>S1</Id>", b"<Id>S2</Id>"), "overlap.xml")  # A1 came already, the other has no name
    assert Payment.objects.count() == 1
    assert BankLine.objects.filter(reference="A1").count() == 1


@pytest.mark.django_db
def test_a_file_cut_in_the_middle_leaves_nothing() -> None:
    invoice = an_invoice()
    whole = HEAD + f"R1,2026-04-20,1.00,CNY,Alice,{invoice.number}\nR2,2026-04-20,2.00,CNY,Bob,\n"
    for cut in range(len(HEAD) + 1, len(whole)):
        if whole[cut - 1] != "\n":
            with pytest.raises(Invalid):
                import_statement(whole[:cut].encode(), "cut.csv")
    assert not BankStatement.objects.exists()
    assert fresh(invoice).paid_micros == 0


@pytest.mark.django_db
def test_a_person_says_what_a_queued_line_is() -> None:
    invoice, other = an_invoice(), an_invoice()
    rows = f"R1,2026-04-20,1.00,CNY,x,{invoice.number} {other.number}\nR2,2026-04-20,2.00,CNY,Bob,hello\n"
    import_statement((HEAD + rows).encode(), "april.csv")
    first, second = BankLine.objects.order_by("number")
    assert (first.why, second.why) == ("several_invoices", "no_invoice")
    assert settle_line(first, other).payment is not None
    assert settle_line(second, None).state == "ignored"
    assert fresh(other).state == "paid"
    with pytest.raises(Conflict, match="already"):
        settle_line(first, invoice)


@pytest.mark.django_db
def test_a_credit_note_takes_back_with_its_tax_and_never_more_than_a_line() -> None:
    market = make_market()
    make_tax(market.alice, percent="6")
    make_charge(market, MONEY, MARCH + DAY)
    from billing.invoices.closing import close_all

    close_all(LATER)
    invoice = Invoice.objects.get()
    note = issue_credit_note(invoice, {1: 50 * CENT}, "slow", "case-1")
    assert (note.number, note.net_micros, note.tax_micros, note.prepaid_micros) == ("GF-C-2026-000001", 50 * CENT, 3 * CENT, 0)
    assert issue_credit_note(invoice, {1: 50 * CENT}, "slow", "case-1") == note
    pay(fresh(invoice), 53 * CENT)
    assert fresh(invoice).state == "paid"
    rest = issue_credit_note(invoice, {1: 50 * CENT}, "wrong", "case-2")
    assert rest.prepaid_micros == 53 * CENT
    with pytest.raises(Invalid, match="no such amount"):
        issue_credit_note(invoice, {1: CENT}, "more", "case-3")
    assert (balance("user_receivable", market.alice), balance("user_prepaid", market.alice)) == (0, -53 * CENT)
    assert balance("platform_tax_payable") == 0
    assert CreditNote.objects.count() == 2
    assert is_balanced(trial_balance())


@pytest.mark.django_db
def test_a_credit_note_takes_back_no_more_than_an_invoice_asks_for() -> None:
    market = make_market()
    invoice = make_invoice(make_period(market.alice), "grace", cents=1000)
    make_line(invoice, -900 * CENT)
    Invoice.objects.filter(pk=invoice.pk).update(net_micros=100 * CENT, exact_micros=100 * CENT, total_micros=100 * CENT)
    move_to(invoice, "finalized")
    with pytest.raises(Invalid, match="than the invoice asks for"):
        issue_credit_note(invoice, {1: 101 * CENT}, "slow", "case-1")
    assert issue_credit_note(invoice, {1: 100 * CENT}, "slow", "case-1").prepaid_micros == 0
    assert fresh(invoice).state == "paid"


@pytest.mark.django_db
def test_who_is_long_overdue_hands_in_nothing_new_until_it_has_paid() -> None:
    invoice = an_invoice()
    assert invoice.due_at is not None
    climb(invoice.due_at + 7 * DAY)
    assert follow_blocks() == (set(), set())
    climb(invoice.due_at + 14 * DAY)
    assert follow_blocks() == ({invoice.organization_id}, set())
    assert follow_blocks() == (set(), set())
    assert SpendBlock.objects.filter(lifted_at=None, reason="dunning").count() == 1
    pay(fresh(invoice), MONEY)
    assert not SpendBlock.objects.filter(lifted_at=None).exists()


@pytest.mark.django_db
def test_the_ladder_is_climbed_step_by_step_each_once_and_payment_ends_it() -> None:
    invoice, other = an_invoice(), an_invoice()
    due = invoice.due_at
    assert due is not None
    assert climb(due - timedelta(seconds=1)) == 0
    assert climb(due) == 2
    assert fresh(invoice).state == "overdue"
    assert climb(due) == 0
    pay(fresh(other), MONEY)
    assert climb(due + 14 * DAY) == 2
    assert to_be_blocked() == {invoice.organization_id}
    assert climb(due + 30 * DAY) == 1
    assert list(DunningNotice.objects.filter(invoice=invoice).order_by("level").values_list("action", flat=True)) == [
        "reminder", "warning", "block", "propose_giving_up",
    ]  # fmt: skip
    give_up(fresh(invoice), "gone", due + 31 * DAY)
    assert to_be_blocked() == set()
    assert (balance("user_receivable", invoice.organization), balance("platform_loss")) == (0, MONEY)
    with pytest.raises(Conflict):
        give_up(fresh(invoice), "again")


@pytest.mark.django_db
def test_a_gateways_signed_word_counts_once_and_what_was_paid_twice_becomes_prepaid() -> None:
    invoice, box = an_invoice(), Sandbox()
    begun = begin_payment(invoice)
    assert begin_payment(invoice) == begun
    body = json.dumps({"key": begun.key, "status": "succeeded", "amount": "1.00"}).encode()
    with pytest.raises(NotAllowed):
        take_word("sandbox", body, box.signature(body + b" "))
    assert fresh(invoice).state == "finalized"
    pay(invoice, MONEY, "by transfer")
    for _ in range(2):
        assert take_word("sandbox", body, box.signature(body)).state == "succeeded"
    assert balance("user_prepaid", invoice.organization) == -MONEY
    failed = body.replace(b"succeeded", b"failed")
    with pytest.raises(Conflict, match="is succeeded"):
        take_word("sandbox", failed, box.signature(failed))
    assert fresh(invoice).state == "paid"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"key": 1}', b'{"key": "k", "status": "no", "amount": "1"}', b'{"key": "k", "status": "failed", "amount": "x"}'],
)
def test_a_word_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid, match="key, status"):
        take_word("sandbox", body, Sandbox().signature(body))
