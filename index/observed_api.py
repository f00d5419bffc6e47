"""Doors of what was observed: files are looked at, kept or taken back by operators; everybody reads a value and rates a task."""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotFound
from core.http import KeysetPages
from index.importing.services import File, Source, commit, drop, preview, roll_back
from index.live.services import count_months
from index.models import Observation, ObservationBatch
from index.rating import rate_task
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ, TASKS_WRITE

MAX_BIGINT: Final = 2**63 - 1
BATCH: Final = OpenApiParameter("batch", OpenApiTypes.INT, OpenApiParameter.PATH)
OBSERVATION: Final = OpenApiParameter("observation", OpenApiTypes.INT, OpenApiParameter.PATH)


class ObservationBatchOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()
    profile = serializers.CharField()
    origin = serializers.CharField()
    state = serializers.ChoiceField(ObservationBatch.State.choices)
    rows = serializers.IntegerField()
    digest = serializers.CharField()
    cited = serializers.JSONField(source="source", help_text="title, publisher, url, licence and date of the whole file")
    report = serializers.JSONField(help_text="[{severity, code, row, field, detail}]; errors stop a commit")
    created_at = serializers.DateTimeField()
    committed_at = serializers.DateTimeField(allow_null=True)
    rolled_back_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()


class ObservationBatchIn(In):
    name = serializers.CharField(max_length=200)
    content = serializers.CharField(max_length=15 * 2**20, trim_whitespace=False, help_text="the file: text, or base64 if `base64`")
    base64 = serializers.BooleanField(default=False)
    profile = serializers.ChoiceField(["national", "platform"], default="national")
    title = serializers.CharField(max_length=300, default="")
    publisher = serializers.CharField(max_length=200, default="")
    url = serializers.CharField(max_length=500, default="")
    licence = serializers.CharField(max_length=100, default="")
    published = serializers.DateField(
        required=False, allow_null=True, default=None, help_text="when; the vintage of rows without one"
    )


class BatchesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = ObservationBatchOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return ObservationBatch.objects.defer("content")

    @extend_schema(operation_id="index_batches_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Batches of observations, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_batches_create", request=ObservationBatchIn, responses={201: ObservationBatchOut})
    def post(self, request: Request) -> Response:
        """Look at a file (CSV or XLSX): what is wrong or strange, with its row. Nothing is kept of it before it is committed."""
        given = valid(ObservationBatchIn(data=request.data))
        source = Source(given["title"], given["publisher"], given["url"], given["licence"], given["published"])
        file = File(given["name"], _content(given), source, given["profile"])
        return Response(ObservationBatchOut(preview(file, caller_of(request).user)).data, status=201)


def _content(given: dict[str, Any]) -> bytes:
    if not given["base64"]:
        return str(given["content"]).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(given["content"], validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("file_invalid", "it is no base64", field="content") from None


class IndexReasonIn(In):
    reason = serializers.CharField(max_length=300)


class BatchCommitView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_batches_commit", parameters=[BATCH], request=None, responses=ObservationBatchOut)
    def post(self, request: Request, batch: int) -> Response:
        """Keep all rows of a batch, or none if one is wrong."""
        return Response(ObservationBatchOut(commit(min(batch, MAX_BIGINT))).data)


class BatchDropView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_batches_drop", parameters=[BATCH], request=None, responses=ObservationBatchOut)
    def post(self, request: Request, batch: int) -> Response:
        """Forget a file that was looked at."""
        return Response(ObservationBatchOut(drop(min(batch, MAX_BIGINT))).data)


class BatchRollBackView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_batches_roll_back", parameters=[BATCH], request=IndexReasonIn, responses=ObservationBatchOut)
    def post(self, request: Request, batch: int) -> Response:
        """No later run sees the batch. Runs that did stay as they are."""
        return Response(
            ObservationBatchOut(roll_back(min(batch, MAX_BIGINT), valid(IndexReasonIn(data=request.data))["reason"])).data
        )


class CountsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_counts_create", request=None, responses={200: ObservationBatchOut(many=True)})
    def post(self, request: Request) -> Response:
        """Count the platform's own month now, as every night. A month of which nothing changed since then is not there."""
        return Response(ObservationBatchOut(count_months(), many=True).data)


class ObservationOut(Out):
    id = serializers.IntegerField()
    region = serializers.CharField()
    variable = serializers.CharField()
    period = serializers.CharField()
    value = serializers.DecimalField(max_digits=38, decimal_places=12)
    unit = serializers.CharField()
    vintage = serializers.DateField()
    precision = serializers.CharField()
    origin = serializers.CharField(source="batch.origin")
    cited = serializers.CharField(source="source", help_text="as the row says")
    url = serializers.CharField()
    note = serializers.CharField()
    row = serializers.IntegerField()
    batch = serializers.IntegerField(source="batch_id")
    file = serializers.CharField(source="batch.name")
    file_digest = serializers.CharField(source="batch.digest")


class ObservationView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_observations_get", parameters=[OBSERVATION], responses=ObservationOut)
    def get(self, request: Request, observation: int) -> Response:
        """One value, with the file and the row that it comes from."""
        found = Observation.objects.select_related("batch").filter(pk=min(observation, MAX_BIGINT)).first()
        if found is None:
            raise NotFound("observation_unknown", "there is no such observation")
        return Response(ObservationOut(found).data)


class RatingIn(In):
    stars = serializers.IntegerField(min_value=1, max_value=5)
    comment = serializers.CharField(max_length=500, default="", allow_blank=True)


class RatingOut(Out):
    task = serializers.UUIDField(source="task_id")
    stars = serializers.IntegerField()
    comment = serializers.CharField()
    rated_at = serializers.DateTimeField()


class RatingView(APIView):
    scopes: ClassVar[Scopes] = {"PUT": TASKS_WRITE}

    @extend_schema(operation_id="tasks_rate", request=RatingIn, responses=RatingOut)
    def put(self, request: Request, task_id: UUID) -> Response:
        """Rate a task that was delivered to you, with 1 to 5 stars. Said again, the last word stands."""
        caller, given = caller_of(request), valid(RatingIn(data=request.data))
        return Response(RatingOut(rate_task(caller.acting_for(), task_id, given["stars"], given["comment"], caller.user)).data)


urlpatterns = [
    path("tasks/<uuid:task_id>/rating", RatingView.as_view()),
    path("index/batches", BatchesView.as_view()),
    path("index/batches/<int:batch>/commit", BatchCommitView.as_view()),
    path("index/batches/<int:batch>/drop", BatchDropView.as_view()),
    path("index/batches/<int:batch>/roll-back", BatchRollBackView.as_view()),
    path("index/counts", CountsView.as_view()),
    path("index/observations/<int:observation>", ObservationView.as_view()),
]
