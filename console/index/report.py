"""The printed report of a run, as a page for paper and as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from console.index.reading import Shown, chosen, levels, places, region_named
from console.index.rows import coverage_of, level_of, next_of, nodes_named, parts_of, ranked_row, sentence, tile_of
from console.pages import Page
from index.analysis.explaining import effective
from index.defining import weights_of
from index.models import ObservationBatch
from index.regions import PROVINCES
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

TEMPLATE = "console/index/report.html"
SHEET = Path(__file__).resolve().parents[1] / "static" / "console" / "report.css"
PAINTS = ("#f1f4f6", "#dcebeb", "#b5d5d4", "#84b8b7", "#469594", "#0b6e6e")
DARK = 3
KEPT_S = 24 * 3600
FORM = 1  # of the report: raised when it changes, so that no kept one is shown
MARK = "Contains generated values, which say nothing of any province"


class IndexReport(Page):
    """The report as a page that is made for paper."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = TEMPLATE

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show(report_of(chosen(request)))


class IndexReportPdf(Page):
    """The same as PDF."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    def get(self, request: HttpRequest) -> HttpResponse:
        shown = chosen(request)
        key = f"index-report-{FORM}-{shown.run.pk}-{shown.run.edition}-{shown.run.digest}"
        content = cache.get_or_set(key, lambda: pdf_of(report_of(shown)), KEPT_S)  # a run never changes; drawing takes seconds
        answer = HttpResponse(content, content_type="application/pdf")
        synthetic = "-synthetic" if shown.run.synthetic else ""
        answer["Content-Disposition"] = f'inline; filename="{shown.tree.code}-{shown.run.period}-run-{shown.run.pk}{synthetic}.pdf"'
        return answer


def report_of(shown: Shown) -> dict[str, Any]:
    """All that the report says."""
    order = shown.order
    rows = [ranked_row(shown, region) for region in order]
    known = {row["region"].code: row for row in rows}
    return shown.head | {
        "rows": rows,
        "tiles": [_painted(tile_of(one, known.get(code))) for code, one in PROVINCES.items()],
        "levels": nodes_named(shown, levels(shown)),
        "sheets": [_sheet(shown, region) for region in order],
        "without": [(region_named(code), coverage_of(shown, code)) for code in PROVINCES if code not in known],
        "nodes": _nodes(shown),
        "method": {
            **shown.tree.method,
            **{name: value for name, value in shown.run.parameters.items() if not isinstance(value, dict)},
        },
        "after": shown.tree.after,
        "flags": [
            (shown.tree.nodes[leaf], flag, PROVINCES[where].en if where else "all", places(detail) if detail else "")
            for leaf, where, flag, detail in shown.result["flags"]
            if leaf in shown.tree.nodes
        ],
        "batches": _batches(shown),
        "mark": MARK,
    }


def _painted(tile: dict[str, Any]) -> dict[str, Any]:
    """A tile with its colours: what draws a PDF knows no styles inside a drawing."""
    tone = tile["row"]["tone"] if tile["row"] else 0
    return tile | {"paint": PAINTS[tone], "ink": "#ffffff" if tone > DARK else "#17202a"}


def _sheet(shown: Shown, region: str) -> dict[str, Any]:
    """A province in a paragraph: why it stands where it does."""
    pair = shown.analysis["strengths"].get(region, {"strong": [], "weak": []})
    return {
        "region": PROVINCES[region],
        "sentence": sentence(shown, region),
        "parts": parts_of(shown, region),
        "strong": nodes_named(shown, pair["strong"]),
        "weak": nodes_named(shown, pair["weak"]),
        "next": next_of(shown, region),
    }


def _nodes(shown: Shown) -> list[dict[str, Any]]:
    shares = effective(shown.tree, shown.run.profile, weights_of(shown.run.weights))
    return [
        {
            "node": node,
            "level": level_of(shown, node),
            "formula": node.formula.get(shown.run.profile, ""),
            "share": f"{float(shares[node.code]):.1%}" if node.code in shares else "",
        }
        for node in shown.tree.nodes.values()
    ]


def _batches(shown: Shown) -> list[ObservationBatch]:
    """The files that the run saw values of."""
    numbers = {one[1] for row in shown.inputs.values() for one in row.values()}
    return list(ObservationBatch.objects.defer("content").filter(observations__in=numbers).distinct().order_by("pk"))


def pdf_of(context: dict[str, Any]) -> bytes:
    """Nothing is fetched: its one sheet is handed over."""
    from weasyprint import CSS, HTML

    def nothing(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"a report fetches nothing, not {url}")

    page = render_to_string(TEMPLATE, context | {"pdf": True})
    return bytes(HTML(string=page, url_fetcher=nothing).write_pdf(stylesheets=[CSS(filename=str(SHEET))]))
