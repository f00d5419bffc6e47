"""`/usage/events` and `/usage/quarantine`: thin; `metering.events` does the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid
from core.http import KeysetPages
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, PROVIDERS_READ, PROVIDERS_WRITE
from metering.api.bodies import BodyParser
from metering.events.collector import without_collector
from metering.events.correcting import MOST, correct_events
from metering.events.deciding import accept_event, refuse_event
from metering.events.parsing import either, lines, one, several
from metering.events.sorting import Answer
from metering.events.storing import take
from metering.models import QuarantinedEvent

STATUSES = ("accepted", "duplicate", "conflict", "quarantined", "invalid")


class BatchParser(BodyParser):
    media_type = "application/cloudevents-batch+json"
    read = staticmethod(several)


class OneParser(BodyParser):
    media_type = "application/cloudevents+json"
    read = staticmethod(one)


class LinesParser(BodyParser):
    media_type = "application/x-ndjson"
    read = staticmethod(lines)


class EitherParser(BodyParser):
    media_type = "application/json"
    read = staticmethod(either)


class EventRowOut(Out):
    """What became of one event; `code` and `field` say why it was not counted."""

    index = serializers.IntegerField(help_text="its place in the request, from 0")
    id = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    status = serializers.ChoiceField(STATUSES)
    code = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(allow_blank=True)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"field": serializers.CharField(allow_null=True)}  # the base class has such an attribute


class EventCountsOut(Out):
    accepted = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    conflict = serializers.IntegerField()
    quarantined = serializers.IntegerField()
    invalid = serializers.IntegerField()


class EventsOut(Out):
    batch = serializers.IntegerField(allow_null=True)
    counts = EventCountsOut()
    rows = EventRowOut(many=True)


@without_collector()
def _rows(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [
        {"index": index, "status": status, "code": code, "field": field, "detail": detail, "id": name, "source": source}
        for index, (status, code, field, detail, name, source) in enumerate(answers)
    ]


_LIST = {"type": "array", "items": {}, "description": "CloudEvents 1.0; each is answered for itself"}
_OBJECT = {"type": "object", "description": "a CloudEvent 1.0"}


class EventsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}
    parser_classes = (BatchParser, OneParser, LinesParser, EitherParser)

    @extend_schema(
        operation_id="usage_events_create",
        request={"application/cloudevents-batch+json": _LIST, "application/cloudevents+json": _OBJECT},
        responses=EventsOut,
    )
    def post(self, request: Request) -> Response:
        """Usage that the provider's pools metered themselves; also one event per line as `application/x-ndjson`.

        Each event is counted once, however often it is sent. 200 even when events were refused: read `rows`.
        """
        caller = caller_of(request)
        taken = take(caller.acting_for(), cast("Sequence[Any]", request.data), api_key=caller.api_key)
        rows = _rows(taken.answers)
        return Response({"batch": taken.batch, "counts": taken.counts, "rows": rows})


class CorrectionsIn(In):
    corrections = serializers.ListField(
        child=serializers.DictField(), min_length=1, max_length=MOST,
        help_text="{source, id, name, quantity or gauge, reason?}: source and id of the event, a name of this correction",
    )  # fmt: skip


class CorrectionCountsOut(Out):
    accepted = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    conflict = serializers.IntegerField()
    invalid = serializers.IntegerField()


class CorrectionsOut(Out):
    counts = CorrectionCountsOut()
    rows = EventRowOut(many=True)


class CorrectionsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}

    @extend_schema(operation_id="usage_events_correct", request=CorrectionsIn, responses=CorrectionsOut)
    def post(self, request: Request) -> Response:
        """What events should have said: it counts in their place, at their time, and months that are charged get the difference.

        Each is counted once, however often it is sent. 200 even when some were refused: read `rows`.
        """
        caller, given = caller_of(request), valid(CorrectionsIn(data=request.data))
        answers = correct_events(caller.acting_for(), given["corrections"], api_key=caller.api_key)
        counts = Counter(answer.status for answer in answers)
        rows = _rows(answers)
        named = ("accepted", "duplicate", "conflict", "invalid")
        return Response({"counts": {status: counts[status] for status in named}, "rows": rows})


class QuarantinedOut(Out):
    number = serializers.IntegerField(source="pk")
    provider = serializers.CharField(source="provider.slug")
    reason = serializers.ChoiceField(QuarantinedEvent.Reason.choices)
    state = serializers.ChoiceField(QuarantinedEvent.State.choices)
    document = serializers.DictField(help_text="the event as it was sent")
    occurred_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)


class Newest(KeysetPages):
    ordering = "-pk"


class QuarantineView(ListView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ}
    serializer_class = QuarantinedOut
    pagination_class = Newest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = QuarantinedEvent.objects.select_related("provider")
        rows = rows if caller.is_operator else rows.filter(provider=caller.acting_for())
        state = self.request.query_params.get("state")
        if state is not None and state not in QuarantinedEvent.State.values:
            raise Invalid("invalid_parameter", "state is open, accepted or refused", field="state")
        return rows.filter(state=state) if state else rows

    @extend_schema(
        operation_id="usage_quarantine_list",
        parameters=[OpenApiParameter("state", str, enum=QuarantinedEvent.State.values)],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Events that were not counted: too old, or at odds with one that is. Newest first; operators see all."""
        return super().get(request, *args, **kwargs)


NUMBER = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH)


class AcceptView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="usage_quarantine_accept", request=None, parameters=[NUMBER], responses=QuarantinedOut)
    def post(self, request: Request, number: int) -> Response:
        """Count an event that was too old to be taken unseen."""
        return Response(QuarantinedOut(accept_event(number, caller_of(request).user)).data)


class RefuseView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="usage_quarantine_refuse", request=None, parameters=[NUMBER], responses=QuarantinedOut)
    def post(self, request: Request, number: int) -> Response:
        """Leave an event out for good."""
        return Response(QuarantinedOut(refuse_event(number, caller_of(request).user)).data)


urlpatterns = [
    path("usage/events", EventsView.as_view()),
    path("usage/corrections", CorrectionsView.as_view()),
    path("usage/quarantine", QuarantineView.as_view()),
    path("usage/quarantine/<int:number>/accept", AcceptView.as_view()),
    path("usage/quarantine/<int:number>/refuse", RefuseView.as_view()),
]
