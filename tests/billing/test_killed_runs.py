"""A run that is killed before any of its statements is repeated, and adds nothing and loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from billing.disputes.deciding import time_out
from billing.invoices.closing import close_all
from billing.models import CreditNote, Dispute, Invoice, Leg, Payout, PayoutAttempt, PayoutLine, SandboxTransfer
from billing.queries import is_balanced, trial_balance
from marketplace.models import Organization
from tests import builders as build
from tests.billing.killed_run import pay_out
from tests.billing.test_closing import CENT, DAY, LATER
from tests.builders_billing import make_market
from tests.builders_disputes import a_dispute
from tests.builders_invoices import APRIL, MARCH, balance, make_charge, make_tax
from tests.builders_killed import Victim, a_victim, ends
from tests.builders_settlement import LATER as DUE
from tests.builders_settlement import UNIT, a_share, invoiced


@pytest.fixture
def victim() -> Iterator[Victim]:
    with a_victim() as process:
        yield process


def a_month_of_charges() -> Organization:
    market = make_market()
    make_tax(market.alice)
    make_charge(market, 1_234_567, MARCH + DAY)
    make_charge(market, 20 * CENT + 1, MARCH + DAY, kind="fee")
    make_charge(market, 5 * CENT, APRIL + DAY)
    return market.alice


def outcome(alice: Organization) -> Any:
    """What stands there for an organization, without the numbers that differ from one to the next."""
    invoices = Invoice.objects.filter(organization=alice).order_by("period__starts_at")
    legs = Leg.objects.filter(account__organization=alice).order_by("entry_id", "account__kind")
    return (
        [(one.state, one.period.state, one.total_micros, one.carried_out_micros, one.number is None) for one in invoices],
        [list(one.lines.order_by("number").values_list("kind", "charges", "amount_micros", "tax_micros")) for one in invoices],
        [(leg.account.kind, leg.debit_micros, leg.credit_micros) for leg in legs],
    )


@pytest.mark.django_db(transaction=True)
def test_a_run_killed_before_any_statement_converges(victim: Victim) -> None:
    undisturbed = a_month_of_charges()
    close_all(LATER, [undisturbed.pk])
    expected, killed = outcome(undisturbed), 0
    assert expected[0][0][:2] == ("finalized", "closed")
    while True:
        alice = a_month_of_charges()
        ended = ends(victim, "close", {"organizations": [alice.pk], "now": LATER.isoformat()}, killed + 1)
        close_all(LATER, [alice.pk])
        assert outcome(alice) == expected, f"killed before statement {killed + 1}"
        if ended == 0:
            break
        assert ended == -9
        killed += 1
    assert killed > 12
    assert close_all(LATER) == (0, 0, 0, 0)
    numbers = Invoice.objects.exclude(sequence=None).order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, len(numbers) + 1))
    assert is_balanced(trial_balance())


def what_is_due() -> Organization:
    market = make_market()
    invoiced(a_share(market, 20 * UNIT + 1), a_share(market, 5 * UNIT))
    return market.bob


def paid_out(bob: Organization) -> Any:
    """What became of what was due to a payee, without the numbers that differ from one to the next."""
    payouts = Payout.objects.filter(organization=bob)
    attempts = PayoutAttempt.objects.filter(payout__organization=bob)
    moved = SandboxTransfer.objects.filter(payee=bob.slug, succeeded=True)
    return (
        [(one.state, one.amount_micros, one.lines_count, one.attempts_count, one.entry_id is None) for one in payouts],
        PayoutLine.objects.filter(payout__organization=bob).count(),
        [(one.number, one.state) for one in attempts],
        list(moved.values_list("amount_micros", flat=True)),
        balance("provider_payable", bob),
    )


@pytest.mark.django_db(transaction=True)
def test_a_payout_killed_before_any_statement_moves_the_money_once(victim: Victim) -> None:
    build.olga()
    undisturbed, killed, due = what_is_due(), 0, {"now": DUE.isoformat()}
    pay_out(due)
    expected = paid_out(undisturbed)
    assert expected == ([("paid", 25 * UNIT, 2, 1, False)], 2, [(1, "paid")], [25 * UNIT], -1)
    while True:
        bob = what_is_due()
        ended = ends(victim, "payout", due, killed + 1)
        pay_out(due)
        assert paid_out(bob) == expected, f"killed before statement {killed + 1}"
        if ended == 0:
            break
        assert ended == -9
        killed += 1
    assert killed > 8
    assert is_balanced(trial_balance())


def what_is_disputed() -> Dispute:
    """Charges on a final invoice, with tax, and one on none; nobody answers."""
    market = make_market()
    make_tax(market.alice)
    first = make_charge(market, 10 * UNIT + 1, MARCH + DAY)
    close_all(LATER, [market.alice.pk])
    return a_dispute(market, first, make_charge(market, 7 * UNIT, APRIL + DAY), at=LATER)


def taken_back(dispute: Dispute) -> Any:
    """What became of a dispute, without the numbers that differ from one to the next."""
    dispute.refresh_from_db()
    alice = dispute.organization
    notes = CreditNote.objects.filter(invoice__organization=alice)
    legs = Leg.objects.filter(account__organization__in=[alice, dispute.provider])
    return (
        (dispute.state, dispute.outcome, dispute.awarded_micros, dispute.messages.count()),
        list(dispute.items.order_by("charge").values_list("state", "awarded_micros", "refund__amount_micros", "refund__payer")),
        list(notes.values_list("net_micros", "tax_micros", "invoice__state")),
        sorted((leg.account.kind, leg.debit_micros, leg.credit_micros) for leg in legs),
    )


@pytest.mark.django_db(transaction=True)
def test_a_decision_killed_before_any_statement_takes_back_once(victim: Victim) -> None:
    undisturbed, killed = what_is_disputed(), 0
    late = undisturbed.answer_until
    assert time_out(late) == 1
    expected = taken_back(undisturbed)
    assert expected[0] == ("decided", "upheld", 17 * UNIT + 1, 2)
    assert expected[2] == [(10 * UNIT, 60 * CENT, "paid")]
    while True:
        dispute = what_is_disputed()
        ended = ends(victim, "decide", {"now": late.isoformat()}, killed + 1)
        time_out(late)
        assert taken_back(dispute) == expected, f"killed before statement {killed + 1}"
        if ended == 0:
            break
        assert ended == -9
        killed += 1
    assert killed > 10
    assert is_balanced(trial_balance())
    numbers = CreditNote.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, len(numbers) + 1))
