"""Decomposition (拆解): a task's plan from its capability's manifest and its inputs. Pure.

A plan is everything the units need to know, as one JSON value kept on the task. What a single unit computes
follows from the plan and the unit's index in constant time, so a million units store nothing of their own.

    split        {"by": "one"}                                       params {}
                 {"by": "range", start, stop, step, count, chunk}    {"value"}, or {"start", "stop", "step"?}
                 {"by": "list", over, items, chunk}                  {"item"}, or {"items"}
                 {"by": "matrix", axes: [[name, [values]]]}          {name: value}, last axis fastest
                 {"by": "files", over, paths, common, chunk}         {"files": [paths]}
                 {"by": "units", over, things, chunk}                {"unit"}, or {"start", "stop"}      (further stages only:
                 {"by": "parts", over, parts}                        {"part", "parts"}                    over a stage's number)
    units        how many, merge and further stages not counted
    merge        is there a merge
    run, env, outputs, program        as in docs/protocol.md
    variants     [{instruction_set, accelerator: null | {model, count, memory_mib}}]; where they differ in more than that, each
                 with its own need, limits, tflop, run and env, and requirements where it names a file of its own
    need         {cores, memory_mib, disk_mib, accelerators}; accelerators are those of the first variant
    limits       {run_s, memory_mib, processes, file_mib, disk_mib, output_mib, log_kib, grace_s}
    tflop        FP32 TFLOP of one unit, decimal text
    bytes_out    bytes of one unit's result; only where the manifest says or a unit was seen
    unsure       true; only where the manifest says that nobody knows what a unit takes
    stages       [{name, split, units, run, outputs, need, limits, tflop, keep}]; only where the manifest has stages
    keep         true; only with stages, where the units' own files belong to the result too
    checkpoint   only where the manifest says: as there
    merge_stage  null or {run, outputs, need, limits, keep_units, tflop}
    validate_stage   only where results are compared by a program: the same of that program
    retry, fee   as in the manifest
    verify       "none", or the completed policy (policies.py)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Invalid
from marketplace.amounts import amount, field_of, names_of, whole
from marketplace.parts import NO_ACCELERATOR, Names, env_of, limits_of, need_of, outputs_of, run_of, said_of, tflop_of, variants_of
from marketplace.policies import Policy, parse_policy
from marketplace.tariffs import counted_fees

Plan = dict[str, Any]
MAX_GANG = 1_000  # units that start together


def plan_of(
    manifest: Mapping[str, Any],
    inputs: Mapping[str, Any],
    files: Mapping[str, Sequence[str]],
    *,
    program: str | None = None,
    input_bytes: int = 0,
) -> Plan:
    """The plan of a task. Raises Invalid, its `field` the input at fault.

    manifest     as `check_manifest` returns it    inputs  as `validate_inputs` returns them
    files        input name -> paths of its artifacts in the working folder
    program      SHA-256 of the program            input_bytes  bytes of all input files
    """
    names = names_of(inputs, input_bytes)
    split = _split_of(manifest.get("split"), inputs, files, names)
    need = need_of(manifest["resources"] | manifest["variants"][0].get("resources", {}), manifest["variants"], names)
    merge = manifest.get("merge")
    units = _bounded(_units_of(split), manifest, names)
    policy = parse_policy(manifest["verify"])
    plan = {
        "split": split,
        "units": units,
        "merge": merge is not None,
        "run": run_of(manifest, inputs),
        "env": env_of(manifest, inputs),
        "outputs": outputs_of(manifest, inputs),
        "program": program,
        "variants": variants_of(manifest, inputs, names),
        "need": need,
        "limits": limits_of(manifest["limits"], need, names),
        "tflop": tflop_of(manifest["demand"]["tflop"], names),
        "merge_stage": _merge_stage_of(manifest, merge, names) if merge is not None else None,
        "retry": manifest["retry"],
        "verify": policy.in_plan(),
        "fee": counted_fees(manifest["fee"]),
        **said_of(manifest["demand"], names),
    }
    if "tflop" in (first := plan["variants"][0]):  # what knows of no variants sees the first
        plan |= {key: first[key] for key in ("need", "limits", "tflop", "run", "env")}
    if "stages" in manifest:
        plan["stages"] = _stages_of(manifest, units, inputs, files, names)
        plan |= {"keep": True} if manifest.get("keep_units") else {}
    if "checkpoint" in manifest:
        plan["checkpoint"] = manifest["checkpoint"]
    return plan | _gang_of(manifest, units) | _validate_stage_of(manifest, policy, names)


def _stages_of(
    manifest: Mapping[str, Any], units: int, inputs: Names, files: Mapping[str, Sequence[str]], names: Names
) -> list[dict[str, Any]]:
    """The further stages. Their units count against the same limit as those of the first."""
    counts, order, found = [units], ["unit"], []
    for stage in manifest["stages"]:
        split = _later_split(stage["split"], dict(zip(order, enumerate(counts), strict=True)), inputs, files, names)
        counts.append(_bounded(_units_of(split), manifest, names, stage["split"]))
        order.append(stage["name"])
        found.append(_stage_of(manifest, stage, split, counts[-1], names))
    _bounded(sum(counts), manifest, names)
    return found


def _later_split(
    split: dict[str, Any],
    before: Mapping[str, tuple[int, int]],
    inputs: Names,
    files: Mapping[str, Sequence[str]],
    names: Names,
) -> dict[str, Any]:
    """A further stage's split; `before`: name of a stage → its number and units."""
    match split:
        case {"by": "one"}:
            return {"by": "one"}
        case {"by": "units", "over": name}:
            number, things = before[name]
            return {"by": "units", "over": number, "things": things, "chunk": _chunk(split, names)}
        case {"by": "parts", "over": name}:
            return {"by": "parts", "over": before[name][0], "parts": amount("parts", split["parts"], names)}
    return _split_of(split, inputs, files, names)


