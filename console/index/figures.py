"""The report's figures 3 to 10, each with its counterpart of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.charts import ROOM, ROW, Chart
from console.index.drawn import indicator_link, marks, number, ranked
from console.index.reading import Shown, chosen, levels, places
from console.index.rows import coverage_of, inputs_of
from console.pages import Page
from index.regions import PROVINCES
from index.trees import ROOT, Node
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

NUMBERS: Final = (5, 7, 8, 9)  # the report's figures of the four first levels
PERCENT: Final = "percent"
SCALE: Final = "From 0 to 100."
AS_IT_IS: Final = "As they are, before they are brought to a scale."


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the page: its number in the report, what it shows, its chart and the table below, `columns` by `rows`."""

    number: int
    title: str
    words: str
    chart: Chart | None
    columns: tuple[str, ...]
    rows: list[tuple[Any, list[str]]]


class IndexFigures(Page):
    """Every figure on one page, with an anchor for each."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/figures.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        figures = [_scored(shown, 4, ROOT), *(_scored(shown, at, top) for at, top in zip(NUMBERS, levels(shown), strict=False))]
        figures.append(_shares(shown))
        figures.sort(key=lambda one: one.number)
        return self.show(shown.head | {"figures": figures, "tree": _tree(shown), "nodes": _listed(shown, ROOT)})


def _scored(shown: Shown, at: int, code: str) -> Figure:
    """A node's score of every province, the best on top; those without one below, by how much of the weight is known."""
    name = shown.tree.nodes[code].name if code != ROOT else shown.tree.name
    scores, below = shown.result["scores"].get(code, {}), [node for node in shown.tree.children(code) if _has(shown, node)]
    order = sorted(scores, key=lambda region: (-float(scores[region]), region))
    rows = [(PROVINCES[one], [places(scores[one]), *(shown.score(node.code, one) for node in below)]) for one in order]
    rows += [(PROVINCES[one], [f"n/a ({coverage_of(shown, one)} known)"]) for one in PROVINCES if one not in scores]
    title = f"{name['en']} {name['zh']}"
    words = (
        "From 0 to 100."
        if code != ROOT
        else "From 0 to 100, with the ranks that 90 of 100 ways to weigh and to compute it keep to."
    )
    chart = replace(ranked(shown, code), name=f"figure-{at}")
    return Figure(at, title, words, chart, ("Score", *(node.name["en"] for node in below)), rows)


def _has(shown: Shown, node: Node) -> bool:
    return bool(shown.result["scores"].get(node.code) or shown.result["normalised"].get(node.code))


def _shares(shown: Shown) -> Figure:
    """Figure 6: of the first of the first levels what is a percentage, inputs and indicators alike, as it is."""
    top = levels(shown)[0]
    leaves = [node for node in shown.tree.leaves(shown.run.profile) if node.code.startswith(top) and node.unit]
    tables = {
        seen["variable"].name["en"]: {one: float(row[0]) for one, row in shown.inputs[seen["variable"].code].items()}
        for region in list(PROVINCES)[:1] for node in leaves for seen in inputs_of(shown, node, region)
        if seen["variable"].unit.code == PERCENT
    }  # fmt: skip
    for node in leaves:
        if node.unit and node.unit.code == PERCENT and node.code in shown.result["raw"]:
            tables[node.name["en"]] = {one: float(value) for one, value in shown.result["raw"][node.code].items()}
    regions = [one for one in PROVINCES if any(one in table for table in tables.values())]
    rows = [(PROVINCES[one], [places(table.get(one)) for table in tables.values()]) for one in regions]
    title = f"{shown.tree.nodes[top].name['en']} {shown.tree.nodes[top].name['zh']}: its percentages"
    return Figure(
        6, title, "As they are, before they are brought to a scale.", _grouped(shown, tables, regions), tuple(tables), rows
    )


def _grouped(shown: Shown, tables: dict[str, dict[str, float]], regions: list[str]) -> Chart | None:
    if not regions:
        return None
    names = [PROVINCES[one].en for one in regions]
    series = [
        {"type": "bar", "name": name, "barMaxWidth": 6, "data": [number(table.get(one)) for one in regions]}
        for name, table in tables.items()
    ]
    option = {
        "grid": {"left": 16, "right": 24, "top": 64, "bottom": 36, "containLabel": True},
        "legend": {"top": 4},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "value", "name": "percent", "nameLocation": "middle", "nameGap": 26},
        "yAxis": {
            "type": "category",
            "data": names,
            "inverse": True,
            "axisLabel": {"interval": 0},
        },
        "series": series,
    }
    height = (ROW + 6 * len(tables)) * len(regions) + ROOM
    return Chart("figure-6", "Percentages of every province, one beside the other", option, height, **marks(shown))


def _tree(shown: Shown) -> Chart:
    """Figure 3: the tree itself."""
    data = {"name": "Index", "children": [_branch(shown, node) for node in shown.tree.children(ROOT)]}
    leaves = len(shown.tree.leaves(shown.run.profile))
    series = {
        "type": "tree", "data": [data], "left": 8, "right": 190, "top": 8, "bottom": 8, "symbolSize": 8, "initialTreeDepth": -1,
        "expandAndCollapse": False, "label": {"position": "top", "fontSize": 10, "distance": 3},
        "leaves": {"label": {"position": "right", "align": "left"}}, "roam": False,
    }  # fmt: skip
    title, note = f"The tree of {shown.tree.title}", marks(shown)["note"]
    return Chart("figure-3", title, {"series": [series]}, 22 * leaves + 60, note=note, wide=True)


def _branch(shown: Shown, node: Node) -> dict[str, Any]:
    below = [_branch(shown, one) for one in shown.tree.children(node.code)]
    name = {"name": f"{node.code} {node.name['en']}", "link": indicator_link(shown, node.code)}
    return name | ({"children": below} if below else {})


def _listed(shown: Shown, code: str) -> list[dict[str, Any]]:
    """The tree as nested lists."""
    return [{"node": node, "below": _listed(shown, node.code)} for node in shown.tree.children(code)]
