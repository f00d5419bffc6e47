"""What is predicted of a task when it is expanded, and how that compares with what came.

Made by the job that expands, once its units are placed: nobody waits for it, and what the task itself has placed by then does
not count as load. Made once, and never changed. It is the planner's own estimate
(`matching/estimates.py`) of each stage, one after the other, over the market as it stands: a constant number of statements,
whatever the task's size.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from marketplace.models import Task
from marketplace.stages import stages_of
from scheduler.calibration import Held, Record, record_of
from scheduler.matching import ClassState
from scheduler.matching.estimates import Estimate, estimate
from scheduler.models import Prediction
from scheduler.services.expanding import need_of
from scheduler.snapshots import market

LAST: Final = 200  # delivered tasks that the record looks back on
MICRO: Final = Decimal("0.000001")
MOST_PRICE: Final = Decimal(10) ** 13
OVERHEAD_S: Final = 1.0  # until a round has run and an agent has fetched, at the slowest that a healthy platform is


def predict_task(task_id: UUID | str) -> Prediction | None:
    """Predict an open task that has none yet. None where that is not possible: no pool fits now, or its inputs are not there."""
    open_ones = Task.objects.filter(pk=task_id, prediction=None, units_done=0, state__in=["queued", "running"])
    task = open_ones.exclude(units_open=0).select_related("organization", "capability_version").first()
    if task is None:
        return None
    parts = _estimates(task)
    if parts is None:
        return None
    made = Prediction(task=task, made_at=timezone.now(), price=_price(task, parts), tflop=_tflop(task), **_times(task, parts))
    Prediction.objects.bulk_create([made], ignore_conflicts=True)  # another who expands may have been quicker
    return made


def _estimates(task: Task) -> list[Estimate] | None:
    """Stage by stage. Without the deadline, which is a wish and not a fact; None where a stage fits nowhere."""
    files = list(task.files.values_list("artifact__blob_id", "artifact__blob__bytes"))
    needs = [need_of(task, stage=stage, inputs=files) for stage in range(len(stages_of(task.plan)))]
    documents = [{name: value for name, value in need.items() if name != "deadline"} for need in needs]
    counts = [part["units"] for part in stages_of(task.plan)]
    classes = [ClassState(-1 - n, document, counts[n]) for n, document in enumerate(documents)]
    snapshot = market(classes, online_only=True, without=task.pk)
    found = [estimate(one, one.waiting, snapshot) for one in classes]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else None


def _times(task: Task, parts: list[Estimate]) -> dict[str, float]:
    """Seconds from the submit. A start is as unsure as what runs before it: the same kinds of work."""
    since = max((timezone.now() - task.created_at).total_seconds(), 0.0)
    expected, p90 = sum(part.seconds for part in parts), sum(part.seconds_p90 for part in parts)
    start, unsure = parts[0].start_s, p90 / expected if expected > 0 else 1.0
    return {
        "start_p50_s": round(since + start, 3),
        "start_p90_s": round(since + start * unsure + OVERHEAD_S, 3),
        "finish_p50_s": round(since + expected, 3),
        "finish_p90_s": round(since + max(p90, expected) + OVERHEAD_S, 3),
    }


def _price(task: Task, parts: list[Estimate]) -> Decimal:
    fee = Decimal(task.terms["fee_per_unit"]) * task.plan["units"] + Decimal(task.terms["fee_per_task"])
    return min(sum((part.price for part in parts), fee), MOST_PRICE).quantize(MICRO)


def _tflop(task: Task) -> Decimal:
    work: Decimal = sum((Decimal(str(part["tflop"])) * part["units"] for part in stages_of(task.plan)), Decimal(0))
    return min(work, Decimal(10) ** 17).quantize(Decimal("1e-12"))


def records(last: int = LAST) -> dict[str, Record]:
    """The record of starts and of results, over the market's last delivered tasks. One statement."""
    return {name: record_of(held) for name, held in held_against(last).items()}


def held_against(last: int = LAST) -> dict[str, list[Held]]:
    """What was promised of `start` and `finish` of the market's last delivered tasks, and what came. One statement."""
    delivered = Prediction.objects.filter(task__state=Task.State.DELIVERED).order_by("-task__ended_at")
    rows = delivered.values_list(
        "start_p50_s", "start_p90_s", "finish_p50_s", "finish_p90_s",
        "task__created_at", "task__started_at", "task__ended_at",
    )[:last]  # fmt: skip
    starts, ends = list[Held](), list[Held]()
    for start_p50, start_p90, end_p50, end_p90, created, started, ended in rows:
        if started is not None:
            starts.append(Held(start_p50, start_p90, (started - created).total_seconds()))
        if ended is not None:
            ends.append(Held(end_p50, end_p90, (ended - created).total_seconds()))
    return {"start": starts, "finish": ends}


def explain_prediction(task: Task) -> dict[str, Any] | None:
    """What was predicted, what came, and how good predictions have been of late; None for a task without a prediction."""
    made = Prediction.objects.filter(task=task).first()
    if made is None:
        return None
    record = records()
    return {
        "predicted": {
            "at": made.made_at,
            "start_p50_s": made.start_p50_s,
            "start_p90_s": round(record["start"].shown(made.start_p50_s, made.start_p90_s), 3),
            "finish_p50_s": made.finish_p50_s,
            "finish_p90_s": round(record["finish"].shown(made.finish_p50_s, made.finish_p90_s), 3),
            "price": str(made.price),
            "currency": task.terms["currency"],
            "tflop": str(made.tflop),
        },
        "actual": {
            "start_s": _since(task, task.started_at),
            "finish_s": _since(task, task.ended_at) if task.state == Task.State.DELIVERED else None,
        },
        "calibration": {name: _document(one) for name, one in record.items()},
    }


def _since(task: Task, moment: datetime | None) -> float | None:
    return None if moment is None else round(max((moment - task.created_at).total_seconds(), 0.0), 3)


def _document(record: Record) -> dict[str, Any]:
    return {
        "tasks": record.n,
        "within_p50": record.within_p50,
        "within_p90": record.within_p90,
        "factor": record.factor,
    }
