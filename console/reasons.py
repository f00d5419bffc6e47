"""An explanation as a page shows it: stages, and the terms by which candidates were compared. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketplace.stages import stage_names, stages_of

# Terms in the order of a table: title, and whether it is seconds or money. Those marked stand even where all are nothing.
_TERMS: Final[Mapping[str, tuple[str, str, bool]]] = {
    "wait_s": ("Wait", "seconds", True),
    "transfer_s": ("Transfer", "seconds", False),
    "run_s": ("Run", "seconds", True),
    "return_s": ("Return", "seconds", False),
    "finish_s": ("Finish", "seconds", True),
    "price": ("Price", "money", True),
    "egress": ("Way of the data", "money", False),
    "time_cost": ("Time", "money", False),
    "carbon_cost": ("Carbon", "money", False),
    "risk_cost": ("Doubt", "money", False),
    "scarcity": ("Scarcity", "money", False),
    "cost": ("Cost", "money", True),
}


@dataclass(frozen=True)
class Cell:
    """One term of one candidate; `kind` is seconds or money."""

    title: str
    kind: str
    value: float


def compared(candidates: Sequence[Mapping[str, Any]], placed: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A table of candidates: `titles`, and `rows` of pool, region, whether it was chosen, and cells.

    Terms that are nothing at every candidate are left out.
    """
    shown = [name for name, (_, _, always) in _TERMS.items() if always or any(one.get(name) for one in candidates)]
    chosen = {place["pool"] for place in placed}
    rows = [
        {
            "pool": one["pool"],
            "region": one["region"],
            "chosen": one["pool"] in chosen,
            "cells": [_cell(one, name) for name in shown],
        }
        for one in candidates
    ]
    return {"titles": [_TERMS[name][0] for name in shown], "rows": rows}


def _cell(candidate: Mapping[str, Any], name: str) -> Cell:
    title, kind, _ = _TERMS[name]
    return Cell(title, kind, float(candidate.get(name) or 0))


def stages_shown(plan: Mapping[str, Any], where: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How far each stage of a task is, in their order: name, units, done, state. None for a task of one stage.

    `where` is an explanation's: units by pool, stage and state. A stage that has no rows yet comes later.
    """
    parts = stages_of(plan)
    if len(parts) == 1:
        return []
    return [_stage(name, part["units"], [row for row in where if row["stage"] == number])
            for number, (name, part) in enumerate(zip(stage_names(plan), parts, strict=False))]  # fmt: skip


def _stage(name: str, units: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    done = min(units, sum(row["units"] for row in rows if row["state"] == "done"))
    begun = any(row["state"] not in ("blocked", "cancelled") for row in rows)
    return {"name": name, "units": units, "done": done, "state": "done" if done == units else "open" if begun else "later"}
