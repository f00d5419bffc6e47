"""The two ways a unit goes to a pool: `now`, it starts at once; `ahead`, it is fetched and starts when another ends. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from scheduler.matching.columns import Column
from scheduler.matching.market import TURN_S, Bools, Floats

NOW, AHEAD, KINDS = 0, 1, 2
HORIZON_S: Final = 2.0  # a pool is given up to this much work ahead, so that short units never starve it
AHEAD_RUN_S: Final = TURN_S  # a longer unit is not fetched ahead: another pool may be free sooner
NEARLY: Final = 1e-6
MAX_AHEAD: Final = 2_000.0  # shares


def ahead_limit(run_s: Floats) -> Floats:
    """Shares of a pool that may be fetched ahead, for units of this length: one wave, or HORIZON_S of work; 0 for long ones."""
    limit: Floats = np.where(run_s > AHEAD_RUN_S, 0.0, np.clip(HORIZON_S / run_s, 1.0, MAX_AHEAD))
    return limit


def ahead_use(found: Column) -> Floats:
    """The part of each pool's room ahead that one unit takes."""
    limit = ahead_limit(found.run_s)
    use: Floats = np.divide(found.share, limit, out=np.ones(len(limit)), where=limit > 0)
    return use


def ahead_wait(found: Column) -> Floats:
    """What a unit fetched ahead waits: what is ahead of it, and at most a wave of its own."""
    waits: Floats = np.where(found.room >= 1, 0.0, found.market.backlog) + found.run_s * found.share
    return waits


def cost_of(found: Column, kind: int) -> Floats:
    """What a unit costs that goes this way, at every pool."""
    return found.cost(0.0) if kind == NOW else found.cost(ahead_wait(found))


def open_ways(found: Column, kind: int) -> Bools:
    """The pools where a class may go this way."""
    if kind == NOW:
        return found.fits & (found.room >= 1)
    if found.one.document.get("gang"):
        return np.zeros(len(found.market), dtype=bool)
    return fetchable(found) & (found.market.ahead < 1)


def fetchable(found: Column) -> Bools:
    """Pools that may be given units ahead: short ones that start soon, around no reservation, over before the pool closes."""
    short: Bools = found.fits & (found.run_s <= AHEAD_RUN_S) & ~found.long
    if not short.any():
        return short
    last = found.market.backlog + np.maximum(found.run_s, HORIZON_S)
    return short & starts_soon(found) & found.ends_before(last)


def starts_soon(found: Column) -> Bools:
    """Pools where room for a unit is expected within a turn.

    One fetched to a pool of long units would stand first in its line for hours: it had better wait where any pool may take it,
    and an agent lets others pass it for half a minute only (BACKFILL_S), then all that came after it waits with it.
    """
    market, soon = found.market, np.ones(len(found.market), dtype=bool)
    for name, amount in found.need.items():
        if np.any(amount):
            coming = market.column(market.free, name) + market.column(market.turning, name)
            soon &= coming + NEARLY >= amount
    return soon
