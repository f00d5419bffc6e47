"""Step 7 of the river, deliver: the outputs of valid attempts become the task's result, with a manifest.

`result_hash` covers the list of files (path, bytes, sha256) and nothing of node or time: equal work, equal hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import orjson
from django.db import transaction
from django.utils import timezone

from marketplace.models import Result, Task
from marketplace.stages import stage_name, stages_of
from scheduler.services.events import add_events
from scheduler.sql import dicts
from scheduler.stores import store_bytes

_FILES: Final = """
SELECT u.stage, u.index, o.path, o.bytes, o.blob_id AS sha256, o.media_type
FROM scheduler_output o JOIN scheduler_attempt a ON a.id = o.attempt_id JOIN scheduler_unit u ON u.id = a.unit_id
WHERE o.task_id = %s AND a.state = 'valid' AND u.state = 'done' AND u.stage = ANY(%s)
ORDER BY u.stage DESC, u.index, o.path
"""


def deliver_task(task: Task) -> bool:
    """Deliver a task whose units are all done. Guarded, so it may run twice; True when it was delivered now."""
    files = list(result_files(task))
    manifest = manifest_of(task, files)
    blob = store_bytes(orjson.dumps(manifest))
    with transaction.atomic():
        moved = Task.objects.filter(pk=task.pk, state__in=["queued", "running"], cancel_requested_at=None).update(
            state=Task.State.DELIVERED, ended_at=timezone.now()
        )
        if not moved:
            return False
        Result.objects.create(
            task=task,
            manifest_id=blob.sha256,
            result_hash=manifest["result_hash"],
            files=len(files),
            bytes=sum(file["bytes"] for file in files),
            created_at=timezone.now(),
        )
        add_events([(task.pk, "task.delivered", {"files": len(files), "result_hash": manifest["result_hash"]})])
    return True


def result_files(task: Task) -> Iterator[dict[str, Any]]:
    """The files of a task's result. Those of one last unit stand at its top, others below units/ or their stage's name."""
    parts = stages_of(task.plan)
    for row in dicts(_FILES, [task.pk, _kept(task.plan, parts)]):
        alone = row["stage"] == len(parts) - 1 and parts[-1]["units"] == 1
        folder = "units" if row["stage"] == 0 else stage_name(task.plan, row["stage"])
        path = row["path"] if alone else f"{folder}/{row['index']:06d}/{row['path']}"
        yield {"path": path, "bytes": row["bytes"], "sha256": row["sha256"], "media_type": row["media_type"]}


def _kept(plan: dict[str, Any], parts: list[dict[str, Any]]) -> list[int]:
    """The stages whose files belong to the result: the last one, and those that are asked to be kept."""
    last = len(parts) - 1
    if plan["merge_stage"]:
        return [1, 0] if plan["merge_stage"]["keep_units"] else [1]
    return [number for number, part in enumerate(parts) if number == last or part.get("keep")]


def manifest_of(task: Task, files: list[dict[str, Any]]) -> dict[str, Any]:
    """The result's manifest.json."""
    return {
        "task": str(task.pk),
        "capability": str(task.capability_version),
        "result_hash": hash_of(files),
        "files": files,
    }


def hash_of(files: list[dict[str, Any]]) -> str:
    """SHA-256 over the sorted lines `path TAB bytes TAB sha256 LF`."""
    lines = sorted(f"{file['path']}\t{file['bytes']}\t{file['sha256']}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
