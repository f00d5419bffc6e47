"""What PostgreSQL refuses, whatever the code does."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.models import Account, Charge, JournalEntry, Leg
from billing.services import charge_task
from tests.builders_billing import (
    APPEND_ONLY,
    START,
    make_attempt,
    make_market,
    make_need,
    make_task,
    make_usage,
)


@pytest.fixture
def charged(db: None) -> None:
    market = make_market()
    task = make_task(market)
    make_usage(market, task, make_attempt(market, task, make_need()))
    charge_task(task.pk)


def refused(statement: str) -> bool:
    """Whether PostgreSQL refuses it for being a change of what is written once."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or TRUNCATE fails for its pending checks
            cursor.execute(statement)
    except DatabaseError as error:
        return "append-only" in str(error)
    return False


@pytest.mark.usefixtures("charged")
@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("how", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_what_is_posted_never_changes(table: str, how: str) -> None:
    assert refused(how.format(table))


@pytest.mark.usefixtures("charged")
@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_replica_may_not_change_it_either(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
    assert refused(f"DELETE FROM {table}")


@pytest.mark.usefixtures("charged")
def test_an_account_keeps_its_identity() -> None:
    assert refused("UPDATE billing_account SET currency = 'USD'")
    assert refused("DELETE FROM billing_account")


def post(*legs: tuple[Account, int, int]) -> None:
    entry = JournalEntry.objects.create(key=f"test/{JournalEntry.objects.count()}", kind="test", posted_at=START)
    for account, debit, credit in legs:
        Leg.objects.create(entry=entry, account=account, debit_micros=debit, credit_micros=credit)


def accounts(currency: str = "CNY") -> tuple[Account, Account]:
    kinds = (Account.Kind.PLATFORM_COST, Account.Kind.PLATFORM_REVENUE)
    cost, revenue = (Account.objects.get_or_create(kind=kind, currency=currency)[0] for kind in kinds)
    return cost, revenue


@pytest.mark.django_db(transaction=True)
def test_an_entry_off_by_one_micro_cannot_be_committed() -> None:
    cost, revenue = accounts()
    with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
        post((cost, 1_000_001, 0), (revenue, 0, 1_000_000))
    assert not JournalEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_entry_balances_in_each_currency() -> None:
    cost, _ = accounts("CNY")
    _, revenue = accounts("USD")
    with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
        post((cost, 5, 0), (revenue, 0, 5))


@pytest.mark.django_db(transaction=True)
def test_a_balanced_entry_can_be_committed_and_is_then_closed_even_to_balanced_legs() -> None:
    cost, revenue = accounts()
    with transaction.atomic():
        post((cost, 9_000_000_000_000_000, 0), (revenue, 0, 9_000_000_000_000_000))
    entry = JournalEntry.objects.get()
    with pytest.raises(IntegrityError, match="is closed"), transaction.atomic():
        Leg.objects.create(entry=entry, account=cost, debit_micros=1)
    pair = [Leg(entry=entry, account=cost, debit_micros=1), Leg(entry=entry, account=revenue, credit_micros=1)]
    with pytest.raises(IntegrityError, match="is closed"), transaction.atomic():
        Leg.objects.bulk_create(pair)
    assert Leg.objects.count() == 2


@pytest.mark.django_db
def test_a_single_leg_more_does_not_balance_even_in_the_same_transaction() -> None:
    cost, revenue = accounts()
    post((cost, 5, 0), (revenue, 0, 5))
    with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
        Leg.objects.create(entry=JournalEntry.objects.get(), account=cost, debit_micros=1)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.django_db
def test_one_usage_record_has_one_charge(charged: None) -> None:
    first = Charge.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        first.pk = None
        first.save(force_insert=True)
