"""What PostgreSQL keeps of disputes, whatever the code does; and the pure parts."""

from __future__ import annotations

from itertools import permutations
from typing import Any, Final

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.disputes.awards import awarded, spread, taken_back
from billing.disputes.states import MOVES, may_move
from billing.models import Charge, Dispute, DisputedCharge, DisputeMessage, Payout, PayoutLine
from billing.settlement.payouts import cancel, gather
from core.errors import Invalid
from tests.billing.test_invoice_guards import refused
from tests.billing.test_payout_guards import a_copy
from tests.builders_billing import Market, make_market, make_organization
from tests.builders_disputes import OPENED, a_dispute, decided, on_a_line
from tests.builders_settlement import LATER, UNIT, a_share

WAY: Final = {"open": (), "answered": ("answered",), "decided": ("decided",), "withdrawn": ("withdrawn",)}
SHARES: Final = st.lists(st.integers(0, 2**50), min_size=3, max_size=3).filter(any)


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def move(dispute: Dispute, state: str) -> None:
    """One move by SQL, with what belongs to it; checked as at the commit."""
    fields: dict[str, Any] = {"state": state}
    fields |= {"position": "contests", "answered_at": OPENED} if state == "answered" else {}
    fields |= {"ended_at": OPENED} if state in {"decided", "withdrawn"} else {}
    fields |= {"outcome": "rejected"} if state == "decided" else {}
    with transaction.atomic():
        if state in {"decided", "withdrawn"}:
            DisputedCharge.objects.filter(dispute=dispute, state="open").update(state=state)
        Dispute.objects.filter(pk=dispute.pk).update(**fields)
        now()


def now() -> None:
    """Check what is checked at a commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def that_is(state: str, market: Market) -> Dispute:
    dispute = a_dispute(market, a_share(market, 20 * UNIT))
    for step in WAY[state]:
        move(dispute, step)
    return dispute


@pytest.mark.parametrize(("before", "after"), list(permutations(MOVES, 2)))
def test_a_dispute_makes_exactly_the_moves_that_are_drawn(market: Market, before: str, after: str) -> None:
    dispute = that_is(before, market)
    assert refused(lambda: move(dispute, after)) is not may_move(before, after)


@pytest.mark.parametrize("change", [{"disputed_micros": 1}, {"currency": "USD"}, {"charges_count": 2}, {"answer_until": LATER}])
def test_a_dispute_says_for_ever_what_it_is_about(market: Market, change: dict[str, Any]) -> None:
    dispute = that_is("open", market)
    assert refused(lambda: Dispute.objects.filter(pk=dispute.pk).update(**change), "refused")
    assert refused(lambda: Dispute.objects.filter(pk=dispute.pk).update(organization=make_organization("mallory")), "refused")


def test_a_dispute_ends_with_its_charges_and_not_without_them(market: Market) -> None:
    dispute = that_is("open", market)

    def end(rows: Any, **fields: Any) -> Any:
        with transaction.atomic():
            rows.update(**fields)
            Dispute.objects.filter(pk=dispute.pk).update(reason=dispute.reason)
            now()

    alone, charges = Dispute.objects.filter(pk=dispute.pk), dispute.items.all()
    assert refused(lambda: end(alone, state="withdrawn", ended_at=OPENED), "its charges say")
    assert refused(lambda: end(charges, state="withdrawn"), "its charges say")


def test_a_disputed_charge_is_what_its_charge_says_and_of_its_parties(market: Market) -> None:
    dispute, other = that_is("open", market), a_share(market, 7 * UNIT)
    create = DisputedCharge.objects.create
    assert refused(lambda: create(dispute=dispute, charge=other, micros=UNIT), "it is what its charge")
    assert refused(lambda: create(dispute=dispute, charge=a_share(make_market(), UNIT), micros=UNIT), "it is what its charge")
    assert refused(lambda: create(dispute=dispute, charge=a_share(market, UNIT, payer="platform"), micros=UNIT), "it is what")
    assert refused(lambda: create(dispute=dispute, charge=dispute.items.get().charge, micros=20 * UNIT), "charge_disputed_once")
    ended = that_is("withdrawn", market)
    assert refused(lambda: create(dispute=ended, charge=other, micros=7 * UNIT), "it is what its charge")


def test_an_award_is_a_refund_of_that_charge_and_no_more_than_it(market: Market) -> None:
    dispute, other = that_is("open", market), a_dispute(market, charge := a_share(market, 7 * UNIT))
    on_a_line([charge])
    decided(other)
    refund = other.items.get().refund
    row = dispute.items.filter(state="open")
    assert refused(lambda: row.update(state="decided", awarded_micros=UNIT), "award_is_a_refund")
    assert refused(lambda: row.update(state="decided", awarded_micros=7 * UNIT, refund=refund))
    assert refused(lambda: row.update(state="decided", awarded_micros=21 * UNIT, refund=charge), "at_most_all")
    assert refused(lambda: other.items.update(awarded_micros=UNIT), "refused")


def test_no_payout_takes_a_share_of_a_disputed_charge_whatever_the_code_does(market: Market) -> None:
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge], "paid")
    assert gather(LATER) is not None
    before = cancel(Payout.objects.get(), "wrong account")
    a_dispute(market, charge, at=LATER)
    again = a_copy(before)
    assert refused(lambda: PayoutLine.objects.update(payout=again), "disputed: it is not paid out")
    cancel(again, "it has no lines")


def test_every_guard_of_disputes_is_kept_in_every_role(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE tgenabled <> 'A') FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN "
            "('billing_dispute'::regclass, 'billing_disputedcharge'::regclass, 'billing_disputemessage'::regclass)"
        )
        assert cursor.fetchone() == (11, 0)


def test_nothing_of_a_dispute_goes_away_and_what_was_said_stays(market: Market) -> None:
    that_is("open", market)
    for model in (Dispute, DisputedCharge, DisputeMessage):
        assert refused(lambda model=model: model.objects.all()._raw_delete("default"), "append-only")  # type: ignore[misc]
    assert refused(lambda: DisputeMessage.objects.update(text="nothing"), "append-only")


def test_a_refund_is_below_zero(market: Market) -> None:
    assert refused(lambda: a_share(market, UNIT, kind="refund"), "refund_is_below_zero")
    assert Charge.objects.count() == 0


@given(st.integers(0, 2**60), st.lists(st.integers(0, 2**50), min_size=1, max_size=8))
def test_parts_add_up_and_none_is_more_than_its_weight(amount: int, weights: list[int]) -> None:
    amount = min(amount, sum(weights))
    parts = spread(amount, weights)
    assert sum(parts) == amount
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


@given(SHARES, st.data())
def test_what_is_taken_back_adds_up_and_nobody_gives_back_more_than_they_got(shares: list[int], data: Any) -> None:
    award = data.draw(st.integers(0, sum(shares)))
    back = taken_back(shares, award)
    assert sum(back) == award
    assert all(0 <= part <= share for part, share in zip(back, shares, strict=True))
    for part, share in zip(back, shares, strict=True):  # in proportion, to a micro
        assert abs(part * sum(shares) - share * award) <= sum(shares)


@given(st.lists(st.integers(1, 2**50), min_size=1, max_size=8), st.data())
def test_an_award_is_all_a_part_or_nothing(left: list[int], data: Any) -> None:
    assert (awarded("upheld", None, left), sum(awarded("rejected", None, left))) == (left, 0)
    part = data.draw(st.integers(0, 2 * sum(left)))
    if 0 < part < sum(left):
        assert sum(awarded("partly", part, left)) == part
    else:
        with pytest.raises(Invalid):
            awarded("partly", part, left)
