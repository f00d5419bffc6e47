"""What an agent is told of a unit: the spec its task's units share, and the few values of its own. Mostly pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import F

from marketplace import storage
from marketplace.models import Blob, CapabilityVersion, Task, TaskArtifact
from marketplace.policies import Policy
from marketplace.programs import MAX_REQUIREMENTS, check_requirements, read_member
from marketplace.splitting import unit_files, unit_params, units_before
from marketplace.stages import OVER, VALIDATES, part_of, stage_name
from scheduler.models import Unit
from scheduler.services.checkpoints import resume_files
from scheduler.sql import dicts

_OUTPUTS = """
SELECT u.index, o.path, o.blob_id AS sha256, o.bytes
FROM scheduler_output o JOIN scheduler_attempt a ON a.id = o.attempt_id JOIN scheduler_unit u ON u.id = a.unit_id
WHERE o.task_id = %(task)s AND u.stage = %(stage)s AND u.state = 'done' AND a.state = 'valid'
"""
_ALL_OUTPUTS = f"{_OUTPUTS} ORDER BY u.index, o.path"
_OUTPUTS_OF_UNITS = f"{_OUTPUTS} AND u.index = ANY(%(units)s) ORDER BY u.index, o.path"
_OUTPUTS_IN_PARTS = f"""
SELECT index, path, sha256, bytes, part FROM (
    SELECT *, (row_number() OVER (ORDER BY index, path) - 1) %% %(parts)s AS part FROM ({_OUTPUTS}) every
) dealt WHERE part = ANY(%(units)s) ORDER BY index, path
"""


def spec_id(task_id: UUID, stage: int, variant: int = 0) -> str:
    return f"{task_id}:{stage}:{variant}" if variant else f"{task_id}:{stage}"


@lru_cache(maxsize=512)
def shared_spec(task_id: UUID, stage: int, variant: int = 0) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """(spec, the stage's part of the plan, input files by path) of a task's stage, as a variant runs it.

    Once a unit can be leased none of it changes any more, so the process may keep it.
    """
    task = Task.objects.select_related("capability_version__capability__organization").get(pk=task_id)
    files = task_files(task_id)
    part = part_of(task.plan, stage)
    shared = [] if part["split"]["by"] == "files" or stage >= VALIDATES else list(files.values())
    if 0 < stage < VALIDATES and task.plan.get("stages") and part["split"]["by"] not in OVER:
        shared += merge_files(task_id, stage - 1)
    return build_spec(task, stage, shared, variant), part, files


def build_spec(task: Task, stage: int, files: list[dict[str, Any]], variant: int = 0) -> dict[str, Any]:
    """The spec of docs/protocol.md. What a variant says of its own is for the first stage's units."""
    plan, version = task.plan, task.capability_version
    part = part_of(plan, stage)
    own = plan["variants"][variant] if stage == 0 else {}
    if "run" in own:
        part = part | own
    return {
        "id": spec_id(task.pk, stage, variant),
        "task": str(task.pk),
        "stage": stage_name(plan, stage),
        "total": plan["units"] if plan["merge_stage"] else part["units"],
        "capability": str(version),
        "trusted": version.trusted,
        "program": _program(plan.get("program")),
        "environment": _environment(_requirements(version, own.get("requirements"))),
        "run": part["run"],
        "env": part.get("env", plan.get("env", {})),
        "inputs": task.inputs,
        "files": files,
        "outputs": part["outputs"],
        "limits": part["limits"],
        "need": part["need"],
    } | _extras(plan, stage)


def _extras(plan: dict[str, Any], stage: int) -> dict[str, Any]:
    """Only where there is something to say. `commit` tells nothing of whether a unit is checked: all of a task's commit."""
    extras: dict[str, Any] = {}
    if stage == Unit.Stage.UNIT and "checkpoint" in plan:
        extras["checkpoint"] = plan["checkpoint"]
    if stage < VALIDATES and Policy.of(plan.get("verify")).commit_reveal:
        extras["commit"] = True
    return extras


def _program(sha256: str | None) -> dict[str, Any] | None:
    if sha256 is None:
        return None
    return {"sha256": sha256, "bytes": Blob.objects.values_list("bytes", flat=True).get(pk=sha256)}


def _requirements(version: CapabilityVersion, path: str | None) -> str:
    """The version's requirements, or a variant's own: a file of its program, checked when it was published."""
    if path is None or version.program_id is None:
        return str(version.requirements)
    return _member(version.program_id, path)


@lru_cache(maxsize=128)
def _member(program: str, path: str) -> str:
    with storage.open_file(program) as packed:
        return check_requirements(read_member(packed, path, MAX_REQUIREMENTS).decode())


def _environment(requirements: str) -> dict[str, Any] | None:
    import hashlib

    if not requirements.strip():
        return None
    return {"requirements": requirements, "sha256": hashlib.sha256(requirements.encode()).hexdigest()}


def task_files(task_id: UUID) -> dict[str, dict[str, Any]]:
    """A task's input files by their path below the working folder."""
    found = TaskArtifact.objects.filter(task_id=task_id).order_by("path")
    listed = found.values("path", sha256=F("artifact__blob_id"), bytes=F("artifact__blob__bytes"))
    return {row["path"]: dict(row) for row in listed}


def merge_files(task_id: UUID, before: int = 0) -> list[dict[str, Any]]:
    """All outputs of a stage as the next one finds them, below in/units/<index>/, and their index in/units.json."""
    files = [_left(row) for row in dicts(_ALL_OUTPUTS, {"task": task_id, "stage": before})]
    index = Task.objects.values_list("units_index", flat=True).get(pk=task_id)
    return [{"path": "in/units.json", **index}, *files] if index else files


def _left(row: dict[str, Any]) -> dict[str, Any]:
    """An output of a unit as a later stage finds it."""
    return {"path": f"in/units/{row['index']:06d}/{row['path']}", "sha256": row["sha256"], "bytes": row["bytes"]}


_RESULTS = """
SELECT a.id AS attempt, o.path, o.blob_id AS sha256, o.bytes
FROM scheduler_unit u JOIN scheduler_attempt a ON a.unit_id = u.id AND a.checked AND a.state = 'reported'
LEFT JOIN scheduler_output o ON o.attempt_id = a.id
WHERE u.task_id = %s AND u.stage = %s AND u.index = %s ORDER BY a.id, o.path
"""


def results_files(task_id: UUID, stage: int, index: int) -> list[dict[str, Any]]:
    """The results of a unit as its validator finds them, below in/results/<number>/: numbered by age, nothing of who made them."""
    found = dicts(_RESULTS, [task_id, stage, index])
    numbers = {attempt: number for number, attempt in enumerate(sorted({row["attempt"] for row in found}))}
    return [
        {"path": f"in/results/{numbers[row['attempt']]}/{row['path']}", "sha256": row["sha256"], "bytes": row["bytes"]}
        for row in found
        if row["path"] is not None
    ]


def units_index(task_id: UUID, part: dict[str, Any], stage: int = 0) -> list[dict[str, Any]]:
    """The content of in/units.json: every unit of a stage with its parameters and files."""
    by_index: dict[int, list[str]] = {}
    for row in dicts(_ALL_OUTPUTS, {"task": task_id, "stage": stage}):
        by_index.setdefault(row["index"], []).append(row["path"])
    return [{"index": i, "params": unit_params(part, i), "files": by_index.get(i, [])} for i in range(part["units"])]


def lease_rows(leased: Iterable[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[list[Any]]]:
    """Specs and lease rows of an answer. `leased` rows hold attempt, fence, task_id, stage, index, variant."""
    specs: dict[str, dict[str, Any]] = {}
    leases: list[list[Any]] = []
    listed = list(leased)
    left = _left_for(listed)
    for row in listed:
        spec, part, files = shared_spec(row["task_id"], row["stage"], row["variant"])
        specs[spec["id"]] = spec
        leases.append([row["attempt"], row["fence"], spec["id"], row["index"], *_own(row, part, files, left)])
    saved = resume_files([lease[0] for lease in leases if "checkpoint" in specs[lease[2]]])
    return specs, [[*lease, saved[lease[0]]] if lease[0] in saved else lease for lease in leases]


Left = dict[tuple[UUID, int, int], list[dict[str, Any]]]


def _left_for(leased: list[dict[str, Any]]) -> Left:
    """(task, stage, index) → what a stage before left for that unit; one statement for each stage that goes over another."""
    asked: dict[tuple[UUID, int], list[int]] = {}
    for row in leased:
        if row["stage"]:
            asked.setdefault((row["task_id"], row["stage"]), []).append(row["index"])
    found: Left = {}
    for (task_id, stage), indexes in asked.items():
        split = shared_spec(task_id, stage)[1]["split"]
        for index, file in _dealt(task_id, split, indexes) if split["by"] in OVER else ():
            found.setdefault((task_id, stage, index), []).append(file)
    return found


def _dealt(task_id: UUID, split: dict[str, Any], indexes: list[int]) -> list[tuple[int, dict[str, Any]]]:
    """(index of the unit that gets it, file) of what the units of a split over a stage before are given."""
    params = {"task": task_id, "stage": split["over"]}
    if split["by"] == "parts":
        rows = dicts(_OUTPUTS_IN_PARTS, params | {"parts": split["parts"], "units": indexes})
        return [(row["part"], _left(row)) for row in rows]
    units = [unit for index in indexes for unit in range(*units_before(split, index))]
    rows = dicts(_OUTPUTS_OF_UNITS, params | {"units": units})
    return [(row["index"] // split["chunk"], _left(row)) for row in rows]


def _own(
    row: dict[str, Any], part: dict[str, Any], files: dict[str, dict[str, Any]], left: Left
) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    """The unit's parameters, and its files beside those that its stage shares."""
    if row["stage"] >= VALIDATES:
        return {}, results_files(row["task_id"], row["stage"] - VALIDATES, row["index"])
    if row["stage"] and "name" not in part:
        return {}, merge_files(row["task_id"])
    paths = unit_files(part, row["index"])
    own = None if paths is None else [files[path] for path in paths]
    if part["split"]["by"] in OVER:
        own = left.get((row["task_id"], row["stage"], row["index"]), [])
    return unit_params(part, row["index"]), own
