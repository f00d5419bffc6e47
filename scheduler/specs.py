"""What an agent is told of a unit: the spec its task's units share, and the few values of its own. Mostly pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import F

from marketplace.models import Blob, Task, TaskArtifact
from marketplace.policies import Policy
from marketplace.splitting import part_of, unit_files, unit_params
from scheduler.models import Unit
from scheduler.services.checkpoints import resume_files
from scheduler.sql import dicts

_UNIT_OUTPUTS = """
SELECT u.index, o.path, o.blob_id AS sha256, o.bytes
FROM scheduler_output o JOIN scheduler_attempt a ON a.id = o.attempt_id JOIN scheduler_unit u ON u.id = a.unit_id
WHERE o.task_id = %s AND u.stage = 0 AND u.state = 'done' AND a.state = 'valid' ORDER BY u.index, o.path
"""


def spec_id(task_id: UUID, stage: int) -> str:
    return f"{task_id}:{stage}"


@lru_cache(maxsize=512)
def shared_spec(task_id: UUID, stage: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]:
    """(spec, plan, files by path) of a task's stage. A task's plan never changes, so the process may keep it."""
    task = Task.objects.select_related("capability_version__capability__organization").get(pk=task_id)
    files = task_files(task_id)
    plan = task.plan
    own = stage >= Unit.Stage.VALIDATE or (plan["split"].get("by") == "files" and stage == Unit.Stage.UNIT)
    shared = [] if own else list(files.values())
    return build_spec(task, stage, shared), plan, files


def build_spec(task: Task, stage: int, files: list[dict[str, Any]]) -> dict[str, Any]:
    """The spec of docs/protocol.md."""
    plan, version = task.plan, task.capability_version
    part = part_of(plan, stage)
    return {
        "id": spec_id(task.pk, stage),
        "task": str(task.pk),
        "stage": Unit.Stage(stage).label.lower(),
        "total": plan["units"],
        "capability": str(version),
        "trusted": version.trusted,
        "program": _program(plan.get("program")),
        "environment": _environment(version.requirements),
        "run": part["run"],
        "env": plan.get("env", {}),
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
    if stage < Unit.Stage.VALIDATE and Policy.of(plan.get("verify")).commit_reveal:
        extras["commit"] = True
    return extras


def _program(sha256: str | None) -> dict[str, Any] | None:
    if sha256 is None:
        return None
    return {"sha256": sha256, "bytes": Blob.objects.values_list("bytes", flat=True).get(pk=sha256)}


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


def merge_files(task_id: UUID) -> list[dict[str, Any]]:
    """The units' outputs as a merge finds them, below in/units/<index>/, and their index in/units.json."""
    outputs = dicts(_UNIT_OUTPUTS, [task_id])
    files = [
        {"path": f"in/units/{row['index']:06d}/{row['path']}", "sha256": row["sha256"], "bytes": row["bytes"]}
        for row in outputs
    ]
    index = Task.objects.values_list("units_index", flat=True).get(pk=task_id)
    return [{"path": "in/units.json", **index}, *files] if index else files


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


def units_index(task_id: UUID, plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The content of in/units.json: every unit with its parameters and files."""
    by_index: dict[int, list[str]] = {}
    for row in dicts(_UNIT_OUTPUTS, [task_id]):
        by_index.setdefault(row["index"], []).append(row["path"])
    return [
        {"index": i, "params": unit_params(plan, i), "files": by_index.get(i, [])} for i in range(plan["units"])
    ]


def lease_rows(leased: Iterable[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[list[Any]]]:
    """Specs and lease rows of an answer. `leased` rows hold attempt, fence, task_id, stage, index."""
    specs: dict[str, dict[str, Any]] = {}
    leases: list[list[Any]] = []
    for row in leased:
        spec, plan, files = shared_spec(row["task_id"], row["stage"])
        specs[spec["id"]] = spec
        leases.append([row["attempt"], row["fence"], spec["id"], row["index"], *_own(row, plan, files)])
    saved = resume_files([lease[0] for lease in leases if "checkpoint" in specs[lease[2]]])
    return specs, [[*lease, saved[lease[0]]] if lease[0] in saved else lease for lease in leases]


def _own(row: dict[str, Any], plan: dict[str, Any], files: dict[str, dict[str, Any]]) -> tuple[Any, Any]:
    if row["stage"] == Unit.Stage.MERGE:
        return {}, merge_files(row["task_id"])
    if row["stage"] >= Unit.Stage.VALIDATE:
        return {}, results_files(row["task_id"], row["stage"] - Unit.Stage.VALIDATE, row["index"])
    paths = unit_files(plan, row["index"])
    return unit_params(plan, row["index"]), None if paths is None else [files[path] for path in paths]
