"""The index on a map of borders that an operator brought, or on tiles where there is none; and the operators' page of maps."""

from __future__ import annotations

from typing import Any, ClassVar, Final, cast

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from console.index.drawn import note, province_link
from console.index.outlines import Outline, outlined
from console.index.reading import Shown, chosen, places, share, tone
from console.index.report import MARK, PAINTS
from console.index.rows import tile_of
from console.lists import newest
from console.pages import Page, document_of
from core.errors import Conflict, DomainError, Invalid, NotFound, TooLarge
from index.borders import read_map
from index.maps import NewMap, keep_map, map_shown, withdraw_map
from index.models import IndexMap
from index.regions import NATION, PROVINCES, UNCOUNTED
from index.trees import ROOT, Node
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

FORM: Final = 1  # of outlines: raised when they change, so that no kept one is drawn
KEPT_S: Final = 24 * 3600
FOOT: Final = 96  # units below the map, for the legend and the approval number
TEXTS: Final = {"name": 100, "approval_number": 60, "publisher": 200, "licence": 200, "url": 500}
FILE: Final = "content"
SHOWN_ERRORS: Final = 20
MAX_BIGINT: Final = 2**63 - 1


class IndexMapPage(Page):
    """Scores of the index, or of `?node=`, by place."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/map.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown, one = chosen(request), map_shown()
        code, nodes = _node(request, shown), list(shown.tree.nodes.values())
        rows = placed(shown, code)
        context: dict[str, Any] = {
            "map": one,
            "nodes": nodes,
            "code": code,
            "node": shown.tree.nodes.get(code),
            "rows": rows.values(),
        }
        if one is not None:
            context |= drawing_of(shown, one, code, rows)
        else:
            context["tiles"] = [tile_of(province, rows.get(region)) for region, province in PROVINCES.items()]
        return self.show(shown.head | context)


class IndexMapSvg(Page):
    """The map as a file. It says its approval number, its run, and that values were generated where they were."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}
    template_name = "console/index/map.svg"

    def get(self, request: HttpRequest) -> HttpResponse:
        shown, one = chosen(request), map_shown()
        if one is None:
            raise NotFound("map_unknown", "there is no map of borders: an operator may bring one")
        code = _node(request, shown)
        alone = {"alone": True, "map": one, "note": note(shown), "mark": MARK}
        answer = self.show(shown.head | alone | drawing_of(shown, one, code, placed(shown, code)))
        answer["Content-Type"] = "image/svg+xml"
        synthetic = "-synthetic" if shown.run.synthetic else ""
        answer["Content-Disposition"] = f'attachment; filename="{shown.tree.code}-{shown.run.period}-map-{code}{synthetic}.svg"'
        return answer


def _node(request: HttpRequest, shown: Shown) -> str:
    code = request.GET.get("node") or ROOT
    if code != ROOT and code not in shown.tree.nodes:
        raise NotFound("indicator_unknown", "there is no such indicator")
    return code


def placed(shown: Shown, code: str) -> dict[str, dict[str, Any]]:
    """By region, the best first: its rank and score of a node. Ties share a rank."""
    scores = shown.result["scores"].get(code, {})
    known = sorted((float(score) for score in scores.values()), reverse=True)
    ranks = shown.result["ranks"] if code == ROOT else {region: known.index(float(score)) + 1 for region, score in scores.items()}
    return {
        region: {
            "region": PROVINCES[region], "rank": ranks[region], "score": places(scores[region]), "bar": share(scores[region]),
            "tone": max(1, tone(scores[region])),
        }
        for region in sorted(scores, key=lambda region: (ranks[region], region))
    }  # fmt: skip


