"""The index on pages: who stands where, why, by which numbers, from which source."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpRequest, HttpResponse

from console.index.drawn import contributions, profile_of, ranked, values
from console.index.reading import Shown, chosen, levels, places, region_named
from console.index.robust import peers_of, without_one
from console.index.rows import (
    coverage_of,
    leaves_of,
    level_of,
    next_of,
    nodes_named,
    parts_of,
    ranked_row,
    scores_of,
    sentence,
    tile_of,
    values_of,
)
from console.pages import Page
from core.errors import NotFound
from index.analysis.explaining import effective
from index.defining import experts_of, weights_of
from index.models import IndexRun, Observation
from index.preview.tracing import is_traceable
from index.regions import PROVINCES
from index.running.documents import drawn_among
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ


class IndexHome(Page):
    """Ranks with their bands, as bars and as a grid of tiles. `?run=` shows another run."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/home.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        rows = [ranked_row(shown, region) for region in shown.order]
        known = {row["region"].code: row for row in rows}
        tiles = [tile_of(one, known.get(code)) for code, one in PROVINCES.items()]
        context = {"rows": rows, "tiles": tiles, "levels": [shown.tree.nodes[code] for code in levels(shown)]}
        return self.show(shown.head | context | {"runs": _runs(shown), "chart": ranked(shown)})


def _runs(shown: Shown) -> list[IndexRun]:
    """What may be looked at instead."""
    rows = IndexRun.objects.defer("inputs", "result", "analysis").filter(definition=shown.run.definition, edition__isnull=False)
    return list(rows.select_related("definition").order_by("-published_at")[:20])


class IndexProvince(Page):
    """One province: its rank, what gives it its score, what it is strong in, what it would take, every indicator."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/province.html"

    def get(self, request: HttpRequest, province: str) -> HttpResponse:
        shown, region = chosen(request), province
        place = region_named(region)
        known = region in shown.result["ranks"]
        context = {"province": place, "known": known, "leaves": leaves_of(shown, region), "coverage": coverage_of(shown, region)}
        if known:
            context |= {"row": ranked_row(shown, region), "parts": parts_of(shown, region), "of": len(shown.result["ranks"])}
            context |= {name: nodes_named(shown, shown.analysis["strengths"][region][name]) for name in ("strong", "weak")}
            context |= {"next": next_of(shown, region), "sentence": sentence(shown, region)}
            context |= {"peers": [ranked_row(shown, one) for one in peers_of(shown, region)], "without": without_one(shown, region)}
            context |= {"profile": profile_of(shown, region), "chart": contributions(shown, region)}
        return self.show(shown.head | context)


class IndexIndicator(Page):
    """One indicator: what it means, how it is computed, and its values in all provinces."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/indicator.html"

    def get(self, request: HttpRequest, indicator: str) -> HttpResponse:
        shown, code = chosen(request), indicator
        node = shown.tree.nodes.get(code)
        if node is None:
            raise NotFound("indicator_unknown", "there is no such indicator")
        profile = shown.run.profile
        share_of = effective(shown.tree, profile, weights_of(shown.run.weights))
        rows = values_of(shown, node) if node.is_leaf else scores_of(shown, node)
        context = {
            "node": node,
            "rows": rows,
            "formula": node.formula.get(profile),
            "chart": values(shown, node),
            "weight": f"{float(share_of.get(code, 0)):.1%}",
        }
        flags = [
            (flag, PROVINCES[where].en if where else "", places(detail) if detail else "")
            for leaf, where, flag, detail in shown.result["flags"]
            if leaf == code
        ]
        return self.show(
            shown.head | context | {"flags": flags, "parent": shown.tree.nodes.get(node.parent), "below": shown.tree.children(code)}
        )


class IndexObservation(Page):
    """One value: where it comes from, and what stood there before."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/observation.html"

    def get(self, request: HttpRequest, observation: int) -> HttpResponse:
        found = Observation.objects.select_related("batch").filter(pk=min(observation, 2**63 - 1)).first()
        if found is None:
            raise NotFound("observation_unknown", "there is no such observation")
        same = {"region": found.region, "variable": found.variable, "period": found.period, "batch__profile": found.batch.profile}
        chain = Observation.objects.select_related("batch").filter(**same).order_by("-vintage", "-pk")
        context = {"one": found, "region": PROVINCES.get(found.region), "value": places(found.value), "chain": chain}
        told = {"synthetic": found.batch.origin == "synthetic", "source": found.batch.source, "traceable": is_traceable(found)}
        return self.show(context | told)


class IndexMethod(Page):
    """How the index is made, written from the definition itself."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/method.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        shares = effective(shown.tree, shown.run.profile, weights_of(shown.run.weights))
        nodes = [
            {
                "node": node,
                "level": level_of(shown, node),
                "formula": node.formula.get(shown.run.profile, ""),
                "share": f"{float(shares[node.code]):.1%}" if node.code in shares else "",
            }
            for node in shown.tree.nodes.values()
        ]
        method = {"method": shown.tree.method, "after": shown.tree.after, "digest": shown.tree.digest}
        return self.show(shown.head | method | {"nodes": nodes, "experts": drawn_among(experts_of(shown.run.weights))})
