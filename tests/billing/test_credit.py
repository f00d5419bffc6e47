"""Holds: set aside at submit, captured when the task is charged, resolved once, and never more than there is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.credit.proving import prove_credit
from billing.models import Account, Charge, JournalEntry
from billing.services import Side, _insert_legs, charge_tasks
from core.errors import DomainError, PaymentRequired
from marketplace.budgets import Limit
from marketplace.models import Allowance, CreditAlarm, Hold, Task
from marketplace.services import credit
from marketplace.services.contracts import Draft, sign_contracts
from marketplace.services.credit import block_organizations, place_hold, unblock_organizations
from tests.builders_billing import Market, make_market, make_task
from tests.builders_credit import allow, allowance, charged, end, held_task, use

CNY = 1_000_000


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def sums(market: Market, *names: str) -> tuple[int, ...]:
    found = allowance(market)
    return tuple(int(getattr(found, f"{name}_micros")) for name in names)


def test_a_hold_takes_from_what_is_available(market: Market) -> None:
    allow(market, 10)
    task = held_task(market, "4.5")
    assert (task.hold.amount_micros, task.hold.by) == (4_500_000, "estimate")
    assert sums(market, "held", "available") == (4_500_000, 5_500_000)


def test_a_task_that_may_cost_too_much_is_refused_with_what_is_there(market: Market) -> None:
    allow(market, 10)
    held_task(market, "8")
    with pytest.raises(PaymentRequired) as refused:
        held_task(market, "2.000001")
    told = refused.value
    assert (told.status, told.code, told.field) == (402, "credit_exhausted", "constraints.max_price")
    assert (told.data["available"], told.data["needed"], told.data["currency"]) == ("2.000000", "2.000001", "CNY")
    assert told.data["crossed"] == [{"limit": "credit", "budget": None, "name": None, "available": "2.000000"}]
    assert held_task(market, "2").hold.state == "held"


def test_without_a_contract_the_default_limit_holds(market: Market) -> None:
    held_task(market, "10000")
    with pytest.raises(PaymentRequired):
        held_task(market, "0.000001")


def test_tests_of_capabilities_hold_nothing(market: Market) -> None:
    assert place_hold(make_task(market, state="running", kind="test"), None) is None


def test_a_charge_below_the_hold_frees_the_rest(market: Market) -> None:
    allow(market, 10)
    task = held_task(market, "4")
    charged(market, task, "3")
    hold = Hold.objects.get(pk=task.pk)
    assert (hold.state, hold.captured_micros) == ("captured", 3 * CNY)
    assert sums(market, "held", "unpaid") == (0, 3 * CNY)
    assert allowance(market).available_micros == 7 * CNY


def test_what_is_over_the_hold_is_charged_all_the_same(market: Market) -> None:
    allow(market, 5)
    task = held_task(market, "4")
    charged(market, task, "7")
    assert Hold.objects.get(pk=task.pk).captured_micros == 4 * CNY
    assert sums(market, "unpaid", "available") == (7 * CNY, -2 * CNY)
    with pytest.raises(PaymentRequired):
        held_task(market, "0.1")


def test_a_task_that_costs_nothing_releases_its_hold(market: Market) -> None:
    task = held_task(market, "4")
    charged(market, task, None)
    assert Hold.objects.get(pk=task.pk).state == "released"
    assert sums(market, "held", "unpaid") == (0, 0)


def test_charging_killed_and_repeated_captures_once(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    task = held_task(market, "4")
    use(market, task, "3")
    end(task)
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patched:
        patched.setattr("billing.services._settle", lambda tasks: (_ for _ in ()).throw(KeyboardInterrupt))
        charge_tasks([task.pk])
    assert charge_tasks([task.pk]) == [task.pk]
    assert charge_tasks([task.pk]) == []
    assert Hold.objects.get(pk=task.pk).captured_micros == 3 * CNY
    assert allowance(market).unpaid_micros == 3 * CNY
    assert prove_credit() == 0


def test_a_task_charged_in_chunks_is_captured_as_a_whole(market: Market, settings: Any) -> None:
    settings.CHUNK = 2
    task = held_task(market, "4", units=5)
    for _ in range(5):
        use(market, task, "0.5")
    end(task)
    assert charge_tasks([task.pk]) == [task.pk]
    assert Charge.objects.filter(task=task).count() == 5
    assert Hold.objects.get(pk=task.pk).captured_micros == 2_500_000
    assert prove_credit() == 0


def test_a_blocked_organization_hands_in_nothing_until_the_reason_is_lifted(market: Market) -> None:
    one = [market.alice.pk]
    assert block_organizations(one, "dunning", "invoice 7") == {market.alice.pk}
    assert block_organizations(one, "dunning") == set()
    with pytest.raises(PaymentRequired, match="invoice 7") as refused:
        held_task(market, "1")
    assert refused.value.code == "payment_overdue"
    assert unblock_organizations(one, "dunning") == {market.alice.pk}
    assert unblock_organizations(one, "dunning") == set()
    held_task(market, "1")


def test_a_limit_in_another_currency_allows_nothing(market: Market) -> None:
    sign_contracts([Draft(market.alice.pk, currency="USD", credit_limit_micros=CNY)])
    with pytest.raises(PaymentRequired):
        held_task(market, "0.1")


# What PostgreSQL refuses, whatever the code does.


def refuses(work: Callable[[], Any]) -> bool:
    try:
        with transaction.atomic():
            work()
    except DatabaseError:
        return True
    return False


def test_no_hold_goes_beyond_what_is_available_even_without_the_service(market: Market) -> None:
    allow(market, 3)
    task = make_task(market, state="running")
    more = {"organization": market.alice, "currency": "CNY", "by": "estimate", "held_at": timezone.now()}
    with pytest.raises(IntegrityError, match="missing"), transaction.atomic():
        Hold.objects.create(task=task, amount_micros=3 * CNY + 1, **more)
    hold = Hold.objects.create(task=task, amount_micros=3 * CNY, **more)
    assert refuses(lambda: Hold.objects.filter(pk=hold.pk).update(amount_micros=4 * CNY))


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_a_hold_is_resolved_once(market: Market, role: str) -> None:
    task = held_task(market, "1")
    charged(market, task, "1")
    rows = Hold.objects.filter(pk=task.pk)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL session_replication_role = {role}")
    assert refuses(lambda: rows.update(state="released", captured_micros=0))
    assert refuses(lambda: rows.update(state="held", resolved_at=None))
    assert refuses(rows.delete)


def test_a_hold_gives_back_nothing_that_it_captured(market: Market) -> None:
    task = held_task(market, "1")
    Hold.objects.filter(pk=task.pk).update(captured_micros=CNY // 2)
    assert refuses(lambda: Hold.objects.filter(pk=task.pk).update(captured_micros=0))
    assert refuses(lambda: Hold.objects.filter(pk=task.pk).update(captured_micros=2 * CNY))


def test_a_sum_that_is_wrong_raises_one_alarm(market: Market) -> None:
    task = held_task(market, "1")
    assert prove_credit() == 0
    Allowance.objects.update(unpaid_micros=5)
    assert (prove_credit(), prove_credit()) == (1, 1)
    (alarm,) = CreditAlarm.objects.all()
    assert (alarm.what.split("/")[2], int(alarm.stands), int(alarm.counted)) == ("unpaid", 5, 0)
    assert task.hold.state == "held"


# Two at once.


def submit_together(market: Market, count: int, price: str) -> list[str]:
    """So many submits at the same moment, each with its own connection: what became of them."""
    ready, answers = threading.Barrier(count), list[str]()

    def submit() -> None:
        try:
            with transaction.atomic():
                task = make_task(market, state="running")
                ready.wait(20)
                credit.place_hold(task, Decimal(price))
            answers.append("held")
        except (DomainError, IntegrityError) as refused:
            answers.append(getattr(refused, "code", "refused by PostgreSQL"))
        finally:
            connection.close()

    threads = [threading.Thread(target=submit) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(answers)


@pytest.mark.django_db(transaction=True)
def test_submits_at_once_cannot_overspend() -> None:
    market = make_market()
    allow(market, 10)
    assert submit_together(market, 6, "4") == ["credit_exhausted"] * 4 + ["held"] * 2
    assert allowance(market).available_micros == 2 * CNY


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("guarded", [True, False])
def test_without_the_lock_the_same_submits_would_overspend(guarded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: reading without a lock lets all through. PostgreSQL's guard still refuses; without it they overspend."""
    market = make_market()
    allow(market, 10)
    both = threading.Barrier(6)

    def look(task: Task, party: credit.Party) -> list[Limit]:
        room = Allowance.objects.get(organization_id=party.organization).available_micros
        both.wait(20)
        return [Limit("credit", room)]

    monkeypatch.setattr(credit, "_limits", look)
    if guarded:
        assert submit_together(market, 6, "4") == ["held"] * 2 + ["refused by PostgreSQL"] * 4
        return
    guard = "ALTER TABLE marketplace_allowance {} TRIGGER hold_within_allowance"
    with connection.cursor() as cursor:
        cursor.execute(guard.format("DISABLE"))
    try:
        assert submit_together(market, 6, "4") == ["held"] * 6
    finally:
        with connection.cursor() as cursor:
            cursor.execute(guard.format("ENABLE ALWAYS"))
    assert allowance(market).available_micros == -14 * CNY


