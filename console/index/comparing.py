"""The page of comparisons: from one run to another, or one province beside another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.charts import ROOM, ROW, Chart
from console.index.drawn import indicator_link, marks, number
from console.index.reading import Shown, chosen, named, places, region_named
from console.pages import Page
from index.analysis.comparing import Comparison, Effect, Moved, Pair, Side, above_of, beside, compare
from index.defining import weights_of
from index.models import IndexRun
from index.regions import PROVINCES
from index.trees import ROOT, Definition, Node
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

RUNS: Final = 100  # to choose from
FAR: Final = 3  # ranks, from which on a line is thick


class IndexCompare(Page):
    """`?run=&other=` compares two runs, with `?province=` in detail; `?run=&left=&right=` two provinces of one."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/compare.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        context = shown.head | {"runs": _runs(shown), "provinces": PROVINCES.values()}
        first, second = [*shown.order, *PROVINCES][:2]
        if request.GET.get("other"):
            context |= {"left": PROVINCES[first], "right": PROVINCES[second]}  # of the form for provinces
            return self.show(context | _two_runs(shown, named(request.GET["other"]), request.GET.get("province", "")))
        left = request.GET.get("left") or first
        right = request.GET.get("right") or (second if left == first else first)
        return self.show(context | _two_provinces(shown, region_named(left), region_named(right)))


def side(shown: Shown) -> Side:
    return Side(shown.tree, weights_of(shown.run.weights), shown.result)


def _runs(shown: Shown) -> list[IndexRun]:
    """What may be compared, newest first."""
    rows = IndexRun.objects.filter(definition__code=shown.run.definition.code, profile=shown.run.profile)
    rows = rows.select_related("definition", "weights").defer("inputs", "result", "analysis", "weights__evidence")
    return list(rows.order_by("-pk")[:RUNS])


def _two_runs(before: Shown, after: Shown, province: str) -> dict[str, Any]:
    found = compare(side(before), side(after))
    context = {
        "other": after.run,
        "found": found,
        "rows": [_row(one) for one in found.regions],
        "gaps": any(effect.coverage for one in found.regions for effect in one.effects.values()),
        "synthetic": before.run.synthetic or after.run.synthetic,
    }
    if not found.comparable:
        return context
    return context | {"slopes": slopes(before, after, found)} | _in_detail(after, found, province)


def _row(one: Moved) -> dict[str, Any]:
    whole = one.effects.get(ROOT)
    up = one.rank_before - one.rank_after if one.rank_before and one.rank_after else None
    parts = {name: signed(getattr(whole, name)) for name in ("data", "weights", "coverage")} if whole else {}
    return {
        "region": PROVINCES[one.region],
        "before": places(one.before),
        "after": places(one.after),
        "rank_before": one.rank_before,
        "rank_after": one.rank_after,
        "up": "" if up is None else f"{up:+d}" if up else "0",
        "change": signed(one.change),
    } | parts


def signed(value: Decimal | None) -> str:
    """Points with their sign, to two places; nothing where there is none."""
    if value is None:
        return ""
    rounded = round(value, 2)
    return f"{rounded:+,.2f}" if rounded else "0.00"


def _in_detail(shown: Shown, found: Comparison, province: str) -> dict[str, Any]:
    """The province that was asked for, or the one whose index changed most, node by node. Nothing where no index is a sum."""
    there = {one.region: one for one in found.regions if one.effects}
    far = {region: abs(one.change or Decimal(0)) for region, one in there.items()}
    if province:
        region_named(province)
    chosen = province or max(far, key=lambda region: far[region], default="")
    if chosen not in there:
        return {"detailed": PROVINCES.get(chosen), "unranked": bool(there)}
    effects = there[chosen].effects
    nodes = [{"name": _name(shown.tree, code), **_named_effect(effects[code])} for code in _in_order(shown.tree, effects)]
    return {"detailed": PROVINCES[chosen], "nodes": nodes, "chart": changes(shown, chosen, effects)}


def _in_order(tree: Definition, there: Mapping[str, object]) -> list[str]:
    return [code for code in (ROOT, *tree.nodes) if code in there]


def _name(tree: Definition, code: str) -> dict[str, Any]:
    if code == ROOT:
        return {"code": "", "en": tree.name["en"], "zh": tree.name["zh"], "level": 0}
    names = tree.nodes[code].name
    return {"code": code, "en": names["en"], "zh": names["zh"], "level": len(above_of(tree, code))}


