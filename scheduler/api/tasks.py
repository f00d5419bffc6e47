"""The user's door to tasks: submit, quote, follow, read results. No rules in here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.urls import path
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotFound
from marketplace import storage
from marketplace.api.artifacts import DOWNLOAD, RANGE, AnyAccept
from marketplace.auth import caller_of
from marketplace.models import Result, Task
from marketplace.stages import stage_names
from scheduler.api.events import TaskEvents
from scheduler.api.serializers import (
    ExplanationOut,
    LogsOut,
    ManifestOut,
    QuoteOut,
    TaskIn,
    TaskOut,
    UnitsOut,
)
from scheduler.queries import tasks_of, units_page
from scheduler.services.advancing import cancel_task
from scheduler.services.drafting import Asker
from scheduler.services.drafting import Request as TaskRequest
from scheduler.services.explaining import explain_task
from scheduler.services.logs import STREAMS, read_logs
from scheduler.services.quoting import quote_task
from scheduler.services.submitting import submit_task

MAX_INT4, MAX_INT8 = 999_999_999, 10**18 - 1  # digits that fit; a unit's index is an int4
KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 200},
    OpenApiParameter.HEADER,
    description="same key, same body: the same task again; same key, other body: 422",
)
LIMIT = OpenApiParameter("limit", {"type": "integer", "minimum": 1}, description="at most this many; cut to 500")
LINES = OpenApiParameter("limit", {"type": "integer", "minimum": 1}, description="at most this many; cut to 1000")
NAME = OpenApiParameter("name", str, OpenApiParameter.PATH, description="a path of the manifest, may hold `/`")


def _whole(name: str, description: str, most: int = MAX_INT8) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "integer", "minimum": 0, "maximum": most}, description=description)


class TaskFilters(filters.FilterSet):  # type: ignore[misc]  # the library has no types
    """`?state=&capability=&label=key:value&created_after=&created_before=`"""

    state = filters.MultipleChoiceFilter(choices=Task.State.choices)
    capability = filters.CharFilter(method="by_capability", max_length=130)
    label = filters.CharFilter(method="by_label", max_length=300)
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Task
        fields: tuple[str, ...] = ()

    def by_capability(self, tasks: QuerySet[Task], name: str, value: str) -> QuerySet[Task]:
        full_name, _, version = value.partition("@")
        publisher, _, capability = full_name.partition("/")
        of = "capability_version__capability__"
        found = tasks.filter(**{f"{of}organization__slug": publisher, f"{of}name": capability})
        return found.filter(capability_version__version=version) if version else found

    def by_label(self, tasks: QuerySet[Task], name: str, value: str) -> QuerySet[Task]:
        key, _, wanted = value.partition(":")
        return tasks.filter(labels__contains={key: wanted})


def asker_of(request: Request) -> Asker:
    """Who submits: the caller's organization, person and key."""
    caller = caller_of(request)
    return Asker(caller.acting_for(), caller.user, caller.api_key)


def tasks_for(request: Request) -> QuerySet[Task]:
    """The tasks this caller may see; a stranger's task is a 404."""
    caller = caller_of(request)
    return tasks_of(caller.organization, operator=caller.is_operator)


def task_for(request: Request, task_id: UUID) -> Task:
    task = tasks_for(request).filter(pk=task_id).first()
    if task is None:
        raise NotFound("not_found", "no such task")
    return task


def request_of(data: Any) -> TaskRequest:
    """A validated body as the service's request; constraints keep decimals as text."""
    form = TaskIn(data=data)
    form.is_valid(raise_exception=True)
    values = dict(form.validated_data)
    given = values.pop("constraints", None) or {}
    constraints = {name: str(value) if isinstance(value, Decimal) else value for name, value in given.items()}
    return TaskRequest(**values, constraints=constraints)


