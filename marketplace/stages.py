"""Stages: a task's units, and what comes after them, one stage after the other. Pure.

The first stage is what the manifest says at its top (`run`, `split`, ...) and is called `unit`. After it comes nothing, a `merge`
(one more unit that gets everything), or the list `stages`. A stage begins when every unit of the one before is done; so its
units may read what any stage before it left. A plan (splitting.py) keeps the same order: stage 0 is the plan itself.

Where a program compares results, it runs as a unit too, of the stage `VALIDATES` + the number of the stage whose results it
compares: validators belong to no border, no count of units and no result.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

from core.errors import Invalid

CODE: Final = "invalid_manifest"
FIRST: Final = "unit"
MERGE: Final = "merge"
VALIDATE: Final = "validate"
VALIDATES: Final = 100  # far above the number of any stage; PositiveSmallIntegerField holds it
OVER: Final = ("units", "parts")  # splits over what a stage before left
Part = dict[str, Any]


def stages_of(plan: Mapping[str, Any]) -> list[Part]:
    """The parts of a plan in their order, each with its `units`, `run`, `outputs`, `need`, `limits` and `tflop`."""
    if plan["merge_stage"]:
        return [dict(plan), {"split": {"by": "one"}, "units": 1, **plan["merge_stage"]}]
    return [dict(plan), *plan.get("stages", ())]


def part_of(plan: Mapping[str, Any], stage: int) -> Part:
    """The part of one stage, or of the validators of one. Raises IndexError for a stage the plan does not have."""
    if stage >= VALIDATES:
        return {"split": {"by": "one"}, "units": part_of(plan, stage - VALIDATES)["units"], **plan["validate_stage"]}
    return stages_of(plan)[stage]


def stage_name(plan: Mapping[str, Any], stage: int) -> str:
    """What people call a stage: unit, merge, or as its manifest does; validate for validators of any."""
    return VALIDATE if stage >= VALIDATES else stage_names(plan)[stage]


def stage_names(plan: Mapping[str, Any]) -> list[str]:
    """The names of a task's stages by their numbers; a task without stages of its own knows unit and merge."""
    return [FIRST, *(stage["name"] for stage in plan["stages"])] if plan.get("stages") else [FIRST, MERGE]


def borders(plan: Mapping[str, Any]) -> list[int]:
    """How many units there are when each stage's have been made: [units of the first, of the first two, ...]."""
    return list(accumulate(part["units"] for part in stages_of(plan)))


def total_units(plan: Mapping[str, Any]) -> int:
    """Units of all stages."""
    return borders(plan)[-1]


def open_border(plan: Mapping[str, Any]) -> int | None:
    """Up to how many units may exist from the start; None: all of them (what follows a first stage is then a blocked merge)."""
    return plan["units"] if plan.get("stages") else None


def next_border(plan: Mapping[str, Any], done: int) -> int:
    """How many units may exist when so many, all that could so far, are done."""
    return next((border for border in borders(plan) if border > done), total_units(plan))


def check_stages(manifest: Mapping[str, Any]) -> None:
    """Names are there once, and splits go over stages that come before. Raises Invalid `invalid_manifest`."""
    stages = manifest.get("stages")
    if stages is None:
        return
    if "merge" in manifest:
        raise Invalid(CODE, "has stages or a merge, not both; a merge is a last stage without a split", field="merge")
    order = [FIRST, *(stage["name"] for stage in stages)]
    for number, stage in enumerate(stages):
        if stage["name"] in (*order[: number + 1], MERGE, VALIDATE, "units"):
            raise Invalid(CODE, f"the name {stage['name']!r} is taken", field=f"stages.{number}.name")
        over = stage["split"].get("over") if stage["split"]["by"] in OVER else None
        if over is not None and over not in order[: number + 1]:
            _refuse(over, order, f"stages.{number}.split.over")


def _refuse(over: str, order: list[str], field: str) -> None:
    if over in order:
        detail = f"{over!r} comes not before this stage: stages run in their order, so that none waits for itself"
        raise Invalid(CODE, detail, field=field)
    raise Invalid(CODE, f"names {over!r}, which is no stage; there are {', '.join(order)}"[:300], field=field)
