"""Payout runs: what is due goes out once, to the right payee, whatever fails on the way."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.invoices.payments import Receipt, record_payment
from billing.models import Charge, Payout, PayoutAttempt, PayoutLine, PayoutRun, SandboxTransfer
from billing.queries import Statement, is_balanced, total_of, trial_balance
from billing.settlement import sending
from billing.settlement.gateways import Answer, Order, Sandbox
from billing.settlement.payouts import approve, cancel, gather, retry
from billing.settlement.queries import line_of, shares_of
from billing.settlement.sending import Sent, send_payouts
from core.errors import Conflict
from marketplace.models import User
from tests import builders as build
from tests.builders_billing import Market, make_market
from tests.builders_invoices import APRIL, MARCH, balance, move_to
from tests.builders_settlement import DAY, LATER, UNIT, a_payout, a_share, invoiced

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


@pytest.fixture
def olga(db: None) -> User:
    return build.olga().user


def test_a_run_makes_one_payout_per_payee_and_links_each_line_to_its_charge(market: Market) -> None:
    first, second = a_share(market, 20 * UNIT, 15 * UNIT), a_share(market, 3 * UNIT, 0)
    invoiced(first, second)
    run = gather(LATER)
    assert run is not None
    paid = {one.organization_id: one for one in run.payouts.all()}
    assert {payee: one.amount_micros for payee, one in paid.items()} == {market.bob.pk: 23 * UNIT, market.carol.pk: 15 * UNIT}
    lines = PayoutLine.objects.filter(payout=paid[market.bob.pk]).order_by("share")
    assert [(line.charge_id, line.amount_micros) for line in lines] == [(first.pk, 20 * UNIT), (second.pk, 3 * UNIT)]
    assert [line.charge.usage.attempt.task_id for line in lines] == [first.task_id, second.task_id]


def test_a_second_run_finds_nothing_and_leaves_no_trace(market: Market) -> None:
    invoiced(a_share(market, 20 * UNIT))
    gather(LATER)
    assert gather(LATER) is None
    assert (PayoutRun.objects.count(), Payout.objects.count()) == (1, 1)


@pytest.mark.parametrize("state", ["finalized", "overdue"])
def test_a_payee_waits_until_the_customer_has_paid(market: Market, state: str) -> None:
    invoice = invoiced(a_share(market, 20 * UNIT), state=state)
    a_share(market, 20 * UNIT)  # on no invoice yet
    assert gather(LATER + 90 * DAY) is None
    move_to(invoice, "paid")
    assert gather(LATER) is not None


def test_a_share_is_held_back_to_the_second(market: Market) -> None:
    invoiced(a_share(market, 20 * UNIT))
    assert gather(APRIL + 7 * DAY - timedelta(seconds=1)) is None
    assert gather(APRIL + 7 * DAY) is not None


def test_what_the_platform_pays_or_guarantees_waits_for_no_customer(market: Market, settings: Any) -> None:
    a_share(market, 20 * UNIT, payer="platform")
    assert gather(MARCH + 7 * DAY) is None
    assert gather(MARCH + 8 * DAY) is not None
    a_share(market, 30 * UNIT)
    assert gather(LATER) is None
    settings.PAYOUT_GUARANTEED = True
    run = gather(LATER)
    assert run is not None
    assert run.payouts.get().amount_micros == 30 * UNIT


def test_small_sums_wait_until_they_are_worth_sending(market: Market) -> None:
    invoiced(a_share(market, 6 * UNIT))
    assert gather(LATER) is None
    invoiced(a_share(market, 5 * UNIT))
    run = gather(LATER)
    assert run is not None
    assert (run.payouts.get().amount_micros, run.payouts.get().lines_count) == (11 * UNIT, 2)


def delta(market: Market, micros: int) -> Charge:
    """A correction that takes something back from bob."""
    return a_share(market, micros, kind="delta")


def test_what_is_taken_back_is_carried_until_later_shares_cover_it(market: Market) -> None:
    delta(market, -15 * UNIT)
    invoiced(a_share(market, 20 * UNIT))
    assert gather(LATER) is None
    invoiced(a_share(market, 30 * UNIT))
    run = gather(LATER)
    assert run is not None
    assert (run.payouts.get().amount_micros, run.payouts.get().lines_count) == (35 * UNIT, 3)


def test_parts_of_a_cent_go_to_the_next_payout_and_a_cancelled_one_gives_them_back(market: Market, olga: User) -> None:
    invoiced(a_share(market, 20 * UNIT + 6_000))
    first = gather(LATER)
    invoiced(a_share(market, 30 * UNIT + 6_000))
    second = gather(LATER)
    assert first is not None
    assert second is not None
    assert [run.payouts.get().amount_micros for run in (first, second)] == [20 * UNIT, 30 * UNIT + 10_000]
    cancel(first.payouts.get(), "by mistake", LATER)
    third = gather(LATER)
    assert third is not None
    assert third.payouts.get().amount_micros == 20 * UNIT
    for payout in Payout.objects.filter(state="draft"):
        approve(payout, olga)
    send_payouts(LATER)
    assert -balance("provider_payable", market.bob) == 2_000


def test_a_payout_that_was_sent_is_posted_and_the_ledger_balances(market: Market, olga: User) -> None:
    invoiced(a_share(market, 20 * UNIT), a_share(market, 5 * UNIT))
    run = gather(LATER)
    assert run is not None
    payout = approve(run.payouts.get(), olga)
    assert send_payouts(LATER) == Sent(paid=1)
    payout.refresh_from_db()
    assert (payout.state, payout.attempts_count, payout.ended_at) == ("paid", 1, LATER)
    assert payout.entry is not None
    assert payout.entry.key == f"payout/{payout.pk}"
    assert (balance("platform_cash"), balance("provider_payable", market.bob)) == (-25 * UNIT, 0)
    assert is_balanced(trial_balance())
    assert send_payouts(LATER) == Sent()
    assert SandboxTransfer.objects.count() == 1


def test_a_statement_says_what_was_earned_whatever_was_paid_or_paid_out_of_it(market: Market, olga: User) -> None:
    invoice = invoiced(a_share(market, 25 * UNIT), state="finalized")
    receipt = Receipt(
        key="bank/1", organization=market.alice.pk, currency="CNY", micros=invoice.total_micros, method="bank",
        received_on=APRIL.date(), invoices=[invoice.pk],
    )  # fmt: skip
    record_payment(receipt, APRIL)
    run = gather(LATER)
    assert run is not None
    approve(run.payouts.get(), olga)
    assert send_payouts(LATER).paid == 1
    for party, whose in (("user", market.alice), ("provider", market.bob)):
        assert total_of(Statement(party, whose, "CNY", MARCH, LATER + 900 * DAY)) == 25 * UNIT


def test_one_who_provides_and_publishes_gets_one_payout_from_both_accounts(market: Market, olga: User) -> None:
    market.carol = market.bob
    invoiced(a_share(market, 20 * UNIT + 1_500, 7 * UNIT + 4_000))
    run = gather(LATER)
    assert run is not None
    approve(run.payouts.get(), olga)
    send_payouts(LATER)
    assert run.payouts.get().amount_micros == 27 * UNIT
    assert -balance("provider_payable", market.bob) - balance("publisher_payable", market.bob) == 5_500
    assert balance("publisher_payable", market.bob) == 0


def test_a_draft_does_not_go_out(market: Market) -> None:
    a_payout(market.bob)
    assert send_payouts() == Sent()


def test_a_payout_that_failed_is_retried_as_a_new_attempt_and_moves_money_once(market: Market, olga: User, settings: Any) -> None:
    payout = approve(a_payout(market.bob), olga)
    settings.SANDBOX_REFUSES = {market.bob.slug}
    assert send_payouts() == Sent(failed=1)
    payout.refresh_from_db()
    assert (payout.state, payout.reason, payout.entry) == ("failed", "the sandbox refuses this payee", None)
    assert send_payouts() == Sent()
    assert gather(LATER) is None
    settings.SANDBOX_REFUSES = set()
    retry(payout, olga)
    assert send_payouts() == Sent(paid=1)
    attempts = PayoutAttempt.objects.filter(payout=payout).order_by("number")
    assert [(one.key, one.state) for one in attempts] == [(f"payout/{payout.pk}/1", "failed"), (f"payout/{payout.pk}/2", "paid")]
    assert SandboxTransfer.objects.filter(succeeded=True).count() == 1


def test_a_cancelled_payout_gives_its_lines_to_the_next_run(market: Market) -> None:
    payout = a_payout(market.bob)
    cancel(payout, "wrong account")
    again = gather(LATER)
    assert again is not None
    assert PayoutLine.objects.get().payout_id == again.payouts.get().pk


class Unreachable:
    """A gateway that takes the order and loses the answer, then answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def transfer(self, order: Order) -> Answer:
        self.asked.append(order.key)
        answer = Sandbox().transfer(order)
        if len(self.asked) == 1:
            raise TimeoutError
        return answer


