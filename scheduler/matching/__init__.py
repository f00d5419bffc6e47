"""Matching: the planner's pure half. `plan.py` is a whole round; the other modules are its parts, in the order they run."""

from scheduler.matching.market import Market
from scheduler.matching.plan import could_take, decide, feasible_arcs, fitting, held_against, plan
from scheduler.matching.scalar import MIN_RUN_S, UNKNOWN_RUN_S, dominant_share, run_seconds, unit_price
from scheduler.matching.values import (
    DIMENSIONS,
    Arc,
    ClassDecision,
    ClassState,
    Placement,
    Plan,
    PoolState,
    Prices,
    Snapshot,
    own_prices,
)
from scheduler.matching.ways import HORIZON_S, MAX_AHEAD

__all__ = [
    "DIMENSIONS", "HORIZON_S", "MAX_AHEAD", "MIN_RUN_S", "UNKNOWN_RUN_S", "Arc", "ClassDecision", "ClassState", "Market",
    "Placement", "Plan", "PoolState", "Prices", "Snapshot", "could_take", "decide",
    "dominant_share", "feasible_arcs", "fitting", "held_against", "own_prices", "plan", "run_seconds", "unit_price",
]  # fmt: skip
