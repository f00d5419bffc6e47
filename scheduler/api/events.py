"""A task's events as a list, or as a stream of server-sent events until the task ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotFound
from core.http import JSONRenderer
from marketplace.auth import caller_of
from marketplace.models import Task
from scheduler.api.serializers import EventOut
from scheduler.hub import hub, wait_for
from scheduler.queries import events_after, tasks_of

KEEP_ALIVE_S: Final = 15.0
MAX_STREAM_S: Final = 3_600.0
_SEQ: Final = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
AFTER: Final = OpenApiParameter("after", _SEQ, description="the last event's `seq`; 0 = all")
LAST_EVENT_ID: Final = OpenApiParameter(
    "Last-Event-ID", _SEQ, OpenApiParameter.HEADER, description="what a browser says when it connects again"
)


class EventStream(BaseRenderer):
    """Lets content negotiation choose the stream, which the view itself writes. Errors are JSON here too."""

    media_type = "text/event-stream"
    format = "sse"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return JSONRenderer().render(data)


class TaskEvents(APIView):
    """Events after `?after=seq`; with `Accept: text/event-stream` they keep coming until the task ends."""

    scopes = {"GET": "tasks:read"}
    renderer_classes = (JSONRenderer, EventStream)

    @extend_schema(
        parameters=[AFTER, LAST_EVENT_ID],
        responses={
            (200, "application/json"): EventOut(many=True),
            (200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR, description="server-sent events"),
        },
    )
    def get(self, request: Request, task_id: UUID) -> HttpResponseBase:
        caller = caller_of(request)
        task = tasks_of(caller.organization, operator=caller.is_operator).filter(pk=task_id).first()
        if task is None:
            raise NotFound("not_found", "no such task")
        after = _after(request)
        if request.accepted_renderer.media_type != EventStream.media_type:
            return Response(events_after(task.pk, after))
        close_old_connections()  # what lasts for minutes may not keep one of the connections that all requests share
        answer = StreamingHttpResponse(_stream(task.pk, after), content_type="text/event-stream")
        answer["Cache-Control"] = "no-cache"
        answer["X-Accel-Buffering"] = "no"
        return answer


def _after(request: Request) -> int:
    """Where to go on: the query's `after`, or what a reconnecting browser says it saw last."""
    text = request.query_params.get("after", request.headers.get("Last-Event-ID", "0"))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid("invalid_parameter", "after is a whole number, not negative", field="after")
    return int(text)


async def _stream(task_id: UUID, after: int) -> AsyncIterator[bytes]:
    """Events as they are written; a comment line keeps the connection open while nothing happens."""
    until = time.monotonic() + MAX_STREAM_S
    center = hub()
    while time.monotonic() < until:
        since = center.serial
        events, ended = await sync_to_async(_look, thread_sensitive=False)(task_id, after)
        for event in events:
            after = event["seq"]
            yield _line(event)
        if ended and not events:
            yield b"event: end\ndata: {}\n\n"
            return
        if events:
            continue
        with center.waiting(f"gridfare_task:{task_id}", since) as woken:
            if not await wait_for(woken, KEEP_ALIVE_S):
                yield b": still here\n\n"


def _look(task_id: UUID, after: int) -> tuple[list[dict[str, Any]], bool]:
    close_old_connections()
    state = Task.objects.values_list("state", flat=True).get(pk=task_id)
    return events_after(task_id, after), state not in ("queued", "running")


def _line(event: dict[str, Any]) -> bytes:
    data = orjson.dumps(event, option=orjson.OPT_UTC_Z).decode()
    return f"id: {event['seq']}\nevent: {event['kind']}\ndata: {data}\n\n".encode()
