"""Reads of tasks that several doors share."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, F, QuerySet

from marketplace.loads import Load
from marketplace.models import Organization, Task, TaskEvent
from marketplace.splitting import unit_params
from marketplace.stages import part_of, stage_name
from scheduler.models import Attempt, MarketPrice, Unit
from scheduler.sql import rows


def tasks_of(organization: Organization | None, *, operator: bool) -> QuerySet[Task]:
    """The tasks a caller may see: its organization's, and everybody's for an operator.

    Canaries are tasks of the version's publisher, who sees none of them: publishers may have pools, too.
    """
    tasks = Task.objects.select_related("capability_version__capability__organization", "result")
    if operator:
        return tasks
    if organization is None:
        return tasks.none()
    return tasks.filter(organization=organization).exclude(kind=Task.Kind.TEST, labels__has_key="canary")


def running_units(task_ids: list[UUID]) -> dict[UUID, int]:
    """Units that an agent holds now, per task that has any. Looks at live attempts only, however many have ended."""
    live = Attempt.objects.filter(task__in=task_ids, state__in=Attempt.LIVE)
    return dict(live.order_by().values_list("task_id").annotate(running=Count("id")))


def units_page(task: Task, *, after: int, limit: int) -> list[dict[str, Any]]:
    """A task's units with their attempts, in the order of their ids, after a unit's id."""
    units = list(Unit.objects.filter(task=task, id__gt=after).select_related("pool__region").order_by("id")[:limit])
    attempts: dict[int, list[dict[str, Any]]] = {}
    found = Attempt.objects.filter(unit__in=units, task=task).select_related("pool").annotate(saved_at=F("checkpoint__at"))
    for attempt in found.order_by("id"):
        attempts.setdefault(attempt.unit_id, []).append(attempt_document(attempt))
    return [unit_document(task, unit, attempts.get(unit.pk, [])) for unit in units]


def unit_document(task: Task, unit: Unit, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": unit.pk,
        "stage": stage_name(task.plan, unit.stage),
        "index": unit.index,
        "replica": unit.replica,
        "checked": unit.checked is True,
        "state": unit.state,
        "pool": unit.pool.identifier if unit.pool else None,
        "region": unit.pool.region.code if unit.pool else None,
        "tries": unit.tries,
        "params": unit_params(part_of(task.plan, unit.stage), unit.index),
        "attempts": attempts,
    }


def attempt_document(attempt: Any) -> dict[str, Any]:
    """`attempt` is an Attempt with its pool, and with `saved_at`, the moment of its last checkpoint."""
    progress = None if attempt.progress_ppm is None else attempt.progress_ppm / 1_000_000
    names = ("state", "leased_at", "started_at", "ended_at", "reason_class", "code", "detail", "exit_code", "saved_at")
    document = {name: getattr(attempt, name) for name in names}
    return {"id": attempt.pk, "pool": attempt.pool.identifier, "progress": progress, **document}


def events_after(task_id: UUID, seq: int, limit: int = 500) -> list[dict[str, Any]]:
    """A task's events after a number, oldest first."""
    found = TaskEvent.objects.filter(task_id=task_id, seq__gt=seq).order_by("seq")[:limit]
    return [{"seq": e.seq, "kind": e.kind, "data": e.data, "at": e.at} for e in found]


def market_prices(since: datetime, *, pool: str | None, resource: str | None, limit: int) -> list[dict[str, Any]]:
    """Prices of full pools, newest first."""
    found = MarketPrice.objects.filter(at__gte=since).select_related("pool__region")
    if pool:
        found = found.filter(pool__identifier=pool)
    if resource:
        found = found.filter(resource=resource)
    return [
        {
            "at": one.at,
            "pool": one.pool.identifier,
            "region": one.pool.region.code,
            "resource": one.resource,
            "price": one.price,
        }
        for one in found.order_by("-at", "pool__identifier", "resource")[:limit]
    ]


_LEASED = """
SELECT a.pool_id,
       sum((coalesce(n.document->'variants'->a.variant->'need', n.document->'need')->>'cores')::int)::int, count(*)::int
FROM scheduler_attempt a JOIN scheduler_need n ON n.id = a.need_id
WHERE a.state IN ('leased', 'running') AND a.pool_id = ANY(%s) GROUP BY a.pool_id
"""


def loads_of_pools(pool_ids: Collection[int]) -> dict[int, Load]:
    """Cores held by live leases and live attempts, per pool; idle pools are left out."""
    return {pool_id: Load(cores, attempts) for pool_id, cores, attempts in rows(_LEASED, [list(pool_ids)])}
