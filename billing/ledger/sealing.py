"""Sealing: take the next block of entries, give each its place, and chain the block's hash to the last one's.

Safe to kill and repeat anywhere: a block, its balances and its seal commit together, and one sealer works at a time.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing.ledger.hashing import GENESIS, balance_leaf, microseconds, root_of, seal_hash
from billing.ledger.sql import HORIZON, LOCK, REBUILD, SEAL_BALANCES, SEAL_ENTRIES
from billing.models import AccountBalance, LedgerSeal

SEAL_LOCK: Final = 0x67_66_73_6C  # advisory: one sealer at a time


class Impossible(Exception):
    """The balances are not those that the last seal counted: nothing is sealed upon them; `prove` says what is wrong."""


class _Last(NamedTuple):
    """What the next seal follows."""

    number: int = 0
    last: int = 0
    hash: bytes = GENESIS
    horizon: int = 0


def seal_all(*, seconds: float = 60, everything: bool = False) -> int:
    """Seal block after block until nothing is left, or the time is over. Returns how many seals were made."""
    until = time.monotonic() + seconds
    made = 0
    while time.monotonic() < until and seal_block(everything=everything) is not None:
        made += 1
    return made


def seal_block(*, everything: bool = False) -> LedgerSeal | None:
    """Seal up to settings.CHUNK entries. None when there are none, or while somebody else is sealing.

    The search begins at the last seal's horizon; with `everything` at the beginning of time, which finds what the
    first way could only miss after the rows were moved to another server.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK, [SEAL_LOCK])
        if not cursor.fetchone()[0]:
            return None
        return _seal(cursor, _last(), everything)


def _last() -> _Last:
    seal = LedgerSeal.objects.order_by("-number").first()
    if seal is None:
        return _Last()
    if AccountBalance.objects.filter(seal=seal).count() != seal.balances:
        raise Impossible(f"seal {seal.number} counts {seal.balances} balances")
    return _Last(seal.number, seal.last, bytes(seal.hash), int(seal.horizon))


def _seal(cursor: Any, last: _Last, everything: bool) -> LedgerSeal | None:
    cursor.execute(HORIZON)
    horizon = int(cursor.fetchone()[0])
    start = 0 if everything or horizon < last.horizon else last.horizon  # the numbers began anew: another server
    salt, seal = os.urandom(32), last.number + 1
    given = {"start": str(start), "horizon": str(horizon), "most": settings.CHUNK, "last": last.last, "seal": seal, "salt": salt}
    cursor.execute(SEAL_ENTRIES, given)
    found = cursor.fetchall()
    if not found:
        return None
    if len(found) == settings.CHUNK:  # there may be more of the last one's transaction
        horizon = min(horizon, int(found[-1][2]))
    first, end = last.last + 1, last.last + len(found)
    cursor.execute(SEAL_BALANCES, {"seal": seal, "first": first, "last": end})
    balances = sorted((account, int(debit), int(credit)) for account, debit, credit in cursor.fetchall())
    leaves = [bytes(digest) for digest, _, _ in found] + [balance_leaf(salt, *balance) for balance in balances]
    counts = {"entries": len(found), "legs": sum(row[1] for row in found), "balances": len(balances)}
    return _store(seal, first, end, last.hash, root_of(leaves), horizon=horizon, salt=salt, **counts)


def _store(number: int, first: int, last: int, previous: bytes, root: bytes, **fields: Any) -> LedgerSeal:
    now = timezone.now()
    digest = seal_hash(number, first, last, fields["legs"], fields["balances"], microseconds(now), previous, root)
    chained = {"previous": previous, "root": root, "hash": digest, "sealed_at": now}
    return LedgerSeal.objects.create(number=number, first=first, last=last, **chained, **fields)


def rebuild_balances() -> int:
    """Put back what the cache of balances has lost, from the sealed blocks alone. Returns how many rows were missing.

    What is there stays: a wrong row is for `proving.prove` to find and for a person to judge.
    """
    with connection.cursor() as cursor:
        cursor.execute(REBUILD)
        return int(cursor.rowcount)
