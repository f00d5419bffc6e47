"""Reads that only a task's page needs: bounded, whatever the task's size."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Count

from marketplace.models import Task, TaskReference
from marketplace.policies import Policy
from marketplace.stages import MERGE, stage_name
from scheduler.models import Attempt, LogChunk

FAILURES: Final = 20
REFERENCES: Final = 100  # as many as a task may have (scheduler/services/references.py)
MOST_COUNTED: Final = 20_000  # units
_LOG_ATTEMPTS: Final = 200
_LOG_CHUNKS: Final = 60
_LOG_CHARACTERS: Final = 12_000
_BAD_ENDS: Final = (Attempt.State.FAILED, Attempt.State.LOST, Attempt.State.INVALID)


def failed_attempts(task: Task) -> list[Attempt]:
    """The newest attempts that came to nothing, with their unit and pool."""
    rows = Attempt.objects.filter(task=task, state__in=_BAD_ENDS).select_related("unit", "pool")
    return list(rows.order_by("-pk")[:FAILURES])


def checks_of(task: Task) -> dict[str, Any] | None:
    """How the task's results are proved, and how many of them were right; None where nothing is compared.

    `counts` is left out for tasks of very many units, whose attempts would be too many to add up for a page.
    """
    policy = Policy.of(task.plan.get("verify"))
    if not policy.compares:
        return None
    counts: dict[str, int] = {}
    if task.units_total <= MOST_COUNTED:
        checked = Attempt.objects.filter(task=task, checked=True).order_by()
        counts = dict(checked.values_list("state").annotate(number=Count("pk")))
    return {"policy": policy, "counts": sorted(counts.items())}


def references_of(task: Task) -> dict[str, list[TaskReference]]:
    """`needs`: the tasks whose results are inputs of this one; `needed_by`: those that have its result as an input.

    All are of one organization: another's task cannot be named.
    """
    names = "capability_version__capability__organization"
    needs = TaskReference.objects.filter(task=task).select_related(f"needs__{names}").order_by("field", "position")
    used = TaskReference.objects.filter(needs=task).select_related(f"task__{names}").order_by("-task_id", "field", "position")
    return {"needs": list(needs[:REFERENCES]), "needed_by": list(used[:REFERENCES])}


def log_tail(task: Task) -> str:
    """The last that the task's programs printed, each run of lines headed by where it comes from.

    Looks at the newest attempts only, so a task of a million units costs no more than one of ten.
    """
    newest = Attempt.objects.filter(task=task).order_by("-pk").values("pk")[:_LOG_ATTEMPTS]
    rows = LogChunk.objects.filter(attempt__in=newest).select_related("attempt__unit").order_by("-pk")[:_LOG_CHUNKS]
    parts: list[str] = []
    last = None
    for chunk in reversed(rows):
        if (source := _source(task, chunk)) != last:
            parts.append(f"\n── {source} ──\n")
        parts.append(bytes(chunk.data).decode("utf-8", "replace"))
        last = source
    return "".join(parts)[-_LOG_CHARACTERS:].strip("\n")


def _source(task: Task, chunk: LogChunk) -> str:
    unit = chunk.attempt.unit
    name = stage_name(task.plan, unit.stage)
    return f"{name if name == MERGE else f'{name} {unit.index}'}, {chunk.stream}"


def last_event(task: Task) -> int:
    """The number of the task's newest event, 0 for none: where a live page goes on listening."""
    newest: Any = task.events.order_by("-seq").values_list("seq", flat=True).first()
    return int(newest or 0)