def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(market: Market, olga: User, monkeypatch: Any) -> None:
    gateway = Unreachable()
    monkeypatch.setitem(sending.GATEWAYS, "sandbox", gateway)
    payout = approve(a_payout(market.bob), olga)
    assert send_payouts() == Sent(pending=1)
    with pytest.raises(Conflict, match="cannot become cancelled"):
        cancel(payout, "too late")
    assert send_payouts() == Sent(paid=1)
    assert gateway.asked == [f"payout/{payout.pk}/1"] * 2
    assert SandboxTransfer.objects.count() == 1


def test_a_key_that_was_another_order_is_refused(market: Market) -> None:
    Sandbox().transfer(Order("k", "bob", UNIT, "CNY"))
    with pytest.raises(Conflict, match="another order"):
        Sandbox().transfer(Order("k", "bob", 2 * UNIT, "CNY"))


def test_a_statement_says_of_each_share_what_a_run_would_do(market: Market, olga: User) -> None:
    invoiced(a_share(market, 20 * UNIT))
    gather(LATER)
    approve(Payout.objects.get(), olga)
    send_payouts(LATER)
    invoiced(a_share(market, 21 * UNIT))
    gather(LATER)
    invoiced(a_share(market, 22 * UNIT), state="finalized")
    a_share(market, 23 * UNIT)
    a_share(market, 24 * UNIT, payer="platform", at=LATER - DAY)
    invoiced(a_share(market, 25 * UNIT))
    delta(market, -UNIT)
    lines = [line_of(one, "provider", LATER) for one in shares_of(market.bob, "provider")]
    stand = {line["share"][:2]: line["state"] for line in lines}
    assert stand == {"20": "paid", "21": "in_payout", "22": "unpaid", "23": "unpaid", "24": "held_back", "25": "due", "-1": "due"}
    due = {line.charge_id for line in PayoutLine.objects.all()}
    run = gather(LATER)
    assert run is not None
    gathered = set(run.payouts.get().lines.values_list("amount_micros", flat=True))
    assert gathered == {25 * UNIT, -UNIT}
    assert len(due) == 2


def test_a_run_takes_the_same_number_of_statements_for_any_number_of_payees(django_assert_max_num_queries: Any) -> None:
    for _ in range(6):
        market = make_market()
        invoiced(a_share(market, 20 * UNIT, 20 * UNIT))
    with django_assert_max_num_queries(7):
        run = gather(LATER)
    assert run is not None
    assert run.payouts.count() == 12


@pytest.mark.django_db(transaction=True)
def test_two_runs_and_two_senders_at_once_pay_once() -> None:
    market, olga = make_market(), build.olga().user
    invoiced(a_share(market, 20 * UNIT))
    _both(lambda: gather(LATER))
    assert Payout.objects.count() == 1
    approve(Payout.objects.get(), olga)
    _both(lambda: send_payouts(LATER))
    assert (SandboxTransfer.objects.count(), Payout.objects.get().state, balance("platform_cash")) == (1, "paid", -20 * UNIT)


def _both(work: Any) -> None:
    done: list[bool] = []

    def one() -> None:
        try:
            barrier.wait()
            work()
            done.append(True)
        finally:
            connection.close()

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2
