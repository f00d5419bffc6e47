"""A pool's planned maintenance, and machines wanted back: the provider's doors."""

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

from marketplace.api.converters import IDENTIFIER
from marketplace.api.lists import ListView
from marketplace.api.providers import PoolOut, own_pool
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller
from marketplace.models import MaintenanceWindow
from marketplace.permissions import Scopes
from marketplace.scopes import PROVIDERS_READ, PROVIDERS_WRITE
from marketplace.services import availability
from marketplace.services.availability import Window

DAY_S: Final = 86_400
NUMBER: Final = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH)


class WindowIn(In):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    category = serializers.ChoiceField(MaintenanceWindow.Category.choices, default=MaintenanceWindow.Category.OTHER)
    note = serializers.CharField(max_length=300, default="", allow_blank=True)


class WindowOut(Out):
    number = serializers.IntegerField(source="pk")
    start = serializers.DateTimeField(source="period.lower")
    end = serializers.DateTimeField(source="period.upper")
    category = serializers.ChoiceField(MaintenanceWindow.Category.choices)
    note = serializers.CharField()
    announced_at = serializers.DateTimeField()


class ReclaimIn(In):
    in_s = serializers.FloatField(min_value=0, max_value=7 * DAY_S, default=0, help_text="notice, seconds")
    for_s = serializers.FloatField(
        min_value=1, max_value=90 * DAY_S, required=False, allow_null=True, help_text="default: until given back"
    )


class WindowsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ, "POST": PROVIDERS_WRITE}
    serializer_class = WindowOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return availability.windows_shown(own_pool(self.request, self.kwargs["identifier"]))

    @extend_schema(operation_id="pools_maintenance_list", parameters=[IDENTIFIER])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The pool's maintenance windows, last announced first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="pools_maintenance_create", parameters=[IDENTIFIER], request=WindowIn, responses={201: WindowOut})
    def post(self, request: Request, identifier: str) -> Response:
        """Announce maintenance: nothing is placed that would still run when it begins."""
        window = Window(**valid(WindowIn(data=request.data)))
        made = availability.plan_window(own_pool(request, identifier), window)
        return Response(WindowOut(made).data, status=201)


class WindowView(APIView):
    scopes: ClassVar[Scopes] = {"DELETE": PROVIDERS_WRITE}

    @extend_schema(operation_id="pools_maintenance_delete", parameters=[IDENTIFIER, NUMBER], responses={204: None})
    def delete(self, request: Request, identifier: str, number: int) -> Response:
        """Take a planned window back, or end a running one now."""
        availability.take_back_window(own_pool(request, identifier), number)
        return Response(status=204)


class ReclaimView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE, "DELETE": PROVIDERS_WRITE}

    @extend_schema(operation_id="pools_reclaim", parameters=[IDENTIFIER], request=ReclaimIn, responses=PoolOut)
    def post(self, request: Request, identifier: str) -> Response:
        """Want the machines back: nothing new from now on, checkpoints are written, and what still runs then ends."""
        given = valid(ReclaimIn(data=request.data))
        availability.reclaim_pool(own_pool(request, identifier), in_s=given["in_s"], for_s=given.get("for_s"))
        return Response(PoolOut(own_pool(request, identifier)).data)

    @extend_schema(operation_id="pools_give_back", parameters=[IDENTIFIER], request=None, responses={200: PoolOut})
    def delete(self, request: Request, identifier: str) -> Response:
        """Lend the machines again."""
        availability.give_back_pool(own_pool(request, identifier))
        return Response(PoolOut(own_pool(request, identifier)).data)


urlpatterns = [
    path("pools/<pool:identifier>/maintenance", WindowsView.as_view()),
    path("pools/<pool:identifier>/maintenance/<int:number>", WindowView.as_view()),
    path("pools/<pool:identifier>/reclaim", ReclaimView.as_view()),
]