def _stage_of(
    manifest: Mapping[str, Any], stage: Mapping[str, Any], split: dict[str, Any], units: int, names: Names
) -> dict[str, Any]:
    """What a stage does not say is as for the units, but for its resources, its accelerator and its work."""
    need = need_of(stage["resources"], manifest["variants"] if stage["accelerator"] else NO_ACCELERATOR, names)
    return {
        "name": stage["name"],
        "split": split,
        "units": units,
        "run": stage["run"],
        "outputs": stage["outputs"],
        "need": need,
        "limits": limits_of({**manifest["limits"], **stage["limits"]}, need, names),
        "tflop": tflop_of(stage["demand"]["tflop"], names),
        "keep": stage["keep"],
        **said_of(stage["demand"], names),
    }


def unit_params(plan: Plan, index: int) -> dict[str, Any]:
    """The parameters of one unit of a plan, or of a stage of it, in constant time. Raises IndexError beyond its units."""
    if not 0 <= index < plan["units"]:
        raise IndexError(index)
    split = plan["split"]
    match split["by"]:
        case "range":
            return _range_params(split, index)
        case "list":
            items = _slice_of(split, "items", index)
            return {"item": items[0]} if split["chunk"] == 1 else {"items": items}
        case "matrix":
            return _matrix_params(split["axes"], index)
        case "files":
            return {"files": _slice_of(split, "paths", index)}
        case "units":
            start, stop = units_before(split, index)
            return {"unit": start} if split["chunk"] == 1 else {"start": start, "stop": stop}
        case "parts":
            return {"part": index, "parts": split["parts"]}
    return {}


def units_before(split: Mapping[str, Any], index: int) -> tuple[int, int]:
    """[start, stop) of the units of the stage it goes over, for a unit of a split by units."""
    start = index * split["chunk"]
    return start, min(start + split["chunk"], split["things"])


def unit_files(plan: Plan, index: int) -> list[str] | None:
    """Paths of the unit's input files; None: all of the task's.

    A unit of a split by files gets its own ones, and those of the other inputs.
    """
    if plan["split"]["by"] != "files":
        return None
    own: list[str] = unit_params(plan, index)["files"]
    return own + list(plan["split"]["common"])


def _range_params(split: dict[str, Any], index: int) -> dict[str, Any]:
    step, chunk = split["step"], split["chunk"]
    start = split["start"] + index * chunk * step
    if chunk == 1:
        return {"value": start}
    stop = start + min(chunk, split["count"] - index * chunk) * step
    return {"start": start, "stop": stop} | ({"step": step} if step != 1 else {})


def _matrix_params(axes: list[list[Any]], index: int) -> dict[str, Any]:
    params = {}
    for name, values in reversed(axes):
        index, place = divmod(index, len(values))
        params[name] = values[place]
    return dict(reversed(params.items()))


def _slice_of(split: dict[str, Any], key: str, index: int) -> list[Any]:
    items: list[Any] = split[key][index * split["chunk"] : (index + 1) * split["chunk"]]
    return items


def _split_of(split: Any, inputs: Names, files: Mapping[str, Sequence[str]], names: Names) -> dict[str, Any]:
    match split and split["by"]:
        case None:
            return {"by": "one"}
        case "range":
            return _range_split(split, names)
        case "list":
            items = _list_input(inputs, split["over"])
            return {"by": "list", "over": split["over"], "items": items, "chunk": _chunk(split, names)}
        case "matrix":
            axes = [[name, _list_input(inputs, over)] for name, over in sorted(split["axes"].items())]
            return {"by": "matrix", "axes": axes}
    return _files_split(split, files, _chunk(split, names))