class Tasks(generics.ListAPIView[Task]):
    """GET lists the organization's tasks, newest first; POST submits one."""

    scopes = {"GET": "tasks:read", "POST": "tasks:write"}
    serializer_class = TaskOut
    filterset_class = TaskFilters

    def get_queryset(self) -> QuerySet[Task]:
        if getattr(self, "swagger_fake_view", False):  # the API's description is drawn without a caller
            return Task.objects.none()
        return tasks_for(self.request)

    def filter_queryset(self, queryset: Any) -> Any:
        """The tasks that the query asks for. A filter left empty is a mistake, not a wish for everything."""
        empty = [name for name in TaskFilters.base_filters if self.request.query_params.get(name) == ""]
        if empty:
            raise Invalid("invalid_parameter", f"{empty[0]} is empty", field=empty[0])
        return super().filter_queryset(queryset)

    @extend_schema(request=TaskIn, responses={201: TaskOut, 200: TaskOut}, parameters=[KEY])
    def post(self, request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        task, new = submit_task(asker_of(request), request_of(request.data), idempotency_key=key)
        code = status.HTTP_201_CREATED if new else status.HTTP_200_OK
        location = {"Location": f"/api/v1/tasks/{task.pk}"}
        shown = TaskOut(task, context={"running": {}} if new else {})  # nobody runs what was written just now
        return Response(shown.data, status=code, headers=location)


class OneTask(APIView):
    """One task with its progress, cost so far, and one result."""

    scopes = {"GET": "tasks:read"}

    @extend_schema(responses=TaskOut)
    def get(self, request: Request, task_id: UUID) -> Response:
        return Response(TaskOut(task_for(request, task_id)).data)


class CancelTask(APIView):
    """Records the wish; the task ends when its attempts are known dead."""

    scopes = {"POST": "tasks:write"}

    @extend_schema(request=None, responses={202: TaskOut})
    def post(self, request: Request, task_id: UUID) -> Response:
        cancel_task(task_for(request, task_id).pk)
        return Response(TaskOut(task_for(request, task_id)).data, status=status.HTTP_202_ACCEPTED)


class Quotes(APIView):
    """Price and time of a task, for each objective, without committing to it."""

    scopes = {"POST": "tasks:read"}

    @extend_schema(request=TaskIn, responses=QuoteOut)
    def post(self, request: Request) -> Response:
        quote = quote_task(asker_of(request), request_of(request.data))
        facts = {"units": quote.units, "tflop": quote.tflop, "feasible": quote.feasible, "excluded": quote.excluded}
        return Response(facts | quote.options)


class TaskUnits(APIView):
    """A task's units with their attempts; `?after=` the last unit's id, `?limit=` at most 500."""

    scopes = {"GET": "tasks:read"}

    @extend_schema(parameters=[_whole("after", "the last unit's `id`"), LIMIT], responses=UnitsOut)
    def get(self, request: Request, task_id: UUID) -> Response:
        task = task_for(request, task_id)
        after, limit = whole(request, "after", 0), limit_of(request, 100, most=500)
        units = units_page(task, after=after, limit=limit)
        more = f"/api/v1/tasks/{task.pk}/units?after={units[-1]['id']}&limit={limit}" if len(units) == limit else None
        return Response({"next": more, "previous": None, "results": units})


class TaskLogs(APIView):
    """What the task's programs printed, in every state. Ask again with `after=next` for more."""

    scopes = {"GET": "tasks:read"}

    @extend_schema(
        parameters=[
            _whole("after", "`next` of the answer before"),
            LINES,
            _whole("attempt", "only this attempt's"),
            _whole("unit", "only the unit of this index", MAX_INT4),
            OpenApiParameter("stage", str, enum=["unit", "merge"], description="or the name of one of the task's own stages"),
            OpenApiParameter("stream", str, enum=STREAMS),
        ],
        responses=LogsOut,
    )
    def get(self, request: Request, task_id: UUID) -> Response:
        task = task_for(request, task_id)
        only: dict[str, Any] = {name: optional_whole(request, name) for name in ("attempt", "unit")}
        names = stage_names(task.plan)
        stage = choice(request, "stage", tuple(names))
        only["stage"] = None if stage is None else names.index(stage)
        only["stream"] = choice(request, "stream", STREAMS)
        after, limit = whole(request, "after", 0), limit_of(request, 200, most=1000)
        return Response(read_logs(task.pk, after=after, limit=limit, names=names, **only))


class TaskResult(APIView):
    """The result's manifest: its files with size and SHA-256, and the hash over all of them."""

    scopes = {"GET": "tasks:read"}

    @extend_schema(responses=ManifestOut)
    def get(self, request: Request, task_id: UUID) -> Response:
        return Response(manifest_for(request, task_id))


class TaskResultFile(APIView):
    """One file of a result; `Range`, `If-Range` and `If-None-Match` are honoured."""

    scopes = {"GET": "tasks:read"}
    content_negotiation_class = AnyAccept

    @extend_schema(parameters=[NAME, RANGE], responses=DOWNLOAD)
    def get(self, request: Request, task_id: UUID, name: str) -> HttpResponseBase:
        manifest = manifest_for(request, task_id)
        file = next((one for one in manifest["files"] if one["path"] == name), None)
        if file is None:
            raise NotFound("not_found", "the result has no such file")
        media_type, filename = str(file["media_type"]), name.rsplit("/", 1)[-1]
        return storage.range_response(
            request, file["sha256"], file["bytes"], media_type=media_type, filename=filename
        )


class ExplainTask(APIView):
    """Why here, and why still waiting."""

    scopes = {"GET": "tasks:read"}

    @extend_schema(responses=ExplanationOut)
    def get(self, request: Request, task_id: UUID) -> Response:
        return Response(explain_task(task_for(request, task_id)))


def manifest_for(request: Request, task_id: UUID) -> dict[str, Any]:
    """The manifest of the result of a task that this caller may see."""
    return manifest_of(task_for(request, task_id))


def manifest_of(task: Task) -> dict[str, Any]:
    """The manifest of a task's result, read from the store. NotFound `no_result` while there is none."""
    result = Result.objects.filter(task=task).select_related("manifest").first()
    if result is None:
        raise NotFound("no_result", f"the task is {task.state}; it has no result")
    manifest: dict[str, Any] = orjson.loads(storage.read_bytes(result.manifest_id, result.manifest.bytes))
    return manifest


def whole(request: Request, name: str, default: int) -> int:
    """A whole number of the query string, not negative; Invalid names the parameter."""
    value = optional_whole(request, name)
    return default if value is None else value


def limit_of(request: Request, default: int, *, most: int) -> int:
    """How many rows to answer with: `?limit=`, at least 1, cut to `most`."""
    limit = whole(request, "limit", default)
    if limit == 0:
        raise Invalid("invalid_parameter", "limit is at least 1", field="limit")
    return min(limit, most)


def optional_whole(request: Request, name: str) -> int | None:
    """A whole number of the query string, None when it is not given; Invalid names the parameter."""
    text = request.query_params.get(name)
    if text is None:
        return None
    most = MAX_INT4 if name == "unit" else MAX_INT8
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        raise Invalid("invalid_parameter", f"{name} is a whole number, not negative", field=name)
    return int(text)


def choice(request: Request, name: str, allowed: tuple[str, ...]) -> str | None:
    text = request.query_params.get(name)
    if text is not None and text not in allowed:
        raise Invalid("invalid_parameter", f"{name} is one of {', '.join(allowed)}", field=name)
    return text


urlpatterns = [
    path("tasks", Tasks.as_view()),
    path("quotes", Quotes.as_view()),
    path("tasks/<uuid:task_id>", OneTask.as_view()),
    path("tasks/<uuid:task_id>/cancel", CancelTask.as_view()),
    path("tasks/<uuid:task_id>/units", TaskUnits.as_view()),
    path("tasks/<uuid:task_id>/events", TaskEvents.as_view()),
    path("tasks/<uuid:task_id>/logs", TaskLogs.as_view()),
    path("tasks/<uuid:task_id>/result", TaskResult.as_view()),
    path("tasks/<uuid:task_id>/result/files/<path:name>", TaskResultFile.as_view()),
    path("tasks/<uuid:task_id>/explain", ExplainTask.as_view()),
]
