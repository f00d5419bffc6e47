"""The page of the relationship: the index beside the digital economy, or another quantity, as points, a line and types."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.charts import Chart, Point, scatter
from console.index.drawn import marks, province_link
from console.index.reading import Shown, chosen, places
from console.index.tables import csv_of, wants_csv
from console.pages import Page
from index.analysis.relating import KINDS, Relation
from index.beside import Beside, beside
from index.regions import PROVINCES
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

WORDS: Final = {"supply_driven": "supply-driven", "balanced": "balanced", "demand_pulled": "demand-pulled", "": "all provinces"}
COLUMNS: Final = ("region_code", "region", "index", "variable", "value", "unit", "apart", "type", "observation", "generated")


class IndexRelationship(Page):
    """`?with=` names the other quantity, `?zone=` how many standard deviations on either side of the line are balanced."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/relation.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        found = beside(shown.run, shown.tree, (shown.inputs, shown.result), request.GET.dict())
        if wants_csv(request):
            return csv_of(shown, "relationship", COLUMNS, _lines(found))
        relation, quantity = found.relation, found.quantity
        context: dict[str, Any] = {
            "variable": quantity and quantity.variable,
            "part": quantity and quantity.part,
            "choices": found.choices,
            "zone": f"{found.zone:g}",
            "rows": _rows(found),
            "alone": [PROVINCES[one] for one in relation.alone],
            "box": _box(relation),
            "kinds": _counts(relation),
            "chart": _chart(shown, found),
        }
        return self.show(shown.head | context)


def _rows(found: Beside) -> list[dict[str, Any]]:
    return [
        {
            "region": PROVINCES[one.region],
            "x": places(one.x),
            "y": places(one.y),
            "apart": f"{one.apart:+.2f}" if one.kind else "",
            "kind": WORDS[one.kind] if one.kind else "",
            "number": found.seen[one.region][1],
            "synthetic": found.seen[one.region][2],
        }
        for one in found.relation.standing
    ]


def _lines(found: Beside) -> list[list[Any]]:
    if found.quantity is None:
        return []
    code, unit = found.quantity.variable.code, found.quantity.variable.unit.code
    rows = [(one, *found.seen[one.region]) for one in found.relation.standing]
    return [
        [one.region, PROVINCES[one.region].zh, one.x, code, value, unit, one.apart if one.kind else "", one.kind, number, synthetic]
        for one, value, number, synthetic in rows
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


def _chart(shown: Shown, found: Beside) -> Chart | None:
    if not found.relation.standing or found.quantity is None:
        return None
    other = found.quantity.variable
    order = sorted(found.relation.standing, key=lambda one: (*KINDS, "").index(one.kind))
    points = [
        Point(PROVINCES[one.region].en, round(one.x, 2), one.y, WORDS[one.kind], province_link(shown, one.region)) for one in order
    ]
    title = f"{shown.tree.name['en']} and {other.name['en']}, by province"
    generated = marks(shown) | {"synthetic": shown.run.synthetic or any(row[2] for row in found.seen.values())}
    return scatter("relationship", title, points, "points of the index", other.unit.code, found.relation.ends(), **generated)
