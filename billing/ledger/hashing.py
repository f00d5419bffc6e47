"""What is hashed, byte by byte: leaves, Merkle trees and the chain of seals. Pure; docs/billing/ledger.md says the same.

Trees are those of RFC 6962, section 2.1: leaves and nodes are told apart by their first byte, and a node that has no
neighbour moves up as it is. All hashes are SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

GENESIS: Final = bytes(32)  # what the first seal is chained to
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970, exact.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    return (moment - _EPOCH) // _MICROSECOND


def blind_of(salt: bytes, what: bytes, number: int) -> bytes:
    """What a leg (`b"leg"`) or a balance (`b"balance"`) is hashed with, so that its amount cannot be guessed and tried."""
    return sha256(salt + what + number.to_bytes(8, "big")).digest()


def balance_leaf(salt: bytes, account: int, debit: int, credit: int) -> bytes:
    """The leaf of an account's sums (micros) up to a seal."""
    line = f"gridfare-balance-1|{account}|{debit}|{credit}".encode()
    return sha256(b"\x02" + blind_of(salt, b"balance", account) + line).digest()


def levels_of(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from its leaves (at least one) up to its root, level by level."""
    levels = [list(leaves)]
    while len(below := levels[-1]) > 1:
        pairs = zip(below[::2], below[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        levels.append([*above, below[-1]] if len(below) % 2 else above)
    return levels


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree over the leaves, at least one."""
    return levels_of(leaves)[-1][0]


def path_of(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The neighbours on the way from leaf `index` to the root: with them, whoever has the leaf finds the root."""
    path = []
    for level in levels[:-1]:
        if (neighbour := index ^ 1) < len(level):
            path.append(level[neighbour])
        index //= 2
    return path


def seal_hash(number: int, first: int, last: int, legs: int, balances: int, sealed_us: int, previous: bytes, root: bytes) -> bytes:
    """The hash of a seal: of what it says, the hash before it, and the root of its block."""
    head = f"gridfare-seal-1|{number}|{first}|{last}|{legs}|{balances}|{sealed_us}|".encode()
    return sha256(head + previous + root).digest()
