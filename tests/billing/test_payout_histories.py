"""Random histories of payouts against a plain model: every share goes out once, whatever fails, is cancelled or tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db.models import Sum
from django.test import override_settings
from hypothesis import strategies as st

from billing.models import Invoice, Payout, PayoutLine, SandboxTransfer
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import approve, cancel, gather, retry
from billing.settlement.sending import send_payouts
from core.errors import Conflict
from tests import builders as build
from tests.billing.histories import checked
from tests.builders_billing import Market, make_market
from tests.builders_invoices import CENT, balance, move_to
from tests.builders_settlement import LATER, UNIT, a_share, invoiced

pytestmark = pytest.mark.django_db
MINIMUM = 10 * UNIT
MAY = {"approve": {"draft": "approved"}, "retry": {"failed": "approved"},
       "cancel": dict.fromkeys(("draft", "approved", "failed"), "cancelled")}  # fmt: skip
micros = st.one_of(st.integers(1, 9_000_000), st.integers(9_000_000, 30_000_000))
which = st.integers(0, 9)
step = st.one_of(
    st.tuples(st.just("share"), micros, st.one_of(st.just(0), micros), st.booleans()),
    st.tuples(st.just("share"), micros, micros, st.just(True)),
    st.tuples(st.just("back"), st.integers(1, 8_000_000)),
    st.tuples(st.just("pay"), which),
    st.tuples(st.just("gather")),
    st.tuples(st.just("gather")),
    st.tuples(st.sampled_from(["approve", "approve", "cancel", "cancel", "retry"]), which),
    st.tuples(st.sampled_from(["approve", "approve", "cancel", "cancel", "retry"]), which),
    st.tuples(st.just("send"), st.booleans()),
)


@dataclass
class Owed:
    """A share: how much, whether it is due, and the payout that holds it."""

    payee: int
    micros: int
    due: bool
    payout: Sent | None = None


@dataclass
class Sent:
    payee: int
    exact: int
    amount: int
    state: str = "draft"


@dataclass
class Model:
    """What is owed and what was made of it, in loops."""

    shares: list[Owed] = field(default_factory=list)
    payouts: list[Sent] = field(default_factory=list)

    def gather(self, payees: list[int]) -> None:
        for payee in sorted(payees):
            free = [one for one in self.shares if one.payee == payee and one.due and not self.held(one)]
            left = sum(one.exact - one.amount for one in self.payouts if one.payee == payee and one.state != "cancelled")
            owed = sum(one.micros for one in free) + left
            if free and owed >= MINIMUM:
                made = Sent(payee, sum(one.micros for one in free), owed // CENT * CENT)
                self.payouts.append(made)
                for one in free:
                    one.payout = made

    @staticmethod
    def held(share: Owed) -> bool:
        return share.payout is not None and share.payout.state != "cancelled"


class World:
    """The rows beside the model."""

    def __init__(self, market: Market, olga: Any) -> None:
        self.market, self.olga, self.model = market, olga, Model()
        self.unpaid: list[tuple[Invoice, list[Owed]]] = []
        self.do: dict[str, Callable[..., None]]
        self.do = {"share": self.share, "back": self.back, "pay": self.pay, "gather": self.gather, "send": self.send}

    def share(self, provider: int, publisher: int, paid: bool) -> None:
        invoice = invoiced(a_share(self.market, provider, publisher), state="paid" if paid else "finalized")
        mine = [(self.market.bob, provider), (self.market.carol, publisher)]
        shares = [Owed(payee.pk, amount, paid) for payee, amount in mine if amount]
        self.model.shares += shares
        self.unpaid += [] if paid else [(invoice, shares)]

    def back(self, amount: int) -> None:
        """A correction takes something back from bob; it waits for nobody."""
        a_share(self.market, -amount, kind="delta")
        self.model.shares.append(Owed(self.market.bob.pk, -amount, True))

    def pay(self, which: int) -> None:
        if self.unpaid:
            invoice, shares = self.unpaid.pop(which % len(self.unpaid))
            move_to(invoice, "paid")
            for one in shares:
                one.due = True

    def gather(self) -> None:
        before = len(self.model.payouts)
        self.model.gather([self.market.bob.pk, self.market.carol.pk])
        assert (gather(LATER) is None) == (len(self.model.payouts) == before)

    def decide(self, what: str, which: int) -> None:
        if not self.model.payouts:
            return
        which %= len(self.model.payouts)
        expected, payout = self.model.payouts[which], self.payouts()[which]
        ways: dict[str, Callable[[], Payout]] = {
            "approve": lambda: approve(payout, self.olga),
            "retry": lambda: retry(payout, self.olga),
            "cancel": lambda: cancel(payout, "no", LATER),
        }
        act = ways[what]
        following = MAY[what].get(expected.state)
        if following is None:
            with pytest.raises(Conflict):
                act()
        else:
            act()
            expected.state = following

    def send(self, refuses: bool) -> None:
        with override_settings(SANDBOX_REFUSES={self.market.bob.slug} if refuses else set()):
            send_payouts(LATER)
        for one in self.model.payouts:
            if one.state == "approved":
                one.state = "failed" if refuses and one.payee == self.market.bob.pk else "paid"

    def payouts(self) -> list[Payout]:
        return list(Payout.objects.order_by("pk"))

    def check(self) -> None:
        model, market = self.model, self.market
        found = [(one.organization_id, one.exact_micros, one.amount_micros, one.state) for one in self.payouts()]
        assert found == [(one.payee, one.exact, one.amount, one.state) for one in model.payouts]
        lines = PayoutLine.objects.exclude(payout__state="cancelled").values_list("payout__organization", "amount_micros")
        assert sorted(lines) == sorted((one.payee, one.micros) for one in model.shares if model.held(one))
        went = {payee.pk: sum(one.amount for one in model.payouts if (one.payee, one.state) == (payee.pk, "paid"))
                for payee in (market.bob, market.carol)}  # fmt: skip
        for payee, role in ((market.bob, "provider"), (market.carol, "publisher")):
            owed = sum(one.micros for one in model.shares if one.payee == payee.pk)
            assert -balance(f"{role}_payable", payee) == owed - went[payee.pk]
        assert balance("platform_cash") == -sum(went.values())
        moved = SandboxTransfer.objects.filter(succeeded=True).aggregate(sum=Sum("amount_micros"))["sum"] or 0
        assert moved == sum(went.values())
        assert balance("user_receivable") == sum(one.micros for one in model.shares)


def test_every_share_goes_out_once_whatever_fails_is_cancelled_or_tried_again() -> None:
    market, olga = make_market(), build.olga().user

    @checked(12, steps=st.lists(step, min_size=5, max_size=14))
    def body(steps: list[tuple[Any, ...]]) -> None:
        world = World(market, olga)
        for what, *given in steps:
            world.do[what](*given) if what in world.do else world.decide(what, *given)
        world.check()
        for invoice in list(world.unpaid):
            world.pay(world.unpaid.index(invoice))
        world.gather()
        for number in range(len(world.model.payouts)):
            world.decide("approve" if world.model.payouts[number].state == "draft" else "retry", number)
        world.send(False)
        world.check()
        assert gather(LATER) is None
        assert is_balanced(trial_balance())
