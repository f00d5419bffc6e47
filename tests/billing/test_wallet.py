"""The wallet: grants pay before prepaid money, those that expire first first, nothing goes below zero, all is in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.credit.proving import prove_credit
from billing.credit.settling import settle_from_wallet
from billing.credit.sources import Debt, Source, in_order, spend
from billing.credit.wallet import expire_grants
from billing.invoices.dunning import climb, follow_blocks
from billing.invoices.posting import post
from billing.jobs import close_job, prove_job
from billing.models import Grant, GrantMove, Invoice, JournalEntry
from billing.queries import is_balanced, trial_balance
from core.errors import Conflict, Invalid
from marketplace.models import Allowance, Organization, SpendBlock
from tests.builders_billing import make_organization
from tests.builders_invoices import APRIL, CENT, balance
from tests.builders_wallet import DAY, give, owe, pay_in


@pytest.fixture
def alice(db: None) -> Organization:
    return make_organization("alice")


def test_sources_are_used_grants_first_those_that_expire_first_first() -> None:
    late, soon, gone = Source(5, 1, APRIL + 9 * DAY), Source(5, 2, APRIL + DAY), Source(5, 3, APRIL)
    assert in_order([Source(7), late, soon, gone, Source(0, 4, APRIL + DAY)], APRIL) == [soon, late, Source(7)]


def test_the_moment_of_expiry_belongs_to_the_time_after() -> None:
    assert in_order([Source(1, 1, APRIL)], APRIL) == []
    assert len(in_order([Source(1, 1, APRIL + timedelta(microseconds=1))], APRIL)) == 1


@given(st.lists(st.integers(0, 2**70), max_size=6), st.lists(st.integers(0, 2**70), max_size=6))
def test_spending_gives_no_more_than_there_is_and_stops_only_when_one_side_is_used_up(has: list[int], owes: list[int]) -> None:
    uses = spend([Source(micros, number) for number, micros in enumerate(has)], [Debt(n, micros) for n, micros in enumerate(owes)])
    assert all(use.micros > 0 for use in uses)
    for number, micros in enumerate(has):
        assert sum(use.micros for use in uses if use.grant == number) <= micros
    for number, micros in enumerate(owes):
        assert sum(use.micros for use in uses if use.invoice == number) <= micros
    assert sum(use.micros for use in uses) == min(sum(has), sum(owes))
    assert uses == sorted(uses, key=lambda use: (use.invoice, use.grant))


def test_an_invoice_is_paid_from_grants_then_prepaid_and_the_rest_is_owed(alice: Organization) -> None:
    late, soon = give(alice, 300, days=60), give(alice, 200, days=30)
    pay_in(alice, 400)
    invoice = owe(alice, 1_000)
    assert settle_from_wallet([alice.pk], APRIL) == 3
    invoice.refresh_from_db()
    assert (invoice.state, invoice.paid_micros) == ("finalized", 900 * CENT)
    payments = invoice.allocations.order_by("pk").values_list("payment__method", "amount_micros", "payment__grant_move__grant")
    assert list(payments) == [("grant", 200 * CENT, soon.pk), ("grant", 300 * CENT, late.pk), ("prepaid", 400 * CENT, None)]
    assert [balance(kind, alice) for kind in ("user_receivable", "user_grant", "user_prepaid")] == [100 * CENT, 0, 0]
    assert prove_credit() == 0


def test_settling_again_pays_nothing_twice_and_later_money_pays_the_rest(alice: Organization) -> None:
    pay_in(alice, 400)
    invoice = owe(alice, 1_000)
    assert [settle_from_wallet(None, APRIL) for _ in range(2)] == [1, 0]
    pay_in(alice, 700, "bank/2")
    invoice.refresh_from_db()
    assert (invoice.state, invoice.ended_at, invoice.paid_micros) == ("paid", APRIL, 1_000 * CENT)
    assert balance("user_prepaid", alice) == -100 * CENT
    assert settle_from_wallet([alice.pk], APRIL) == 0


def test_money_for_the_wallet_frees_who_was_blocked_for_an_overdue_invoice(alice: Organization) -> None:
    owe(alice, 100)
    late = APRIL + 60 * DAY
    climb(late)
    assert follow_blocks()[0] == {alice.pk}
    pay_in(alice, 99, "bank/1", late)
    assert SpendBlock.objects.filter(organization=alice, lifted_at=None).exists()
    pay_in(alice, 1, "bank/2", late)
    assert not SpendBlock.objects.filter(organization=alice, lifted_at=None).exists()


def test_the_first_due_is_paid_first_and_other_currencies_are_left_alone(alice: Organization) -> None:
    first, second, dollars = owe(alice, 100), owe(alice, 100), owe(alice, 100, currency="USD")
    pay_in(alice, 150)
    paid = dict(Invoice.objects.values_list("pk", "paid_micros"))
    assert paid == {first.pk: 100 * CENT, second.pk: 50 * CENT, dollars.pk: 0}


def test_what_is_left_of_a_grant_is_taken_back_once_when_it_ends(alice: Organization) -> None:
    grant = give(alice, 300, days=30)
    owe(alice, 100)
    settle_from_wallet([alice.pk], APRIL)
    end = APRIL + 30 * DAY
    assert [expire_grants(end - timedelta(microseconds=1)), expire_grants(end), expire_grants(end + DAY)] == [0, 1, 0]
    grant.refresh_from_db()
    assert (grant.left_micros, balance("user_grant", alice), balance("platform_promotion")) == (0, 0, 100 * CENT)
    assert list(grant.moves.order_by("pk").values_list("kind", "amount_micros")) == [("used", 100 * CENT), ("expired", 200 * CENT)]
    assert JournalEntry.objects.filter(key=f"grant/{grant.pk}/expired").count() == 1
    assert prove_credit() == 0


def test_a_grant_that_has_ended_pays_nothing_even_before_it_is_swept(alice: Organization) -> None:
    give(alice, 300, days=1)
    invoice = owe(alice, 100)
    assert settle_from_wallet([alice.pk], APRIL + DAY) == 0
    invoice.refresh_from_db()
    assert invoice.paid_micros == 0


def test_the_same_reference_counts_once_and_another_amount_under_it_is_refused(alice: Organization) -> None:
    assert pay_in(alice, 100) == pay_in(alice, 100)
    assert give(alice, 100, days=5) == give(alice, 100, days=5)
    assert balance("user_prepaid", alice) == balance("user_grant", alice) == -100 * CENT
    with pytest.raises(Conflict, match="another amount") as refused:
        pay_in(alice, 101)
    assert refused.value.code == "payment_conflict"
    with pytest.raises(Conflict) as refused:
        give(alice, 101, days=5)
    assert refused.value.code == "grant_conflict"


def test_nothing_negative_endless_or_in_the_past_is_given(alice: Organization) -> None:
    for cents in (0, -1, 10**15):
        with pytest.raises(Invalid, match="more than nothing"):
            pay_in(alice, cents)
    with pytest.raises(Invalid) as refused:
        give(alice, 1, days=0)
    assert refused.value.code == "grant_expiry_invalid"


def test_the_jobs_settle_and_expire(alice: Organization) -> None:
    give(alice, 300, days=1)
    invoice = owe(alice, 100)
    prove_job()
    assert GrantMove.objects.get().kind == "expired"
    pay_in(alice, 30)
    assert Invoice.objects.get(pk=invoice.pk).paid_micros == 30 * CENT
    post("by-hand", "test", APRIL, "CNY", [("platform_cash", None, CENT), ("user_prepaid", alice.pk, -CENT)])
    close_job()
    assert Invoice.objects.get(pk=invoice.pk).paid_micros == 31 * CENT


def test_many_wallets_are_settled_by_as_many_statements_as_one(db: None) -> None:
    def statements(number: int) -> int:
        organizations = [make_organization(f"alice-{number}-{one}") for one in range(number)]
        for one in organizations:
            pay_in(one, 50, f"bank/{one.pk}")
            give(one, 20, days=9, key=f"gift/{one.pk}")
            owe(one, 100)
        with CaptureQueriesContext(connection) as seen:
            assert settle_from_wallet([one.pk for one in organizations], APRIL) == 2 * number
        return len(seen)

    assert statements(1) == statements(5)


def test_a_grant_keeps_what_it_says_whatever_the_code_does(alice: Organization) -> None:
    grant = give(alice, 300, days=30)
    entry = JournalEntry.objects.earliest("pk")
    move: dict[str, Any] = {"grant": grant, "kind": "expired", "entry": entry, "moved_at": APRIL}
    refused: list[Callable[[], Any]] = [
        lambda: Grant.objects.filter(pk=grant.pk).update(left_micros=0),
        lambda: Grant.objects.filter(pk=grant.pk).update(expires_at=APRIL + 99 * DAY),
        lambda: Grant.objects.filter(pk=grant.pk).delete(),
        lambda: GrantMove.objects.create(amount_micros=300 * CENT + 1, **move),
        lambda: connection.cursor().execute("TRUNCATE billing_grant CASCADE"),
        lambda: connection.cursor().execute("TRUNCATE billing_grantmove"),
    ]
    for work in refused:
        with pytest.raises(DatabaseError), transaction.atomic():
            work()
    GrantMove.objects.create(amount_micros=1, **move)
    for work in (lambda: GrantMove.objects.create(amount_micros=1, **move), lambda: GrantMove.objects.update(amount_micros=2)):
        with pytest.raises(DatabaseError), transaction.atomic():
            work()
    assert prove_credit() == 1  # a move without its legs is found


@dataclass
class Oracle:
    """The wallet in plain Python, in cents."""

    days: int = 0
    prepaid: int = 0
    grants: list[list[int]] = field(default_factory=list)  # [left, last day]
    debts: list[int] = field(default_factory=list)
    given: int = 0

    def settle(self) -> None:
        for number, debt in enumerate(self.debts):
            for grant in sorted((one for one in self.grants if one[1] > self.days), key=lambda one: one[1]):
                taken = min(debt, grant[0])
                debt, grant[0] = debt - taken, grant[0] - taken
            taken = min(debt, self.prepaid)
            self.prepaid -= taken
            self.debts[number] = debt - taken

    def expire(self) -> None:
        for grant in self.grants:
            if grant[1] <= self.days:
                self.given -= grant[0]
                grant[0] = 0


amounts = st.integers(1, 300)
steps = st.one_of(
    st.tuples(st.just("top-up"), amounts, st.just(0)),
    st.tuples(st.just("grant"), amounts, st.integers(1, 5)),
    st.tuples(st.just("charge"), amounts, st.just(0)),
    st.tuples(st.sampled_from(["settle", "expire"]), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 3), st.just(0)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=14))
def test_random_histories_are_what_the_oracle_says(db: None, history: list[tuple[str, int, int]]) -> None:
    with transaction.atomic():
        organization, oracle = make_organization("alice"), Oracle()
        for number, (step, amount, days) in enumerate(history):
            _take(organization, oracle, step, amount, days, f"{organization.pk}/{number}")
            _compare(organization, oracle)
        connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert is_balanced(trial_balance())
        assert prove_credit() == 0
        transaction.set_rollback(True)


def _take(organization: Organization, oracle: Oracle, step: str, amount: int, days: int, key: str) -> None:
    now = APRIL + oracle.days * DAY
    if step == "top-up":
        oracle.prepaid += amount
        pay_in(organization, amount, key, now)
    elif step == "grant":
        oracle.grants.append([amount, oracle.days + days])
        oracle.given += amount
        give(organization, amount, days, key, now)
    elif step == "charge":
        oracle.debts.append(amount)
        owe(organization, amount)
    elif step == "wait":
        oracle.days += amount
    elif step == "expire":
        oracle.expire()
        expire_grants(now)
    if step in {"top-up", "grant", "settle"}:
        oracle.settle()
        settle_from_wallet([organization.pk], now)


def _compare(organization: Organization, oracle: Oracle) -> None:
    grants = Grant.objects.filter(organization=organization).order_by("pk").values_list("left_micros", flat=True)
    assert list(grants) == [left * CENT for left, _ in oracle.grants]
    invoices = Invoice.objects.filter(organization=organization).order_by("pk")
    assert [one.total_micros - one.paid_micros for one in invoices] == [debt * CENT for debt in oracle.debts]
    assert all((one.state == "paid") == (one.total_micros == one.paid_micros) for one in invoices)
    assert -balance("user_prepaid", organization) == oracle.prepaid * CENT
    assert -balance("user_grant", organization) == sum(left for left, _ in oracle.grants) * CENT
    assert balance("platform_promotion") == oracle.given * CENT
    found = Allowance.objects.filter(organization=organization).first()
    sums = (int(found.prepaid_micros), int(found.unpaid_micros)) if found else (0, 0)
    assert sums == ((oracle.prepaid + sum(left for left, _ in oracle.grants)) * CENT, sum(oracle.debts) * CENT)
