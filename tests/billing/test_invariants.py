"""The ledger's invariants against random histories; docs/billing/ledger.md names for each the mechanism in PostgreSQL.

I1 balanced, I2 never changed, I3 one posting per fact, I10 shares add up, I13 balances are sums, I14 lies are found; the others
are in test_money_invariants.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from hypothesis import strategies as st

from billing.ledger.export import ndjson
from billing.ledger.proving import prove
from billing.ledger.sealing import seal_all
from billing.models import Account, AccountBalance, Charge, JournalEntry, LedgerAlarm, LedgerSeal, Leg, SealedEntry
from billing.services import charge_task, charge_tasks
from gridfare.ledger import Refuted, verify
from tests.billing.histories import checked, commits, execute
from tests.builders_billing import APPEND_ONLY, START, make_attempt, make_market, make_need, make_task, make_usage

pytestmark = pytest.mark.django_db
SEALED = ("billing_ledgerseal", "billing_sealedentry", "billing_accountbalance")
GUARDED = (*APPEND_ONLY, *SEALED, "billing_account")
MOST = 2**63 - 1
MICROS = st.integers(1, MOST // 8)
CURRENCIES = ("CNY", "USD")


def account(kind: str, currency: str) -> Account:
    return Account.objects.get_or_create(kind=kind, currency=currency)[0]


def sides(currency: str) -> tuple[Account, Account]:
    return account(Account.Kind.PLATFORM_COST, currency), account(Account.Kind.PLATFORM_REVENUE, currency)


def post(key: str, legs: list[tuple[Account, int]]) -> JournalEntry:
    """An entry; a positive amount is a debit."""
    entry = JournalEntry.objects.create(key=key, kind="test", posted_at=START)
    Leg.objects.bulk_create(
        [Leg(entry=entry, account=one, debit_micros=max(micros, 0), credit_micros=max(-micros, 0)) for one, micros in legs]
    )
    return entry


def test_i1_an_entry_is_taken_just_when_it_balances_in_every_currency() -> None:
    micros = st.one_of(MICROS, st.integers(1, 3))
    leg = st.tuples(st.sampled_from(CURRENCIES), st.sampled_from([0, 1]), micros, st.sampled_from([1, -1]))

    @checked(60, legs=st.lists(leg, max_size=5), mended=st.booleans())
    def body(legs: list[tuple[str, int, int, int]], mended: bool) -> None:
        amounts = [(sides(currency)[side], micros * sign) for currency, side, micros, sign in legs]
        off: Counter[str] = Counter()
        for one, micros in amounts:
            off[one.currency] += micros
        if mended:  # legs that balance it, each within what a leg can hold
            amounts += [(sides(currency)[0], -micros) for currency, micros in off.items() if micros]
        post("random", amounts)
        assert commits() is (mended or not any(off.values()))


@pytest.mark.parametrize("legs", [(0, 0), (5, 5), (-5, 0), (0, -1)])
def test_i1_a_leg_is_a_debit_or_a_credit(legs: tuple[int, int]) -> None:
    entry = post("a", [])
    with pytest.raises(IntegrityError), transaction.atomic():
        Leg.objects.create(entry=entry, account=sides("CNY")[0], debit_micros=legs[0], credit_micros=legs[1])


@pytest.fixture
def history(db: None) -> None:
    """One row of everything that never changes."""
    market = make_market()
    task = make_task(market)
    make_usage(market, task, make_attempt(market, task, make_need()))
    charge_task(task.pk)
    seal_all()


def columns_of(table: str) -> list[str]:
    found = execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY 1", table)
    return [name for (name,) in found]


def everything() -> dict[str, list[Any]]:
    return {table: execute(f"SELECT * FROM {table} ORDER BY 1") for table in GUARDED}


@pytest.mark.usefixtures("history")
def test_i2_no_statement_in_any_role_changes_what_was_written() -> None:
    before = everything()
    assert all(before.values())
    verbs = ("UPDATE {} SET {column} = {column}", "UPDATE {} SET {column} = DEFAULT", "DELETE FROM {}", "TRUNCATE {} CASCADE")

    @checked(80, data=st.data())
    def body(data: st.DataObject) -> None:
        table = data.draw(st.sampled_from(GUARDED))
        column = data.draw(st.sampled_from(columns_of(table)))
        role = data.draw(st.sampled_from(["origin", "replica", "local"]))
        statement = data.draw(st.sampled_from(verbs)).format(table, column=f'"{column}"')
        execute("SET CONSTRAINTS ALL IMMEDIATE")  # or TRUNCATE fails for its pending checks
        execute(f"SET LOCAL session_replication_role = {role}")
        with pytest.raises(DatabaseError, match="append-only|can only be updated to DEFAULT"), transaction.atomic():
            execute(statement)

    assert everything() == before


def test_i2_every_guard_holds_in_every_role() -> None:
    """Row by row and for TRUNCATE, ENABLE ALWAYS: a plain trigger is skipped under session_replication_role = replica."""
    found = execute(
        "SELECT tgrelid::regclass::text, (tgtype & 32) = 32, bool_and(tgenabled = 'A') FROM pg_trigger "
        "WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY(%s) GROUP BY 1, 2",
        [*GUARDED],
    )
    assert {(table, truncate): always for table, truncate, always in found} == {
        (table, truncate): True for table in GUARDED for truncate in (False, True)
    }


def test_i3_however_often_and_in_which_order_tasks_are_charged_each_fact_is_posted_once() -> None:
    market, need = make_market(), make_need()
    tasks = [make_task(market, terms={"fee_per_task": "0.5"}) for _ in range(3)]
    for task in tasks:
        make_usage(market, task, make_attempt(market, task, need))

    @checked(15, calls=st.lists(st.lists(st.sampled_from(tasks), max_size=4), min_size=1, max_size=5))
    def body(calls: list[list[Any]]) -> None:
        for call in calls:
            charge_tasks([task.pk for task in call])
        charged = {task.pk for call in calls for task in call}
        keys = list(JournalEntry.objects.values_list("key", flat=True))
        assert len(keys) == len(set(keys)) == 2 * len(charged)
        assert Charge.objects.count() == 2 * len(charged)
        assert set(JournalEntry.objects.values_list("task", flat=True)) == charged


def test_i3_a_fact_cannot_be_posted_under_its_key_a_second_time() -> None:
    @checked(20, key=st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=100))
    def body(key: str) -> None:
        post(key, [])
        with pytest.raises(IntegrityError, match="key"), transaction.atomic():
            post(key, [])


def test_i10_a_charge_is_taken_just_when_its_shares_add_up() -> None:
    market = make_market()
    task = make_task(market)
    share = st.integers(0, 10**15)
    parties: dict[str, Any] = {"organization": market.alice, "provider": market.bob, "publisher": market.carol, "task": task}

    @checked(60, shares=st.tuples(share, share, share), off=st.sampled_from([0, 0, 1, -1, 10**9]))
    def body(shares: tuple[int, int, int], off: int) -> None:
        amount = sum(shares) + off
        names = dict(zip(("provider_micros", "publisher_micros", "platform_micros"), shares, strict=True))
        fields = parties | names | {"kind": "fee", "payer": "user", "currency": "CNY", "charged_at": START}
        try:
            with transaction.atomic():
                Charge.objects.create(entry=post("a", []), amount_micros=amount, reason="fee/delivered", **fields)
        except IntegrityError:
            assert off != 0
        else:
            assert off == 0


def test_i10_the_shares_of_all_charges_are_what_the_ledger_posted_however_the_prices_are() -> None:
    usage = st.tuples(st.integers(0, 10**7), st.integers(0, 10**9))
    price = st.decimals(0, 10, places=6).map(str)

    @checked(20, usages=st.lists(usage, min_size=1, max_size=4), rate=price, fee=price, points=st.integers(0, 10_000))
    def body(usages: list[tuple[int, int]], rate: str, fee: str, points: int) -> None:
        market = make_market(rates={"core_second": rate, "gb_moved": "0.013"})
        task = make_task(market, terms={"platform_basis_points": points, "fee_per_unit": fee, "fee_per_task": "0.000001"})
        for core_ms, bytes_in in usages:
            make_usage(market, task, make_attempt(market, task, make_need()), core_ms=core_ms, bytes_in=bytes_in)
        assert charge_task(task.pk)
        sums: Counter[str] = Counter()
        for charge in Charge.objects.filter(task=task):
            assert charge.amount_micros == charge.provider_micros + charge.publisher_micros + charge.platform_micros
            sums.update(user_receivable=charge.amount_micros, provider_payable=-charge.provider_micros)
            sums.update(publisher_payable=-charge.publisher_micros, platform_revenue=-charge.platform_micros)
        posted: Counter[str] = Counter()
        for leg in Leg.objects.filter(entry__task=task).select_related("account"):
            posted[leg.account.kind] += leg.debit_micros - leg.credit_micros
        assert all(posted[kind] == sums[kind] for kind in posted | sums)
        assert commits()


MOVE = st.one_of(st.just("seal"), st.tuples(st.sampled_from(CURRENCIES), MICROS, st.booleans()))


def lived(moves: list[Any]) -> dict[int, dict[int, list[int]]]:
    """Post and seal as the moves say. What every account must come to at each seal, by an oracle that only adds."""
    sums: dict[int, list[int]] = {}
    expected: dict[int, dict[int, list[int]]] = {}
    touched: set[int] = set()
    for number, move in enumerate([*moves, "seal"]):
        if move == "seal":
            if touched:
                assert seal_all() == 1
                expected[len(expected) + 1] = {one: list(sums[one]) for one in touched}
                touched = set()
            continue
        currency, micros, turned = move
        debit, credit = sides(currency)[::-1] if turned else sides(currency)
        post(f"move/{number}", [(debit, micros), (credit, -micros)])
        for one, side in ((debit, 0), (credit, 1)):
            sums.setdefault(one.pk, [0, 0])[side] += micros
            touched.add(one.pk)
    return expected


def test_i13_balances_at_every_seal_are_the_sums_of_all_legs_before_it() -> None:
    @checked(25, moves=st.lists(MOVE, max_size=8))
    def body(moves: list[Any]) -> None:
        expected = lived(moves)
        found: dict[int, dict[int, list[int]]] = {}
        for row in AccountBalance.objects.all():
            found.setdefault(row.seal_id, {})[row.account_id] = [int(row.debit_micros), int(row.credit_micros)]
        assert found == expected
        assert prove() == 0
        proved = verify(b"".join(ndjson(None)).splitlines(keepends=True))
        assert proved.balances == {one: sums for block in expected.values() for one, sums in block.items()}


@contextmanager
def guards_down() -> Iterator[None]:
    """As the owner of the tables could who wants to lie; taken back with the example's transaction."""
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in GUARDED:
        execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield


