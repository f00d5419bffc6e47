"""Tasks that wait for other tasks' results, and get them as their inputs.

A task that names results of others (`references.py`) is planned at once as if each were one file, and waits without units
(`units_open` 0). When every task it needs is delivered, the files of their results that match become artifacts of the
organization, the inputs name them, and the task is planned again with what is really there; from then on it is like any other.
If one of them ends without a result, or nothing matches, it fails. It may wait until its own deadline, like every other.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from core.errors import Invalid
from core.wake import wake
from marketplace.inputs import artifact_fields
from marketplace.models import Artifact, Task, TaskArtifact, TaskReference
from marketplace.paths import matches
from marketplace.stages import open_border, total_units
from scheduler.services.delivering import result_files
from scheduler.services.drafting import plan_with
from scheduler.services.events import add_events
from scheduler.services.references import OPEN

MAX_FILES: Final = 10_000  # of one task's references together
MAX_NAME: Final = 255
File = tuple[str, str]  # path in the result, SHA-256


def hopeless(task: Task) -> str | None:
    """The sentence why a task that waits for others can never begin, None while it may."""
    ended = task.references.exclude(needs__state__in=[*OPEN, Task.State.DELIVERED])
    one = ended.select_related("needs").order_by("id").first()
    return None if one is None else f"inputs.{one.field}: the task {one.needs_id} was {one.needs.state}, without a result"


def describe_needed(task: Task) -> str:
    """What a task waits for, in a sentence."""
    ids = task.references.filter(needs__state__in=OPEN).order_by("needs").values_list("needs", flat=True).distinct()
    listed = [str(one) for one in ids[:4]]
    return f"its inputs are results of other tasks: {', '.join(listed[:3])}{' ...' if len(listed) > 3 else ''}"


def resolve(task: Task) -> bool:
    """Give a task the files it waited for, if they are all there. True when its units may exist from now on.

    Raises DomainError when what came cannot be its input: the caller ends the task with that.
    """
    references = list(task.references.select_related("needs").order_by("field", "position"))
    if any(one.needs.state != Task.State.DELIVERED for one in references):
        return False
    with transaction.atomic():
        locked = Task.objects.select_for_update(no_key=True, of=("self",)).select_related("capability_version", "organization")
        waiting = locked.filter(pk=task.pk, units_open=0, state__in=OPEN).first()
        if waiting is None:
            return False
        _give(waiting, references)
        add_events([(task.pk, "task.resolved", {"tasks": len({one.needs_id for one in references})})])
        wake("scheduler.expand", str(task.pk))
    return True


def _give(task: Task, references: list[TaskReference]) -> None:
    found = _matching(references)
    artifacts = _artifacts_of(task, [file for files in found.values() for file in files])
    inputs = copy.deepcopy(task.inputs)
    many = dict(artifact_fields(task.capability_version.manifest))
    for name in {one.field for one in references}:
        mine = {one.position: [artifacts[file] for file in found[one.pk]] for one in references if one.field == name}
        inputs[name] = _value(inputs[name], mine) if many[name] else mine[0][0]
    planned = plan_with(task.organization, task.capability_version, inputs)
    TaskArtifact.objects.filter(task=task).delete()
    TaskArtifact.objects.bulk_create(planned.files_of(task))
    plan = planned.plan | {"verify": task.plan["verify"]}  # as its submit asked, and as many owners as there are allow
    Task.objects.filter(pk=task.pk).update(
        inputs=planned.inputs,
        plan=plan,
        units_total=total_units(plan),
        units_open=open_border(plan),
    )


def _value(value: Any, found: dict[int, list[str]]) -> list[str]:
    """A list input with the ids of what came in the places of its references."""
    listed = value if isinstance(value, list) else [value]
    return [one for place, old in enumerate(listed) for one in found.get(place, [old])]


def _matching(references: list[TaskReference]) -> dict[int, list[File]]:
    """Reference → the files of the other's result that match its path."""
    results: dict[UUID, list[File]] = {}
    found: dict[int, list[File]] = defaultdict(list)
    single = {name for name, many in artifact_fields(references[0].task.capability_version.manifest) if not many}
    for one in references:
        if one.needs_id not in results:
            results[one.needs_id] = list(_files(one.needs))
        found[one.pk] = [file for file in results[one.needs_id] if matches(one.path, file[0])]
        _check_count(one, len(found[one.pk]), single=one.field in single)
    listed = [path for files in found.values() for path, _ in files]
    if too_long := next((path for path in listed if len(path) > MAX_NAME), None):
        raise Invalid("name_too_long", f"{too_long[:100]}...: a file's name may have {MAX_NAME} characters", field="inputs")
    if len(listed) > MAX_FILES:
        raise Invalid("too_many_files", f"the results it names have more than {MAX_FILES} matching files", field="inputs")
    return found


def _files(task: Task) -> Iterator[File]:
    return ((file["path"], file["sha256"]) for file in result_files(task))


def _check_count(one: TaskReference, count: int, *, single: bool) -> None:
    at = f"inputs.{one.field}"
    if count == 0:
        raise Invalid("no_file_matches", f"{at}: no file of the task {one.needs_id} is like {one.path}", field=at)
    if single and count > 1:
        raise Invalid("many_files_match", f"{at}: {count} files of the task {one.needs_id} are like {one.path}", field=at)


def _artifacts_of(task: Task, files: list[File]) -> dict[File, str]:
    """Artifacts of the organization with these names and contents; those that it has already are taken."""
    wanted = set(files)
    mine = Artifact.objects.filter(organization=task.organization, deleted_at=None)
    known = mine.filter(blob__in={sha for _, sha in wanted}, name__in={name for name, _ in wanted}).order_by("pk")
    ids = {(one.name, one.blob_id): str(one.pk) for one in known}
    new = [
        Artifact(organization=task.organization, blob_id=sha, name=name, created_by_id=task.user_id)
        for name, sha in sorted(wanted - ids.keys())
    ]
    Artifact.objects.bulk_create(new)
    return ids | {(one.name, one.blob_id): str(one.pk) for one in new}
