"""The network in the operators' pages: nodes and links with forms, what is booked on them, what agents measured."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from core.admin import OperatorPage, Page, Panel, badge, carry_out_all, exact, link, panel, to, when
from core.admin.cells import age_text, list_url
from core.admin.panels import SHOWN, table
from marketplace.models import Pool
from scheduler.models import NetworkLink, NetworkNode, Probe, RegionEndpoint, Reservation
from scheduler.network_snapshot import link_of
from scheduler.services.network import release


@admin.register(NetworkNode)
class NetworkNodePage(OperatorPage):
    columns = ("code", "name", "region", "domain", "latitude", "longitude", "locator")
    joins = ("region",)
    list_filter = (exact("domain"), exact("region__code"))
    search_fields = ("code", "name", "=locator")
    ordering = ("code",)


@admin.register(NetworkLink)
class NetworkLinkPage(OperatorPage):
    """Whoever changes a link states its values as of now."""

    columns = ("id", "way", "capacity_mbps", "free_mbps", "latency", "counted", "jitter", "lost", "price_per_gb", "origin", "age")
    cards = (
        ("Link", ("way", "source", "target", "domain", "sid", "overlay")),
        ("As it was known", ("origin", "measured_at", "latency", "jitter_p99_s", "lost", "capacity_mbps", "free_mbps")),
        ("As it counts now", ("age", "counted", "jitter")),
        ("What it costs", ("price_per_gb", "carbon_g_per_gb")),
    )
    joins = ("source", "target")
    fields = (
        ("source", "target"),
        ("capacity_mbps", "free_mbps"),
        ("latency_p50_s", "latency_p90_s", "jitter_p99_s", "loss"),
        ("price_per_gb", "carbon_g_per_gb"),
        ("domain", "sid"),
    )
    list_filter = ("origin", "overlay", exact("domain"), exact("source__code"), exact("target__code"))
    search_fields = ("=pk", "source__code", "target__code", "=sid")
    ordering = ("pk",)

    def save_model(self, request: HttpRequest, obj: NetworkLink, form: Any, change: bool) -> None:
        obj.origin, obj.measured_at = NetworkLink.Origin.OPERATOR, timezone.now()
        super().save_model(request, obj, form, change)

    @admin.display(description="way")
    def way(self, obj: NetworkLink) -> str:
        return f"{obj.source.code} → {obj.target.code}"

    @admin.display(description="latency P50 / P90", ordering="latency_p50_s")
    def latency(self, obj: NetworkLink) -> str:
        return f"{obj.latency_p50_s * 1e3:,.2f} / {obj.latency_p90_s * 1e3:,.2f} ms"

    @admin.display(description="counted as")
    def counted(self, obj: NetworkLink) -> str:
        """Widened by age, as the planner counts it."""
        return f"{link_of(obj, timezone.now()).edge().latency_ns / 1e6:,.2f} ms"

    @admin.display(description="jitter", ordering="jitter_p99_s")
    def jitter(self, obj: NetworkLink) -> SafeString:
        return badge(f"J{link_of(obj, timezone.now()).jitter_class}")

    @admin.display(description="loss", ordering="loss")
    def lost(self, obj: NetworkLink) -> str:
        return f"{obj.loss * 100:.3g} %"

    @admin.display(description="age", ordering="measured_at")
    def age(self, obj: NetworkLink) -> str:
        return age_text(timezone.now() - obj.measured_at)


@admin.register(Reservation)
class ReservationPage(Page):
    columns = ("id", "booking", "link", "mbps", "kind", "begins", "ends", "released_at", "created_by", "note")
    chain = ("link",)
    list_filter = ("kind", ("released_at", admin.EmptyFieldListFilter), exact("link"), exact("booking"))
    search_fields = ("=booking", "=link")
    actions = ("give_back",)

    @admin.display(description="begins")
    def begins(self, obj: Reservation) -> Any:
        return when(obj.period.lower)

    @admin.display(description="ends")
    def ends(self, obj: Reservation) -> Any:
        return when(obj.period.upper)

    def fits(self, action: str, obj: Reservation) -> bool:
        return obj.released_at is None

    @admin.action(description="Give the whole booking back", permissions=["operate"])
    def give_back(self, request: HttpRequest, queryset: QuerySet[Reservation]) -> None:
        bookings = dict(queryset.values_list("pk", "booking"))
        carry_out_all(self, request, queryset, lambda pks: release({bookings[pk] for pk in pks}), "given back")


@admin.register(RegionEndpoint)
class RegionEndpointPage(OperatorPage):
    columns = ("region", "url", "enabled")
    search_fields = ("region__code", "url")


@admin.register(Probe)
class ProbePage(Page):
    columns = ("id", "pool", "region", "latency", "jitter", "lost", "mbps", "samples", "flags", "flagged", "measured_at")
    cards = (
        ("Probe", ("pool", "region", "measured_at", "samples")),
        ("As its agent measured it", ("latency", "jitter", "lost", "mbps")),
        ("Not believed", ("flags", "flagged")),
    )
    joins = ("region",)
    chain = ("pool",)
    list_filter = (exact("pool__identifier"), exact("region__code"))
    search_fields = ("pool__identifier", "region__code")

    @admin.display(description="latency P50 / P90", ordering="latency_p50_s")
    def latency(self, obj: Probe) -> str:
        return f"{obj.latency_p50_s * 1e3:,.2f} / {obj.latency_p90_s * 1e3:,.2f} ms"

    @admin.display(description="jitter P99", ordering="jitter_p99_s")
    def jitter(self, obj: Probe) -> str:
        return f"{obj.jitter_p99_s * 1e3:,.2f} ms"

    @admin.display(description="loss", ordering="loss")
    def lost(self, obj: Probe) -> str:
        return f"{obj.loss * 100:.3g} %"


@panel(NetworkLink)
def booked_on_link(one: NetworkLink) -> Panel | None:
    rows = one.reservations.order_by("-pk")[:SHOWN]
    lines = (
        (to(Reservation, r.pk, r.booking), r.mbps, r.kind, when(r.period.lower), when(r.period.upper), when(r.released_at))
        for r in rows
    )
    more = link(list_url(Reservation, link=one.pk), "all reservations")
    return table("Booked", ("booking", "#Mbit/s", "kind", "begins", "ends", "released"), lines, more=more)


@panel(Pool)
def probes_of_pool(pool: Pool) -> Panel | None:
    rows = pool.probes.select_related("region").order_by("region__code")[:SHOWN]
    lines = (
        (p.region.code, f"{p.latency_p50_s * 1e3:,.2f} ms", f"{p.mbps:,.0f}", p.samples, ", ".join(p.flags), when(p.measured_at))
        for p in rows
    )
    return table("Network as its agent measured it", ("to", "#P50", "#Mbit/s", "#reports", "flags", "at"), lines)
