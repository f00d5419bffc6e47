"""What events of a batch have in common, each looked at and put together once. Pure.

Names, quantities, labels and zones come again and again in a batch. What was seen is forgotten with the batch, so nobody can fill
the memory with names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar

import orjson

from metering.events.binary import binary_of_amount, binary_of_labels
from metering.events.reading import AMOUNT, METER, RESERVED, TEXT, UNIT, Amount, Series, are_labels, canonical, plain

_K = TypeVar("_K")
_V = TypeVar("_V")
_AFTER_SECONDS: Final = re.compile(r"(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch


class Seen(dict[_K, _V], Generic[_K, _V]):
    """Each made once, when it is first looked up. Whatever `make` raises is raised."""

    def __init__(self, make: Callable[[_K], _V]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, key: _K) -> _V:
        self[key] = made = self.make(key)
        return made


@dataclass(slots=True, eq=False)
class Whose:
    """A series in its batch, with the hash of its events' keys up to their id, and what their digests take from it."""

    series: Series
    begun: Any
    before: str
    after: str


@dataclass(slots=True, eq=False)
class Much:
    """What digests and COPY take from an amount."""

    quantity: str | None
    after: str
    binary: bytes


@dataclass(slots=True, eq=False)
class Labels:
    """Canonical labels or none, and what COPY takes from them."""

    text: str | None
    binary: bytes


_NO_COUNTER: Final = "\x1fNone\x1fNone\x1fNone"  # digests have always told it so


class Common:
    """What was seen in one batch of a provider. The first three raise KeyError or ValueError for what is not right."""

    def __init__(self, provider: int) -> None:
        self.provider = provider
        self.named = Seen(self._named)
        self.counted = Seen(self._counted)
        self.labelled = Seen(self._labelled)
        self.spelled = Seen(spelled)
        self.whose, self.much, self.labels = Seen(self._whose), Seen(_much), Seen(_labels)

    def _named(self, names: tuple[Any, ...]) -> Whose:
        """By (source, pool, subject, meter, unit) as they were sent."""
        source, pool, subject, meter, unit = names
        if not (TEXT(source) and TEXT(pool) and TEXT(subject) and UNIT(unit) and METER(meter)) or meter in RESERVED:
            raise KeyError
        return self.whose[Series(*names)]

    def _counted(self, text: Any) -> Much:
        """By a quantity as it was sent."""
        if not AMOUNT(text):
            raise KeyError
        quantity = plain(text)
        return Much(quantity, _NO_COUNTER, binary_of_amount(Amount(quantity)))

    def _labelled(self, text: bytes) -> Labels:
        """By JSON as it was sent."""
        labels = orjson.loads(text)
        if not are_labels(labels):
            raise KeyError
        return self.labels[canonical(labels) if labels else None]

    def _whose(self, series: Series) -> Whose:
        source, pool, subject, meter, unit = series
        begun = blake2b(f"{self.provider}\x1f{source}\x1f".encode(), digest_size=16)
        return Whose(series, begun, f"\x1f{meter}\x1f{subject}\x1f{pool}\x1f", f"\x1f{unit}\x1f")


def _much(amount: Amount) -> Much:
    quantity, value, boot_id, seq, gauge = amount
    counter = f"\x1f{value}\x1f{boot_id}\x1f{seq}"
    return Much(quantity, counter if gauge is None else f"{counter}\x1f{gauge}", binary_of_amount(amount))


def _labels(text: str | None) -> Labels:
    return Labels(text, binary_of_labels(text))


def spelled(rest: str) -> str:
    """What stands after a time's seconds, its fraction and zone, as `isoformat` spells it, if the zone is UTC."""
    found = _AFTER_SECONDS(rest)
    if not found:
        raise KeyError
    micros = (found[1] or "")[:6].ljust(6, "0")
    return "+00:00" if micros == "000000" else f".{micros}+00:00"
