"""The organization's tasks: the list, one task with everything about it, and the wish to cancel it."""

from __future__ import annotations

from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import urlencode

from billing.api import ChargeOut
from billing.queries import charges_of
from console import reads
from console.artifacts import shown_with_places
from console.pages import Page
from console.reasons import compared, stages_shown
from core.errors import NotFound
from marketplace.auth import Caller
from marketplace.models import Task
from marketplace.permissions import Scopes
from marketplace.scopes import ARTIFACTS_READ, BILLING_READ, TASKS_READ, TASKS_WRITE
from scheduler.api.serializers import TaskOut
from scheduler.api.tasks import manifest_of
from scheduler.queries import tasks_of
from scheduler.services.advancing import cancel_task
from scheduler.services.explaining import explain_task

PAGE: Final = 30
CHARGES: Final = 30
FILES: Final = 100
READ: Final = 30  # input files
PICTURES: Final = 12
FILMS: Final = 3
DECISIONS: Final = 6
LARGEST_PICTURE: Final = 20_000_000
_PICTURE_TYPES: Final = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_FILM_TYPES: Final = {"video/mp4", "video/webm"}


class TaskList(Page):
    """Tasks, newest first; `?state=` and `?older=<id>`."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/tasks.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        state = request.GET.get("state", "")
        rows = list(older_than(request.GET.get("older", ""), self._tasks(state))[: PAGE + 1])
        query = {"state": state} if state in Task.State.values else {}
        older = urlencode(query | {"older": str(rows[PAGE - 1].pk)}) if len(rows) > PAGE else ""
        shown = rows[:PAGE]
        tasks = list(zip(shown, TaskOut(shown, many=True).data, strict=True))
        return self.show({"tasks": tasks, "older": older, "states": Task.State.values, "chosen": query.get("state", "")})

    def _tasks(self, state: str) -> QuerySet[Task]:
        tasks = tasks_of(self.caller.organization, operator=self.caller.is_operator).order_by("-pk")
        return tasks.filter(state=state) if state in Task.State.values else tasks


def older_than(text: str, tasks: QuerySet[Task]) -> QuerySet[Task]:
    """The tasks before the one with this id; all of them where it is no id."""
    try:
        return tasks.filter(pk__lt=UUID(text)) if text else tasks
    except ValueError:
        return tasks


class OneTask(Page):
    """A task while it runs and afterwards. The parts marked `data-live` are fetched again as events come in."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/task.html"

    def get(self, request: HttpRequest, task_id: UUID) -> HttpResponse:
        task = task_for(self.caller, task_id)
        known = reads.last_event(task)  # before all else, so that nothing between is missed
        why = explain_task(task)
        context = {"task": task, "shown": TaskOut(task).data, "last_event": known, "why": why} | _why(task, why)
        context["took"] = task.ended_at and (task.ended_at - (task.started_at or task.created_at)).total_seconds()
        context |= {"inputs": sorted(task.inputs.items()), "failures": reads.failed_attempts(task), "log": reads.log_tail(task)}
        context |= {"checks": reads.checks_of(task), **reads.references_of(task)}
        return self.show(context | _files_read(task, self.caller) | _result(task) | _charges(task, self.caller))


def task_for(caller: Caller, task_id: UUID) -> Task:
    """A task that this caller may see; a stranger's is NotFound."""
    task = tasks_of(caller.organization, operator=caller.is_operator).filter(pk=task_id).first()
    if task is None:
        raise NotFound("not_found", "no such task")
    return task


def _why(task: Task, why: dict[str, Any]) -> dict[str, Any]:
    """`stages` and how far each is; `decisions`, each with its table of candidates; `waiting_for`, that of units that wait."""
    decisions = [(one, compared(one["candidates"], one["placed"])) for one in why["decisions"][:DECISIONS]]
    waiting = why["waiting"]
    able = compared(waiting["candidates"]) if waiting and waiting["candidates"] else None
    return {"stages": stages_shown(task.plan, why["where"]), "decisions": decisions, "waiting_for": able}


def _files_read(task: Task, caller: Caller) -> dict[str, Any]:
    """`read`: input files, each with where its bytes are, for those who may see files. Five statements, one without files."""
    if ARTIFACTS_READ not in caller.scopes:
        return {}
    files = list(task.files.select_related("artifact__blob", "artifact__organization").order_by("path")[: READ + 1])
    shown = shown_with_places([one.artifact for one in files[:READ]]) if files else []
    return {"read": list(zip(files, shown, strict=False)), "read_left": len(files) > READ}


def _result(task: Task) -> dict[str, Any]:
    """`files`, `pictures` and `films` of what was delivered, as many as a page can show."""
    if task.state != Task.State.DELIVERED:
        return {}
    files = manifest_of(task)["files"]
    small = (file for file in files if file["bytes"] <= LARGEST_PICTURE)
    pictures = [file for file in small if file["media_type"] in _PICTURE_TYPES]
    films = [file for file in files if file["media_type"] in _FILM_TYPES]
    more = {"files_left": max(0, len(files) - FILES), "pictures": pictures[:PICTURES], "films": films[:FILMS]}
    return {"files": files[:FILES]} | more


def _charges(task: Task, caller: Caller) -> dict[str, Any]:
    """The bill of a task, for those who may read bills."""
    if BILLING_READ not in caller.scopes:
        return {}
    found = list(charges_of(task).order_by("pk")[: CHARGES + 1])
    return {"charges": ChargeOut(found[:CHARGES], many=True).data, "charges_left": len(found) > CHARGES}


class CancelTask(Page):
    scopes: ClassVar[Scopes] = {"POST": TASKS_WRITE}

    def post(self, request: HttpRequest, task_id: UUID) -> HttpResponse:
        cancel_task(task_for(self.caller, task_id).pk)
        return redirect("console:task", task_id)
