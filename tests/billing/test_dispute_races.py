"""Disputes against payout runs, deciders and themselves at once: PostgreSQL lets one come first; a control has no lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection

from billing.disputes import opening
from billing.disputes.answering import withdraw
from billing.disputes.deciding import Decision, decide
from billing.models import Charge, Dispute, PayoutLine
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import gather
from core.errors import Conflict, DomainError
from tests.builders_billing import Market, make_market
from tests.builders_disputes import a_dispute, on_a_line
from tests.builders_invoices import balance
from tests.builders_settlement import LATER, UNIT, a_share

pytestmark = pytest.mark.django_db(transaction=True)


def together(*works: Callable[[], Any]) -> list[str]:
    """Do all at once, each on a connection of its own; how each ended, sorted."""
    barrier, ended = threading.Barrier(len(works)), []

    def one(work: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            work()
            ended.append("done")
        except DomainError as error:
            ended.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(ended)


def race_a_run(monkeypatch: pytest.MonkeyPatch, charge: Charge, market: Market) -> None:
    """A run that begins when a dispute is written and not committed; the dispute waits a while for the run to end."""
    written, gathered = threading.Event(), threading.Event()

    def hold(disputes: Sequence[int], told: str, at: Any) -> None:
        written.set()
        gathered.wait(0.5)

    def run() -> None:
        written.wait(10)
        gather(LATER)
        gathered.set()

    monkeypatch.setattr(opening, "tell_disputes", hold)
    assert together(lambda: a_dispute(market, charge, at=LATER), run) == ["done", "done"]


def test_a_run_waits_for_a_dispute_that_is_being_opened_and_leaves_its_charge_out(monkeypatch: pytest.MonkeyPatch) -> None:
    market = make_market()
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge], "paid")
    race_a_run(monkeypatch, charge, market)
    assert Dispute.objects.get().state == "open"
    assert not PayoutLine.objects.exists()


def test_control_without_the_lock_the_run_takes_what_is_being_disputed(monkeypatch: pytest.MonkeyPatch) -> None:
    market = make_market()
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge], "paid")
    monkeypatch.setattr(opening, "GATHER_LOCK", 1)
    race_a_run(monkeypatch, charge, market)
    assert PayoutLine.objects.get().charge_id == charge.pk


def test_a_charge_that_is_disputed_twice_at_once_is_disputed_once() -> None:
    market = make_market()
    charge = a_share(market, 20 * UNIT)
    works = [lambda: a_dispute(market, charge) for _ in range(3)]
    assert together(*works) == ["charge_disputed", "charge_disputed", "done"]
    assert Dispute.objects.count() == 1


def test_two_operators_who_decide_alike_at_once_take_back_once() -> None:
    market = make_market()
    charge = a_share(market, 20 * UNIT, 5 * UNIT)
    on_a_line([charge])
    dispute = a_dispute(market, charge)
    works = [lambda: decide([Decision(dispute.pk, "upheld", "yes")], None) for _ in range(3)]
    assert together(*works) == ["done"] * 3
    assert Charge.objects.filter(kind="refund").count() == 1
    assert balance("platform_cost") == balance("provider_payable", market.bob) == 0
    assert is_balanced(trial_balance())


def test_who_withdraws_while_it_is_decided_comes_first_or_too_late() -> None:
    market = make_market()
    charge = a_share(market, 20 * UNIT)
    on_a_line([charge])
    dispute = a_dispute(market, charge)
    ended = together(
        lambda: decide([Decision(dispute.pk, "upheld", "yes")], None), lambda: withdraw([dispute.pk], market.alice)
    )
    assert ended == ["dispute_moved", "done"]
    dispute.refresh_from_db()
    assert Charge.objects.filter(kind="refund").count() == (1 if dispute.state == "decided" else 0)
    with pytest.raises(Conflict):
        withdraw([dispute.pk], market.alice)
