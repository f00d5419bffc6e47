"""How much of the ranks hangs on choices: which choice moves them, which indicator, and how wide the bands are."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse

from console.charts import Bar, Chart, bars
from console.index.drawn import marks
from console.index.reading import Shown, chosen
from console.pages import Page
from index.regions import PROVINCES
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

FACTORS = {
    "weights": "The weights",
    "normalise": "The scale that values are brought to",
    "aggregate": "The mean that puts them together",
    "winsorise": "How many extreme values are cut",
}
MOVERS = 3


class IndexRobustness(Page):
    """Of the run that is shown."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/robust.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        factors, leaves = _factors(shown), _leaves(shown)
        context = {"factors": factors, "leaves": leaves, "bands": _bands(shown)}
        return self.show(shown.head | context | {"sobol": _sobol(shown, factors), "chart": _left_out(shown, leaves)})


def _factors(shown: Shown) -> list[dict[str, Any]]:
    """Sobol's indices, what moves ranks most first: alone, and with all that it does together with the others."""
    found = [
        {"name": FACTORS.get(factor, factor), "alone": f"{alone:.2f}", "whole": f"{whole:.2f}", "number": float(whole)}
        for factor, (alone, whole) in shown.analysis["sensitivity"].items()
    ]
    return sorted(found, key=lambda one: -one["number"])


def _leaves(shown: Shown) -> list[dict[str, Any]]:
    """What leaving out one indicator does: the mean shift of ranks, and who gains and loses most."""
    found = []
    for leaf, shifts in shown.analysis["left_out"].items():
        moved = sorted(shifts, key=lambda region: (-abs(shifts[region]), region))[:MOVERS]
        mean = sum(map(abs, shifts.values())) / len(shifts) if shifts else 0.0
        movers = [(PROVINCES[region], f"{shifts[region]:+d}") for region in moved if shifts[region]]
        found.append({"node": shown.tree.nodes[leaf], "mean": mean, "text": f"{mean:.2f}", "movers": movers})
    return sorted(found, key=lambda one: (-one["mean"], one["node"].code))


def _bands(shown: Shown) -> dict[str, Any]:
    """How wide bands are, and how many pairs of neighbours they tell apart."""
    bands, order = shown.analysis["bands"], shown.order
    widths = sorted(one["high"] - one["low"] for one in bands.values())
    apart = sum(bands[one]["high"] < bands[other]["low"] for at, one in enumerate(order) for other in order[at + 1 :])
    pairs = len(order) * (len(order) - 1) // 2
    return {
        "middle": widths[len(widths) // 2] if widths else None,
        "widest": widths[-1] if widths else None,
        "apart": apart,
        "pairs": pairs,
        "share": f"{apart / pairs:.0%}" if pairs else "",
    }


def _sobol(shown: Shown, factors: list[dict[str, Any]]) -> Chart | None:
    rows = [Bar(one["name"], round(one["number"], 3)) for one in factors]
    return bars("sobol", "Which choice moves ranks: Sobol's total index of each", rows, "share", **marks(shown)) if rows else None


def _left_out(shown: Shown, leaves: list[dict[str, Any]]) -> Chart | None:
    rows = [Bar(f"{one['node'].code} {one['node'].name['en']}", round(one["mean"], 2)) for one in leaves]
    return bars("left-out", "Mean shift of ranks without an indicator", rows, "ranks", **marks(shown)) if rows else None


def peers_of(shown: Shown, region: str, most: int = 5) -> list[str]:
    """Provinces of like size: the nearest by gross regional product where the run has seen it, else by the score."""
    sizes = {one: float(row[0]) for one, row in shown.inputs.get("gdp", {}).items() if float(row[0]) > 0}
    if region not in sizes:
        sizes = {one: float(value) + 1 for one, value in shown.result["scores"].get("INDEX", {}).items()}
    if region not in sizes:
        return []
    others = [one for one in sizes if one != region and one in shown.result["ranks"]]
    return sorted(others, key=lambda one: (abs(sizes[one] / sizes[region] - 1), one))[:most]


def without_one(shown: Shown, region: str) -> list[dict[str, Any]]:
    """Of which indicator's absence a province would gain or lose most, three of each at most."""
    shifts = {leaf: row[region] for leaf, row in shown.analysis["left_out"].items() if row.get(region)}
    order = sorted(shifts, key=lambda leaf: (-abs(shifts[leaf]), leaf))[: 2 * MOVERS]
    return [{"node": shown.tree.nodes[leaf], "shift": f"{shifts[leaf]:+d}"} for leaf in order]
