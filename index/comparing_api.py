"""Doors of comparisons: two runs, two provinces of one, a history, and the runs of many periods that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotFound
from index.analysis.comparing import Comparison, Effect, Moved, Pair, Reason, beside, compare
from index.api import MAX_BIGINT, PERIOD, IndexRunOut
from index.defining import definition_named
from index.method.numbers import stored
from index.models import IndexRun, WeightSet
from index.regions import PROVINCES
from index.running.history import Year, history_of, side_of
from index.running.series import DRAWS, MOST, Series, base_of, run_series
from index.running.services import run_numbered
from index.trees import ROOT
from marketplace.api.serializers import In, valid
from marketplace.auth import caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ


class IndexCompareIn(In):
    run = serializers.IntegerField(min_value=1, max_value=MAX_BIGINT)
    other = serializers.IntegerField(min_value=1, max_value=MAX_BIGINT, required=False, help_text="the run after")
    left = serializers.ChoiceField(list(PROVINCES), required=False, help_text="a province, beside `right`")
    right = serializers.ChoiceField(list(PROVINCES), required=False)


class CompareView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_compare", parameters=[IndexCompareIn], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> Response:
        """From `run` to `other`, or `left` beside `right` in `run`, in points of the index.

        Runs are compared like for like only; otherwise `reasons` says why not, and there is no change.
        """
        given = valid(IndexCompareIn(data=request.query_params))
        if given.keys() not in ({"run", "other"}, {"run", "left", "right"}):
            raise Invalid("comparison_incomplete", "give `other`, or `left` and `right`", field="other")
        run = run_numbered(given["run"])
        if "left" in given:
            heads = {"run": IndexRunOut(run).data, "left": given["left"], "right": given["right"]}
            return Response(heads | told_beside(run, given["left"], given["right"]))
        other = run_numbered(given["other"])
        heads = {"run": IndexRunOut(run).data, "other": IndexRunOut(other).data}
        return Response(heads | told_comparison(compare(side_of(run), side_of(other))))


def told_comparison(found: Comparison) -> dict[str, Any]:
    """Decimal text; null where there is nothing."""
    return {
        "comparable": found.comparable,
        "reasons": told_reasons(found.reasons),
        "regions": {one.region: _moved(one) for one in found.regions},
    }


def told_beside(run: IndexRun, left: str, right: str) -> dict[str, Any]:
    """By node: scores, points, and their difference."""
    return {"nodes": {code: _pair(pair) for code, pair in beside(side_of(run), left, right).items()}}


def told_reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": one.code, "detail": one.detail} for one in reasons]


def _moved(one: Moved) -> dict[str, Any]:
    scores = {"before": _text(one.before), "after": _text(one.after), "change": _text(one.change)}
    ranks = {"rank_before": one.rank_before, "rank_after": one.rank_after}
    return scores | ranks | {"effects": {code: _effect(effect) for code, effect in one.effects.items()}}


def _effect(one: Effect) -> dict[str, str | None]:
    return {"data": _text(one.data), "weights": _text(one.weights), "coverage": _text(one.coverage)}


def _pair(one: Pair) -> dict[str, str | None]:
    return {name: _text(getattr(one, name)) for name in ("left", "right", "left_points", "right_points", "difference")}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(stored(value), "f")


class IndexHistoryIn(In):
    run = serializers.IntegerField(min_value=1, max_value=MAX_BIGINT)
    node = serializers.CharField(max_length=40, default=ROOT, help_text="an indicator or what blends some; default: the index")


class HistoryView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_history", parameters=[IndexHistoryIn], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> Response:
        """The periods that compare with a run, as they stand on one base's goalposts, then those that do not, with the reasons.

        An indicator's values are in its unit, all other nodes' are scores.
        """
        given = valid(IndexHistoryIn(data=request.query_params))
        run = run_numbered(given["run"])
        years = [_year(year) for year in history_of(run, given["node"])]
        return Response({"base": base_of(run), "node": given["node"], "periods": years})


def _year(year: Year) -> dict[str, Any]:
    regions = {region: {"value": _text(value), "rank": year.ranks[region]} for region, value in sorted(year.values.items())}
    head = {"run": year.run.pk, "period": year.run.period, "digest": year.run.digest}
    head |= {"synthetic": year.run.synthetic, "generated": round(year.generated, 4)}
    return head | {"comparable": year.comparable, "reasons": told_reasons(year.reasons), "regions": regions}


class IndexSeriesIn(In):
    definition = serializers.CharField(max_length=60)
    weights = serializers.CharField(max_length=80, default="equal")
    profile = serializers.ChoiceField(["national", "platform"], default="national")
    periods = serializers.ListField(child=serializers.RegexField(PERIOD, max_length=7), min_length=1, max_length=MOST)
    base = serializers.RegexField(PERIOD, max_length=7, help_text="the period whose run lends its goalposts")
    as_of = serializers.DateField(required=False, allow_null=True, default=None, help_text="default: today")
    parameters = serializers.DictField(required=False, default=dict, help_text="what differs from the definition's method")
    draws = serializers.IntegerField(default=DRAWS, min_value=100, max_value=2_000, help_text="of the bands of all but the base")


class SeriesView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_series_create", request=IndexSeriesIn, responses={201: IndexRunOut(many=True)})
    def post(self, request: Request) -> Response:
        """Make a run of every period on the goalposts of the base's, so that they compare. What was made is given again."""
        given = valid(IndexSeriesIn(data=request.data))
        row = definition_named(given.pop("definition"))
        weights = WeightSet.objects.select_related("definition").filter(definition=row, name=given.pop("weights")).first()
        if weights is None:
            raise NotFound("weights_unknown", "the definition has no weights of this name", field="weights")
        return Response(IndexRunOut(run_series(Series(weights, **given), caller_of(request).user), many=True).data, status=201)


urlpatterns = [
    path("index/compare", CompareView.as_view()),
    path("index/history", HistoryView.as_view()),
    path("index/series", SeriesView.as_view()),
]
