"""Two versions of a definition beside each other."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from index.defining import compared
from marketplace.api.serializers import Out
from marketplace.auth import caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

TITLES: Final = [
    OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.PATH, description="code@version, or code: the newest")
    for name in ("definition", "other")
]


class IndexChangeOut(Out):
    place = serializers.CharField()
    before = serializers.CharField(help_text="empty: not there")
    after = serializers.CharField()
    words = serializers.CharField()
    effect = serializers.ChoiceField(["scores", "weights", "words"], help_text="what it can change; `words`: nothing computed")


class IndexUnweighedOut(Out):
    below = serializers.CharField(source="parent")
    came = serializers.ListField(child=serializers.CharField())
    gone = serializers.ListField(child=serializers.CharField())


class IndexDifferenceOut(Out):
    before = serializers.CharField()
    after = serializers.CharField()
    same = serializers.BooleanField()
    reordered = serializers.BooleanField(help_text="only the order of indicators differs")
    changes = IndexChangeOut(many=True)
    unweighed = IndexUnweighedOut(many=True, help_text="siblings that weights of `before` say nothing of")
    left_behind = serializers.ListField(
        child=serializers.CharField(), help_text="names of recorded weights that `after` has none of the same name of"
    )


class DefinitionDifferenceView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_definitions_diff", parameters=TITLES, responses=IndexDifferenceOut)
    def get(self, request: Request, definition: str, other: str) -> Response:
        """What changed from one version to another, place by place, and which weights do not come along. Drafts for operators."""
        found = compared(definition, other, drafts=caller_of(request).is_operator)
        told: dict[str, Any] = {"before": found.before.title, "after": found.after.title, "left_behind": found.left_behind}
        told |= {name: getattr(found.comparison, name) for name in ("same", "reordered", "changes", "unweighed")}
        return Response(IndexDifferenceOut(told).data)


urlpatterns = [path("index/definitions/<str:definition>/diff/<str:other>", DefinitionDifferenceView.as_view())]
