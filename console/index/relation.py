"""The page of the relationship: the index beside the digital economy, or another quantity, as points, a line and types."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse

from console.charts import Chart, Point, scatter
from console.index.drawn import marks, province_link
from console.index.reading import Shown, chosen, places
from console.pages import Page
from core.errors import Invalid, NotFound
from index.analysis.relating import KINDS, USUAL, WIDEST, Relation, relate, used_in
from index.analysis.types import BALANCED
from index.regions import PROVINCES
from index.trees import ROOT
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

WORDS = {"supply_driven": "supply-driven", "balanced": "balanced", "demand_pulled": "demand-pulled", "": "all provinces"}


class IndexRelationship(Page):
    """`?with=` names the other quantity, `?zone=` how many standard deviations on either side of the line are balanced."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/relation.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        variable, zone = _variable(shown, request.GET.get("with", "")), _zone(request.GET.get("zone", ""))
        index = {region: float(score) for region, score in shown.result["scores"].get(ROOT, {}).items()}
        found = relate(index, {region: float(one[0]) for region, one in shown.inputs.get(variable, {}).items()}, zone)
        part = variable in used_in(shown.tree, shown.run.profile)
        context: dict[str, Any] = {
            "variable": shown.tree.variables.get(variable),
            "choices": _choices(shown),
            "zone": f"{zone:g}",
            "part": part,
        }
        context |= {"rows": _rows(shown, variable, found), "alone": [PROVINCES[one] for one in found.alone], "box": _box(found)}
        return self.show(shown.head | context | {"chart": _chart(shown, variable, found), "kinds": _counts(found)})


def _variable(shown: Shown, asked: str) -> str:
    if asked and asked not in shown.inputs:
        raise NotFound("variable_unknown", "the run has seen no such variable", field="with")
    usual = USUAL if USUAL in shown.inputs else min(shown.inputs, default="")
    return asked or usual


def _zone(text: str) -> float:
    try:
        zone = float(text) if text else BALANCED
    except ValueError:
        zone = math.nan
    if not 0 <= zone <= WIDEST:
        raise Invalid("invalid_parameter", f"a zone is a number of standard deviations from 0 to {WIDEST:g}", field="zone")
    return zone


def _choices(shown: Shown) -> list[dict[str, Any]]:
    """Quantities to set beside the index, those that are no part of it first."""
    used = used_in(shown.tree, shown.run.profile)
    rows = [{"variable": shown.tree.variables[code], "part": code in used} for code in shown.inputs]
    return sorted(rows, key=lambda row: (row["part"], row["variable"].name["en"]))


def _rows(shown: Shown, variable: str, found: Relation) -> list[dict[str, Any]]:
    seen = shown.inputs.get(variable, {})
    return [
        {
            "region": PROVINCES[one.region],
            "x": places(one.x),
            "y": places(one.y),
            "apart": f"{one.apart:+.2f}" if one.kind else "",
            "kind": WORDS[one.kind],
            "number": seen[one.region][1],
            "synthetic": seen[one.region][2],
        }
        for one in found.standing
    ]


def _box(found: Relation) -> dict[str, Any] | None:
    line = found.line
    if line is None:
        return None
    slopes = {name: places(getattr(line, name)) for name in ("slope", "low", "high")}
    return slopes | {"r2": f"{line.r2:.3f}", "n": line.n, "sure": line.low > 0 or line.high < 0}


def _counts(found: Relation) -> list[tuple[str, list[Any]]]:
    if found.line is None:
        return []
    return [(WORDS[kind], [PROVINCES[one.region] for one in found.standing if one.kind == kind]) for kind in KINDS]


def _chart(shown: Shown, variable: str, found: Relation) -> Chart | None:
    if not found.standing:
        return None
    other = shown.tree.variables[variable]
    order = sorted(found.standing, key=lambda one: (*KINDS, "").index(one.kind))
    points = [
        Point(PROVINCES[one.region].en, round(one.x, 2), one.y, WORDS[one.kind], province_link(shown, one.region)) for one in order
    ]
    title = f"{shown.tree.name['en']} and {other.name['en']}, by province"
    return scatter("relationship", title, points, "points of the index", other.unit.code, found.ends(), **marks(shown))
