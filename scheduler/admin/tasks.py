"""What a task's page shows of its units and attempts, and what an operator may do to it."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import Panel, badge, carry_out, limited, link, panel, to
from core.admin.cells import list_url
from core.admin.panels import table
from marketplace.admin.tasks import TaskPage
from marketplace.models import Pool, Task
from marketplace.stages import stage_name
from scheduler.admin.units import ATTEMPTS, attempt_lines
from scheduler.models import Attempt, Unit
from scheduler.services.advancing import cancel_task

# What an operator may do to a task is the scheduler's service.


@admin.action(description="Cancel", permissions=["operate"])
def cancel(page: TaskPage, request: HttpRequest, queryset: QuerySet[Task]) -> None:
    carry_out(page, request, queryset, lambda task: cancel_task(task.pk), "asked to stop")


class CancellableTaskPage(TaskPage):
    actions = (cancel,)

    def fits(self, action: str, obj: Any) -> bool:
        return obj.ended_at is None and obj.cancel_requested_at is None


admin.site.unregister(Task)
admin.site.register(Task, CancellableTaskPage)


_UNITS: Final = """
SELECT u.stage, u.state, u.pool_id, p.identifier, r.code, count(*), sum(u.tries) FROM scheduler_unit u
LEFT JOIN marketplace_pool p ON p.id = u.pool_id LEFT JOIN marketplace_region r ON r.id = p.region_id
WHERE u.task_id = %s GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 4
"""


@panel(Task)
def units(task: Task) -> Panel | None:
    """Where the units are: one query, whatever their number."""
    more = link(list_url(Unit, task=task.pk), "all units")
    found = limited(_UNITS, [task.pk])
    if found is None:
        return Panel("Units", more=more, note="Too many to add up here.")
    lines = (
        (stage_name(task.plan, stage), badge(state), to(Pool, pool, name), region or "", count, tries)
        for stage, state, pool, name, region, count, tries in found
    )
    return table("Units", ("stage", "state", "pool", "region", "#units", "#failed tries"), lines, more=more)


@panel(Task)
def attempts(task: Task) -> Panel | None:
    rows = Attempt.objects.filter(task=task).order_by("-pk")
    more = link(list_url(Attempt, task=task.pk), "all attempts")
    return table("Attempts, newest first", ATTEMPTS, attempt_lines(rows), more=more)
