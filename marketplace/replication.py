"""Which pool keeps which copy. Pure: wishes and stores in, a pool for each wish out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """A copy that nobody keeps yet."""

    id: int
    sha256: str
    bytes: int
    region_id: int
    organization: str


@dataclass(slots=True)
class Store:
    """A pool whose agent is here and offers room. `kept`: sha256 → bytes, in the order in which they came.

    `allow` and `deny` are the provider's lists of organizations; an empty `allow` lets everybody in.
    """

    pool_id: int
    identifier: str
    region_id: int
    room_bytes: int
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    kept: dict[str, int] = field(default_factory=dict)

    @property
    def free_bytes(self) -> int:
        """A blob counts once, however many wish it."""
        return self.room_bytes - sum(self.kept.values())

    def takes(self, wish: Wish) -> bool:
        """In the right region, from that organization, and with room (or with the blob already)."""
        welcome = wish.organization not in self.deny and (not self.allow or wish.organization in self.allow)
        here = self.region_id == wish.region_id
        return here and welcome and (wish.sha256 in self.kept or self.free_bytes >= wish.bytes)


def assign(wishes: Iterable[Wish], stores: Sequence[Store]) -> dict[int, int]:
    """Wish → pool, in the order of the wishes; those that nobody takes are left out. `stores` fill as they are given.

    Whoever keeps the blob already comes first, then who has most room; ties go to the lower identifier.
    """
    given: dict[int, int] = {}
    for wish in wishes:
        able = [store for store in stores if store.takes(wish)]
        if able:
            best = min(able, key=lambda one: (wish.sha256 not in one.kept, -one.free_bytes, one.identifier))
            best.kept.setdefault(wish.sha256, wish.bytes)
            given[wish.id] = best.pool_id
    return given


def overflow(store: Store) -> list[str]:
    """Blobs that must leave a store whose room has become smaller, the newest first; they leave `kept`, too."""
    gone = []
    while store.kept and store.free_bytes < 0:
        sha256, _ = store.kept.popitem()
        gone.append(sha256)
    return gone
