"""Payouts that wait are withdrawn when a payment is reversed; what comes first, the sending or the reversal, holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from billing.credit import reversing
from billing.credit.reversing import reverse_payment
from billing.models import Charge, Invoice, Payment, PaymentReversal, Payout, PayoutLine, SandboxTransfer, Withholding
from billing.queries import is_balanced, trial_balance
from billing.settlement import withdrawing
from billing.settlement.payouts import approve, gather, retry
from billing.settlement.sending import send_payouts
from core.errors import Conflict, Invalid
from core.money import text_of
from tests import builders as build
from tests.billing.test_dispute_races import together
from tests.billing.test_reversing import SOON, pay, stands
from tests.billing.test_told_events import last, listen, told
from tests.builders_billing import Market, make_market
from tests.builders_invoices import CENT, balance, make_entry
from tests.builders_settlement import DAY, UNIT, a_share, invoiced
from tests.builders_wallet import owe, pay_in

MORE = SOON + 30 * DAY


def paid_share(market: Market, micros: int = 25 * UNIT, key: str = "bank/9") -> tuple[Charge, Invoice, Payment]:
    share = a_share(market, micros, 15 * UNIT)
    invoice = invoiced(share, state="finalized")
    return share, invoice, pay(invoice, invoice.total_micros // CENT, key)


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["draft", "approved", "failed"])
def test_payouts_that_are_not_sent_are_withdrawn_and_the_rest_of_them_goes_out_with_the_next_run(state: str, settings: Any) -> None:
    market, olga = make_market(), build.olga().user
    share, invoice, payment = paid_share(market)
    other = a_share(market, 30 * UNIT)
    invoiced(other)
    gather(MORE)
    payouts = list(Payout.objects.order_by("pk"))
    if state != "draft":
        payouts = [approve(one, olga) for one in payouts]
    if state == "failed":
        settings.SANDBOX_REFUSES = {market.bob.slug, market.carol.slug}
        send_payouts(MORE)
    reverse_payment(payment, "bounced", None, MORE)
    assert stands(invoice) == ("overdue", 0)
    assert set(Payout.objects.values_list("state", "reason", "ended_at")) == {("cancelled", withdrawing.REASON, MORE)}
    with pytest.raises(Conflict):
        (retry if state == "failed" else approve)(payouts[0], olga)
    assert send_payouts(MORE).paid == 0
    run = gather(MORE)
    assert run is not None
    assert [line.charge_id for line in PayoutLine.objects.filter(payout__run=run)] == [other.pk]
    pay(invoice, invoice.total_micros // CENT, "bank/10", now=MORE)
    again = gather(MORE + 8 * DAY)
    assert again is not None
    assert {line.charge_id for line in PayoutLine.objects.filter(payout__run=again)} == {share.pk}
    assert again.payouts.count() == 2


@pytest.mark.django_db
def test_payees_are_told_of_payouts_that_were_withdrawn_and_of_the_reserve_that_is_void_with_them(settings: Any) -> None:
    settings.PAYOUT_RESERVE_BPS = 1000
    market = make_market()
    _, _, payment = paid_share(market)
    gather(MORE)
    listen(market.bob)
    reverse_payment(payment, "bounced", None, MORE)
    kept = Withholding.objects.get(organization=market.bob).amount_micros
    assert (told(market.bob), kept > 0) == (["payout.cancelled"], True)
    assert (last(market.bob)["reason"], last(market.bob)["reserve"]) == (withdrawing.REASON, text_of(kept))


@pytest.mark.django_db
def test_only_payouts_of_what_is_owed_again_are_withdrawn_and_none_where_payees_do_not_wait(settings: Any) -> None:
    first, second = make_market(), make_market()
    _, _, bad = paid_share(first)
    paid_share(second, key="bank/11")
    gather(MORE)
    settings.PAYOUT_GUARANTEED = True
    assert withdrawing.withdraw_payouts(Invoice.objects.values_list("pk", flat=True), MORE) == []
    settings.PAYOUT_GUARANTEED = False
    reverse_payment(bad, "bounced", None, MORE)
    states = {payout.organization_id: payout.state for payout in Payout.objects.all()}
    assert states[first.bob.pk] == states[first.carol.pk] == "cancelled"
    assert states[second.bob.pk] == states[second.carol.pk] == "draft"


@pytest.mark.django_db
def test_what_is_sent_or_paid_stays() -> None:
    market, olga = make_market(), build.olga().user
    _, _, payment = paid_share(market)
    gather(MORE)
    for payout in Payout.objects.all():
        approve(payout, olga)
    send_payouts(MORE)
    reverse_payment(payment, "bounced", None, MORE)
    assert set(Payout.objects.values_list("state", flat=True)) == {"paid"}
    assert balance("provider_payable", market.bob) == 0
    assert is_balanced(trial_balance())


@pytest.mark.django_db
def test_of_a_part_only_so_much_is_owed_again_and_what_no_invoice_took_is_taken_first() -> None:
    market = make_market()
    invoice = owe(market.alice, 100)
    payment = pay(invoice, 130)
    before = balance("platform_cash")
    reversal = reverse_payment(payment, "returned in part", None, SOON, micros=70 * CENT)
    assert (stands(invoice), reversal.amount_micros) == (("finalized", 60), 70 * CENT)
    assert (balance("platform_cash") - before, balance("user_prepaid", market.alice)) == (-70 * CENT, 0)
    assert balance("user_receivable", market.alice) == 40 * CENT
    assert reverse_payment(payment, "again", None, SOON, micros=70 * CENT) == reversal
    for amount in (None, 69 * CENT):
        with pytest.raises(Conflict) as refused:
            reverse_payment(payment, "more", None, SOON, micros=amount)
        assert refused.value.code == "payment_reversed"


@pytest.mark.django_db
def test_a_part_that_the_wallet_holds_leaves_invoices_paid_and_their_payouts_in_place() -> None:
    market = make_market()
    share = a_share(market, 25 * UNIT)
    invoice = invoiced(share, state="finalized")
    payment = pay(invoice, invoice.total_micros // CENT + 50)
    gather(MORE)
    reverse_payment(payment, "returned in part", None, MORE, micros=50 * CENT)
    assert (stands(invoice)[0], Payout.objects.get().state, balance("user_prepaid", market.alice)) == ("paid", "draft", 0)


@pytest.mark.django_db
def test_no_more_and_no_less_than_something_of_a_payment_is_reversed() -> None:
    market = make_market()
    payment = pay_in(market.alice, 30, now=SOON)
    for micros in (0, -1, 30 * CENT + 1, 2**70):
        with pytest.raises(Invalid):
            reverse_payment(payment, "x", None, SOON, micros=micros)
    with pytest.raises(IntegrityError, match="there is less"), transaction.atomic():
        PaymentReversal.objects.create(
            payment=payment, amount_micros=30 * CENT + 1, reason="x", reversed_at=SOON, entry=make_entry()
        )


@pytest.mark.django_db
def test_an_operator_reverses_a_part_through_the_door() -> None:
    acme, olga = build.alice(), build.client_of(build.olga())
    payment = pay(owe(acme.organization, 100), 100)
    url = f"/api/v1/payments/{payment.pk}/reverse"
    for amount, field in (("1.01", "amount"), ("0", "amount"), ("x", "amount"), (1, "amount"), ("9" * 18, "amount")):
        told = olga.post(url, {"reason": "x", "amount": amount}, format="json")
        assert (told.status_code, told.json()["field"]) == (422, field)
    done = olga.post(url, {"reason": "部分退回", "amount": "0.4"}, format="json").json()
    assert (done["reversed_amount"], done["amount"]) == ("0.400000", "1.000000")
    assert olga.post(url, {"reason": "x"}, format="json").json()["code"] == "payment_reversed"


def race(monkeypatch: pytest.MonkeyPatch, payment: Payment, other: Callable[[], Any]) -> None:
    """Another step that begins when payouts were withdrawn and nothing is committed; the reversal waits a while for its end."""
    written, ended = threading.Event(), threading.Event()

    def hold(reversal: Any, invoices: Sequence[int]) -> None:
        written.set()
        ended.wait(0.5)

    def late() -> None:
        written.wait(10)
        other()
        ended.set()

    monkeypatch.setattr(reversing, "tell_reversal", hold)
    assert together(lambda: reverse_payment(payment, "bounced", None, MORE), late) == ["done", "done"]


@pytest.mark.django_db(transaction=True)
def test_a_run_waits_for_a_payment_that_is_being_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, payment = paid_share(make_market())
    race(monkeypatch, payment, lambda: gather(MORE))
    assert not PayoutLine.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_the_run_takes_what_is_being_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    _, invoice, payment = paid_share(make_market())
    monkeypatch.setattr(withdrawing, "GATHER_LOCK", 1)
    race(monkeypatch, payment, lambda: gather(MORE))
    assert (PayoutLine.objects.count(), stands(invoice)[0]) == (2, "overdue")


def approved(market: Market) -> Payment:
    payment, olga = paid_share(market)[2], build.olga().user
    gather(MORE)
    for payout in Payout.objects.all():
        approve(payout, olga)
    return payment


@pytest.mark.django_db(transaction=True)
def test_a_sender_passes_over_what_is_being_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    race(monkeypatch, approved(make_market()), lambda: send_payouts(MORE))
    assert set(Payout.objects.values_list("state", flat=True)) == {"cancelled"}
    assert not SandboxTransfer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_control_what_is_not_withdrawn_is_sent_while_its_payment_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reversing, "withdraw_payouts", lambda invoices, at: [])
    race(monkeypatch, approved(make_market()), lambda: send_payouts(MORE))
    assert SandboxTransfer.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_sent_and_reversed_at_once_each_payout_is_out_or_withdrawn_and_never_both() -> None:
    payment = approved(make_market())
    assert together(lambda: send_payouts(MORE), lambda: reverse_payment(payment, "bounced", None, MORE)) == ["done", "done"]
    states = set(Payout.objects.values_list("state", flat=True))
    assert states <= {"paid", "cancelled"}
    assert SandboxTransfer.objects.count() == Payout.objects.filter(state="paid").count()
    assert is_balanced(trial_balance())
