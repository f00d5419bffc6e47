"""Inputs that name another task's result: {"task": "<id>", "path": "<glob>"} where an artifact's id would stand.

Only tasks of one's own organization can be named, and only ones that exist: so no task can wait for itself, directly or around
corners. What becomes of a task that names some: `referring.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from core.errors import Invalid
from marketplace.inputs import ARTIFACT_ID, artifact_fields
from marketplace.manifest import PLACEHOLDER
from marketplace.models import Organization, Task, TaskReference
from marketplace.paths import safe_glob

MAX_REFERENCES: Final = 100
OPEN: Final = ("queued", "running")


@dataclass(frozen=True)
class Reference:
    """One input that is another task's result. `where`: the path of the value, for errors."""

    field: str
    position: int
    task: UUID
    path: str
    where: str


def take_out(manifest: dict[str, Any], inputs: dict[str, Any]) -> tuple[dict[str, Any], list[Reference]]:
    """The inputs with placeholders for what is referred to, and the references. Raises Invalid `invalid_reference`.

    An input of one artifact may be a reference; an input of several may be one, or hold some among its ids.
    """
    plain, found = dict(inputs), list[Reference]()
    for name, many in artifact_fields(manifest):
        value = plain.get(name)
        if isinstance(value, dict):
            found.append(_reference(value, name, 0, f"inputs.{name}"))
            plain[name] = [PLACEHOLDER] if many else PLACEHOLDER
        elif many and isinstance(value, list):
            named = [_reference(v, name, i, f"inputs.{name}.{i}") for i, v in enumerate(value) if isinstance(v, dict)]
            plain[name] = [PLACEHOLDER if isinstance(one, dict) else one for one in value]
            found += named
    if len(found) > MAX_REFERENCES:
        raise Invalid("invalid_reference", f"a task may name {MAX_REFERENCES} results of others", field="inputs")
    return plain, found


def _reference(value: dict[str, Any], field: str, position: int, where: str) -> Reference:
    task, path = value.get("task"), value.get("path", "**")
    if not isinstance(task, str) or not ARTIFACT_ID.fullmatch(task):
        raise Invalid("invalid_reference", "task is the id of another task", field=f"{where}.task")
    if not isinstance(path, str) or len(path) > 300 or set(value) - {"task", "path"}:
        raise Invalid("invalid_reference", "a reference has a task and a path, nothing else", field=where)
    return Reference(field, position, UUID(task), safe_glob(path, field=f"{where}.path"), where)


def check_needed(organization: Organization, references: list[Reference]) -> None:
    """Each names a task of this organization that is delivered or may still be. One statement.

    Raises Invalid `unknown_task`: also for a stranger's, and for what does not exist (yet). `task_without_result` for one that
    ended without any.
    """
    if not references:
        return
    ids = {one.task for one in references}
    states = dict(Task.objects.filter(organization=organization, id__in=ids).values_list("id", "state"))
    for one in references:
        if one.task not in states:
            raise Invalid("unknown_task", "you have no such task", field=f"{one.where}.task")
        if states[one.task] not in (*OPEN, Task.State.DELIVERED):
            detail = f"that task is {states[one.task]} and has no result"
            raise Invalid("task_without_result", detail, field=f"{one.where}.task")


def rows_of(task: Task, references: list[Reference]) -> list[TaskReference]:
    """What is saved with the task."""
    return [
        TaskReference(task=task, needs_id=one.task, field=one.field, position=one.position, path=one.path) for one in references
    ]
