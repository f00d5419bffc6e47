"""A payment that bounced is taken back: what it had paid is owed again, and everything that followed from it follows."""

from __future__ import annotations

from datetime import date, datetime
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from billing.credit.proving import prove_credit
from billing.credit.reversing import Part, plan, reverse_payment
from billing.credit.settling import settle_from_wallet
from billing.invoices.credit_notes import give_up, issue_credit_note
from billing.invoices.dunning import climb, follow_blocks
from billing.invoices.pages import document
from billing.invoices.payments import Receipt, record_payment
from billing.models import Invoice, JournalEntry, Payment, PaymentReversal
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import gather
from core.errors import Conflict
from marketplace.models import Allowance, Organization, SpendBlock, WebhookEvent
from tests import builders as build
from tests.billing.test_told_events import last, listen, told
from tests.builders_billing import make_market, make_organization
from tests.builders_invoices import APRIL, CENT, balance
from tests.builders_settlement import UNIT, a_share, invoiced
from tests.builders_wallet import DAY, give, owe, pay_in

SOON, LATE = APRIL + DAY, APRIL + 60 * DAY  # before and after invoices are due
amounts = st.integers(0, 50)


@pytest.fixture
def alice(db: None) -> Organization:
    return make_organization("alice")


def pay(invoice: Invoice, cents: int, key: str = "bank/9", *more: Invoice, now: datetime = SOON) -> Payment:
    mine: dict[str, Any] = {"organization": invoice.organization_id, "currency": invoice.currency}
    mine |= {"invoices": [invoice.pk, *(one.pk for one in more)]}
    return record_payment(Receipt(key=key, micros=cents * CENT, method="bank", received_on=date(2026, 4, 2), **mine), now)


def stands(invoice: Invoice) -> tuple[str, int]:
    invoice.refresh_from_db()
    return invoice.state, invoice.paid_micros // CENT


def books(organization: Organization) -> tuple[int, int, int]:
    """What is owed, what the wallet holds, and the cash, in cents - and everything proves."""
    assert is_balanced(trial_balance())
    assert prove_credit() == 0
    sums = balance("user_receivable", organization), -balance("user_prepaid", organization), balance("platform_cash")
    return sums[0] // CENT, sums[1] // CENT, sums[2] // CENT


@given(st.integers(1, 99), st.lists(amounts, max_size=4), st.lists(amounts, max_size=4), amounts, amounts, st.data())
def test_no_invoice_loses_more_than_is_paid_and_the_wallet_has_the_rest_or_says_what_it_lacks(
    amount: int, mine: list[int], theirs: list[int], prepaid: int, unused: int, data: st.DataObject
) -> None:
    invoices = st.integers(0, 2)
    paid = {number: data.draw(amounts) for number in range(3)}
    parts = [Part(n, 0, data.draw(invoices), micros) for n, micros in enumerate(mine)]
    wallets = [Part(100 + n, 100 + n, data.draw(invoices), micros) for n, micros in enumerate(theirs)]
    taken, missing = plan(amount, parts, wallets, paid, prepaid, unused)
    for number, most in paid.items():
        assert sum(one.micros for one in taken if one.invoice == number) <= most
    back = sum(one.micros for one in taken if one.payment)
    rest = amount - sum(one.micros for one in taken if not one.payment)
    assert rest >= min(amount, unused, prepaid)  # what no invoice took is asked for first
    assert missing == max(rest - prepaid - back, 0)
    if missing:  # everything was asked for
        asked = {one.allocation for one in taken}
        used = {number for number in paid if sum(one.micros for one in taken if one.invoice == number) == paid[number]}
        assert all(one.allocation in asked or one.invoice in used for one in wallets if one.micros)
    newest = [one.payment for one in taken if one.payment]
    assert newest == sorted(newest)
    if newest:  # none more than were needed
        assert prepaid + back - taken[-1].micros < rest


def test_a_payment_that_bounced_is_owed_again_and_the_ledger_is_as_if_it_had_never_come(alice: Organization) -> None:
    first, second = owe(alice, 100), owe(alice, 50)
    before = books(alice)
    payment, by = pay(first, 170, "bank/9", second), build.olga().user
    assert (stands(first), stands(second), books(alice)) == (("paid", 100), ("paid", 50), (0, 20, 170))
    reversal = reverse_payment(payment, "returned by the bank", by, LATE)
    assert (stands(first), stands(second), books(alice)) == (("overdue", 0), ("overdue", 0), before)
    assert (first.ended_at, reversal.reversed_by, reversal.reason) == (None, by, "returned by the bank")
    assert reversal.entry.key == f"reversal/{payment.pk}"
    assert Allowance.objects.get(organization=alice).available_micros == -150 * CENT
    assert document(first)["payments"][0]["reversed_at"] == LATE


