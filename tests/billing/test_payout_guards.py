"""What PostgreSQL keeps of payouts, whatever the code does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any, Final

import pytest
from django.db import connection

from billing.models import JournalEntry, Payout, PayoutAttempt, PayoutLine, PayoutRun, SandboxTransfer
from billing.settlement.gateways import Order, Sandbox
from billing.settlement.payables import Share, debits, due_at
from billing.settlement.payouts import approve, cancel, gather, retry
from billing.settlement.sending import send_payouts
from billing.settlement.states import MOVES, may_move, sources
from core.errors import Conflict
from tests import builders as build
from tests.billing.test_invoice_guards import refused, run
from tests.builders_billing import make_market, make_organization
from tests.builders_invoices import APRIL, make_entry
from tests.builders_settlement import DAY, LATER, UNIT, a_payout, a_share, invoiced

pytestmark = pytest.mark.django_db
TABLES = ("payoutrun", "payout", "payoutline", "payoutattempt", "sandboxtransfer")
WAY: Final[Mapping[str, tuple[str, ...]]] = {
    "draft": (),
    "approved": ("approved",),
    "sent": ("approved", "sent"),
    "paid": ("approved", "sent", "paid"),
    "failed": ("approved", "sent", "failed"),
    "cancelled": ("cancelled",),
}


def move(payout: Payout, state: str) -> None:
    """One move by SQL, with what belongs to it."""
    fields: dict[str, Any] = {"state": state}
    if state in {"paid", "cancelled"}:
        fields |= {"ended_at": APRIL}
    if state == "approved":
        fields |= {"approved_at": APRIL}
    if state == "paid":
        fields |= {"entry": make_entry("payout")}
    Payout.objects.filter(pk=payout.pk).update(**fields)


def a_payout_that_is(state: str) -> Payout:
    payout = a_payout(make_organization("bob"))
    for step in WAY[state]:
        move(payout, step)
    payout.refresh_from_db()
    return payout


@pytest.mark.parametrize(("before", "after"), list(permutations(MOVES, 2)))
def test_a_payout_makes_exactly_the_moves_that_are_drawn(before: str, after: str) -> None:
    payout = a_payout_that_is(before)
    assert refused(lambda: move(payout, after)) is not may_move(before, after)


@pytest.mark.parametrize("state", list(MOVES))
def test_operators_make_the_moves_that_are_theirs_and_are_told_why_not(state: str) -> None:
    olga = build.olga().user
    moves: list[tuple[Callable[[Payout], Payout], str, list[str]]] = [
        (lambda payout: approve(payout, olga), "approved", ["draft"]),
        (lambda payout: cancel(payout, "wrong"), "cancelled", sources("cancelled")),
        (lambda payout: retry(payout, olga), "approved", ["failed"]),
    ]
    for work, after, allowed in moves:
        payout = a_payout_that_is(state)
        if state in allowed:
            assert work(payout).state == after
        else:
            with pytest.raises(Conflict) as raised:
                work(payout)
            assert raised.value.code == "payout_moved"


def test_a_move_from_where_a_payout_no_longer_is_changes_nothing() -> None:
    payout = a_payout_that_is("draft")
    move(payout, "approved")
    with pytest.raises(Conflict, match="this payout is approved"):
        approve(payout, build.olga().user)


@pytest.mark.parametrize("change", [{"amount_micros": UNIT}, {"exact_micros": UNIT}, {"currency": "USD"}, {"lines_count": 2}])
def test_a_payout_says_for_ever_what_it_pays(change: dict[str, Any]) -> None:
    payout = Payout.objects.filter(pk=a_payout_that_is("draft").pk)
    assert refused(lambda: payout.update(**change), "refused")
    assert refused(lambda: payout.update(organization=make_organization("mallory")), "refused")


def test_a_paid_payout_keeps_its_entry_and_an_entry_pays_one() -> None:
    paid, sent = a_payout_that_is("paid"), a_payout_that_is("sent")
    assert refused(lambda: Payout.objects.filter(pk=paid.pk).update(entry=make_entry()), "refused")
    row, ends = Payout.objects.filter(pk=sent.pk), {"state": "paid", "ended_at": APRIL}
    assert refused(lambda: row.update(entry=paid.entry, **ends), "duplicate key")
    assert refused(lambda: row.update(**ends), "payout_paid_is_posted")
    assert JournalEntry.objects.filter(kind="payout").count() == 1


def a_copy(payout: Payout, **fields: Any) -> Payout:
    names = ("run", "organization", "currency", "minor_micros", "exact_micros", "amount_micros", "lines_count")
    return Payout.objects.create(**{name: getattr(payout, name) for name in names} | fields)


def test_a_share_is_paid_once_and_leaves_only_a_cancelled_payout() -> None:
    payout = a_payout_that_is("approved")
    line = payout.lines.get()
    same = {"charge_id": line.charge_id, "role": "provider", "amount_micros": line.amount_micros}
    assert refused(lambda: PayoutLine.objects.create(share=line.share, payout=a_copy(payout), **same), "duplicate key")
    assert refused(lambda: PayoutLine.objects.create(share=line.share + 2, payout=payout, **same), "payout_line_is_of_its_share")
    assert refused(lambda: PayoutLine.objects.filter(pk=line.pk).update(payout=a_copy(payout)), "leaves only a cancelled")
    assert refused(lambda: PayoutLine.objects.filter(pk=line.pk)._raw_delete("default"))


@pytest.mark.parametrize("lie", [{"amount_micros": 1}, {"payee": True}])
def test_a_line_is_what_its_charge_says(lie: dict[str, Any]) -> None:
    payout = a_payout_that_is("cancelled")
    line = payout.lines.get()
    fields = {"organization": make_organization("mallory")} if "payee" in lie else {}
    amount = {"amount_micros": 1} if "payee" not in lie else {}

    def attempt() -> None:
        PayoutLine.objects.filter(pk=line.pk).update(payout=a_copy(payout, **fields), **amount)

    assert refused(attempt, "lines are what")


def test_a_payout_has_the_lines_that_it_says() -> None:
    payout = a_payout_that_is("draft")
    assert refused(lambda: a_copy(payout), "its lines come to 0")
    assert refused(lambda: a_copy(payout, state="approved", approved_at=APRIL), "begins as a draft")
    market = make_market()
    market.bob = payout.organization
    charge = a_share(market, UNIT)
    more = {"share": 2 * charge.pk, "charge": charge, "role": "provider", "amount_micros": UNIT}
    assert refused(lambda: PayoutLine.objects.create(payout=payout, **more), "lines are what")


def test_a_payout_is_of_whole_minor_units_and_more_than_nothing() -> None:
    payout = a_payout_that_is("draft")
    assert refused(lambda: a_copy(payout, amount_micros=UNIT + 1), "payout_is_of_minor_units")
    assert refused(lambda: a_copy(payout, amount_micros=0), "payout_is_positive")


def test_an_attempt_ends_once_and_no_other_begins_meanwhile() -> None:
    payout = approve(a_payout_that_is("draft"), build.olga().user)
    send_payouts(LATER)
    attempts = PayoutAttempt.objects.filter(payout=payout)
    assert refused(lambda: attempts.update(state="failed"), "refused")
    assert refused(lambda: attempts.update(key="other"), "refused")
    again = {"payout": payout, "number": 2, "key": "other", "begun_at": APRIL}
    assert refused(lambda: PayoutAttempt.objects.create(**again), "payout_attempt_alone")


@pytest.mark.parametrize("model", [PayoutRun, Payout, PayoutAttempt, PayoutLine, SandboxTransfer])
def test_nothing_of_a_payout_goes_away(model: Any) -> None:
    approve(a_payout_that_is("draft"), build.olga().user)
    send_payouts(LATER)
    assert refused(lambda: model.objects.all()._raw_delete("default"))


def test_runs_and_the_sandboxs_books_never_change() -> None:
    a_payout_that_is("draft")
    Sandbox().transfer(Order("k", "bob", UNIT, "CNY"))
    assert refused(lambda: PayoutRun.objects.update(hold_days=0), "append-only")
    assert refused(lambda: SandboxTransfer.objects.update(succeeded=False), "append-only")


@pytest.mark.parametrize("table", TABLES)
def test_truncate_of_payouts_is_refused_in_every_role(table: str) -> None:
    assert refused(run(f"TRUNCATE billing_{table} CASCADE"), "append-only")
    assert refused(run(f"SET LOCAL session_replication_role = replica; TRUNCATE billing_{table} CASCADE"), "append-only")


def test_every_guard_of_payouts_is_kept_in_every_role() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE tgenabled <> 'A') FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY(%s)",
            [[f"billing_{table}" for table in TABLES]],
        )
        assert cursor.fetchone() == (18, 0)


def test_the_gathering_of_what_was_cancelled_passes_the_guards() -> None:
    market = make_market()
    invoiced(a_share(market, 20 * UNIT), a_share(market, 30 * UNIT))
    first = gather(LATER)
    assert first is not None
    cancel(first.payouts.get(), "again")
    invoiced(a_share(market, UNIT))
    second = gather(LATER)
    assert second is not None
    assert second.payouts.get().lines_count == 3


def test_when_a_share_is_due() -> None:
    assert due_at(Share(1, "user", APRIL, None), 7 * DAY, guaranteed=False) is None
    assert due_at(Share(1, "user", APRIL, APRIL + DAY), 7 * DAY, guaranteed=False) == APRIL + 8 * DAY
    assert due_at(Share(1, "user", APRIL, None), 7 * DAY, guaranteed=True) == APRIL + 7 * DAY
    assert due_at(Share(1, "platform", APRIL, None), 7 * DAY, guaranteed=False) == APRIL + 7 * DAY
    assert due_at(Share(-1, "user", APRIL, None), 7 * DAY, guaranteed=False) == APRIL


def test_what_a_payout_takes_from_its_accounts_comes_to_its_amount() -> None:
    for shares in ({"provider": 17}, {"provider": 5, "publisher": 12}, {"provider": 20, "publisher": -3}):
        taken = debits(shares, 10)
        assert (sum(taken.values()), taken.keys()) == (10, shares.keys())
