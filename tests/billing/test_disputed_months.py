"""Charges of whole months are disputed as those of tasks are: held, not dunned, taken back once whatever usage comes later."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.disputes import opening
from billing.disputes.bundle import bundle_of
from billing.disputes.deciding import Decision, decide
from billing.disputes.opening import Opening, open_by_lines, open_disputes
from billing.invoices.closing import close_all
from billing.invoices.dunning import climb
from billing.models import CreditNote, Dispute, DisputedCharge, DunningNotice, Invoice, Payout, PayoutLine, PeriodCharge
from billing.periods.refunds import Refund, left_of
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import cancel, gather
from billing.settlement.queries import Period, period_line_of, period_shares_of, standings_of
from core.errors import Conflict, Invalid, NotFound
from gridfare.evidence import Refuted, canonical, check
from gridfare.evidence import left_of as left_by_client
from metering.models import UsageRecord
from tests import builders as build
from tests.billing.test_dispute_races import together
from tests.billing.test_invoice_guards import refused
from tests.billing.test_invoiced_periods import BEFORE, DAY, THIS, a_market
from tests.billing.test_payout_guards import a_copy
from tests.billing.test_period_payouts import pay, state_of
from tests.builders_billing import Market
from tests.builders_invoices import balance
from tests.builders_periods import amount, corrected, used

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db: None) -> Market:
    """Alice's month by its peak at bob's: 40, on a final invoice."""
    return invoiced_market()


def invoiced_market(grace_days: int = 0, now: datetime | None = None) -> Market:
    market = a_market(grace_days)
    used(market, BEFORE + DAY, 600, 4)
    close_all(now)
    return market


def doubted(market: Market, *charges: PeriodCharge) -> Dispute:
    (made,) = open_disputes(Opening(market.alice, "wrong_usage", "we held three"), (), months=[one.pk for one in charges])
    return made


def decided(dispute: Dispute, outcome: str = "upheld", micros: int | None = None) -> Dispute:
    (made,) = decide([Decision(dispute.pk, outcome, "so it is", micros)], None)
    return made


def rated_again(usage: UsageRecord, tenths: int) -> None:
    """The usage turns out to have been so many tenths of a core more or less than four."""
    corrected(usage, held_core_ms=usage.wall_ms * tenths // 10, core_ms=usage.wall_ms * tenths // 10)
    close_all()


def total() -> int:
    return PeriodCharge.objects.latest("revision").total_micros


def test_a_disputed_month_is_held_and_not_asked_for_and_goes_out_once_the_dispute_was_rejected(market: Market) -> None:
    charge = PeriodCharge.objects.get()
    dispute = doubted(market, charge)
    assert (dispute.respondent, dispute.publisher, dispute.disputed_micros) == (market.bob, None, amount("40"))
    assert climb(THIS + 90 * DAY) == 0
    due = pay(market)
    assert state_of(charge, market, due) == "disputed"
    assert gather(due) is None
    decided(dispute, "rejected")
    assert state_of(charge, market, due) == "due"
    run = gather(due)
    assert run is not None
    assert run.payouts.get().exact_micros == charge.provider_micros


def test_dunning_asks_for_a_month_again_once_its_dispute_was_rejected(market: Market) -> None:
    dispute = doubted(market, PeriodCharge.objects.get())
    decided(dispute, "rejected")
    climb(THIS + 120 * DAY)
    assert DunningNotice.objects.exists()


def test_an_upheld_month_is_credited_and_every_share_is_taken_back(market: Market) -> None:
    charge = PeriodCharge.objects.get()
    dispute = decided(doubted(market, charge))
    item, invoice = dispute.items.get(), Invoice.objects.get()
    refund = item.period_refund
    assert refund is not None
    assert (refund.refunds, refund.base, refund.revision, refund.payer) == (charge, charge, 1, "platform")
    assert (refund.amount_micros, refund.total_micros) == (-amount("40"), 0)
    assert (refund.provider_micros, refund.platform_micros) == (-charge.provider_micros, -charge.platform_micros)
    assert (invoice.state, invoice.credited_micros) == ("paid", amount("40"))
    assert item.note == CreditNote.objects.get()
    for kind, whose in (("user_receivable", market.alice), ("provider_payable", market.bob), ("platform_cost", None)):
        assert balance(kind, whose) == 0, kind
    assert is_balanced(trial_balance())
    assert gather(THIS + 90 * DAY) is None


def test_a_part_of_a_paid_month_becomes_prepaid_and_comes_off_the_share_when_that_goes_out(market: Market) -> None:
    charge, due = PeriodCharge.objects.get(), pay(market)
    dispute = decided(doubted(market, charge), "partly", amount("10"))
    refund = dispute.items.get().period_refund
    assert refund is not None
    assert balance("user_prepaid", market.alice) == -amount("10")
    line = period_line_of(period_shares_of(market.bob, "provider").get(pk=refund.pk), due - DAY)
    assert (line["state"], line["due_at"], line["refunds"]) == ("held_back", due, charge.pk)
    told = standings_of(market.bob, "provider", Period(BEFORE, due), due - DAY)
    assert [(one["state"], one["shares"]) for one in told] == [("held_back", 2)]
    assert gather(due - timedelta(seconds=1)) is None
    run = gather(due)
    assert run is not None
    assert run.payouts.get().exact_micros == charge.provider_micros + refund.provider_micros
    assert PayoutLine.objects.count() == 2


def test_a_month_on_no_final_invoice_gets_a_correction_line_beside_it() -> None:
    market = invoiced_market(grace_days=27, now=THIS + DAY)
    dispute = decided(doubted(market, PeriodCharge.objects.get()), "partly", amount("10"))
    refund = dispute.items.get().period_refund
    assert refund is not None
    assert refund.payer == "user"
    close_all(THIS + 28 * DAY)
    lines = Invoice.objects.get(number__isnull=False).lines.order_by("number")
    assert [(line.is_correction, line.amount_micros) for line in lines] == [(False, amount("40")), (True, -amount("10"))]


@pytest.mark.parametrize(("tenths", "expected"), [(50, "40"), (40, "30"), (35, "30"), (30, "30"), (20, "20"), (0, "0")])
def test_usage_that_comes_later_neither_undoes_nor_doubles_a_refund(market: Market, tenths: int, expected: str) -> None:
    decided(doubted(market, PeriodCharge.objects.get()), "partly", amount("10"))
    rated_again(UsageRecord.objects.get(), tenths)
    assert total() == amount(expected)
    close_all()
    assert total() == amount(expected)
    rated_again(UsageRecord.objects.earliest("revision"), 40)
    assert total() == amount("30"), "what it was rated at when it was decided"
    assert sum(one.amount_micros for one in PeriodCharge.objects.all()) == total()
    bob = sum(one.provider_micros for one in PeriodCharge.objects.all())
    assert balance("provider_payable", market.bob) == -bob
    assert is_balanced(trial_balance())


def test_no_more_is_taken_back_than_what_corrections_left_of_the_month(market: Market) -> None:
    rated_again(UsageRecord.objects.get(), 25)
    base = PeriodCharge.objects.get(revision=0)
    dispute = decided(doubted(market, base))
    assert (dispute.disputed_micros, dispute.awarded_micros, total()) == (amount("40"), amount("25"), 0)


def test_a_base_and_its_revision_are_taken_back_in_one_decision_one_after_the_other(market: Market) -> None:
    rated_again(UsageRecord.objects.get(), 60)
    dispute = decided(doubted(market, *PeriodCharge.objects.all()))
    refunds = PeriodCharge.objects.filter(refunds__isnull=False).order_by("revision")
    assert [(one.revision, one.amount_micros, one.payer) for one in refunds] == [
        (2, -amount("40"), "platform"),
        (3, -amount("20"), "platform" if Invoice.objects.filter(state="finalized").count() else "user"),
    ]
    assert (dispute.awarded_micros, total()) == (amount("60"), 0)
    rated_again(UsageRecord.objects.earliest("revision"), 10)
    assert total() == 0


def test_by_a_line_of_the_invoice_and_only_what_may_be_disputed(market: Market) -> None:
    charge, asking = PeriodCharge.objects.get(), Opening(market.alice, "other", "what is this?")
    with pytest.raises(NotFound):
        open_disputes(Opening(market.bob, "other", "?"), (), months=[charge.pk])
    with pytest.raises(Conflict) as late:
        open_disputes(asking, (), charge.rated_at + 61 * DAY, months=[charge.pk])
    assert late.value.code == "dispute_too_late"
    (made,) = open_by_lines(asking, Invoice.objects.get(), [1])
    assert made.items.get().period_charge == charge
    with pytest.raises(Conflict) as again:
        doubted(market, charge)
    assert (again.value.code, again.value.field) == ("charge_disputed", "charges")
    decided(made, "partly", amount("10"))
    with pytest.raises(Invalid) as refund:
        doubted(market, PeriodCharge.objects.get(revision=1))
    assert (refund.value.code, refund.value.field) == ("charge_not_disputable", "period_charges")


def test_the_evidence_is_checked_without_the_platform_and_a_changed_one_is_refuted(market: Market) -> None:
    dispute = decided(doubted(market, PeriodCharge.objects.get()), "partly", amount("10"))
    rated_again(UsageRecord.objects.get(), 35)
    dispute.refresh_from_db()
    content = bundle_of(dispute)
    assert check(content).awarded == 10
    for path in (("total",), ("lines", 0, "quantity"), ("revisions", 1, "amount"), ("revisions", 2, "precise")):
        told = json.loads(content)
        place: Any = told["bundle"]["charges"][0]["evidence"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = "7"
        told["digest"] = __import__("hashlib").sha256(canonical(told["bundle"])).hexdigest()
        with pytest.raises(Refuted):
            check(json.dumps(told).encode())


def test_postgresql_refuses_a_line_of_a_disputed_month_and_a_refund_of_another(market: Market) -> None:
    charge, due = PeriodCharge.objects.get(), pay(market)
    assert gather(due) is not None
    before = cancel(Payout.objects.get(), "wrong account")
    doubted(market, charge)
    again = a_copy(before)
    assert refused(lambda: PayoutLine.objects.update(payout=again), "its charge is disputed")
    cancel(again, "it has no lines")
    other = PeriodCharge.objects.get()
    other.pk, other.revision, other.base, other.refunds = None, 1, charge, charge
    other.amount_micros, other.total_micros = -amount("41"), -amount("1")
    other.provider_micros, other.platform_micros = -amount("41"), 0
    with pytest.raises(IntegrityError), transaction.atomic():
        other.save(force_insert=True)
    with pytest.raises(IntegrityError, match="task_or_a_month"), transaction.atomic():
        DisputedCharge.objects.create(dispute=Dispute.objects.get(), micros=1)


def test_by_http_and_by_the_page_of_the_charge(market: Market) -> None:
    charge = PeriodCharge.objects.get()
    alice, boris = build.a_person("anna", market.alice, role="owner"), build.a_person("boris", market.bob, role="billing")
    body = {"reason": "wrong_usage", "text": "we held three", "period_charges": [charge.pk]}
    answered = build.client_of(alice).post("/api/v1/disputes", body, format="json")
    assert answered.status_code == 201, answered.json()
    (made,) = answered.json()["disputes"]
    assert (made["publisher"], made["disputed"]) == (None, "40.000000")
    (item,) = build.client_of(boris).get(f"/api/v1/disputes/{made['id']}/charges").json()["results"]
    assert (item["charge"], item["period_charge"], item["kind"], item["meter"]) == (None, charge.pk, "period", "held_cores")
    (line,) = build.client_of(boris).get("/api/v1/payables/periods?party=provider").json()["results"]
    assert line["state"] == "disputed"
    withdrawn = build.client_of(alice).post("/api/v1/disputes/withdraw", {"disputes": [made["id"]]}, format="json")
    assert withdrawn.status_code == 200
    session = build.session_of(alice)
    assert "Dispute this charge" in session.get(f"/period-charges/{charge.pk}/").content.decode()
    told = session.post(f"/period-charges/{charge.pk}/dispute/", {"reason": "other", "text": ""}, format="multipart")
    assert told.status_code == 422
    asked = {"reason": "other", "text": "what is this?"}
    told = session.post(f"/period-charges/{charge.pk}/dispute/", asked, format="multipart")
    assert told.status_code == 302, told.content.decode()
    page = session.get(told["Location"]).content.decode()
    assert "month of held cores" in page
    dispute = decided(Dispute.objects.latest("pk"))
    refund = dispute.items.get().period_refund
    assert refund is not None
    assert "A dispute took this back" in session.get(f"/period-charges/{refund.pk}/").content.decode()
    assert session.get(f"/period-charges/{charge.pk}/").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("locked", [True, False], ids=["locked", "control"])
def test_a_run_waits_for_a_dispute_of_a_month_that_is_being_opened(locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    market = invoiced_market()
    charge, due = PeriodCharge.objects.get(), pay(market)
    written, gathered = threading.Event(), threading.Event()

    def hold(disputes: Sequence[int], told: str, at: Any) -> None:
        written.set()
        gathered.wait(0.5)

    def run() -> None:
        written.wait(10)
        gather(due)
        gathered.set()

    monkeypatch.setattr(opening, "tell_disputes", hold)
    if not locked:
        monkeypatch.setattr(opening, "GATHER_LOCK", 1)
    assert together(lambda: doubted(market, charge), run) == ["done", "done"]
    assert PayoutLine.objects.exists() is not locked


@pytest.mark.django_db(transaction=True)
def test_a_rating_and_a_decision_at_once_take_back_once() -> None:
    market = invoiced_market()
    usage = UsageRecord.objects.get()
    dispute = doubted(market, PeriodCharge.objects.get())
    corrected(usage, held_core_ms=usage.held_core_ms // 2, core_ms=usage.core_ms // 2)
    assert together(lambda: decided(dispute), close_all) == ["done", "done"]
    assert total() == 0
    assert balance("provider_payable", market.bob) == 0
    assert is_balanced(trial_balance())


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=4), st.integers(0, 120))
def test_what_is_left_is_never_negative_never_falls_with_usage_and_is_the_same_by_the_client(
    steps: list[tuple[int, int]], rated: int
) -> None:
    refunds: list[Refund] = []
    for then, part in steps:
        refunds.append(Refund(then, left_of(then, refunds) * part // 100))
        assert left_of(then, refunds) == left_of(then, refunds[:-1]) - refunds[-1].micros, "it takes back what was decided"
    left = left_of(rated, refunds)
    assert 0 <= left <= rated
    assert left <= left_of(rated + 1, refunds) <= left + 1
    assert left == left_by_client(rated, list(refunds))  # type: ignore[arg-type, comparison-overlap]
