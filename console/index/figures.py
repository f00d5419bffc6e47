"""The report's figures 3 to 10, each with its counterpart of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.charts import ROOM, ROW, Chart
from console.index.drawn import indicator_link, marks, number, ranked
from console.index.reading import Shown, chosen, levels, places
from console.index.rows import coverage_of, is_below
from console.index.tables import csv_of, wants_csv
from console.pages import Page
from core.errors import Invalid
from index.expressions import names_in
from index.regions import PROVINCES, Province
from index.trees import ROOT, Node
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

NUMBERS: Final = (5, 7, 8, 9)  # the report's figures of the four first levels
PERCENT: Final = "percent"
SCALE: Final = "From 0 to 100."
BANDS: Final = "From 0 to 100, with the ranks that 90 of 100 ways to weigh and to compute it keep to."
AS_THEY_ARE: Final = "As they are, before they are brought to a scale."
BANDED: Final = ("Rank", "Lowest rank of the band", "Highest rank of the band")


@dataclass(frozen=True, slots=True)
class Row:
    """A province's numbers, exact or None, one for each column; `lacking`: why it has none."""

    region: Province
    numbers: tuple[Any, ...]
    lacking: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the page: its number in the report, what it shows, its chart and the table below, `columns` by `rows`."""

    number: int
    title: str
    words: str
    chart: Chart | None
    columns: tuple[str, ...]
    rows: list[Row]

    @property
    def told(self) -> list[tuple[Province, list[tuple[str, str]], str]]:
        """Rows for people: each number with its column's name."""
        return [
            (row.region, [(name, _told(one)) for name, one in zip(self.columns, row.numbers, strict=False)], row.lacking)
            for row in self.rows
        ]


class IndexFigures(Page):
    """Every figure on one page, with an anchor for each. `?as=csv&figure=6`: the exact numbers of one."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/figures.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        figures = [_index(shown), *(_scored(shown, at, top) for at, top in zip(NUMBERS, levels(shown), strict=False))]
        figures.append(_shares(shown))
        figures.sort(key=lambda one: one.number)
        if wants_csv(request):
            return _csv(shown, _asked(figures, request.GET.get("figure", "")))
        return self.show(shown.head | {"figures": figures, "tree": _tree(shown), "nodes": _listed(shown, ROOT)})


def _asked(figures: list[Figure], number: str) -> Figure:
    found = next((one for one in figures if str(one.number) == number), None)
    if found is None:
        told = ", ".join(str(one.number) for one in figures)
        raise Invalid("invalid_parameter", f"figures with numbers are {told}", field="figure")
    return found


def _csv(shown: Shown, figure: Figure) -> HttpResponse:
    columns = ("figure", "region_code", "region", *figure.columns)
    empty = (None,) * len(figure.columns)
    rows = ([figure.number, row.region.code, row.region.zh, *(row.numbers or empty)] for row in figure.rows)
    return csv_of(shown, f"figure-{figure.number}", columns, rows)


def _told(number: Any) -> str:
    return str(number) if isinstance(number, int) else places(number)


def _index(shown: Shown) -> Figure:
    """Figure 4: the index by rank, with its bands."""
    plain = _scored(shown, 4, ROOT)
    ranks, bands = shown.result["ranks"], shown.analysis["bands"]
    rows = [
        replace(row, numbers=(ranks[row.region.code], *_band(bands.get(row.region.code)), *row.numbers)) if row.numbers else row
        for row in plain.rows
    ]
    return replace(plain, words=BANDS, columns=BANDED + plain.columns, rows=rows)


def _band(band: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    return (band["low"], band["high"]) if band else (None, None)


def _scored(shown: Shown, at: int, code: str) -> Figure:
    """A node's score of every province with those below it, the best on top; then who has none."""
    name = shown.tree.nodes[code].name if code != ROOT else shown.tree.name
    scores = shown.result["scores"].get(code, {})
    below = {node.name["en"]: table for node in shown.tree.children(code) if (table := _scores(shown, node.code))}
    order = sorted(scores, key=lambda region: (-float(scores[region]), region))
    rows = [Row(PROVINCES[one], (scores[one], *(table.get(one) for table in below.values()))) for one in order]
    rows += [Row(PROVINCES[one], (), _lacking(shown, code, one)) for one in PROVINCES if one not in scores]
    chart = replace(ranked(shown, code), name=f"figure-{at}") if scores else None
    return Figure(at, f"{name['en']} {name['zh']}", SCALE, chart, ("Score", *below), rows)


def _scores(shown: Shown, code: str) -> Mapping[str, str]:
    """Of a node, or of an indicator brought to the scale."""
    table: Mapping[str, str] = shown.result["scores"].get(code) or shown.result["normalised"].get(code) or {}
    return table


def _lacking(shown: Shown, code: str, region: str) -> str:
    return f"n/a ({coverage_of(shown, region)} known)" if code == ROOT else "n/a"


def _shares(shown: Shown) -> Figure:
    """Figure 6: of the first of the first levels what is a percentage, inputs and indicators alike, as it is."""
    top = levels(shown)[0]
    leaves = [node for node in shown.tree.leaves(shown.run.profile) if is_below(shown, node.code, top)]
    tables = _inputs(shown, leaves) | {
        node.name["en"]: shown.result["raw"][node.code]
        for node in leaves
        if node.unit and node.unit.code == PERCENT and node.code in shown.result["raw"]
    }
    regions = [one for one in PROVINCES if any(one in table for table in tables.values())]
    rows = [Row(PROVINCES[one], tuple(table.get(one) for table in tables.values())) for one in regions]
    title = f"{shown.tree.nodes[top].name['en']} {shown.tree.nodes[top].name['zh']}: its percentages"
    return Figure(6, title, AS_THEY_ARE, _grouped(shown, tables, regions), tuple(tables), rows)


def _inputs(shown: Shown, leaves: list[Node]) -> dict[str, Mapping[str, str]]:
    """What is a percentage among the variables that these indicators' formulas name."""
    formulas = shown.tree.expressions(shown.run.profile)
    named = {name: shown.tree.variables.get(name) for leaf in leaves for name in sorted(names_in(formulas[leaf.code]))}
    return {
        one.name["en"]: {region: row[0] for region, row in shown.inputs[name].items()}
        for name, one in named.items()
        if one and one.unit.code == PERCENT and name in shown.inputs
    }


def _grouped(shown: Shown, tables: Mapping[str, Mapping[str, str]], regions: list[str]) -> Chart | None:
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
        "type": "tree", "data": [data], "left": 32, "right": 190, "top": 8, "bottom": 8, "symbolSize": 8, "initialTreeDepth": -1,
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
