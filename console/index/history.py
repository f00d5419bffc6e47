"""The page of the years: where provinces stood, on one scale, with a break before what does not compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.charts import Chart, lines
from console.index.drawn import marks
from console.index.reading import Shown, chosen, places, region_named
from console.pages import Page
from index.regions import PROVINCES
from index.running.history import Year, history_of
from index.running.series import base_of
from index.trees import ROOT
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

FIRST: Final = 5  # provinces that are drawn where none were asked for
BREAK: Final = "//"


class IndexHistory(Page):
    """`?run=` the runs on its goalposts, `?indicator=` another node than the index, `?province=` (many times) who is drawn."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/history.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown, node = chosen(request), request.GET.get("indicator", "") or ROOT
        years = history_of(shown.run, node)
        drawn = [region_named(code).code for code in request.GET.getlist("province")] or _order(years)[:FIRST]
        found = shown.tree.nodes.get(node)
        context = {
            "node": found, "code": node, "unit": found.unit.code if found and found.unit else "points",
            "nodes": list(_nodes(shown)), "years": [_head(year) for year in years], "rows": _rows(years),
            "provinces": [{"region": one, "on": code in drawn} for code, one in PROVINCES.items()],
            "chart": _chart(shown, years, drawn, node), "base": base_of(shown.run),
            "apart": [year for year in years if not year.comparable], "synthetic": any(year.run.synthetic for year in years),
        }  # fmt: skip
        return self.show(shown.head | context)


def _nodes(shown: Shown) -> Sequence[dict[str, str]]:
    """What may be looked at: all that the profile has."""
    tree = shown.tree.tree(shown.run.profile)
    there = {code for below in tree.values() for code in below}
    return [{"code": code, "name": node.name["en"]} for code, node in shown.tree.nodes.items() if code in there]


def _order(years: Sequence[Year]) -> list[str]:
    """Provinces by their rank in the last year that compares."""
    last = next((year for year in reversed(years) if year.comparable), None)
    return sorted(last.ranks, key=lambda region: (last.ranks[region], region)) if last else []


def _head(year: Year) -> dict[str, Any]:
    generated = f"{year.generated:.0%} generated" if year.generated else ""
    return {"run": year.run, "apart": not year.comparable, "reasons": year.reasons, "generated": generated}


def _rows(years: Sequence[Year]) -> list[dict[str, Any]]:
    order = dict.fromkeys([*_order(years), *PROVINCES])
    return [{"region": PROVINCES[region], "cells": [_cell(year, region) for year in years]} for region in order]


def _cell(year: Year, region: str) -> dict[str, Any]:
    there = {"value": places(year.values[region]), "rank": year.ranks[region]} if region in year.values else {}
    return there | {"period": year.run.period, "apart": not year.comparable}


def _chart(shown: Shown, years: Sequence[Year], drawn: Sequence[str], node: str) -> Chart | None:
    """A line per province; before each year that does not compare it ends."""
    steps, columns = list[str](), list[Year | None]()
    for year in years:
        steps += [year.run.period] if year.comparable else [BREAK, f"{year.run.period} *"]
        columns += [year] if year.comparable else [None, year]
    rows = {PROVINCES[region].en: [_point(year, region) for year in columns] for region in drawn}
    if not any(value is not None for values in rows.values() for value in values):
        return None
    one = shown.tree.nodes.get(node)
    name = one.name["en"] if one else shown.tree.name["en"]
    unit = one.unit.code if one and one.unit else "points"
    return lines("history", f"{name} over the years; {BREAK} is where years do not compare", steps, rows, unit, **marks(shown))


def _point(year: Year | None, region: str) -> float | None:
    return float(f"{float(year.values[region]):.6g}") if year and region in year.values else None
