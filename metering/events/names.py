"""Keys and digests of a batch's events, as `key_of` and `Event.digest` make them, in half the time. Pure.

A copy of a hash that is begun costs less than a new one, and what is the same in many events is put together once.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from metering.events.reading import Amount, Event, Series, is_uuid7

_BEGUN: Final = blake2b(digest_size=16)


def keys_of(provider: int, events: Sequence[Event]) -> list[str]:
    """`key_of` each."""
    begun, keys = _Begun(provider), []
    for event in events:
        name = event.id
        hash_ = begun[event.series.source].copy()
        hash_.update(name.encode())
        key = hash_.hexdigest()
        keys.append(f"{name[:8]}{name[9:13]}{key[:20]}" if is_uuid7(name) else key)
    return keys


def digests_of(events: Sequence[Event]) -> list[str]:
    """`Event.digest` of each."""
    series, amounts, copy, digests = _AboutSeries(), _AboutAmounts(), _BEGUN.copy, []
    for about, _, _, at, amount, labels, _ in events:
        whose, unit = series[about]
        quantity, counter = amounts[amount]
        hash_ = copy()
        hash_.update(f"{at}{whose}{quantity}{unit}{labels}{counter}".encode())
        digests.append(hash_.hexdigest())
    return digests


class _Begun(dict[str, Any]):
    """Hashes of keys up to the source."""

    def __init__(self, provider: int) -> None:
        self.provider = provider

    def __missing__(self, source: str) -> Any:
        self[source] = blake2b(f"{self.provider}\x1f{source}\x1f".encode(), digest_size=16)
        return self[source]


class _AboutSeries(dict[Series, tuple[str, str]]):
    """What a digest takes from the series, before the quantity and after it."""

    def __missing__(self, series: Series) -> tuple[str, str]:
        _, pool, subject, meter, unit = series
        self[series] = f"\x1f{meter}\x1f{subject}\x1f{pool}\x1f", f"\x1f{unit}\x1f"
        return self[series]


class _AboutAmounts(dict[Amount, tuple[str | None, str]]):
    """What a digest takes from the amount, before the labels and after them."""

    def __missing__(self, amount: Amount) -> tuple[str | None, str]:
        quantity, value, boot_id, seq, gauge = amount
        counter = f"\x1f{value}\x1f{boot_id}\x1f{seq}"
        self[amount] = quantity, counter if gauge is None else f"{counter}\x1f{gauge}"
        return self[amount]
