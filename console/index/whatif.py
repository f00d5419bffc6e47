"""The what-if page: sliders, switches, and who would stand where. Unofficial, and kept nowhere but in its link."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from console.charts import Chart
from console.index.drawn import marks
from console.index.reading import Shown, chosen, places, region_named
from console.pages import Page
from index.analysis.whatif import AGGREGATES, MIDDLE, MOST, NORMALISERS, rated, shares, swaps
from index.regions import PROVINCES
from index.trees import ROOT
from index.whatif import WhatIf, what_if
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

WORDS = {
    "minmax": "least to greatest", "efficacy": "60 to 100", "zscore": "standard deviations",
    "rank": "ranks", "prank": "percentile ranks",
    "arithmetic": "arithmetic mean", "geometric": "geometric mean", "harmonic": "harmonic mean", "copeland": "pairwise majority",
}  # fmt: skip


class IndexWhatIf(Page):
    """`?A=5&B=3` and the method's switches; `?left=&right=` asks where two provinces would change places."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/whatif.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        asked = {name: text for name, text in request.GET.dict().items() if name not in ("run", "left", "right")}
        found = what_if(shown.run, asked)
        query = urlencode({"run": shown.run.pk} | found.question.asked)
        context: dict[str, Any] = {"groups": _groups(shown, found), "switches": _switches(shown, found), "most": MOST}
        context |= {"rows": _rows(found), "chart": _slope(shown, found), "pair": _pair(shown, found, request.GET.dict())}
        context |= {
            "link": request.build_absolute_uri(f"{reverse('console:index-what-if')}?{query}"),
            "asked": found.question.asked,
        }
        context |= {"query": urlencode(found.question.asked), "provinces": PROVINCES.values(), "linear": found.answer.linear}
        context |= {"rated": bool(found.question.ratings), "own": bool(found.question.ratings) or not found.question.changes}
        context |= {"own_coverage": {**shown.tree.method, **shown.run.parameters}["min_coverage"]}
        context |= {"coverage": found.question.changes.get("min_coverage", ""), "per": found.question.changes.get("per", "")}
        return self.show(shown.head | context)


def _groups(shown: Shown, found: WhatIf) -> list[dict[str, Any]]:
    """Sliders: a first level each, with those of its own level below it."""
    ratings, nodes, part = found.question.ratings, rated(shown.tree), shares(shown.tree, found.answer.weights)
    row = {
        node.code: {"node": node, "rating": ratings.get(node.code, MIDDLE), "share": f"{float(part[node.code]):.1%}"}
        for node in nodes
    }
    tops = [node.code for node in nodes if node.parent == ROOT]
    return [{"top": row[top], "below": [row[node.code] for node in nodes if node.parent == top]} for top in tops]


def _switches(shown: Shown, found: WhatIf) -> list[dict[str, Any]]:
    """Choices of the method, the run's own as the first."""
    changes, own = found.question.changes, {**shown.tree.method, **shown.run.parameters}
    said: dict[str, tuple[str, Iterable[Any]]] = {
        "normalise": ("Scale", NORMALISERS),
        "aggregate": ("Put together by", AGGREGATES),
        "winsorise": ("Values cut at most", range(6)),
    }
    return [
        {
            "name": name, "label": label, "own": WORDS.get(str(own[name]), str(own[name])),
            "choices": [{"value": one, "word": WORDS.get(str(one), str(one)), "chosen": changes.get(name) == one} for one in known],
        }
        for name, (label, known) in said.items()
    ]  # fmt: skip


def _rows(found: WhatIf) -> list[dict[str, Any]]:
    return [
        {
            "region": PROVINCES[place.region], "rank": place.rank, "score": places(place.score),
            "rank_before": place.rank_before, "score_before": places(place.score_before),
            "gained": "" if place.gained is None else f"{place.gained:+d}" if place.gained else "0",
        }
        for place in found.places
    ]  # fmt: skip


def _slope(shown: Shown, found: WhatIf) -> Chart:
    """A line for every province from its rank in the run to the one it would have."""
    series = [
        {
            "type": "line", "name": PROVINCES[place.region].en, "data": [place.rank_before, place.rank], "symbolSize": 6,
            "lineStyle": {"width": 1 if not place.gained else 2, "opacity": 0.35 if not place.gained else 1},
            "endLabel": {"show": True, "formatter": "{a}", "fontSize": 11}, "emphasis": {"focus": "series"},
        }
        for place in found.places if place.gained is not None
    ]  # fmt: skip
    option = {
        "grid": {"left": 40, "right": 130, "top": 16, "bottom": 28},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "category", "data": ["the run", "what if"], "boundaryGap": False},
        "yAxis": {"type": "value", "inverse": True, "min": 1, "max": max(len(series), 2), "interval": 5, "name": ""},
        "series": series,
    }
    told = marks(shown) | {"note": f"Unofficial what-if. {marks(shown)['note']}"}
    return Chart("what-if-unofficial", "Ranks in the run, and what if", option, 22 * len(series) + 60, **told)


def _pair(shown: Shown, found: WhatIf, given: dict[str, str]) -> dict[str, Any] | None:
    """For two provinces: at which share of each first level they would stand level, by the weights that are asked for."""
    if not (given.get("left") and given.get("right")):
        return None
    left, right = region_named(given["left"]), region_named(given["right"])
    if left == right or not found.answer.linear:
        return {"left": left, "right": right, "rows": []}
    weights, tree = found.answer.weights, shown.tree
    shares_now = shares(tree, weights)
    at = swaps(tree, shown.run.profile, weights, found.answer.scores, left.code, right.code)
    rows = [
        {"node": tree.nodes[code], "share": f"{float(share):.1%}", "now": f"{float(shares_now[code]):.1%}"}
        for code, share in at.items()
    ]
    return {"left": left, "right": right, "rows": rows}
