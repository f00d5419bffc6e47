"""Doors of panels: operators open them, write down what experts judge, and record weights; everybody sees how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

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
from index.ahp.tables import DEFAULT, TABLES
from index.api import MAX_BIGINT, IndexWeightsOut
from index.defining import definition_named
from index.models import Panel
from index.panels import Said, document_of, judge, let_go, open_panel, panel_numbered, preview, record
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

PANEL: Final = OpenApiParameter("panel", OpenApiTypes.INT, OpenApiParameter.PATH)
EXPERT: Final = OpenApiParameter("expert", OpenApiTypes.INT, OpenApiParameter.PATH)


class PanelOut(Out):
    id = serializers.IntegerField()
    definition = serializers.CharField(source="definition.title")
    name = serializers.CharField()
    random_index = serializers.CharField()
    rule = serializers.ChoiceField(Panel.Rule.choices)
    state = serializers.ChoiceField(Panel.State.choices)
    weights = serializers.IntegerField(source="weights_id", allow_null=True, help_text="the set that was recorded")
    created_at = serializers.DateTimeField()


class ExpertIn(In):
    name = serializers.CharField(max_length=80)
    voice = serializers.DecimalField(max_digits=9, decimal_places=4, default=Decimal(1), min_value=Decimal("0.0001"))


class PanelIn(In):
    definition = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=80)
    random_index = serializers.ChoiceField(list(TABLES), default=DEFAULT)
    rule = serializers.ChoiceField(Panel.Rule.choices, default="judgements")
    experts = serializers.ListField(child=ExpertIn(), min_length=1, max_length=500)


def voices_in(experts: Sequence[Mapping[str, Any]]) -> dict[str, Decimal]:
    """Voices by name, of what `PanelIn` read. Invalid `experts_invalid` for a name that is there twice."""
    found: dict[str, Decimal] = {}
    for number, one in enumerate(experts):
        if one["name"] in found:
            raise Invalid("experts_invalid", f"{one['name']} is there twice", field=f"experts.{number}.name")
        found[one["name"]] = one["voice"]
    return found


class SaidIn(In):
    one = serializers.CharField(max_length=40)
    other = serializers.CharField(max_length=40)
    value = serializers.CharField(
        max_length=12, allow_blank=True, help_text="how much more `one` weighs: 1/9 to 9, as 3 or 1/3; empty: taken back"
    )


class JudgementsIn(In):
    judgements = serializers.ListField(child=SaidIn(), min_length=1, max_length=2_000)


class PreviewIn(In):
    judgements = serializers.ListField(child=SaidIn(), max_length=2_000)


class RecordIn(In):
    name = serializers.CharField(max_length=80, help_text="of the set of weights")


class PanelsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    serializer_class = PanelOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return Panel.objects.select_related("definition")

    @extend_schema(operation_id="index_panels_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Panels of experts, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_panels_create", request=PanelIn, responses={201: PanelOut})
    def post(self, request: Request) -> Response:
        """Open a panel with its experts and their voices."""
        given = valid(PanelIn(data=request.data))
        experts = voices_in(given["experts"])
        row, by = definition_named(given["definition"]), caller_of(request).user
        return Response(
            PanelOut(open_panel(row, given["name"], experts, given["random_index"], given["rule"], by)).data, status=201
        )


class PanelView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_panels_get", parameters=[PANEL], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, panel: int) -> Response:
        """How a panel stands: of each expert and of all together, by group: weights, consistency, the judgement that fits least."""
        found = panel_numbered(min(panel, MAX_BIGINT))
        return Response(PanelOut(found).data | document_of(found))


class JudgementsView(APIView):
    scopes: ClassVar[Scopes] = {"PUT": OPERATOR}

    @extend_schema(
        operation_id="index_panels_judge", parameters=[PANEL, EXPERT], request=JudgementsIn, responses={200: OpenApiTypes.OBJECT}
    )
    def put(self, request: Request, panel: int, expert: int) -> Response:
        """Write down what an expert judges, as many as there are by now. The same two again replace what was said."""
        said = [Said(**one) for one in valid(JudgementsIn(data=request.data))["judgements"]]
        judge(min(panel, MAX_BIGINT), min(expert, MAX_BIGINT), said)
        found = panel_numbered(min(panel, MAX_BIGINT))
        return Response(PanelOut(found).data | document_of(found))


class PanelExpertView(APIView):
    scopes: ClassVar[Scopes] = {"DELETE": OPERATOR}

    @extend_schema(operation_id="index_panels_let_go", parameters=[PANEL, EXPERT], request=None, responses={204: None})
    def delete(self, request: Request, panel: int, expert: int) -> Response:
        """Take an expert who said nothing off the panel."""
        let_go(min(panel, MAX_BIGINT), min(expert, MAX_BIGINT))
        return Response(status=204)


class JudgementsPreviewView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_panels_preview", parameters=[PANEL], request=PreviewIn, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request, panel: int) -> Response:
        """What judgements of one expert would come to, by group of siblings. Nothing is kept."""
        said = [Said(**one) for one in valid(PreviewIn(data=request.data))["judgements"]]
        return Response({"groups": preview(panel_numbered(min(panel, MAX_BIGINT)), said)})


class PanelRecordView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_panels_record", parameters=[PANEL], request=RecordIn, responses={201: IndexWeightsOut})
    def post(self, request: Request, panel: int) -> Response:
        """Record the panel's weights for ever, with every judgement and every expert's consistency."""
        given = valid(RecordIn(data=request.data))
        return Response(IndexWeightsOut(record(min(panel, MAX_BIGINT), given["name"], caller_of(request).user)).data, status=201)


urlpatterns = [
    path("index/panels", PanelsView.as_view()),
    path("index/panels/<int:panel>", PanelView.as_view()),
    path("index/panels/<int:panel>/judgements/preview", JudgementsPreviewView.as_view()),
    path("index/panels/<int:panel>/experts/<int:expert>", PanelExpertView.as_view()),
    path("index/panels/<int:panel>/experts/<int:expert>/judgements", JudgementsView.as_view()),
    path("index/panels/<int:panel>/record", PanelRecordView.as_view()),
]
