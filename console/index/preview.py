"""The preview on pages: what the platform's index would be now, what moved it, and which charges stand behind a number."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from django.db.models.functions import TruncHour
from django.http import HttpRequest, HttpResponse

from billing.models import Charge
from console.charts import Chart, lines
from console.index.reading import places, share
from console.lists import newest
from console.pages import Page
from core.errors import NotFound
from core.money import text_of
from index.defining import tree_of
from index.models import IndexPreview, Observation, PreviewChange
from index.preview.saying import amount, signed
from index.preview.tracing import (
    change_numbered,
    charges_of_change,
    charges_of_observation,
    newest_preview,
    pools_of_changes,
    regions_known,
)
from index.regions import PROVINCES
from index.trees import ROOT, Definition
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, TASKS_READ

DAYS: Final = 7
LINES: Final = 8  # regions of the chart
MOST_NUMBER: Final = 2**63 - 1


class Preview(Page):
    """The present preview, its last days and what moved it, newest first. `?node=`: of which score the chart is."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/preview.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        one = newest_preview()
        tree = tree_of(one.definition)
        node = _node_of(request, one, tree)
        days = _days(one)
        rows = PreviewChange.objects.select_related("preview").defer("preview__document", "preview__scores", "preview__posts")
        found, before = newest(request, rows)
        context = {
            "preview": one, "tree": tree, "node": node, "nodes": [_named(tree, code) for code in one.scores],
            "levels": [child.code for child in tree.children(ROOT)], "rows": _rows(one, tree),
            "chart": drawn(one, tree, node, days), "days": _days_told(one, days, node),
            "changes": [told(change, tree, {}) for change in found], "before": before,
            "regions": [PROVINCES[region] for region in _charted(one, node)],
        }  # fmt: skip
        return self.show(context)


class PreviewChangePage(Page):
    """One change: its numbers, its cause, and the charges and pools behind it that the caller may see."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/preview_change.html"

    def get(self, request: HttpRequest, change: int) -> HttpResponse:
        one = change_numbered(min(change, MOST_NUMBER))
        tree = tree_of(one.preview.definition)
        pools = pools_of_changes([one], self.caller)
        context = {"one": told(one, tree, pools), "change": one, "variables": _variables(one, tree)}
        if (
            one.causes.get("charges")
            and BILLING_READ in self.caller.scopes
            and (self.caller.is_operator or self.caller.organization)
        ):
            found, before = newest(request, charges_of_change(one, self.caller))
            context |= {"charges": [charged(charge) for charge in found], "before": before, "listed": True}
        return self.show(context)


class ObservationCharges(Page):
    """The charges that a live value counts, newest first: the caller's own; operators see all."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/index/charges.html"

    def get(self, request: HttpRequest, counted: int) -> HttpResponse:
        one = Observation.objects.select_related("batch").filter(pk=min(counted, MOST_NUMBER)).first()
        if one is None:
            raise NotFound("observation_unknown", "there is no such observation")
        found, before = newest(request, charges_of_observation(one, self.caller))
        context = {"one": one, "value": places(one.value), "region": PROVINCES.get(one.region), "listed": True}
        return self.show(context | {"charges": [charged(charge) for charge in found], "before": before})


def charged(charge: Charge) -> dict[str, Any]:
    return {
        "charge": charge,
        "amount": text_of(charge.amount_micros),
        "pool": charge.usage.pool.identifier if charge.usage else "",
        "gflop": charge.usage.fp32_gflop if charge.usage else None,
    }


def told(change: PreviewChange, tree: Definition, pools: dict[int, str]) -> dict[str, Any]:
    """A change as its row of the table."""
    leaf, node = tree.nodes.get(change.leaf), tree.nodes.get(change.node)
    return {
        "change": change,
        "region": PROVINCES.get(change.region),
        "leaf": leaf,
        "points": "" if change.points is None else signed(change.points),
        "node": node.name["en"] if node else "Index" if change.node else "",
        "before": places(change.before),
        "after": places(change.after),
        "raw_before": amount(change.raw_before, leaf.unit if leaf else None, sign=False),
        "raw_after": amount(change.raw_after, leaf.unit if leaf else None, sign=False),
        "pools": sorted(pools.values()),
        "n": change.causes.get("n"),
        "charges": change.causes.get("charges"),
    }


def _variables(change: PreviewChange, tree: Definition) -> list[dict[str, Any]]:
    found = []
    for one in change.variables:
        variable = tree.variables[one["variable"]]
        ends = {name: None if one[name] is None else places(one[name]) for name in ("before", "after")}
        found.append({"variable": variable} | ends)
    return found


def _node_of(request: HttpRequest, one: IndexPreview, tree: Definition) -> dict[str, str]:
    """What `?node=` names, or the highest of which anything is known. NotFound `indicator_unknown`."""
    code = request.GET.get("node", "")
    if code and code not in one.scores and code not in tree.nodes and code != ROOT:
        raise NotFound("indicator_unknown", "there is no such score", field="node")
    ordered = [name for name in (ROOT, *tree.nodes) if one.scores.get(name)]
    return _named(tree, code or (ordered[0] if ordered else ROOT))


def _named(tree: Definition, code: str) -> dict[str, str]:
    return {"code": code, "name": tree.nodes[code].name["en"] if code in tree.nodes else "Index"}


def _rows(one: IndexPreview, tree: Definition) -> list[dict[str, Any]]:
    index, top = one.scores.get(ROOT, {}), [child.code for child in tree.children(ROOT)]
    return [
        {
            "region": PROVINCES[region],
            "index": places(index.get(region)),
            "bar": share(index.get(region)),
            "levels": [(code, places(one.scores.get(code, {}).get(region))) for code in top],
        }
        for region in regions_known(one)
        if region in PROVINCES
    ]


def _days(one: IndexPreview) -> list[IndexPreview]:
    """The last preview of each hour, a week back, oldest first."""
    since = one.counted_at - timedelta(days=DAYS)
    rows = IndexPreview.objects.filter(counted_at__gte=since, definition=one.definition).defer("document", "posts", "marks")
    hours = rows.annotate(hour=TruncHour("counted_at")).order_by("-hour", "-counted_at").distinct("hour")
    return list(reversed(hours))


def _charted(one: IndexPreview, node: dict[str, str]) -> list[str]:
    scores = one.scores.get(node["code"], {})
    return sorted((region for region in scores if region in PROVINCES), key=lambda region: (-float(scores[region]), region))[:LINES]


def drawn(one: IndexPreview, tree: Definition, node: dict[str, str], days: list[IndexPreview]) -> Chart:
    steps = [f"{day.counted_at:%m-%d %H:%M}" for day in days]
    rows = {
        PROVINCES[region].en: [_number(day.scores.get(node["code"], {}).get(region)) for day in days]
        for region in _charted(one, node)
    }
    note = f"Gridfare, {tree.title}, method after CAICT 2023, {one.period}, platform, unofficial preview"
    title = f"{node['name']} in the last {DAYS} days, unofficial, the {LINES} highest"
    return lines("preview", title, steps, rows, "points", note=note)


def _days_told(one: IndexPreview, days: list[IndexPreview], node: dict[str, str]) -> list[dict[str, Any]]:
    """The chart's numbers, the newest first."""
    regions = _charted(one, node)
    found = []
    for day in reversed(days):
        scores = day.scores.get(node["code"], {})
        found.append({"at": day.counted_at, "scores": [(PROVINCES[region].en, places(scores.get(region))) for region in regions]})
    return found


def _number(value: Any) -> float | None:
    return None if value is None else round(float(value), 2)
