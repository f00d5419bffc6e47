"""Proving: compute again what was sealed, and compare. A difference is an alarm for a person; nothing is repaired."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from django.db import connection
from django.utils import timezone

from billing.ledger.hashing import GENESIS, balance_leaf, microseconds, root_of, seal_hash
from billing.ledger.sql import REDIGEST, UNPROVED
from billing.models import AccountBalance, LedgerAlarm, LedgerSeal

log = logging.getLogger(__name__)

Kind: Final = LedgerAlarm.Kind


def prove() -> int:
    """Prove the chain, every block and every account's balance. Returns how many differences there are.

    The same difference raises one alarm, however often it is found.
    """
    found = [*_chain(), *_blocks(), *_balances()]
    for alarm in found:
        log.error("the ledger is not what was sealed: %s, %s instead of %s", alarm, alarm.stands, alarm.proved)
    LedgerAlarm.objects.bulk_create(found, ignore_conflicts=True)
    return len(found)


def _seals() -> Iterator[LedgerSeal]:
    return LedgerSeal.objects.order_by("number").iterator(1000)


def _chain() -> Iterator[LedgerAlarm]:
    """Every seal has the number, the places and the hash that follow from the one before and from what it says."""
    number, last, previous = 0, 0, GENESIS
    for seal in _seals():
        counts = (seal.number, seal.first, seal.last, seal.legs, seal.balances)
        proved = seal_hash(*counts, microseconds(seal.sealed_at), previous, bytes(seal.root))
        follows = (seal.number, seal.first, bytes(seal.previous)) == (number + 1, last + 1, previous)
        if not follows or bytes(seal.hash) != proved:
            yield _alarm(Kind.CHAIN, seal, bytes(seal.hash).hex(), proved.hex())
        number, last, previous = seal.number, seal.last, bytes(seal.hash)


def _blocks() -> Iterator[LedgerAlarm]:
    """Every block's entries, legs and balances, as they stand now, lead to the root that was sealed."""
    for seal in _seals():
        root = root_now(seal)
        if root != bytes(seal.root):
            yield _alarm(Kind.BLOCK, seal, root.hex(), bytes(seal.root).hex())


def root_now(seal: LedgerSeal) -> bytes:
    """The root of a block computed from the rows as they stand."""
    return root_of(leaves_now(seal) or [GENESIS])


def leaves_now(seal: LedgerSeal) -> list[bytes]:
    """The leaves of a block from the rows as they stand: its entries by place, then its balances by account."""
    salt = bytes(seal.salt)
    with connection.cursor() as cursor:
        cursor.execute(REDIGEST, {"first": seal.first, "last": seal.last, "salt": salt})
        entries = [bytes(digest) for digest, _ in cursor.fetchall()]
    return entries + balance_leaves(seal)


def balance_leaves(seal: LedgerSeal) -> list[bytes]:
    """The leaves of the balances that a seal wrote, by account."""
    rows = AccountBalance.objects.filter(seal=seal).order_by("account_id")
    found = rows.values_list("account_id", "debit_micros", "credit_micros")
    return [balance_leaf(bytes(seal.salt), account, int(debit), int(credit)) for account, debit, credit in found]


def _balances() -> Iterator[LedgerAlarm]:
    """What the cache says of each account is the sum of its sealed legs."""
    with connection.cursor() as cursor:
        cursor.execute(UNPROVED)
        rows = cursor.fetchall()
    for account, seal, debit, credit, proved_debit, proved_credit in rows:
        sums = (f"{debit} debit, {credit} credit", f"{proved_debit} debit, {proved_credit} credit")
        yield _alarm(Kind.BALANCE, LedgerSeal(number=seal), *sums, account_id=account)


def _alarm(kind: str, seal: LedgerSeal, stands: str, proved: str, **fields: int) -> LedgerAlarm:
    return LedgerAlarm(kind=kind, seal_id=seal.number, stands=stands, proved=proved, raised_at=timezone.now(), **fields)