LEG = "entry_id, account_id, debit_micros, credit_micros"
LIES = (
    "UPDATE billing_journalentry SET key = key || '!' WHERE id = {entry}",
    "UPDATE billing_journalentry SET kind = 'another' WHERE id = {entry}",
    "UPDATE billing_journalentry SET memo = memo || ' ' WHERE id = {entry}",
    "UPDATE billing_journalentry SET posted_at = posted_at + interval '1 microsecond' WHERE id = {entry}",
    "UPDATE billing_leg SET debit_micros = debit_micros + 1 WHERE entry_id = {entry} AND debit_micros > 0",
    "UPDATE billing_leg SET debit_micros = credit_micros, credit_micros = debit_micros WHERE entry_id = {entry}",
    "DELETE FROM billing_leg WHERE entry_id = {entry}",
    f"INSERT INTO billing_leg ({LEG}) SELECT {LEG} FROM billing_leg WHERE entry_id = {{entry}}",
    "UPDATE billing_account SET currency = 'EUR' WHERE id IN (SELECT account_id FROM billing_leg WHERE entry_id = {entry})",
    "DELETE FROM billing_sealedentry WHERE entry_id = {entry}",
    "UPDATE billing_accountbalance SET credit_micros = credit_micros + 1 WHERE seal_id = {seal}",
    "DELETE FROM billing_accountbalance WHERE seal_id = {seal}",
    "UPDATE billing_ledgerseal SET root = sha256(root) WHERE number = {seal}",
    "UPDATE billing_ledgerseal SET hash = sha256(hash) WHERE number = {seal}",
    "UPDATE billing_ledgerseal SET salt = sha256(salt) WHERE number = {seal}",
    "UPDATE billing_ledgerseal SET legs = legs + 1 WHERE number = {seal}",
    "UPDATE billing_ledgerseal SET sealed_at = sealed_at + interval '1 microsecond' WHERE number = {seal}",
)


