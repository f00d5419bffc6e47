"""A pool in virtual time: what it has, who holds it, who waits in line. As a pool's agent does it.

Units are started in the order in which they came; small ones pass a large one that does not fit yet, but for a while only,
then everybody waits until it does (gridfare/agent/holdings.py). A gang starts together.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scheduler.matching.loads import declared_of
from scheduler.matching.values import PoolState

DEPTH: Final = 32  # units that are looked at behind one that does not fit
PATIENCE_S: Final = 30.0
NEARLY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Party:
    """Units that start together: one, or a gang. `need` is of them all."""

    units: tuple[int, ...]
    need_id: int
    need: Mapping[str, float]
    came_at: float


class Machine:
    """One pool. `free` by resource; `live` counts by need what runs or waits in line here."""

    def __init__(self, pool: PoolState) -> None:
        self.pool = pool
        self.whole = declared_of(pool)
        self.free = dict(self.whole)
        self.live: Counter[int] = Counter()
        self.line: deque[Party] = deque()

    def add(self, party: Party) -> None:
        """A party gets in line."""
        self.line.append(party)
        self.live[party.need_id] += len(party.units)

    def start(self, now: float) -> list[Party]:
        """Those that start now, in order."""
        started: list[Party] = []
        passed: list[Party] = []
        while self.line and len(passed) < DEPTH:
            party = self.line.popleft()
            if self._fits(party.need):
                self._take(party.need, -1)
                started.append(party)
                continue
            passed.append(party)
            if now - party.came_at > PATIENCE_S:
                break
        self.line.extendleft(reversed(passed))
        return started

    def end(self, need_id: int, need: Mapping[str, float]) -> None:
        """One unit is over."""
        self._take(need, +1)
        self.live[need_id] -= 1
        if not self.live[need_id]:
            del self.live[need_id]

    def _fits(self, need: Mapping[str, float]) -> bool:
        return all(amount <= self.free.get(name, 0.0) + NEARLY for name, amount in need.items())

    def _take(self, need: Mapping[str, float], sign: int) -> None:
        for name, amount in need.items():
            if amount:
                self.free[name] += sign * amount