def _named_effect(effect: Effect) -> dict[str, str]:
    return {name: signed(getattr(effect, name)) for name in ("total", "data", "weights", "coverage")}


def slopes(before: Shown, after: Shown, found: Comparison) -> Chart:
    """A line from the rank in one run to that in the other; who moves far is drawn thick."""
    both = [one for one in found.regions if one.rank_before and one.rank_after]
    steps = [f"{one.run.period}, run {one.run.pk}" for one in (before, after)]
    option = {
        "grid": {"left": 120, "right": 120, "top": 12, "bottom": 28},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "category", "data": steps, "boundaryGap": False, "axisTick": {"show": False}},
        "yAxis": {"type": "value", "inverse": True, "min": 1, "max": len(PROVINCES), "minInterval": 1, "show": False},
        "series": [_slope(one) for one in both],
    }
    title = f"Ranks from {before.run.period} (run {before.run.pk}) to {after.run.period} (run {after.run.pk})"
    return Chart("slopes", title, option, 20 * len(PROVINCES) + 60, **marks(after))


def _slope(one: Moved) -> dict[str, Any]:
    ranks = one.rank_before or 0, one.rank_after or 0
    far = abs(ranks[0] - ranks[1]) >= FAR
    label = {"show": True, "formatter": "{a} {@[1]}", "fontSize": 11, "overflow": "none"}
    ends = [(0, "left"), (1, "right")]
    data = [{"value": [at, ranks[at]], "label": label | {"position": where}} for at, where in ends]
    style = {"width": 3 if far else 1, "opacity": 1 if far else 0.45}
    return {"type": "line", "name": PROVINCES[one.region].en, "data": data, "symbolSize": 6, "lineStyle": style}


def changes(shown: Shown, region: str, effects: Mapping[str, Effect]) -> Chart:
    """What each indicator's change gave to or took from the index, by what it comes of."""
    leaves = [node for node in shown.tree.leaves(shown.run.profile) if node.code in effects]
    parts = [name for name in ("data", "weights", "coverage") if any(getattr(effects[leaf.code], name) for leaf in leaves)]
    option = _diverging(leaves) | {
        "legend": {"top": 4},
        "series": [
            {"type": "bar", "stack": "all", "name": part, "barMaxWidth": 16, "data": [
                {"value": number(getattr(effects[leaf.code], part)), "link": indicator_link(shown, leaf.code)} for leaf in leaves
            ]}
            for part in parts
        ],
    }  # fmt: skip
    title = f"What changed the index of {PROVINCES[region].en}, in points"
    return Chart("changes", title, option, ROW * len(leaves) + ROOM + 24, **marks(shown))


def _diverging(leaves: Sequence[Node]) -> dict[str, Any]:
    """Bars to both sides, with the names at the left of all."""
    names = [f"{leaf.code} {leaf.name['en']}" for leaf in leaves]
    axis = {"type": "category", "data": names, "inverse": True, "axisTick": {"show": False}, "axisLabel": {"interval": 0}}
    return {
        "grid": {"left": 40, "right": 24, "top": 40, "bottom": 36, "containLabel": True},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "value", "name": "points of the index", "nameLocation": "middle", "nameGap": 26},
        "yAxis": axis | {"axisLine": {"onZero": False}},
    }


def _two_provinces(shown: Shown, left: Any, right: Any) -> dict[str, Any]:
    found = beside(side(shown), left.code, right.code)
    nodes = [{"name": _name(shown.tree, code), **_named_pair(found[code])} for code in found]
    context = {"left": left, "right": right, "pairs": nodes, "additive": bool(shown.result["contributions"])}
    leaves = [node for node in shown.tree.leaves(shown.run.profile) if node.code in found]
    rows = [leaf for leaf in leaves if found[leaf.code].difference is not None]
    if not rows:
        return context
    title = f"Where {left.en} is before {right.en} (to the right) and behind (to the left)"
    bar = [{"value": number(found[leaf.code].difference), "link": indicator_link(shown, leaf.code)} for leaf in rows]
    option = _diverging(rows) | {"series": [{"type": "bar", "name": f"{left.en} less {right.en}", "barMaxWidth": 16, "data": bar}]}
    return context | {"chart": Chart("beside", title, option, ROW * len(rows) + ROOM, **marks(shown))}


def _named_pair(pair: Pair) -> dict[str, str]:
    told = {name: places(getattr(pair, name)) for name in ("left", "right", "left_points", "right_points")}
    return told | {"difference": signed(pair.difference)}