def test_reversed_again_nothing_changes_and_its_reference_counts_no_more(alice: Organization) -> None:
    invoice = owe(alice, 100)
    payment, top_up = pay(invoice, 100), pay_in(alice, 30, now=SOON)
    for one in (payment, top_up):
        first = reverse_payment(one, "bounced", None, SOON)
        assert reverse_payment(one, "again", None, LATE) == first
    assert (PaymentReversal.objects.filter(payment__in=[payment, top_up]).count(), books(alice)) == (2, (100, 0, 0))
    with pytest.raises(Conflict, match="was reversed"):
        pay(invoice, 100)
    with pytest.raises(Conflict, match="was reversed"):
        pay_in(alice, 30)
    assert (pay(invoice, 100, "bank/10").amount_micros, stands(invoice)) == (100 * CENT, ("paid", 100))


def test_before_it_is_due_it_is_finalized_again_and_of_two_payments_the_other_stands(alice: Organization) -> None:
    invoice = owe(alice, 100)
    first, second = pay(invoice, 40, "a"), pay(invoice, 60, "b")
    reverse_payment(first, "bounced", None, SOON)
    assert (stands(invoice), books(alice)) == (("finalized", 60), (40, 0, 60))
    reverse_payment(second, "bounced", None, SOON)
    assert (stands(invoice), books(alice)) == (("finalized", 0), (100, 0, 0))


def test_what_the_wallet_spent_of_it_is_taken_back_the_newest_first_and_the_rest_pays_again(alice: Organization) -> None:
    old = owe(alice, 100)
    pay_in(alice, 100, "good", SOON)
    bad = pay_in(alice, 80, "bad", SOON)
    new = owe(alice, 70)
    settle_from_wallet(now=SOON)
    assert (stands(old), stands(new), books(alice)) == (("paid", 100), ("paid", 70), (0, 10, 180))
    reverse_payment(bad, "bounced", None, SOON)
    assert (stands(old), stands(new), books(alice)) == (("paid", 100), ("finalized", 0), (70, 0, 100))
    assert PaymentReversal.objects.exclude(payment=bad).get().with_payment == bad
    pay_in(alice, 70, "anew", SOON)  # the wallet comes to the same amount of the same invoice again
    assert (stands(new), books(alice)) == (("paid", 70), (0, 0, 170))


def test_what_was_taken_back_beyond_the_need_pays_at_once(alice: Organization) -> None:
    bad = pay_in(alice, 30, "bad", SOON)
    pay_in(alice, 70, "good", SOON)
    invoice = owe(alice, 100)
    settle_from_wallet(now=SOON)
    reverse_payment(bad, "bounced", None, SOON)
    assert (stands(invoice), books(alice)) == (("finalized", 70), (30, 0, 70))


def test_a_credit_note_stays_and_what_it_made_of_the_payment_leaves_the_wallet(alice: Organization) -> None:
    invoice = owe(alice, 100)
    payment = pay(invoice, 100)
    issue_credit_note(invoice, {1: 30 * CENT}, "slow", "case-1", SOON)
    assert (stands(invoice), books(alice)) == (("paid", 70), (0, 30, 100))
    reverse_payment(payment, "bounced", None, SOON)
    assert (stands(invoice), books(alice)) == (("finalized", 0), (70, 0, 0))
    assert invoice.credited_micros == 30 * CENT


def test_a_payment_of_an_invoice_that_was_given_up_stays(alice: Organization) -> None:
    invoice = owe(alice, 100)
    payment, wallet = pay(invoice, 40), pay_in(alice, 10, now=SOON)
    climb(LATE)
    give_up(invoice, "gone", LATE)
    spent = Payment.objects.get(method="prepaid")
    for one, code in ((payment, "invoice_over"), (wallet, "wallet_short"), (spent, "payment_from_wallet")):
        with pytest.raises(Conflict) as refused:
            reverse_payment(one, "bounced", None, LATE)
        assert refused.value.code == code
    assert (stands(invoice), PaymentReversal.objects.count(), books(alice)) == (("uncollectible", 50), 0, (0, 0, 50))


def test_grants_stay_used_and_another_currency_is_another_wallet(alice: Organization) -> None:
    give(alice, 40, 30)
    pay_in(alice, 500, "dollars", SOON, "USD")
    invoice = owe(alice, 100)
    bad = pay_in(alice, 60, "bad", SOON)
    assert stands(invoice) == ("paid", 100)
    reverse_payment(bad, "bounced", None, SOON)
    assert (stands(invoice), books(alice)) == (("finalized", 40), (60, 0, 0))
    assert balance("user_prepaid", alice, "USD") == -500 * CENT


def test_who_is_overdue_again_is_blocked_as_far_as_the_ladder_had_come_and_free_once_it_is_paid(alice: Organization) -> None:
    invoice = owe(alice, 100)
    climb(LATE)
    follow_blocks()
    payment, open_blocks = pay(invoice, 100, now=LATE), SpendBlock.objects.filter(organization=alice, lifted_at=None)
    assert not open_blocks.exists()
    reverse_payment(payment, "bounced", None, LATE)
    assert open_blocks.exists()
    pay(invoice, 100, "bank/10", now=LATE)
    assert not open_blocks.exists()