# Random histories against plain sums.

step = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 6)),
    st.tuples(st.just("charge"), st.integers(0, 9)),
    st.tuples(st.just("pay"), st.integers(1, 5)),
)


def pay(market: Market, units: int) -> None:
    """What any payment posts: the receivable is credited."""
    entry = JournalEntry.objects.create(key=f"test/{JournalEntry.objects.count()}", kind="payment", posted_at=timezone.now())
    receivable = Side(Account.Kind.USER_RECEIVABLE, market.alice.pk, "CNY")
    _insert_legs({(entry.pk, receivable): -units * CNY, (entry.pk, Side(Account.Kind.PLATFORM_COST, None, "CNY")): units * CNY})


@pytest.mark.django_db
@given(st.lists(step, max_size=14))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_histories_hold_never_more_than_there_is(steps: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        market = make_market()
        allow(market, 10)
        limit, unpaid, open_ones = 10, 0, list[tuple[Task, int]]()
        for what, units in steps:
            held = sum(amount for _, amount in open_ones)
            if what == "submit":
                try:
                    with transaction.atomic():
                        open_ones.append((held_task(market, str(units)), units))
                    assert limit - unpaid - held >= units
                except PaymentRequired:
                    assert limit - unpaid - held < units
            elif what == "charge" and open_ones:
                task, amount = open_ones.pop(0)
                charged(market, task, str(units) if units else None)
                unpaid += units
                assert Hold.objects.get(pk=task.pk).captured_micros == min(units, amount) * CNY
            elif what == "pay":
                pay(market, units)
                unpaid -= units
            assert sums(market, "unpaid", "held") == (unpaid * CNY, sum(n for _, n in open_ones) * CNY)
        assert prove_credit() == 0
        transaction.set_rollback(True)