def drawing_of(shown: Shown, one: IndexMap, code: str, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What `map.svg` draws."""
    outline = outline_of(one)
    named: Node | None = shown.tree.nodes.get(code)
    return {
        "outline": outline,
        "high": outline.height + FOOT,
        "foot": outline.height,
        "areas": [_area(shown, outline, region, rows.get(region)) for region in outline.paths if region != NATION],
        "sea": [path for path in (outline.paths.get(NATION), outline.lines.get(NATION)) if path],
        "of": f"{code} {named.name['en']}" if named else shown.tree.name["en"],
        "steps": [{"paint": PAINTS[at], "tone": at, "x": 10 + 110 * at, "words": words} for at, words in enumerate(_STEPS)],
    }


_STEPS: Final = ("no score", "below 20", "20 to 40", "40 to 60", "60 to 80", "80 and more")


def _area(shown: Shown, outline: Outline, region: str, row: dict[str, Any] | None) -> dict[str, Any]:
    """A region with its path, colour and words."""
    step = row["tone"] if row else 0
    short, name = (UNCOUNTED[region][0], UNCOUNTED[region][2]) if region in UNCOUNTED else _names(region)
    told = f"{name}: number {row['rank']}, {row['score']} points" if row else f"{name}: no score"
    return {
        "path": outline.paths[region], "tone": step, "paint": PAINTS[step],
        "title": told if region in PROVINCES else f"{name}: counted in no source that is read", "short": short,
        "score": row["score"] if row else "", "label": outline.labels.get(region),
        "link": province_link(shown, region) if region in PROVINCES else "",
    }  # fmt: skip


def _names(region: str) -> tuple[str, str]:
    return PROVINCES[region].short, PROVINCES[region].en


def outline_of(one: IndexMap) -> Outline:
    """Kept for a day: a map never changes, and reading a large one takes a second."""

    def drawn() -> Outline:
        return outlined(read_map(bytes(IndexMap.objects.values_list("content", flat=True).get(pk=one.pk))))

    return cast("Outline", cache.get_or_set(f"index-map-{FORM}-{one.digest}", drawn, KEPT_S))


class IndexMaps(Page):
    """Maps that were brought, newest first, and a form for another."""

    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    template_name = "console/index/maps.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return maps_page(self, request)

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            outline_of(keep_map(*_brought(request), self.caller.user))
        except DomainError as error:
            problem = document_of(error)
            wrong = {str(problem.get("field") or FILE): problem["detail"]}
            more = {"errors": wrong, "all": problem.get("errors", [])[:SHOWN_ERRORS], "given": request.POST.dict()}
            return maps_page(self, request, more, problem["status"])
        return redirect("console:index-map")


def _brought(request: HttpRequest) -> tuple[NewMap, bytes]:
    """Invalid `invalid_input`, TooLarge `map_too_large`."""
    given = request.FILES.get(FILE)
    if given is None:
        raise Invalid("invalid_input", "choose a file", field=FILE)
    if (given.size or 0) > settings.INDEX_MAP_BYTES:
        raise TooLarge("map_too_large", f"at most {settings.INDEX_MAP_BYTES:,} bytes", field=FILE)
    return NewMap(**{name: request.POST.get(name, "").strip()[:most] for name, most in TEXTS.items()}), given.read()


def maps_page(page: Page, request: HttpRequest, more: dict[str, Any] | None = None, status: int = 200) -> HttpResponse:
    found, before = newest(request, IndexMap.objects.defer("content").select_related("uploaded_by"))
    mib = f"{settings.INDEX_MAP_BYTES / 2**20:g}"
    return page.show({"maps": found, "before": before, "mib": mib} | (more or {}), status)


class IndexMapWithdraw(Page):
    """A map is shown no more; what was refused is said on the page of maps."""

    scopes: ClassVar[Scopes] = {"POST": OPERATOR}
    template_name = "console/index/maps.html"

    def post(self, request: HttpRequest, borders: int) -> HttpResponse:
        try:
            withdraw_map(min(borders, MAX_BIGINT), request.POST.get("reason", ""))
        except (Conflict, Invalid) as error:
            problem = document_of(error)
            return maps_page(self, request, {"problem": problem["detail"]}, problem["status"])
        return redirect("console:index-maps")