def _range_split(split: dict[str, Any], names: Names) -> dict[str, Any]:
    start, stop, step = (whole(split[key], names, key) for key in ("start", "stop", "step"))
    if step == 0:
        raise Invalid("invalid_split", "the range's step would be 0", field=field_of(split["step"]))
    count = max(0, -(-(stop - start) // step))
    chunk = _chunk(split, names)
    return {"by": "range", "start": start, "stop": stop, "step": step, "count": count, "chunk": chunk}


def _files_split(split: dict[str, Any], files: Mapping[str, Sequence[str]], chunk: int) -> dict[str, Any]:
    over = split["over"]
    common = [path for name, paths in files.items() if name != over for path in paths]
    return {"by": "files", "over": over, "paths": list(files.get(over, [])), "common": common, "chunk": chunk}


def _chunk(split: dict[str, Any], names: Names) -> int:
    chunk = whole(split["chunk"], names, "chunk")
    if chunk < 1:
        raise Invalid("invalid_split", f"chunk would be {chunk}", field=field_of(split["chunk"]))
    return chunk


def _list_input(inputs: Names, name: str) -> list[Any]:
    value = inputs.get(name)
    if not isinstance(value, list):
        raise Invalid("invalid_split", f"{name} must be a list to split by it", field=f"inputs.{name}")
    return value


def _units_of(split: dict[str, Any]) -> int:
    match split["by"]:
        case "one":
            return 1
        case "matrix":
            return math.prod(len(values) for _, values in split["axes"])
        case "range":
            things = split["count"]
        case "units":
            things = split["things"]
        case "parts":
            return int(split["parts"])
        case _:
            things = len(split["items" if split["by"] == "list" else "paths"])
    return -(-int(things) // int(split["chunk"]))


def _bounded(units: int, manifest: Mapping[str, Any], names: Names, split: Any = None) -> int:
    """So many units, if the capability allows them; the fault is looked for in `split`, or in the first stage's."""
    field = _split_field(split or manifest.get("split"))
    if units == 0:
        raise Invalid(
            "no_units", "these inputs leave nothing to do: the task would have no unit", field=field
        )
    most = amount("units", manifest["limits"]["units"], names)
    if units > most:
        detail = f"these inputs make {units} units; the capability allows {most}"
        raise Invalid("too_many_units", detail, field=field, units=str(units), limit=most)
    return units


def _gang_of(manifest: Mapping[str, Any], units: int) -> dict[str, Any]:
    """One unit is no gang."""
    if not manifest.get("gang") or units == 1:
        return {}
    if units > MAX_GANG:
        detail = f"these inputs make {units} units; a gang has at most {MAX_GANG}"
        raise Invalid("too_many_units", detail, field=_split_field(manifest.get("split")), units=str(units), limit=MAX_GANG)
    return {"gang": True}


def _split_field(split: Any) -> str:
    if not split:
        return "inputs"
    if split["by"] == "range":
        return field_of(split["stop"])
    if split["by"] == "matrix":
        return f"inputs.{split['axes'][min(split['axes'])]}"
    if split["by"] in ("one", "units", "parts"):
        return field_of(split.get("parts", split.get("chunk", "1")))
    return f"inputs.{split['over']}"


def _merge_stage_of(manifest: Mapping[str, Any], merge: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """What the merge does not say is as for the units, but for its resources and its work."""
    need = need_of(merge["resources"], NO_ACCELERATOR, names)
    return {
        "run": merge["run"],
        "outputs": merge["outputs"],
        "need": need,
        "limits": limits_of({**manifest["limits"], **merge["limits"]}, need, names),
        "keep_units": merge["keep_units"],
        "tflop": tflop_of(merge["demand"]["tflop"], names),
        **said_of(merge["demand"], names),
    }


def _validate_stage_of(manifest: Mapping[str, Any], policy: Policy, names: Names) -> Plan:
    if (program := policy.validator) is None:
        return {}
    stage = {
        "run": list(program.run),
        "outputs": [{"path": "verdict.json", "required": True}],
        "resources": {"cores": program.cores, "memory_mib": program.memory_mib, "disk_mib": program.disk_mib},
        "limits": {"run_s": program.run_s},
        "keep_units": False,
        "demand": {"tflop": "0"},
    }
    return {"validate_stage": _merge_stage_of(manifest, stage, names)}
