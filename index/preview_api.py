"""Doors of the preview: what the index would be now, what moved it, and the charges behind a value."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import ChargeOut
from core.errors import NotFound
from core.http import KeysetPages
from index.api import MAX_BIGINT
from index.models import Observation, PreviewChange
from index.preview.tracing import (
    change_numbered,
    charges_of_change,
    charges_of_observation,
    newest_preview,
    pools_of_changes,
    regions_known,
)
from index.trees import ROOT
from marketplace.api.lists import ListView
from marketplace.api.serializers import Out
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, TASKS_READ

COUNTED: Final = OpenApiParameter("counted", OpenApiTypes.INT, OpenApiParameter.PATH, description="an observation of origin live")
CHANGE: Final = OpenApiParameter("change", OpenApiTypes.INT, OpenApiParameter.PATH)


class PreviewRegionOut(Out):
    region = serializers.CharField()
    index = serializers.CharField(allow_null=True, help_text="null: too little is known")
    scores = serializers.DictField(child=serializers.CharField(), help_text="by node, as far as known")


class IndexPreviewOut(Out):
    id = serializers.IntegerField()
    official = serializers.BooleanField(help_text="always false: a preview is no edition, and no observation")
    definition = serializers.CharField()
    weights = serializers.CharField()
    base = serializers.IntegerField(allow_null=True, help_text="the run whose goalposts stand; null: those of the first preview")
    period = serializers.CharField()
    counted_at = serializers.DateTimeField()
    regions = PreviewRegionOut(many=True)


class MovedVariableOut(Out):
    variable = serializers.CharField()
    before = serializers.CharField(allow_null=True)
    after = serializers.CharField(allow_null=True)


class PreviewChangeOut(Out):
    """`pools` are those that the caller may see by name; how many there were says `causes`."""

    id = serializers.IntegerField()
    preview = serializers.IntegerField(source="preview_id")
    counted_at = serializers.DateTimeField(source="preview.counted_at")
    region = serializers.CharField()
    indicator = serializers.CharField(source="leaf", allow_blank=True, help_text="empty: the index came to be known, or was lost")
    node = serializers.CharField(allow_blank=True, help_text="whose score moved: INDEX, or the highest that is known")
    before = serializers.DecimalField(24, 12, allow_null=True)
    after = serializers.DecimalField(24, 12, allow_null=True)
    points = serializers.DecimalField(24, 12, allow_null=True, help_text="the indicator's part; they add up to after - before")
    raw_before = serializers.DecimalField(38, 12, allow_null=True)
    raw_after = serializers.DecimalField(38, 12, allow_null=True)
    variables = MovedVariableOut(many=True)
    cause = serializers.ChoiceField(PreviewChange.Cause.choices, allow_blank=True)
    count = serializers.SerializerMethodField()
    pools = serializers.SerializerMethodField()
    sentence = serializers.CharField()

    def get_count(self, change: PreviewChange) -> int | None:
        """How many pools or charges it was."""
        causes = change.causes
        found: int | None = causes.get("n", causes.get("charges", {}).get("n"))
        return found

    def get_pools(self, change: PreviewChange) -> list[str]:
        """Identifiers, as far as the caller may know them."""
        known = self.context.get("pools", {})
        return [known[number] for number in change.causes.get("pools", ()) if number in known]


class IndexPreviewView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_preview", responses=IndexPreviewOut)
    def get(self, request: Request) -> Response:
        """What the platform's index would be now: unofficial, counted anew when pools and settled tasks move it."""
        one = newest_preview()
        regions = [
            {
                "region": region,
                "index": one.scores.get(ROOT, {}).get(region),
                "scores": {node: scores[region] for node, scores in one.scores.items() if node != ROOT and region in scores},
            }
            for region in regions_known(one)
        ]
        told = {
            "id": one.pk, "official": False, "definition": one.definition.title, "weights": one.weights.name, "base": one.base_id,
            "period": one.period, "counted_at": one.counted_at, "regions": regions,
        }  # fmt: skip
        return Response(IndexPreviewOut(told).data)


class PreviewChangesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    serializer_class = PreviewChangeOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return PreviewChange.objects.select_related("preview").defer("preview__document", "preview__scores", "preview__posts")

    @extend_schema(operation_id="index_preview_changes")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What moved the preview, newest first: each indicator's part, its cause and a sentence."""
        page = self.paginate_queryset(self.get_queryset()) or []
        context = {"pools": pools_of_changes(page, caller_of(request))}
        return self.get_paginated_response(PreviewChangeOut(page, many=True, context=context).data)


class ChangeChargesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = ChargeOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return charges_of_change(change_numbered(min(self.kwargs["change"], MAX_BIGINT)), caller)

    @extend_schema(operation_id="index_preview_change_charges", parameters=[CHANGE])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The charges behind a change, newest first: your own; operators see all."""
        return super().get(request, *args, **kwargs)


class ObservationChargesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = ChargeOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        number = min(self.kwargs["counted"], MAX_BIGINT)
        found = Observation.objects.select_related("batch").filter(pk=number).first()
        if found is None:
            raise NotFound("observation_unknown", "there is no such observation")
        return charges_of_observation(found, caller)

    @extend_schema(operation_id="index_observation_charges", parameters=[COUNTED])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The charges that a live value of work, revenue or customers counts, newest first: your own; operators see all."""
        return super().get(request, *args, **kwargs)


urlpatterns = [
    path("index/preview", IndexPreviewView.as_view()),
    path("index/preview/changes", PreviewChangesView.as_view()),
    path("index/preview/changes/<int:change>/charges", ChangeChargesView.as_view()),
    path("index/observations/<int:counted>/charges", ObservationChargesView.as_view()),
]