@pytest.mark.django_db
def test_shares_of_an_invoice_that_is_owed_again_are_not_due_until_it_is_paid_anew() -> None:
    market = make_market()
    share = a_share(market, 25 * UNIT)
    invoice = invoiced(share, state="finalized")
    payment = pay(invoice, invoice.total_micros // CENT)
    reverse_payment(payment, "bounced", None, SOON)
    assert gather(SOON + 30 * DAY) is None
    pay(invoice, invoice.total_micros // CENT, "bank/10", now=SOON + 30 * DAY)
    assert gather(SOON + 36 * DAY) is None
    assert gather(SOON + 37 * DAY) is not None


def test_it_is_told_of_once_and_the_invoice_is_told_of_anew(alice: Organization) -> None:
    listen(alice)
    invoice = owe(alice, 100)
    payment = pay(invoice, 100)
    for _ in range(2):
        reverse_payment(payment, "returned by the bank", None, LATE)
    data = WebhookEvent.objects.get(type="payment.reversed").data
    assert (data["id"], data["reason"], data["amount"]) == (payment.pk, "returned by the bank", "1.000000")
    assert data["invoices"] == [invoice.pk]
    pay(invoice, 100, "bank/10", now=LATE)
    again = ["payment.reversed", "invoice.overdue", "payment.received", "invoice.paid"]
    assert told(alice) == ["payment.received", "invoice.paid", *again]
    assert last(alice)["state"] == "paid"


def test_more_invoices_cost_no_more_statements(alice: Organization) -> None:
    counts = []
    for many in (1, 4):
        other = make_organization(f"o-{many}")
        bad = pay_in(other, 10 * many, f"bad/{many}", SOON)
        for _ in range(many):
            owe(other, 10)
        settle_from_wallet(now=SOON)
        with CaptureQueriesContext(connection) as asked:
            reverse_payment(bad, "bounced", None, SOON)
        assert set(Invoice.objects.filter(organization=other).values_list("paid_micros", flat=True)) == {0}
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of", ["an invoice", "the wallet"])
def test_of_two_reversals_at_once_one_is_made_and_both_return_it(of: str) -> None:
    alice, barrier = make_organization("alice"), Barrier(2)
    payment = pay(owe(alice, 100), 100) if of == "an invoice" else pay_in(alice, 100, now=SOON)
    made: list[Any] = []

    def one() -> None:
        barrier.wait()
        try:
            made.append(reverse_payment(payment, "bounced", None, SOON).pk)
        finally:
            connections.close_all()

    threads = [Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(set(made)), JournalEntry.objects.filter(kind="reversal").count()) == (2, 1, 1)
    assert balance("platform_cash") == 0


def test_an_operator_reverses_through_the_door_and_the_customer_sees_it(db: None) -> None:
    acme, olga = build.alice(), build.client_of(build.olga())
    payment = pay(owe(acme.organization, 100), 120)
    stranger = pay_in(build.bob().organization, 5, "else", SOON)
    mine = build.client_of(acme).get("/api/v1/payments").json()["results"]
    assert [(one["number"], one["amount"], one["prepaid"], one["reversed_at"]) for one in mine] == [
        (payment.pk, "1.200000", "0.200000", None)
    ]
    assert [one["number"] for one in olga.get("/api/v1/payments").json()["results"]] == [stranger.pk, payment.pk]
    url = f"/api/v1/payments/{payment.pk}/reverse"
    assert build.client_of(acme).post(url, {"reason": "x"}, format="json").status_code == 403
    assert olga.post(url, {}, format="json").status_code == 422
    first = olga.post(url, {"reason": "银行退回"}, format="json").json()
    assert (first["reversal_reason"], olga.post(url, {"reason": "again"}, format="json").json()) == ("银行退回", first)
    (seen,) = build.client_of(acme).get("/api/v1/payments").json()["results"]
    assert (seen["reversed_at"], seen["paid"][0]["amount"]) == (first["reversed_at"], "1.000000")
    assert olga.post(f"/api/v1/payments/{2**70}/reverse", {"reason": "x"}, format="json").json()["code"] == "not_found"


def test_an_operator_reverses_in_the_admin(alice: Organization) -> None:
    payment, client = pay_in(alice, 10, now=SOON), Client()
    client.force_login(build.olga().user)
    url = "/admin/billing/paymentreversal/add/"
    assert client.get(url).status_code == 200
    assert client.post(url, {"payment": payment.pk, "reason": "bounced"}).status_code == 302
    assert PaymentReversal.objects.get().reversed_by == build.olga().user
    assert "bounced" in client.get(f"/admin/billing/payment/{payment.pk}/change/").content.decode()
