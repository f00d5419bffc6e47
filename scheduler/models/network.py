"""The network between regions: nodes, links as measured, what is booked on them, and what agents probed."""

from __future__ import annotations

from typing import ClassVar, Final

from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models
from django.db.models import F, Q

LONGEST_S: Final = 60.0  # no way on earth takes longer; keeps infinities and not-a-numbers out


class NetworkNode(models.Model):
    """A site, a point of presence, or a region's own end of the ways that its pools probe."""

    code = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=100)
    region = models.ForeignKey(
        "marketplace.Region", models.PROTECT, null=True, blank=True, related_name="network_nodes",
        help_text="the region that it serves; empty where it only passes traffic on",
    )  # fmt: skip
    latitude = models.FloatField()
    longitude = models.FloatField()
    locator = models.CharField(max_length=43, blank=True, default="", help_text="SRv6 locator, an IPv6 /48: fc00:0:7::/48")
    domain = models.SlugField(max_length=40, blank=True, default="", help_text="the network it belongs to")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["code"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(latitude__range=(-90, 90), longitude__range=(-180, 180)), name="networknode_is_on_earth"
            ),
            models.UniqueConstraint(fields=["locator"], condition=~Q(locator=""), name="networknode_locator_once"),
            models.CheckConstraint(
                condition=Q(locator="") | Q(locator__regex=r"^[0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::/48$"),
                name="networknode_locator_is_a_48",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class NetworkLink(models.Model):
    """One direction of a connection. Values are as measured or stated at `measured_at`; readers widen what is old.

    A way that agents probed end to end is a link with `overlay`: the route between two regions, not a wire.
    """

    class Origin(models.TextChoices):
        IMPORTED = "imported"
        OPERATOR = "operator"
        PROBE = "probe"

    source = models.ForeignKey(NetworkNode, models.CASCADE, related_name="leaving")
    target = models.ForeignKey(NetworkNode, models.CASCADE, related_name="arriving")
    capacity_mbps = models.PositiveIntegerField()
    free_mbps = models.FloatField(help_text="measured; bookings of the calendar are taken off by readers")
    latency_p50_s = models.FloatField(help_text="one way, seconds")
    latency_p90_s = models.FloatField(help_text="one way, seconds")
    jitter_p99_s = models.FloatField(default=0.005)
    loss = models.FloatField(default=0.0, help_text="share of packets")
    price_per_gb = models.DecimalField(max_digits=30, decimal_places=12, default=0, help_text="market's currency, 10^9 bytes")
    carbon_g_per_gb = models.FloatField(default=0.0)
    domain = models.SlugField(max_length=40, blank=True, default="")
    sid = models.CharField(max_length=39, blank=True, default="", help_text="SRv6 adjacency segment (End.X)")
    overlay = models.BooleanField(default=False, help_text="probed end to end")
    origin = models.CharField(max_length=8, choices=Origin.choices, default=Origin.OPERATOR)
    measured_at = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(source=F("target")), name="networklink_joins_two_nodes"),
            models.CheckConstraint(
                condition=Q(capacity_mbps__gt=0, free_mbps__gte=0, free_mbps__lte=F("capacity_mbps")),
                name="networklink_free_within_capacity",
            ),
            models.CheckConstraint(
                condition=Q(latency_p50_s__gt=0, latency_p90_s__gte=F("latency_p50_s"), latency_p90_s__lte=LONGEST_S),
                name="networklink_latency_is_above_zero",
            ),
            models.CheckConstraint(
                condition=Q(jitter_p99_s__gte=0, jitter_p99_s__lte=LONGEST_S, loss__range=(0, 1)),
                name="networklink_jitter_and_loss",
            ),
            models.CheckConstraint(
                condition=Q(price_per_gb__gte=0, carbon_g_per_gb__gte=0, carbon_g_per_gb__lte=1e9),
                name="networklink_costs_not_negative",
            ),
            models.CheckConstraint(condition=Q(origin__in=["imported", "operator", "probe"]), name="networklink_origin_known"),
            models.UniqueConstraint(fields=["sid"], condition=~Q(sid=""), name="networklink_sid_once"),
            models.UniqueConstraint(fields=["source", "target"], condition=Q(overlay=True), name="networklink_overlay_once"),
        ]

    def __str__(self) -> str:
        return f"link {self.pk}"


class Reservation(models.Model):
    """Bandwidth booked on one link for a period; a path's bookings share `booking`.

    Sums over time cannot be an exclusion constraint: `services/network.py` inserts under the links' row locks.
    """

    class Kind(models.TextChoices):
        DETERMINISTIC = "deterministic"
        BURST = "burst"

    booking = models.UUIDField(db_index=True)
    link = models.ForeignKey(NetworkLink, models.CASCADE, related_name="reservations")
    period = DateTimeRangeField(help_text="[from, to)")
    mbps = models.PositiveIntegerField()
    kind = models.CharField(max_length=13, choices=Kind.choices)
    note = models.CharField(max_length=200, blank=True, default="")
    created_by = models.ForeignKey("marketplace.User", models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["booking", "link"], name="reservation_once_per_link"),
            models.CheckConstraint(condition=Q(mbps__gt=0), name="reservation_is_some_bandwidth"),
            models.CheckConstraint(
                condition=Q(period__isempty=False, period__lower_inf=False, period__upper_inf=False),
                name="reservation_has_a_begin_and_an_end",
            ),
            models.CheckConstraint(condition=Q(kind__in=["deterministic", "burst"]), name="reservation_kind_known"),
        ]
        indexes: ClassVar = [
            # asked when somebody books: what is on this link
            models.Index(fields=["link"], condition=Q(released_at__isnull=True), name="reservation_live")
        ]


class RegionEndpoint(models.Model):
    """Where agents probe the way to a region: a URL there that serves at least some megabytes."""

    region = models.OneToOneField("marketplace.Region", models.CASCADE, related_name="endpoint")
    url = models.URLField(max_length=300)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering: ClassVar = ["region__code"]

    def __str__(self) -> str:
        return self.url


class Probe(models.Model):
    """What one pool measured on the way to one region: exponentially weighted over its reports, clamped to what can be.

    `flags` say what was clamped in the last report (`scheduler/network/probes.py`); `flagged` counts such reports.
    """

    pool = models.ForeignKey("marketplace.Pool", models.CASCADE, related_name="probes")
    region = models.ForeignKey("marketplace.Region", models.CASCADE, related_name="+")
    latency_p50_s = models.FloatField()
    latency_p90_s = models.FloatField()
    jitter_p99_s = models.FloatField()
    loss = models.FloatField()
    mbps = models.FloatField()
    samples = models.PositiveIntegerField(default=1, help_text="reports")
    flags = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    flagged = models.PositiveIntegerField(default=0)
    measured_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["pool", "region"], name="probe_once_per_pool_and_region"),
            models.CheckConstraint(
                condition=Q(latency_p50_s__gt=0, latency_p90_s__gte=F("latency_p50_s"), latency_p90_s__lte=LONGEST_S),
                name="probe_latency_is_above_zero",
            ),
            models.CheckConstraint(
                condition=Q(jitter_p99_s__range=(0, LONGEST_S), loss__range=(0, 1), mbps__gt=0, mbps__lte=1e9),
                name="probe_values_can_be",
            ),
        ]
