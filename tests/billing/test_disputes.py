"""Disputes: while one is open nothing of its charges goes out, and what it takes back comes back from everybody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from billing.correcting import correct_usage
from billing.credit.proving import prove_credit
from billing.disputes.answering import answer, say, withdraw
from billing.disputes.deciding import Decision, decide, time_out
from billing.disputes.opening import Opening, open_by_lines, open_disputes
from billing.invoices.closing import close_all
from billing.invoices.credit_notes import give_up, issue_credit_note
from billing.invoices.dunning import climb, to_be_blocked
from billing.models import Charge, CreditNote, Dispute, DisputedCharge, DunningNotice, Invoice, JournalEntry, PayoutLine
from billing.queries import is_balanced, trial_balance
from billing.services import charge_task
from billing.settlement.payouts import approve, cancel, gather
from billing.settlement.queries import line_of, shares_of
from billing.settlement.sending import send_payouts
from core.errors import Conflict, Invalid, NotFound
from marketplace.models import Task
from tests import builders as build
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_disputes import OPENED, a_dispute, decided, on_a_line
from tests.builders_invoices import APRIL, CENT, MARCH, balance, make_charge, make_tax
from tests.builders_settlement import DAY, LATER, UNIT, a_share, invoiced

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def refund_of(dispute: Dispute) -> Charge:
    item = dispute.items.get()
    assert item.refund is not None
    return item.refund


def shares(charge: Charge) -> tuple[int, int, int]:
    return charge.provider_micros, charge.publisher_micros, charge.platform_micros


def test_what_is_disputed_is_left_out_by_a_run_and_goes_out_once_the_dispute_was_rejected(market: Market) -> None:
    doubted, other = a_share(market, 20 * UNIT, 15 * UNIT), a_share(market, 30 * UNIT, 12 * UNIT)
    invoiced(doubted, other)
    dispute = a_dispute(market, doubted)
    run = gather(LATER)
    assert run is not None
    assert {line.charge_id for line in PayoutLine.objects.all()} == {other.pk}
    lines = [line_of(one, "provider", LATER) for one in shares_of(market.bob, "provider")]
    stands = {line["charge"]: line["state"] for line in lines}
    assert stands == {doubted.pk: "disputed", other.pk: "in_payout"}
    assert gather(LATER) is None
    decided(dispute, "rejected")
    run = gather(LATER)
    assert run is not None
    paid = {one.organization_id: one.amount_micros for one in run.payouts.all()}
    assert paid == {market.bob.pk: 20 * UNIT, market.carol.pk: 15 * UNIT}


def test_an_upheld_dispute_on_an_unpaid_invoice_credits_it_and_takes_the_shares_back(market: Market) -> None:
    charge = a_share(market, 20 * UNIT, 5 * UNIT)
    invoice = on_a_line([charge])
    dispute = decided(a_dispute(market, charge))
    assert (dispute.state, dispute.outcome, dispute.awarded_micros) == ("decided", "upheld", 25 * UNIT)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.credited_micros) == ("paid", 25 * UNIT)
    assert shares(refund_of(dispute)) == (-20 * UNIT, -5 * UNIT, 0)
    assert refund_of(dispute).usage_id == charge.usage_id
    assert balance("user_receivable", market.alice) == balance("provider_payable", market.bob) == balance("platform_cost") == 0
    assert is_balanced(trial_balance())
    assert prove_credit() == 0
    assert gather(LATER + 30 * DAY) is None  # what came and what went make nothing


def test_a_part_is_shared_among_the_charges_and_their_parties_in_proportion(market: Market) -> None:
    first, second = a_share(market, 20 * UNIT, 10 * UNIT), a_share(market, 10 * UNIT, 0)
    on_a_line([first, second])
    dispute = decided(a_dispute(market, first, second), "partly", 10 * UNIT)
    items = list(dispute.items.order_by("charge"))
    assert [item.awarded_micros for item in items] == [7_500_000, 2_500_000]
    assert [shares(item.refund) for item in items if item.refund] == [(-5_000_000, -2_500_000, 0), (-2_500_000, 0, 0)]
    assert CreditNote.objects.get().net_micros == 10 * UNIT
    assert {item.note_id for item in items} == {CreditNote.objects.get().pk}
    assert balance("platform_cost") == 0


@pytest.mark.parametrize("micros", [0, 25 * UNIT, 26 * UNIT, None])
def test_a_part_is_more_than_nothing_and_less_than_all(market: Market, micros: int | None) -> None:
    dispute = a_dispute(market, a_share(market, 25 * UNIT))
    with pytest.raises(Invalid) as raised:
        decided(dispute, "partly", micros)
    assert (raised.value.code, raised.value.field) == ("award_invalid", "amount")
    dispute.refresh_from_db()
    assert dispute.state == "open"


def test_what_was_paid_out_already_is_netted_by_the_next_run(market: Market) -> None:
    olga = build.olga().user
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge], "paid")
    run = gather(LATER)
    assert run is not None
    approve(run.payouts.get(), olga)
    send_payouts(LATER)
    dispute = decided(a_dispute(market, charge, at=LATER), at=LATER)
    assert balance("user_prepaid", market.alice) == -20 * UNIT
    assert balance("provider_payable", market.bob) == 20 * UNIT  # bob owes it now
    assert gather(LATER) is None
    invoiced(a_share(market, 50 * UNIT))
    run = gather(LATER)
    assert run is not None
    assert run.payouts.get().amount_micros == 30 * UNIT
    assert refund_of(dispute).pk in set(run.payouts.get().lines.values_list("charge", flat=True))


def test_a_refund_waits_with_the_share_that_it_takes_back_from(market: Market) -> None:
    unpaid = a_share(market, 40 * UNIT)
    invoice = on_a_line([unpaid])
    decided(a_dispute(market, unpaid), "partly", 15 * UNIT)
    a_share(market, 30 * UNIT, payer="platform")
    run = gather(LATER)
    assert run is not None
    assert run.payouts.get().amount_micros == 30 * UNIT  # nobody paid for the other yet: nothing of it comes off
    Invoice.objects.filter(pk=invoice.pk).update(state="paid", paid_micros=25 * UNIT, ended_at=APRIL)
    run = gather(LATER)
    assert run is not None
    assert run.payouts.get().amount_micros == 25 * UNIT
    lines = [line_of(one, "provider", LATER) for one in shares_of(market.bob, "provider")]
    assert {line["state"] for line in lines} == {"in_payout"}


def test_a_payout_that_held_a_share_before_it_was_disputed_goes_out_and_a_cancelled_one_does_not_pass_it_on(market: Market) -> None:
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge], "paid")
    run = gather(LATER)
    assert run is not None
    dispute = a_dispute(market, charge, at=LATER)
    assert line_of(shares_of(market.bob, "provider").get(), "provider", LATER)["state"] == "in_payout"
    cancel(run.payouts.get(), "wrong account")
    assert gather(LATER) is None
    withdraw([dispute.pk], market.alice)
    assert gather(LATER) is not None


def test_before_its_invoice_is_final_a_charge_and_what_was_taken_back_meet_on_it(market: Market) -> None:
    make_tax(market.alice)
    charge = make_charge(market, 10 * UNIT + 1_234, MARCH + DAY)
    make_charge(market, 5 * UNIT, MARCH + DAY)
    close_all(APRIL + DAY / 24)
    dispute = decided(a_dispute(market, charge, at=APRIL + DAY / 12), at=APRIL + DAY / 8)
    assert (refund_of(dispute).payer, CreditNote.objects.count()) == ("user", 0)
    charge.task.refresh_from_db()
    assert charge.task.cost_micros == 0
    close_all(APRIL + 4 * DAY)
    invoice = Invoice.objects.get(state="finalized")
    assert (invoice.net_micros, invoice.tax_micros) == (5 * UNIT, 30 * CENT)
    back = invoice.lines.get(is_correction=True)
    assert (back.kind, back.exact_micros, back.pool_id) == ("usage", -10 * UNIT - 1_234, market.pool.pk)
    assert set(back.quantities.values()) == {"0"}
    assert balance("provider_payable", market.bob) == -5 * UNIT
    assert prove_credit() == 0


def test_a_tax_is_given_back_and_what_rounding_leaves_is_carried(market: Market) -> None:
    make_tax(market.alice)
    charge = make_charge(market, 10 * UNIT + 1_234, MARCH + DAY)
    close_all(APRIL + DAY / 24)
    close_all(APRIL + 4 * DAY)
    invoice = Invoice.objects.get(state="finalized")
    dispute = decided(a_dispute(market, charge, at=APRIL + 5 * DAY), at=APRIL + 6 * DAY)
    note = CreditNote.objects.get()
    assert (note.net_micros, note.tax_micros, note.key) == (10 * UNIT, 60 * CENT, f"dispute/{dispute.pk}/{invoice.pk}")
    names = ("user_receivable", "user_remainder", "platform_cost", "platform_tax_payable", "provider_payable")
    assert {name: balance(name) for name in names} == dict.fromkeys(names, 0)
    assert is_balanced(trial_balance())
    assert prove_credit() == 0


def test_what_an_invoice_has_no_room_for_becomes_prepaid_balance(market: Market) -> None:
    charge = a_share(market, 20 * UNIT)
    invoice = on_a_line([charge])
    issue_credit_note(invoice, {1: 5 * UNIT}, "goodwill", "case")
    decided(a_dispute(market, charge))
    invoice.refresh_from_db()
    assert invoice.credited_micros == 20 * UNIT
    assert balance("user_prepaid", market.alice) == -5 * UNIT
    assert balance("platform_cost") == 5 * UNIT  # the goodwill


def test_what_was_given_up_is_taken_back_from_the_payees_alone(market: Market) -> None:
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge], "overdue")
    give_up(Invoice.objects.get(), "gone")
    dispute = decided(a_dispute(market, charge))
    assert (CreditNote.objects.count(), dispute.awarded_micros) == (0, 20 * UNIT)
    assert (balance("provider_payable", market.bob), balance("platform_cost")) == (0, -20 * UNIT)
    assert balance("platform_loss") == 20 * UNIT


def test_lines_of_an_invoice_are_disputed_as_their_charges_one_dispute_per_provider(market: Market) -> None:
    elsewhere = make_market()
    elsewhere.alice = market.alice
    bobs, others = a_share(market, 20 * UNIT), a_share(elsewhere, 30 * UNIT)
    invoice = on_a_line([bobs, others])
    opening = Opening(market.alice, "not_delivered", "nothing came")
    made = open_by_lines(opening, invoice, [1], OPENED)
    assert sorted((one.respondent_id, one.disputed_micros) for one in made) == sorted(
        [(market.bob.pk, 20 * UNIT), (elsewhere.bob.pk, 30 * UNIT)]
    )
    for lines, code in (([2], "line_unknown"), ([], "line_unknown")):
        with pytest.raises(Invalid) as raised:
            open_by_lines(opening, invoice, lines, OPENED)
        assert raised.value.code == code


def test_a_charge_is_disputed_once_by_who_pays_it_and_in_time(market: Market, settings: Any) -> None:
    charge = a_share(market, 20 * UNIT)
    opening = Opening(market.alice, "other", "?")

    def refused(*charges: Charge, by: Opening = opening, at: Any = OPENED) -> str:
        with pytest.raises((Conflict, Invalid, NotFound)) as raised:
            open_disputes(by, [one.pk for one in charges], at)
        return raised.value.code

    assert refused(a_share(market, UNIT, payer="platform")) == "charge_not_disputable"
    assert refused(a_share(market, -UNIT, kind="delta")) == "charge_not_disputable"
    assert refused(charge, by=Opening(market.bob, "other", "?")) == "not_found"
    assert refused(charge, at=charge.charged_at + timedelta(days=settings.DISPUTE_DAYS, seconds=1)) == "dispute_too_late"
    dispute = a_dispute(market, charge)
    other = a_share(market, UNIT)
    assert refused(other, charge) == "charge_disputed"
    assert not DisputedCharge.objects.filter(charge=other).exists()
    withdraw([dispute.pk], market.alice)
    again = decided(a_dispute(market, charge), "rejected")
    assert again.state == "decided"
    assert refused(charge) == "charge_disputed"


def test_who_does_not_answer_in_time_has_lost_and_who_answers_has_not(market: Market, settings: Any) -> None:
    silent, answered = a_dispute(market, a_share(market, 20 * UNIT)), a_dispute(market, a_share(market, 7 * UNIT))
    answer([answered.pk], market.bob, "contests", "all of it came", build.bob().user, OPENED)
    end = OPENED + timedelta(days=settings.DISPUTE_ANSWER_DAYS)
    assert time_out(end - timedelta(seconds=1)) == 0
    assert (time_out(end), time_out(end)) == (1, 0)
    silent.refresh_from_db()
    assert (silent.outcome, silent.awarded_micros, silent.decided_by) == ("upheld", 20 * UNIT, None)
    assert silent.messages.order_by("pk").last().text.startswith("The respondent did not answer")  # type: ignore[union-attr]
    answered.refresh_from_db()
    assert (answered.state, answered.position) == ("answered", "contests")


def test_only_the_respondent_answers_only_the_customer_withdraws_and_nobody_adds_to_what_has_ended(market: Market) -> None:
    dispute, bob = a_dispute(market, a_share(market, 20 * UNIT)), build.bob().user
    with pytest.raises(NotFound):
        answer([dispute.pk], market.carol, "contests", "not I", bob)
    with pytest.raises(NotFound):
        withdraw([dispute.pk], market.bob)
    answer([dispute.pk], market.bob, "accepts", "sorry", bob)
    with pytest.raises(Conflict) as raised:
        answer([dispute.pk], market.bob, "contests", "no", bob)
    assert raised.value.code == "dispute_moved"
    say(dispute, market.carol, "my program is fine", bob)
    say(dispute, None, "we look at it", bob)
    assert [one.role for one in dispute.messages.order_by("pk")] == ["customer", "provider", "publisher", "platform"]
    decided(dispute)
    for late in (lambda: say(dispute, market.alice, "thanks", bob), lambda: withdraw([dispute.pk], market.alice)):
        with pytest.raises(Conflict):
            late()


def test_deciding_again_in_the_same_way_changes_nothing_and_otherwise_is_refused(market: Market) -> None:
    dispute = a_dispute(market, a_share(market, 20 * UNIT))
    decided(dispute, "partly", 5 * UNIT)
    before = Charge.objects.count()
    assert decided(dispute, "partly", 5 * UNIT).awarded_micros == 5 * UNIT
    assert Charge.objects.count() == before
    for outcome, micros in (("partly", 6 * UNIT), ("rejected", None), ("upheld", None)):
        with pytest.raises(Conflict):
            decided(dispute, outcome, micros)


def test_a_set_is_decided_together_or_not_at_all(market: Market) -> None:
    first, second = a_dispute(market, a_share(market, 20 * UNIT)), a_dispute(market, a_share(market, 7 * UNIT))
    withdraw([second.pk], market.alice)
    with pytest.raises(Conflict):
        decide([Decision(first.pk, "upheld", "yes"), Decision(second.pk, "upheld", "yes")], None, OPENED)
    with pytest.raises(NotFound):
        decide([Decision(first.pk, "upheld", "yes"), Decision(10**9, "upheld", "yes")], None, OPENED)
    first.refresh_from_db()
    assert first.state == "open"


def test_deciding_takes_the_same_number_of_statements_for_any_number_of_charges(
    market: Market, django_assert_max_num_queries: Any
) -> None:
    def disputes(many: int) -> list[Decision]:
        market = make_market()
        on_a_line([charge := a_share(market, 20 * UNIT), *(rest := [a_share(market, UNIT) for _ in range(many - 1)])])
        return [Decision(a_dispute(market, charge, *rest).pk, "upheld", "yes")]

    small, big = disputes(1), [*disputes(9), *disputes(4)]
    with django_assert_max_num_queries(60) as counted:
        decide(small, None, OPENED)
    with django_assert_max_num_queries(len(counted)):
        decide(big, None, OPENED)


def test_what_a_correction_left_is_all_that_can_be_taken_back_and_then_no_more_is_corrected(market: Market) -> None:
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need()), core_ms=1_000_000)
    Task.objects.filter(pk=task.pk).update(state="delivered", ended_at=MARCH + DAY)
    assert charge_task(task.pk)
    charge = Charge.objects.get(kind="usage", task=task)
    dispute = a_dispute(market, charge, at=charge.charged_at)
    correct_usage(usage.pk, {"core_ms": 400_000})
    left = sum(one.amount_micros for one in Charge.objects.filter(task=task))
    assert 0 < left < charge.amount_micros
    made = decided(dispute, at=charge.charged_at)
    assert made.awarded_micros == left
    assert sum(one.amount_micros for one in Charge.objects.filter(task=task)) == 0
    with pytest.raises(Conflict) as raised:
        correct_usage(usage.pk, {"core_ms": 500_000})
    assert raised.value.code == "usage_refunded"
    assert JournalEntry.objects.filter(kind="refund").count() == 1


def notices() -> list[tuple[str, int]]:
    return list(DunningNotice.objects.order_by("level").values_list("action", "owed_micros"))


def test_nobody_is_asked_for_what_is_disputed(market: Market) -> None:
    doubted, other = a_share(market, 20 * UNIT), a_share(market, 5 * UNIT)
    invoice = on_a_line([doubted, other])
    assert invoice.due_at is not None
    a_dispute(market, doubted)
    climb(invoice.due_at)
    assert notices() == [("reminder", 5 * UNIT)]


def test_dunning_pauses_while_all_is_disputed_and_counts_again_from_the_decision(market: Market) -> None:
    doubted = a_share(market, 20 * UNIT)
    due = on_a_line([doubted]).due_at
    assert due is not None
    dispute = a_dispute(market, doubted)
    assert climb(due + 40 * DAY) == 0
    assert Invoice.objects.get().state == "finalized"
    decided(dispute, "rejected", at=due + 40 * DAY)
    climb(due + 41 * DAY)
    assert notices() == [("reminder", 20 * UNIT)]
    climb(due + 55 * DAY)
    assert [action for action, _ in notices()] == ["reminder", "warning", "block"]
    assert to_be_blocked() == {market.alice.pk}


def test_who_disputes_all_that_blocks_them_is_free_until_it_is_decided(market: Market) -> None:
    doubted = a_share(market, 20 * UNIT)
    due = on_a_line([doubted]).due_at
    assert due is not None
    climb(due + 15 * DAY)
    assert to_be_blocked() == {market.alice.pk}
    dispute = a_dispute(market, doubted, at=doubted.charged_at + 50 * DAY)
    assert to_be_blocked() == set()
    decided(dispute, "rejected", at=doubted.charged_at + 51 * DAY)
    assert to_be_blocked() == {market.alice.pk}
