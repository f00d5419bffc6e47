"""The network between regions: what is known of it, paths over it, its metrics, and bookings of its links."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import NotFound
from marketplace.api.lists import ListView
from marketplace.api.serializers import valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR
from scheduler.api.network_shapes import (
    BookedOut,
    MetricsOut,
    NetworkOut,
    PathIn,
    PathOut,
    ReservationIn,
    ReservationOut,
)
from scheduler.models import Reservation
from scheduler.network.choosing import Ask, Choice, choose, decimal_text, path_document
from scheduler.network.graph import BILLION, Graph, Link
from scheduler.network.paths import Want
from scheduler.network.segments import Policy, local_commands
from scheduler.network_snapshot import metrics, network
from scheduler.services.network import Wish, release, reserve

BOOKING: Final = OpenApiParameter("booking", UUID, OpenApiParameter.PATH, description="a booking's number")
VALID_FOR: Final = timedelta(hours=1)  # a policy is to be asked for again after that


class NetworkView(APIView):
    scopes: ClassVar[Scopes] = {"GET": None}

    @extend_schema(operation_id="network_retrieve", responses=NetworkOut)
    def get(self, request: Request) -> Response:
        """Nodes and links, with the age of what is known of each."""
        found = network()
        nodes = [node_document(found.graph, code) for code in sorted(found.graph.nodes)]
        return Response({"at": found.at, "nodes": nodes, "links": [link_document(one) for one in found.graph.links.values()]})


def node_document(graph: Graph, code: str) -> dict[str, Any]:
    """A node as NodeOut shows it."""
    node = graph.nodes[code]
    return {name: getattr(node, name) for name in ("code", "region", "latitude", "longitude", "locator")}


def link_document(link: Link) -> dict[str, Any]:
    """A link as LinkOut shows it."""
    same = ("id", "source", "target", "capacity_mbps", "free_mbps", "loss", "carbon_g_per_gb", "domain", "sid")
    return {name: getattr(link, name) for name in same} | {
        "latency_p50_ms": round(link.latency_p50_s * 1e3, 6),
        "latency_p90_ms": round(link.latency_p90_s * 1e3, 6),
        "latency_counted_ms": link.edge().latency_ns / 1e6,
        "jitter_p99_ms": round(link.jitter_p99_s * 1e3, 6),
        "jitter_class": link.jitter_class,
        "price_per_gb": decimal_text(round(link.price_per_gb * BILLION)),
        "origin": link.origin,
        "age_s": round(link.age_s, 3),
        "overlay": link.overlay,
    }


class PathView(APIView):
    scopes: ClassVar[Scopes] = {"GET": None}

    @extend_schema(operation_id="network_path", parameters=[PathIn], responses=PathOut)
    def get(self, request: Request) -> Response:
        """The best path under constraints, its alternatives, and the segment list that steers it."""
        given, graph = valid(PathIn(data=request.query_params)), network().graph
        now = timezone.now()
        valid_from_until = (now.isoformat(), (now + VALID_FOR).isoformat())
        return Response(choice_document(graph, choose(graph, ask_of(given), valid_from_until)))


def ask_of(given: dict[str, Any]) -> Ask:
    """Inputs as the pure choice takes them."""
    bound, domain = given.get("max_latency_ms"), given.get("domain")
    want = Want(
        max_class=given["class"],
        mbps=given.get("mbps", 0),
        max_loss=given.get("max_loss", 1.0),
        domains=None if domain is None else frozenset({domain}),
    )
    return Ask(
        source=given["from"],
        target=given["to"],
        want=want,
        objective=given.get("objective", "latency"),
        max_latency_s=None if bound is None else bound / 1e3,
        k=given.get("k", 1),
        max_depth=given.get("max_depth", 8),
    )


def choice_document(graph: Graph, choice: Choice) -> dict[str, Any]:
    """A choice as PathOut shows it."""
    policy = choice.policy
    return {
        "path": path_document(choice.path),
        "alternatives": [path_document(path) for path in choice.others],
        "policy": None if policy is None else policy.document(),
        "iproute2": None if policy is None else policy.iproute2(graph),
        "routers": {} if policy is None else routers_of(graph, policy),
        "unsteered": choice.unsteered,
        "larac_gap_per_gb": None if choice.gap_n is None else float(choice.gap_n) / BILLION,
    }


def routers_of(graph: Graph, policy: Policy) -> dict[str, list[str]]:
    """What the routers named by a policy must know, once; the last one only unpacks, at an address of its own."""
    return {one.node: local_commands(graph, one.node) for one in policy.segments[:-1]}


class MetricsView(APIView):
    scopes: ClassVar[Scopes] = {"GET": None}

    @extend_schema(operation_id="network_metrics", responses=MetricsOut)
    def get(self, request: Request) -> Response:
        """Links and regions in IETF CATS form: level 0 with units, levels 1 and 2 from 0 to 10. Pools are added up."""
        return Response(metrics(network()))


class ReservationsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = ReservationOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return Reservation.objects.all()

    @extend_schema(operation_id="network_reservations_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Bookings by link, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="network_reservations_create", request=ReservationIn, responses={201: BookedOut})
    def post(self, request: Request) -> Response:
        """Book bandwidth on links, or on the best path between two places; on all of them or on none."""
        given = valid(ReservationIn(data=request.data))
        names = ("end", "mbps", "seconds", "bytes")
        wish = Wish(
            links=links_of(given),
            start=given.get("start") or timezone.now(),
            kind=given["kind"],
            note=given["note"],
            **{name: given[name] for name in names if name in given},
        )
        return Response(BookedOut(reserve(wish, caller_of(request).user)).data, status=201)


def links_of(given: dict[str, Any]) -> list[int]:
    """The links named, or those of the best path between the places named; none where neither is."""
    if "links" in given or not ("from" in given and "to" in given):
        return list(given.get("links", []))
    return list(choose(network().graph, ask_of(given)).path.links)


class ReservationView(APIView):
    scopes: ClassVar[Scopes] = {"DELETE": OPERATOR}

    @extend_schema(operation_id="network_reservations_release", parameters=[BOOKING], responses={204: None})
    def delete(self, request: Request, booking: UUID) -> Response:
        """Give a booking back, on all its links."""
        if not release([booking]):
            raise NotFound("booking_unknown", "no live booking has this number")
        return Response(status=204)


urlpatterns = [
    path("network", NetworkView.as_view()),
    path("network/path", PathView.as_view()),
    path("network/metrics", MetricsView.as_view()),
    path("network/reservations", ReservationsView.as_view()),
    path("network/reservations/<uuid:booking>", ReservationView.as_view()),
]
