"""A run's index beside another quantity of the same provinces."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from index.beside import Beside, beside
from index.defining import tree_of
from index.running.services import run_numbered
from marketplace.api.serializers import Out
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
ASKED: Final = [
    OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH),
    OpenApiParameter("with", OpenApiTypes.STR, description="a variable of the period; the digital economy if it is not said"),
    OpenApiParameter("zone", OpenApiTypes.STR, description="how many standard deviations off the line are balanced, 0 to 3"),
]


class BesideLineOut(Out):
    n = serializers.IntegerField(help_text="provinces of which both are known")
    slope = serializers.FloatField(help_text="units of the quantity for a point of the index; an association, no cause")
    low = serializers.FloatField(help_text="lower end of the slope's interval of 95 %")
    high = serializers.FloatField()
    start = serializers.FloatField(help_text="where the line is at no points")
    r2 = serializers.FloatField()


class BesidePlaceOut(Out):
    region = serializers.CharField()
    index = serializers.FloatField()
    value = serializers.CharField(help_text="decimal text, in the quantity's unit")
    apart = serializers.FloatField(allow_null=True, help_text="standard deviations above the line (+) or below it")
    type = serializers.CharField(allow_null=True, help_text="supply_driven, balanced or demand_pulled")
    observation = serializers.IntegerField()
    generated = serializers.BooleanField()


class BesideQuantityOut(Out):
    variable = serializers.CharField(source="variable.code")
    unit = serializers.CharField(source="variable.unit.code")
    part = serializers.BooleanField(help_text="the index itself is made of it")


class BesideOut(Out):
    quantity = BesideQuantityOut(allow_null=True)
    choices = BesideQuantityOut(many=True)
    zone = serializers.FloatField()
    line = BesideLineOut(allow_null=True, help_text="null where fewer than five are known of both, or one is the same for all")
    places = BesidePlaceOut(many=True)
    alone = serializers.ListField(child=serializers.CharField(), help_text="provinces of which only the index is known")


class BesideView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_relationship", parameters=ASKED, responses=BesideOut)
    def get(self, request: Request, run: int) -> Response:
        """The index beside another quantity: a line of least squares, and what type each province is by its distance from it."""
        row = run_numbered(min(run, MAX_BIGINT))
        documents = row.read("inputs"), row.read("result")
        return Response(BesideOut(_told(beside(row, tree_of(row.definition), documents, request.query_params.dict()))).data)


def _told(found: Beside) -> dict[str, Any]:
    places = [
        {
            "region": one.region, "index": one.x, "value": found.seen[one.region][0], "apart": one.apart if one.kind else None,
            "type": one.kind or None, "observation": found.seen[one.region][1], "generated": found.seen[one.region][2],
        }
        for one in found.relation.standing
    ]  # fmt: skip
    relation = {"line": found.relation.line, "places": places, "alone": found.relation.alone}
    return {"quantity": found.quantity, "choices": found.choices, "zone": found.zone} | relation


urlpatterns = [path("index/runs/<int:run>/relationship", BesideView.as_view())]
