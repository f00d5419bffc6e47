"""The network between regions: a map, a path over it, and what is known of every link."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse

from console.drawing import draw
from console.pages import Page
from core.errors import DomainError
from marketplace.permissions import Scopes
from scheduler.api.network import choice_document, link_document
from scheduler.api.network_shapes import PLACE
from scheduler.network.choosing import OBJECTIVES, Ask, choose
from scheduler.network.graph import Graph, Link
from scheduler.network_snapshot import network

PAGE: Final = 40
_NUMBER: Final = re.compile(r"\d{1,18}")


class Network(Page):
    """Links by their numbers; `?from=&to=&objective=` asks for a path, `?place=` for one place's links, `?after=` for more."""

    scopes: ClassVar[Scopes] = {"GET": None}
    template_name = "console/network.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        graph, asked = network().graph, Asked.of(request)
        path, problem = path_of(graph, asked)
        rows = links_of(graph, asked)
        shown = [(link, link_document(link)) for link in rows[:PAGE]]
        drawing = draw(graph, path["path"]["links"] if path else ())
        context: dict[str, Any] = {"drawing": drawing, "path": path, "problem": problem, "asked": asked}
        context |= {"links": shown, "more": rows[PAGE - 1].id if len(rows) > PAGE else None, "places": places_of(graph)}
        return self.show(context | {"objectives": list(OBJECTIVES), "nodes": len(graph.nodes), "total": len(graph.links)})


@dataclass(frozen=True)
class Asked:
    """What a page's address asks for; what makes no sense is as if not asked."""

    source: str = ""
    target: str = ""
    objective: str = "latency"
    place: str = ""
    after: int = 0

    @classmethod
    def of(cls, request: HttpRequest) -> Asked:
        names = {key: text for key in ("from", "to", "place") if re.fullmatch(PLACE, text := request.GET.get(key, ""))}
        objective = request.GET.get("objective", "")
        after = request.GET.get("after", "")
        return cls(
            source=names.get("from", ""),
            target=names.get("to", ""),
            objective=objective if objective in OBJECTIVES else "latency",
            place=names.get("place", ""),
            after=int(after) if _NUMBER.fullmatch(after) else 0,
        )


def path_of(graph: Graph, asked: Asked) -> tuple[dict[str, Any] | None, str]:
    """The path that was asked for, as the API shows it, or why there is none."""
    if not (asked.source and asked.target):
        return None, ""
    try:
        return choice_document(graph, choose(graph, Ask(asked.source, asked.target, objective=asked.objective))), ""
    except DomainError as error:
        return None, str(error.detail)


def links_of(graph: Graph, asked: Asked) -> list[Link]:
    """A page of links and one more, by number: all, or those that leave or reach a place."""
    names = {asked.place, *graph.by_region.get(asked.place, [])}
    found = (link for link in graph.links.values() if not asked.place or link.source in names or link.target in names)
    return sorted((link for link in found if link.id > asked.after), key=lambda link: link.id)[: PAGE + 1]


def places_of(graph: Graph) -> list[str]:
    """Regions with a node, then the nodes that serve none."""
    return [*sorted(graph.by_region), *sorted(code for code, node in graph.nodes.items() if node.region is None)]
