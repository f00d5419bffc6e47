"""Doors of maps: operators bring them, take copies and withdraw them; everybody sees which there are."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.http import KeysetPages
from index.maps import NewMap, keep_map, marked_file, withdraw_map
from index.models import IndexMap
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
MAP: Final = OpenApiParameter("borders", OpenApiTypes.INT, OpenApiParameter.PATH)


class IndexMapOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()
    approval_number = serializers.CharField(help_text="审图号; stands under every drawing of the map")
    publisher = serializers.CharField()
    licence = serializers.CharField()
    url = serializers.CharField()
    digest = serializers.CharField(help_text="SHA-256 of the file as it came")
    uploaded_at = serializers.DateTimeField()
    withdrawn_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()


class IndexMapIn(In):
    name = serializers.CharField(max_length=100)
    approval_number = serializers.CharField(max_length=60, help_text="as GS(2023)2767号")
    publisher = serializers.CharField(max_length=200)
    licence = serializers.CharField(max_length=200)
    url = serializers.CharField(max_length=500, default="", allow_blank=True)
    content = serializers.CharField(trim_whitespace=False, help_text="the GeoJSON file's text")


class IndexMapReasonIn(In):
    reason = serializers.CharField(max_length=300)


class MapsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    serializer_class = IndexMapOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return IndexMap.objects.defer("content")

    @extend_schema(operation_id="index_maps_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Maps of borders, newest first. The newest that was not withdrawn is shown."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_maps_create", request=IndexMapIn, responses={201: IndexMapOut})
    def post(self, request: Request) -> Response:
        """Keep a map of borders with its approval number, and show it. One that lacks a part of the country is refused."""
        given = valid(IndexMapIn(data=request.data))
        content = given.pop("content").encode()
        return Response(IndexMapOut(keep_map(NewMap(**given), content, caller_of(request).user)).data, status=201)


class MapFileView(APIView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR}

    @extend_schema(operation_id="index_maps_file", parameters=[MAP], responses={(200, "application/geo+json"): OpenApiTypes.BINARY})
    def get(self, request: Request, borders: int) -> HttpResponse:
        """The map's GeoJSON with its approval number inside; `sha256_of_upload` is of the file as it came."""
        answer = HttpResponse(marked_file(min(borders, MAX_BIGINT)), content_type="application/geo+json")
        answer["Content-Disposition"] = f'attachment; filename="map-{borders}.geojson"'
        return answer


class MapWithdrawView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_maps_withdraw", parameters=[MAP], request=IndexMapReasonIn, responses=IndexMapOut)
    def post(self, request: Request, borders: int) -> Response:
        """Show a map no more, with the reason."""
        return Response(
            IndexMapOut(withdraw_map(min(borders, MAX_BIGINT), valid(IndexMapReasonIn(data=request.data))["reason"])).data
        )


urlpatterns = [
    path("index/maps", MapsView.as_view()),
    path("index/maps/<int:borders>/file", MapFileView.as_view()),
    path("index/maps/<int:borders>/withdraw", MapWithdrawView.as_view()),
]
