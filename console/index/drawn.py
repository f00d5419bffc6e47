"""The charts of the ranks, of a province and of an indicator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.urls import reverse

from console.charts import ROOM, ROW, Bar, Chart, bars
from console.index.reading import Shown, levels
from index.analysis.explaining import effective
from index.defining import weights_of
from index.regions import PROVINCES
from index.trees import ROOT, Node

PLACES: Final = 2


def note(shown: Shown) -> str:
    """What a saved picture says of its source."""
    run = shown.run
    edition = f"edition {run.edition}" if run.edition else "not published"
    return f"Gridfare, {shown.tree.title}, method after CAICT 2023, {run.period}, {run.profile}, {edition}, {run.digest[:16]}"


def marks(shown: Shown) -> dict[str, Any]:
    """What every chart of a run says of it."""
    return {"synthetic": shown.run.synthetic, "note": note(shown)}


def number(value: Any) -> float | None:
    return None if value is None else round(float(value), PLACES)


def province_link(shown: Shown, region: str) -> str:
    return f"{reverse('console:index-province', args=[region])}?run={shown.run.pk}"


def indicator_link(shown: Shown, code: str) -> str:
    return f"{reverse('console:index-indicator', args=[code])}?run={shown.run.pk}"


def ranked(shown: Shown, node: str = ROOT) -> Chart:
    """Scores as bars, the best on top; of the index beside them the ranks of the band."""
    scores = shown.result["scores"].get(node, {})
    order = shown.order if node == ROOT else sorted(scores, key=lambda region: (-float(scores[region]), region))
    name = shown.tree.nodes[node].name["en"] if node in shown.tree.nodes else shown.tree.name["en"]
    rows = [Bar(PROVINCES[region].en, number(scores[region]), province_link(shown, region)) for region in order if region in scores]
    figure = bars("ranks", f"{name}: 0 to 100, by rank", rows, "points", **marks(shown))
    bands = shown.analysis["bands"] if node == ROOT else {}
    return with_bands(figure, [bands.get(region) for region in order]) if bands else figure


def with_bands(figure: Chart, bands: Sequence[dict[str, Any] | None]) -> Chart:
    """Bars with a second pane at their right: the middle rank as a dot, the ranks that 90 of 100 ways keep to as a line."""
    names, option = figure.option["yAxis"], figure.option
    spans = [[at, one["low"], one["high"]] for at, one in enumerate(bands) if one]
    dots = [[one["middle"], at] for at, one in enumerate(bands) if one]
    pane: dict[str, Any] = {"xAxisIndex": 1, "yAxisIndex": 1}
    blank = names | {"gridIndex": 1, "axisLabel": {"show": False}}
    ranks = {"type": "value", "name": "rank", "nameLocation": "middle", "nameGap": 26, "gridIndex": 1, "min": 1, "max": len(bands)}
    more = [
        {"type": "custom", "name": "5-95 %", "renderItem": "whiskers", "data": spans, "encode": {"x": [1, 2], "y": 0}} | pane,
        {"type": "scatter", "name": "middle rank", "data": dots, "symbolSize": 7} | pane,
    ]
    left, right = {"left": 16, "right": "34%"}, {"left": "69%", "right": 16, "top": 8, "bottom": 36, "containLabel": True}
    told = dict(option) | {
        "grid": [option["grid"] | left, right], "xAxis": [option["xAxis"], ranks], "yAxis": [names, blank],
        "series": [*option["series"], *more],
    }  # fmt: skip
    title = f"{figure.title}; at the right the ranks of 90 of 100 ways to weigh and to compute it"
    return Chart(figure.name, title, told, figure.height, figure.synthetic, figure.note)


def contributions(shown: Shown, region: str) -> Chart:
    """What every indicator gives to the index, and by a pale bar what it could give, in the tree's order."""
    given = shown.result["contributions"].get(region, {})
    shares = effective(shown.tree, shown.run.profile, weights_of(shown.run.weights))
    leaves = [node for node in shown.tree.leaves(shown.run.profile) if node.code in given]
    names = [f"{node.code} {node.name['en']}" for node in leaves]
    got = [{"value": number(given[node.code]), "link": indicator_link(shown, node.code)} for node in leaves]
    left = [number(max(100 * float(shares.get(node.code, 0)) - float(given[node.code]), 0)) for node in leaves]
    plain = {"type": "bar", "stack": "all", "barMaxWidth": 16}
    gain = plain | {"name": "left to gain", "data": left, "itemStyle": {"opacity": 0.3}}
    option = {
        "grid": {"left": 16, "right": 24, "top": 40, "bottom": 36, "containLabel": True},
        "legend": {"top": 4},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "value", "name": "points of the index", "nameLocation": "middle", "nameGap": 26},
        "yAxis": {"type": "category", "data": names, "inverse": True, "axisTick": {"show": False}, "axisLabel": {"interval": 0}},
        "series": [
            plain | {"name": "given", "data": got},
            gain,
        ],
    }
    title = f"What each indicator gives {PROVINCES[region].en}, and what is left to gain"
    return Chart("contributions", title, option, ROW * len(leaves) + ROOM + 24, **marks(shown))


def profile_of(shown: Shown, region: str) -> Chart:
    """The second level as a web: the province, and the middle of all."""
    nodes = [
        node
        for top in levels(shown)
        for node in shown.tree.children(top)
        if not node.is_leaf and node.code in shown.result["scores"]
    ]
    scores = shown.result["scores"]
    ends = [{"name": node.name["en"], "max": 100} for node in nodes]
    own = [number(scores[node.code].get(region)) or 0 for node in nodes]
    middle = [number(_median([float(value) for value in scores[node.code].values()])) for node in nodes]
    option = {
        "legend": {"top": 4},
        "tooltip": {"trigger": "item"},
        "radar": {"indicator": ends, "radius": "56%", "center": ["50%", "54%"], "axisName": {"width": 84, "overflow": "break"}},
        "series": [{
            "type": "radar", "name": PROVINCES[region].en, "areaStyle": {"opacity": 0.15},
            "data": [{"name": PROVINCES[region].en, "value": own}, {"name": "middle of all", "value": middle}],
        }],
    }  # fmt: skip
    return Chart("profile", f"{PROVINCES[region].en} beside the middle of all provinces, second level", option, 420, **marks(shown))


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def values(shown: Shown, node: Node) -> Chart:
    """An indicator's values as they are, or a node's scores; the greatest on top."""
    if not node.is_leaf:
        return ranked(shown, node.code)
    raw = shown.result["raw"].get(node.code, {})
    order = sorted(raw, key=lambda region: (-float(raw[region]), region))
    rows = [Bar(PROVINCES[region].en, float(f"{float(raw[region]):.6g}"), province_link(shown, region)) for region in order]
    return bars("values", f"{node.code} {node.name['en']}", rows, node.unit.code if node.unit else "", **marks(shown))
