"""Shapes of what goes in and out at the network's doors."""

from __future__ import annotations

import math
from typing import Any, Final

from rest_framework import serializers

from marketplace.api.serializers import In, Out
from scheduler.models import Reservation
from scheduler.network.choosing import OBJECTIVES
from scheduler.network.graph import BEST_EFFORT

PLACE: Final = r"^[a-z0-9-]{1,100}$"


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
