"""How far a pool is believed: its owner's view with every number, and the operators' two words on it."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Conflict
from marketplace.api.converters import IDENTIFIER
from marketplace.api.providers import ReputationOut, own_pool
from marketplace.api.serializers import In, Out, valid
from marketplace.scopes import OPERATOR, PROVIDERS_READ
from scheduler.services.standing import standing_of, vouch_for
from scheduler.services.trusting import lift_quarantine


class QuarantineOut(Out):
    state = serializers.ChoiceField(["closed", "half_open"], help_text="half_open: one checked unit at a time")
    until = serializers.DateTimeField()
    reason = serializers.CharField()
    times = serializers.IntegerField()


class VersionTrustOut(Out):
    capability = serializers.CharField()
    consecutive_valid = serializers.IntegerField()
    check_probability = serializers.FloatField(help_text="how often its results are checked, where checks are adaptive")
    reputation = ReputationOut()


class PoolEventOut(Out):
    kind = serializers.CharField()
    detail = serializers.CharField()
    at = serializers.DateTimeField()


class TrustOut(Out):
    """A pool's standing."""

    pool = serializers.CharField()
    level = serializers.IntegerField(help_text="0 to 4")
    level_until = serializers.DateTimeField(allow_null=True)
    level_missing = serializers.CharField(help_text="what the next level asks for")
    unproven = serializers.BooleanField(help_text="a community pool that gets only work whose results are compared")
    believed_up_to = serializers.FloatField(
        allow_null=True, help_text="what a unit may be worth for a single result to be believed; null is no limit"
    )
    reputation = ReputationOut()
    quarantine = QuarantineOut(allow_null=True)
    daily_quota = serializers.IntegerField(allow_null=True, help_text="units a day; null is no limit")
    versions = VersionTrustOut(many=True)
    events = PoolEventOut(many=True)


class AuditIn(In):
    until = serializers.DateTimeField(default_timezone=UTC)


class TrustView(APIView):
    scopes: Any = {"GET": PROVIDERS_READ}

    @extend_schema(operation_id="pools_trust", parameters=[IDENTIFIER], responses=TrustOut)
    def get(self, request: Request, identifier: str) -> Response:
        """Level, reputation, quarantine and quota, with what they are made of."""
        return Response(TrustOut(standing_of(own_pool(request, identifier))).data)


class LiftView(APIView):
    scopes: Any = {"POST": OPERATOR}

    @extend_schema(operation_id="pools_lift", parameters=[IDENTIFIER], request=None, responses=TrustOut)
    def post(self, request: Request, identifier: str) -> Response:
        """Operators: end a quarantine and lift the quota."""
        pool = own_pool(request, identifier)
        if not lift_quarantine(pool):
            raise Conflict("not_quarantined", "the pool is in no quarantine, and has no quota")
        return Response(TrustOut(standing_of(own_pool(request, identifier))).data)


class AuditView(APIView):
    scopes: Any = {"POST": OPERATOR}

    @extend_schema(operation_id="pools_audit", parameters=[IDENTIFIER], request=AuditIn, responses=TrustOut)
    def post(self, request: Request, identifier: str) -> Response:
        """Operators: vouch for an independent audit until a date."""
        pool = own_pool(request, identifier)
        vouch_for(pool, valid(AuditIn(data=request.data))["until"])
        return Response(TrustOut(standing_of(own_pool(request, identifier))).data)


urlpatterns = [
    path("pools/<pool:identifier>/trust", TrustView.as_view()),
    path("pools/<pool:identifier>/lift", LiftView.as_view()),
    path("pools/<pool:identifier>/audit", AuditView.as_view()),
]