def test_i14_whatever_is_changed_below_the_guards_is_found_by_us_and_by_whoever_has_an_export() -> None:
    moves = st.lists(MOVE, min_size=1, max_size=6).filter(lambda found: any(move != "seal" for move in found))

    @checked(40, moves=moves, lie=st.sampled_from(LIES), which=st.integers(0, 100))
    def body(moves: list[Any], lie: str, which: int) -> None:
        lived(moves)
        last = verify(b"".join(ndjson(None)).splitlines(keepends=True)).hash
        places = list(SealedEntry.objects.order_by("position"))
        place = places[which % len(places)]
        with guards_down():
            execute(lie.format(entry=place.entry_id, seal=place.seal_id))
        assert prove() >= 1
        assert LedgerAlarm.objects.exists()
        with pytest.raises(Refuted):
            verify(b"".join(ndjson(None)).splitlines(keepends=True), expected=last)


def test_i14_a_history_that_was_sealed_anew_has_another_hash() -> None:
    lived([("CNY", 5, False)])
    kept = LedgerSeal.objects.get().hash
    with transaction.atomic():
        with guards_down():
            execute("UPDATE billing_leg SET debit_micros = debit_micros * 2, credit_micros = credit_micros * 2")
            for table in ("billing_accountbalance", "billing_sealedentry", "billing_ledgerseal"):
                execute(f"DELETE FROM {table}")
        seal_all()
        assert prove() == 0
        lines = b"".join(ndjson(None)).splitlines(keepends=True)
        assert verify(lines).seals == 1
        with pytest.raises(Refuted, match="no seal of this ledger"):
            verify(lines, expected=bytes(kept).hex())
        transaction.set_rollback(True)


def test_i14_time_before_1970_and_far_ahead_is_hashed_alike_by_both() -> None:
    for number, days in enumerate((-30_000, 0, 300_000)):
        JournalEntry.objects.create(key=str(number), kind="test", posted_at=START + timedelta(days=days, microseconds=1))
    seal_all()
    assert prove() == 0
    assert verify(b"".join(ndjson(None)).splitlines(keepends=True)).entries == 3
