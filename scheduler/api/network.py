"""The network between regions: what is known of it, paths over it, its metrics, and bookings of its links."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import NotFound
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR
from scheduler.models import Reservation
from scheduler.network.choosing import OBJECTIVES, Ask, Choice, choose, decimal_text, path_document
from scheduler.network.graph import BEST_EFFORT, BILLION, Graph, Link
from scheduler.network.paths import Want
from scheduler.network.segments import Policy, local_commands
from scheduler.network_snapshot import metrics, network
from scheduler.services.network import Wish, release, reserve

PLACE: Final = r"^[a-z0-9-]{1,100}$"
BOOKING: Final = OpenApiParameter("booking", UUID, OpenApiParameter.PATH, description="a booking's number")
VALID_FOR: Final = timedelta(hours=1)  # a policy is to be asked for again after that


class Number(serializers.FloatField):
    """A number that is one: no infinities, no not-a-number."""

    def to_internal_value(self, data: Any) -> float:
        value = float(super().to_internal_value(data))
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class NodeOut(Out):
    code = serializers.CharField()
    region = serializers.CharField(allow_null=True)
    latitude = serializers.FloatField()
    longitude = serializers.FloatField()
    locator = serializers.CharField()


class LinkOut(Out):
    id = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]  # a field of that name, not the base's option
    target = serializers.CharField()
    capacity_mbps = serializers.IntegerField()
    free_mbps = serializers.FloatField(help_text="measured, less what is booked now")
    latency_p50_ms = serializers.FloatField()
    latency_p90_ms = serializers.FloatField()
    latency_counted_ms = serializers.FloatField(help_text="what paths count: P90, widened by age")
    jitter_p99_ms = serializers.FloatField()
    jitter_class = serializers.IntegerField(help_text="0 (deterministic) to 3 (best effort), widened by age")
    loss = serializers.FloatField()
    price_per_gb = serializers.CharField()
    carbon_g_per_gb = serializers.FloatField()
    domain = serializers.CharField()
    sid = serializers.CharField()
    origin = serializers.ChoiceField(["imported", "operator", "probe"])
    age_s = serializers.FloatField()
    overlay = serializers.BooleanField(help_text="probed end to end: the route between two regions, not a wire")


class NetworkOut(Out):
    at = serializers.DateTimeField()
    nodes = NodeOut(many=True)
    links = LinkOut(many=True)


class PathIn(In):
    """The query of a path. (`from` and `class` are words of the language, so fields are made here.)"""

    def get_fields(self) -> dict[str, Any]:
        return {
            "from": serializers.RegexField(PLACE, help_text="a region's code, or a node's"),
            "to": serializers.RegexField(PLACE, help_text="a region's code, or a node's"),
            **wanted_fields(),
            "objective": serializers.ChoiceField(sorted(OBJECTIVES), default="latency"),
            "k": serializers.IntegerField(min_value=1, max_value=8, default=3, help_text="paths, with the first"),
            "max_depth": serializers.IntegerField(min_value=1, max_value=64, default=8, help_text="segments at most"),
            "domain": serializers.RegexField(r"^[a-z0-9-]{1,40}$", help_text="only over this network", required=False),
        }


def wanted_fields() -> dict[str, Any]:
    """What a path must offer, as inputs."""
    return {
        "class": serializers.IntegerField(
            min_value=0, max_value=BEST_EFFORT, default=BEST_EFFORT, help_text="jitter class at most: 0 (<= 0.02 ms) to 3"
        ),
        "mbps": serializers.IntegerField(min_value=1, max_value=10_000_000, required=False),
        "max_latency_ms": Number(
            min_value=0.001, max_value=60_000, required=False, help_text="then the cheapest path within it, exactly"
        ),
        "max_loss": Number(min_value=0, max_value=1, required=False, help_text="of each link, as a share"),
    }


class WayOut(Out):
    nodes = serializers.ListField(child=serializers.CharField())
    links = serializers.ListField(child=serializers.IntegerField())
    latency_ms = serializers.FloatField()
    jitter_ms = serializers.FloatField(help_text="sum of the links' P99")
    jitter_class = serializers.IntegerField(help_text="the worst of the links")
    mbps = serializers.FloatField()
    loss = serializers.FloatField()
    price_per_gb = serializers.CharField()
    carbon_g_per_gb = serializers.FloatField()


class SegmentOut(Out):
    sid = serializers.CharField()
    type = serializers.ChoiceField(["node", "adjacency"])
    node = serializers.CharField()
    link = serializers.IntegerField(allow_null=True)


class ValidityOut(Out):
    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), "until": serializers.DateTimeField()}


class PolicyOut(Out):
    headend = serializers.CharField()
    colour = serializers.IntegerField(help_text="100 + jitter class")
    endpoint = serializers.CharField()
    preference = serializers.IntegerField(help_text="100 for the path, less for an alternative")
    segments = SegmentOut(many=True)
    validity = ValidityOut(allow_null=True)


class PathOut(Out):
    path = WayOut()
    alternatives = WayOut(many=True)
    policy = PolicyOut(allow_null=True)
    iproute2 = serializers.CharField(allow_null=True, help_text="the command that installs the policy at a Linux headend")
    routers = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="per node named by a segment, the commands that give a Linux router its segments",
    )
    unsteered = serializers.CharField(allow_blank=True, help_text="why there is no policy")
    larac_gap_per_gb = serializers.FloatField(allow_null=True, help_text="bound on the error of LARAC's quick answer")


class MetricsOut(Out):
    declaration = serializers.DictField()
    links = serializers.ListField(child=serializers.DictField())
    regions = serializers.ListField(child=serializers.DictField())


class ReservationIn(In):
    """mbps and end, mbps and seconds (as early as possible), or bytes and end (arriving as early as possible)."""

    def get_fields(self) -> dict[str, Any]:
        place: dict[str, Any] = {"regex": PLACE, "required": False, "help_text": "a path from here instead of links"}
        return {
            "links": serializers.ListField(
                child=serializers.IntegerField(min_value=1, max_value=2**53), min_length=1, max_length=100, required=False
            ),
            "from": serializers.RegexField(**place),
            "to": serializers.RegexField(**place),
            **wanted_fields(),
            "start": serializers.DateTimeField(required=False, help_text="default: now"),
            "end": serializers.DateTimeField(required=False),
            "seconds": Number(min_value=1, max_value=366 * 86_400, required=False),
            "bytes": serializers.IntegerField(min_value=1, max_value=2**53, required=False),
            "kind": serializers.ChoiceField(Reservation.Kind.choices, default="deterministic"),
            "note": serializers.CharField(max_length=200, default="", allow_blank=True),
        }


class BookedOut(Out):
    booking = serializers.UUIDField(source="number")
    links = serializers.ListField(child=serializers.IntegerField())
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    mbps = serializers.IntegerField()
    kind = serializers.CharField()
    note = serializers.CharField(allow_blank=True)


class ReservationOut(Out):
    """One link of a booking."""

    booking = serializers.UUIDField()
    link = serializers.IntegerField(source="link_id")
    start = serializers.DateTimeField(source="period.lower")
    end = serializers.DateTimeField(source="period.upper")
    mbps = serializers.IntegerField()
    kind = serializers.CharField()
    note = serializers.CharField(allow_blank=True)
    released_at = serializers.DateTimeField(allow_null=True)


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
