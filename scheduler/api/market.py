"""The market's prices: what being full costs, pool by pool and resource by resource. Dynamic rates follow it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from scheduler.api.tasks import limit_of, whole
from scheduler.queries import market_prices

MOST_HOURS = 720


class MarketPriceOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    pool = serializers.CharField()
    region = serializers.CharField()
    resource = serializers.CharField(help_text="cores, memory_mib, disk_mib or accelerator:<model>")
    price = serializers.FloatField(help_text="what one more of it would have saved in that round, in the market's currency")


class MarketPricesOut(serializers.Serializer[Any]):
    results = MarketPriceOut(many=True)


class MarketPrices(APIView):
    """The newest prices first. Pools with room left have none."""

    scopes = {"GET": "tasks:read"}

    @extend_schema(
        parameters=[
            OpenApiParameter("pool", OpenApiTypes.STR, description="identifier of one pool"),
            OpenApiParameter("resource", OpenApiTypes.STR, description="one resource"),
            OpenApiParameter("hours", OpenApiTypes.INT, description="how far back, at most 720 (default 24)"),
            OpenApiParameter("limit", OpenApiTypes.INT, description="at most 5,000 (default 500)"),
        ],
        responses=MarketPricesOut,
    )
    def get(self, request: Request) -> Response:
        since = timezone.now() - timedelta(hours=min(whole(request, "hours", 24), MOST_HOURS))
        wanted = {name: request.query_params.get(name) for name in ("pool", "resource")}
        return Response({"results": market_prices(since, limit=limit_of(request, 500, most=5_000), **wanted)})


urlpatterns = [path("market/prices", MarketPrices.as_view())]
