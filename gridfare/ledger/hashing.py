"""The bytes that are hashed, written down a second time, so that a check does not trust the platform's own code.

docs/billing/ledger.md says the same in words. Trees are those of RFC 6962, hashes are SHA-256.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

GENESIS: Final = bytes(32)
Json = dict[str, Any]


def blind_of(salt: bytes, what: str, number: int) -> bytes:
    return sha256(salt + what.encode() + number.to_bytes(8, "big")).digest()


def leg_digest(leg: Json, blind: bytes) -> bytes:
    words = [leg[name] for name in ("leg", "account", "kind", "organization", "currency", "debit", "credit")]
    return sha256(blind + _line("gridfare-leg-1", *words)).digest()


def entry_digest(entry: Json, legs: Sequence[bytes]) -> bytes:
    texts = [entry[name].encode() for name in ("kind", "key", "memo")]
    numbers = [entry[name] for name in ("position", "entry", "task", "posted_us")]
    head = _line("gridfare-entry-1", *numbers, len(legs), *(len(text) for text in texts), "")
    return sha256(b"\x00" + head + b"".join(texts) + b"".join(legs)).digest()


def balance_digest(balance: Json, blind: bytes) -> bytes:
    words = [balance[name] for name in ("account", "debit", "credit")]
    return sha256(b"\x02" + blind + _line("gridfare-balance-1", *words)).digest()


def seal_hash(seal: Json) -> bytes:
    numbers = [seal[name] for name in ("number", "first", "last", "legs", "balances", "sealed_us")]
    head = _line("gridfare-seal-1", *numbers, "")
    return sha256(head + bytes.fromhex(seal["previous"]) + bytes.fromhex(seal["root"])).digest()


def _line(*words: Any) -> bytes:
    return "|".join("" if word is None else str(word) for word in words).encode()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over at least one leaf."""
    level = list(leaves)
    while len(level) > 1:
        odd = level[len(level) & ~1 :]
        level = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def root_by_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a leaf leads to by its neighbours; None when there are too few or too many of them."""
    left, found = list(path), leaf
    while size > 1:
        if index ^ 1 < size:
            if not left:
                return None
            neighbour = left.pop(0)
            found = _node(neighbour, found) if index % 2 else _node(found, neighbour)
        index, size = index // 2, (size + 1) // 2
    return None if left else found


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
