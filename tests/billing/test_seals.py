"""Seals: what was posted stays provable, whatever happens to rows, servers and sealers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.ledger.hashing import GENESIS, levels_of, path_of, root_of
from billing.ledger.proving import prove
from billing.ledger.sealing import Impossible, rebuild_balances, seal_all, seal_block
from billing.models import Account, AccountBalance, JournalEntry, LedgerAlarm, LedgerSeal, Leg, SealedEntry
from config.dashboard import ledger
from tests.billing.test_guards import refused
from tests.builders_billing import START

SEALED = ("billing_ledgerseal", "billing_sealedentry", "billing_accountbalance")


def accounts() -> tuple[Account, Account]:
    kinds = (Account.Kind.PLATFORM_COST, Account.Kind.PLATFORM_REVENUE)
    cost, revenue = (Account.objects.get_or_create(kind=kind, currency="CNY")[0] for kind in kinds)
    return cost, revenue


def post(key: str, micros: int = 5) -> JournalEntry:
    """A balanced entry: cost to revenue."""
    cost, revenue = accounts()
    with transaction.atomic():
        entry = JournalEntry.objects.create(key=key, kind="test", memo="|备注", posted_at=START)
        Leg.objects.create(entry=entry, account=cost, debit_micros=micros)
        Leg.objects.create(entry=entry, account=revenue, credit_micros=micros)
    return entry


def places() -> list[str]:
    return list(SealedEntry.objects.order_by("position").values_list("entry__key", flat=True))


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def unguarded(table: str) -> Iterator[None]:
    """As a superuser would who wants to lie."""
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only")
    sql("SET CONSTRAINTS ALL DEFERRED")


@pytest.mark.django_db
def test_entries_are_sealed_once_and_in_a_chain() -> None:
    post("a"), post("b")
    first = seal_block()
    post("c")
    second = seal_block()
    assert first is not None
    assert second is not None
    assert (first.first, first.last, first.entries, first.legs, first.balances) == (1, 2, 2, 4, 2)
    assert (second.first, second.last, bytes(second.previous)) == (3, 3, bytes(first.hash))
    assert bytes(first.previous) == GENESIS
    assert seal_block() is None
    assert places() == ["a", "b", "c"]
    assert prove() == 0


@pytest.mark.django_db
def test_a_long_ledger_is_sealed_block_by_block(settings: LazySettings) -> None:
    settings.CHUNK = 3
    for number in range(7):
        post(f"entry/{number}")
    assert seal_all() == 3
    assert list(LedgerSeal.objects.order_by("number").values_list("entries", flat=True)) == [3, 3, 1]
    assert len(set(places())) == 7
    assert prove() == 0


@pytest.mark.django_db
def test_balances_are_the_sums_up_to_each_seal() -> None:
    cost, _ = accounts()
    post("a", 5)
    seal_all()
    post("b", 7)
    seal_all()
    sums = AccountBalance.objects.filter(account=cost).order_by("seal").values_list("debit_micros", "credit_micros")
    assert [(int(debit), int(credit)) for debit, credit in sums] == [(5, 0), (12, 0)]


@pytest.mark.django_db
def test_sums_beyond_64_bits_are_kept() -> None:
    cost, _ = accounts()
    for number in range(3):
        post(str(number), 2**63 - 1)
    seal_all()
    assert AccountBalance.objects.get(account=cost).debit_micros == 3 * (2**63 - 1)
    assert prove() == 0


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_commits_late_never_falls_behind_a_seal() -> None:
    inserted, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            JournalEntry.objects.create(key="late", kind="test", posted_at=START)
            inserted.set()
            may_commit.wait(10)
        connections.close_all()

    other = threading.Thread(target=slow)
    other.start()
    inserted.wait(10)
    post("after it")
    assert seal_block() is None  # it waits: its place is behind the late one's
    may_commit.set()
    other.join()
    seal_all()
    assert places() == ["late", "after it"]
    assert prove() == 0


@pytest.mark.django_db(transaction=True)
def test_what_runs_in_another_database_of_the_server_holds_up_no_seal() -> None:
    known = connections["default"].get_connection_params()
    place = {name: known[name] for name in ("user", "password", "host", "port") if known.get(name)}
    with psycopg.connect(**place, dbname="postgres") as elsewhere:
        elsewhere.execute("SELECT pg_current_xact_id()")
        post("here")
        seal_all()
        assert places() == ["here"]


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_is_rolled_back_leaves_no_gap() -> None:
    with transaction.atomic():
        JournalEntry.objects.create(key="gone", kind="test", posted_at=START)
        transaction.set_rollback(True)
    post("stays")
    seal_all()
    assert list(SealedEntry.objects.values_list("position", "entry__key")) == [(1, "stays")]


@pytest.mark.django_db(transaction=True)
def test_two_sealers_at_once_make_one_chain(settings: LazySettings) -> None:
    settings.CHUNK = 2
    for number in range(8):
        post(str(number))

    def work() -> None:
        seal_all()
        connections.close_all()

    sealers = [threading.Thread(target=work) for _ in range(3)]
    for one in sealers:
        one.start()
    for one in sealers:
        one.join()
    seal_all()
    assert sorted(places()) == [str(number) for number in range(8)]
    assert prove() == 0


@pytest.mark.django_db(transaction=True)
def test_a_ledger_that_moved_to_another_server_goes_on_being_sealed() -> None:
    post("before")
    with connection.cursor() as cursor:  # as a dump from an older server would bring it
        cursor.execute("SELECT (pg_current_xact_id()::text::bigint + 1000000000)::text")
        far = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO billing_journalentry (key, kind, memo, posted_at, posted_by) "
            "VALUES ('foreign', 'test', '', now(), %s::xid8)",
            [far],
        )
    seal_all()
    post("after")
    seal_all()
    assert places() == ["before", "foreign", "after"]
    last = LedgerSeal.objects.order_by("-number").first()
    assert last is not None
    with unguarded_committed("billing_ledgerseal"):  # the last seal knows numbers that this server will have in years
        LedgerSeal.objects.filter(pk=last.pk).update(horizon=10**12)
    post("much later")
    seal_all()
    assert places()[-1] == "much later"


@contextmanager
def unguarded_committed(table: str) -> Iterator[None]:
    sql(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
    yield
    sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only")


@pytest.mark.django_db
@pytest.mark.parametrize("table", SEALED)
@pytest.mark.parametrize("how", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_what_is_sealed_never_changes(table: str, how: str, role: str) -> None:
    post("a")
    seal_all()
    sql(f"SET LOCAL session_replication_role = {role}")
    column = {"billing_ledgerseal": "number", "billing_sealedentry": "position"}.get(table, "id")
    assert refused(how.format(table, column, column))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changed", [{"number": 3}, {"first": 3, "last": 3}, {"previous": b"x" * 32}, {"hash": b"short"}, {"entries": 2}]
)
def test_a_seal_that_does_not_follow_the_last_one_is_refused(changed: dict[str, Any]) -> None:
    post("a")
    first = seal_block()
    assert first is not None
    fields: dict[str, Any] = {"number": 2, "first": 2, "last": 2, "entries": 1, "legs": 0, "balances": 0, "horizon": 1}
    fields |= {"salt": b"s" * 32, "previous": first.hash, "root": b"r" * 32, "hash": b"h" * 32, "sealed_at": START}
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerSeal.objects.create(**(fields | changed))
    LedgerSeal.objects.create(**fields)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "lie"),
    [
        ("billing_journalentry", "UPDATE billing_journalentry SET memo = 'another' WHERE key = 'b'"),
        ("billing_leg", "UPDATE billing_leg SET debit_micros = 6 WHERE debit_micros = 5"),
        ("billing_leg", "DELETE FROM billing_leg WHERE debit_micros = 5"),
        ("billing_accountbalance", "UPDATE billing_accountbalance SET debit_micros = debit_micros + 1"),
        ("billing_accountbalance", "DELETE FROM billing_accountbalance"),
        ("billing_ledgerseal", "UPDATE billing_ledgerseal SET sealed_at = now() + interval '1 second' WHERE number = 1"),
    ],
)
def test_a_lie_below_the_guards_raises_one_alarm_however_often_it_is_found(table: str, lie: str) -> None:
    post("a"), post("b")
    seal_all()
    with unguarded(table):
        sql(lie)
    assert prove() >= 1
    raised = LedgerAlarm.objects.count()
    prove()
    assert LedgerAlarm.objects.count() == raised >= 1


@pytest.mark.django_db
def test_a_block_costs_the_same_statements_whatever_its_size() -> None:
    def statements(entries: int) -> int:
        for number in range(entries):
            post(f"{entries}/{number}")
        with CaptureQueriesContext(connection) as queries:
            assert seal_block() is not None
        return len(queries)

    assert statements(1) < statements(2) == statements(40)  # the first has no last seal to look at


@pytest.mark.django_db
def test_an_operator_proves_the_ledger_at_once_and_sees_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("prove_ledger")
    post("a")
    call_command("prove_ledger")
    assert "proved: 1 seals over 1 entries" in capsys.readouterr().out
    assert ledger().state == "good"
    with unguarded("billing_leg"):
        sql("UPDATE billing_leg SET credit_micros = 6 WHERE credit_micros = 5")
    with pytest.raises(CommandError, match="proofs failed"):
        call_command("prove_ledger")
    assert (ledger().state, ledger().value) == ("bad", "alarm")
    assert "gridfare_ledger_alarms 2.0" in Client().get("/metrics").content.decode()


@pytest.mark.django_db
def test_lost_balances_are_rebuilt_from_the_blocks_and_nothing_is_sealed_before() -> None:
    post("a")
    seal_all()
    post("b")
    seal_all()
    rows = list(AccountBalance.objects.order_by("account", "seal").values_list("account", "seal", "debit_micros", "credit_micros"))
    with unguarded("billing_accountbalance"):
        sql("DELETE FROM billing_accountbalance")
    post("c")
    with pytest.raises(Impossible):
        seal_all()
    assert rebuild_balances() == 4
    again = AccountBalance.objects.order_by("account", "seal").values_list("account", "seal", "debit_micros", "credit_micros")
    assert list(again) == rows
    assert seal_all() == 1
    assert prove() == 0


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_every_leaf_leads_to_the_root_by_its_path(size: int) -> None:
    from gridfare.ledger.hashing import root_by_path

    leaves = [bytes([number]) * 32 for number in range(size)]
    levels = levels_of(leaves)
    for index, leaf in enumerate(leaves):
        assert root_by_path(leaf, index, size, path_of(levels, index)) == root_of(leaves)
