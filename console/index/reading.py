"""Which run a page shows, and its documents. Runs never change, so what was parsed once is kept."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from django.http import HttpRequest

from core.errors import NotFound
from index.defining import tree_of
from index.models import IndexRun
from index.regions import PROVINCES
from index.trees import ROOT, Definition

KEPT: Final = 64
CODE: Final = "cpsdi-2023"
_FEWEST_PLACES: Final = 2


@dataclass(frozen=True, slots=True)
class Shown:
    """A run with its documents, for a page."""

    run: IndexRun
    tree: Definition
    inputs: dict[str, Any]
    result: dict[str, Any]
    analysis: dict[str, Any]

    @property
    def order(self) -> list[str]:
        """Regions by rank."""
        ranks = self.result["ranks"]
        return sorted(ranks, key=lambda region: (ranks[region], region))

    def score(self, node: str, region: str) -> str:
        return places(self.result["scores"].get(node, {}).get(region))

    @property
    def head(self) -> dict[str, Any]:
        """What every page of a run says at its top."""
        return {"run": self.run, "title": self.tree.title, "name": self.tree.name, "synthetic": self.run.synthetic}


def chosen(request: HttpRequest) -> Shown:
    """The run of `?run=`, or the newest edition of the national profile. NotFound `run_unknown`."""
    return named(request.GET.get("run", ""))


def named(text: str) -> Shown:
    """The run of a number, or of nothing the newest edition of the national profile. NotFound `run_unknown`."""
    rows = IndexRun.objects.select_related("definition", "weights").defer("inputs", "result", "analysis", "weights__evidence")
    if text:
        run = rows.filter(pk=int(text)).first() if text.isascii() and text.isdigit() and len(text) < 19 else None
    else:
        editions = rows.filter(definition__code=CODE, profile="national", edition__isnull=False)
        run = editions.order_by("-published_at", "-pk").first()
    if run is None:
        raise NotFound("run_unknown", "there is no such run of the index, or no edition was published yet")
    return Shown(run, *_documents(run.pk))


@lru_cache(maxsize=KEPT)
def _documents(number: int) -> tuple[Definition, dict[str, Any], dict[str, Any], dict[str, Any]]:
    run = IndexRun.objects.select_related("definition").get(pk=number)
    return tree_of(run.definition), run.read("inputs"), run.read("result"), run.read("analysis")


def places(value: Any, fewest: int = _FEWEST_PLACES) -> str:
    """Decimal text for people: two places, or three digits of what is smaller than that; empty where there is none.

    >>> places("12.345000000000"), places("0.000120000000"), places(None)
    ('12.35', '0.00012', '')
    """
    if value is None:
        return ""
    number = Decimal(str(value))
    if number and abs(number) < Decimal("0.1"):
        return format(number.quantize(Decimal((0, (1,), number.adjusted() - 2))).normalize(), "f")
    return f"{round(number, fewest):,.{fewest}f}"


def share(value: Any, of: float = 100.0) -> float:
    """How long a bar is, of 100."""
    return round(max(0.0, min(100.0, float(value or 0) * 100 / of)), 2)


def region_named(code: str) -> Any:
    """NotFound `region_unknown`."""
    if code not in PROVINCES:
        raise NotFound("region_unknown", "there is no such province")
    return PROVINCES[code]


def tone(value: Any) -> int:
    """1 to 5: into which fifth of the scale a score falls."""
    return min(int(float(value) // 20) + 1, 5)


def levels(shown: Shown) -> list[str]:
    """The nodes right below the index."""
    return [node.code for node in shown.tree.children(ROOT)]
