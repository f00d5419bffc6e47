"""The page of data quality: what is known of what could be, how old it is, what was done to it, and what says the same twice."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse

from console.charts import Chart, heat
from console.index.drawn import marks
from console.index.reading import Shown, chosen, places
from console.pages import Page
from index.analysis.quality import COVERED, STATES, TOGETHER, Pair, Quality
from index.quality import ages, data_quality
from index.regions import PROVINCES
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

LETTERS = {"known": "●", "generated": "G", "imputed": "I", "missing": "–"}
TREATED = ("winsorised", "logged")
SHOWN_PAIRS = 15


class IndexQuality(Page):
    """Of the run that is shown."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/quality.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        found = data_quality(shown.run)
        leaves, regions = found.thin()
        context: dict[str, Any] = {"rows": _rows(shown, found), "regions": PROVINCES.values(), "letters": LETTERS}
        context |= {"known": _known(shown, found), "ages": _ages(shown), "pairs": _pairs(shown, found), "treated": _treated(shown)}
        context |= {"dominated": _dominated(shown, found), "flat": [shown.tree.nodes[leaf] for leaf in found.flat]}
        context |= {
            "thin_leaves": [shown.tree.nodes[leaf] for leaf in leaves],
            "thin_regions": [PROVINCES[one] for one in regions],
        }
        context |= {"redundant": len(found.redundant), "together": TOGETHER, "needed": f"{COVERED:.0%}"}
        return self.show(shown.head | context | {"chart": _states(shown, found), "web": _web(shown, found)})


def _rows(shown: Shown, found: Quality) -> list[dict[str, Any]]:
    return [
        {
            "node": shown.tree.nodes[leaf],
            "share": f"{found.by_leaf[leaf]:.0%}",
            "cells": [(PROVINCES[region], state, LETTERS[state]) for region, state in row.items()],
        }
        for leaf, row in found.states.items()
    ]


def _known(shown: Shown, found: Quality) -> str:
    cells = [state for row in found.states.values() for state in row.values()]
    counts = [f"{cells.count(state)} {state}" for state in reversed(STATES) if state in cells]
    return f"Of {len(cells)} values {', '.join(counts)}." if cells else "The profile has no indicators."


def _ages(shown: Shown) -> list[dict[str, Any]]:
    """The oldest first; an indicator is as old as the oldest value in it."""
    until = shown.run.as_of
    rows = sorted(ages(shown.run), key=lambda age: (age.first, age.variable))
    return [
        {
            "age": age,
            "variable": shown.tree.variables[age.variable],
            "days": age.days(until),
            "origins": ", ".join(age.origins),
        }
        for age in rows
    ]


def _pairs(shown: Shown, found: Quality) -> list[dict[str, Any]]:
    nodes = shown.tree.nodes
    return [
        {
            "one": nodes[pair.one],
            "other": nodes[pair.other],
            "r": f"{pair.r:+.2f}",
            "n": pair.n,
            "redundant": abs(pair.r) > TOGETHER,
        }
        for pair in found.pairs[:SHOWN_PAIRS]
    ]


def _redundant(pair: Pair) -> bool:
    return abs(pair.r) > TOGETHER


def _treated(shown: Shown) -> list[dict[str, Any]]:
    return [
        {"node": shown.tree.nodes[leaf], "flag": flag, "region": PROVINCES.get(region), "detail": places(detail) if detail else ""}
        for leaf, region, flag, detail in shown.result["flags"]
        if flag in TREATED
    ]


def _dominated(shown: Shown, found: Quality) -> list[dict[str, Any]]:
    return [
        {"node": shown.tree.nodes[leaf], "region": PROVINCES[region], "share": f"{share:.0%}"}
        for leaf, (region, share) in found.dominated.items()
    ]


def _states(shown: Shown, found: Quality) -> Chart:
    """The darker, the better known."""
    cells = [[float(STATES.index(state)) for state in row.values()] for row in found.states.values()]
    title = "What is known: 0 missing, 1 imputed, 2 generated, 3 known"
    names = [one.en for one in PROVINCES.values()]
    return heat("coverage", title, names, list(found.states), cells, 0, len(STATES) - 1, wide=True, **marks(shown))


def _web(shown: Shown, found: Quality) -> Chart | None:
    """Correlations of every two indicators."""
    leaves = [leaf for leaf in found.states if leaf in shown.result["normalised"]]
    if not found.pairs:
        return None
    r = {(pair.one, pair.other): round(pair.r, 2) for pair in found.pairs}
    cells = [[1.0 if one == other else r.get((one, other), r.get((other, one))) for other in leaves] for one in leaves]
    return heat(
        "correlations", "Correlations of every two indicators, -1 to 1", leaves, leaves, cells, -1, 1, wide=True, **marks(shown)
    )
