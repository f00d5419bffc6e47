"""Regions, pools, agents, and the prices they ask."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import OperatorPage, Page, Panel, badge, exact, link, panel, to, when
from core.admin.cells import age_text, list_url
from core.admin.panels import SHOWN, table
from core.admin.site import carry_out
from marketplace.models import Agent, CachedBlob, JoinToken, MaintenanceWindow, Offer, Pool, Rate, Region
from marketplace.services.availability import give_back_pool, reclaim_pool, take_back_window
from marketplace.services.providers import VERBS, move_pool


@admin.register(Region)
class RegionPage(OperatorPage):
    columns = ("code", "name", "name_zh", "gb_code", "latitude", "longitude")
    search_fields = ("code", "name", "name_zh", "=gb_code")
    ordering = ("gb_code", "code")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("code", "gb_code") if obj else ()  # pools' identifiers are made of it


@admin.register(Pool)
class PoolPage(Page):
    columns = ("identifier", "name", "state", "online", "organization", "region", "kind", "cores", "memory", "speed")
    joins = ("region",)
    cards = (
        ("Pool", ("identifier", "name", "state", "online", "organization", "region", "kind", "tier", "created_at", "verified_at")),
        ("Declared", ("instruction_set", "cores", "memory", "disk_mib", "accelerators", "executors", "bandwidth_mbps")),
        ("For usage records", ("benchmark", "benchmark_per_core")),
        ("Measured", ("speed", "memory_mbps", "disk_mbps")),
        ("Wanted back", ("reclaim_at", "reclaim_until", "reclaimed_by")),
        ("Who may use it", ("allow_organizations", "deny_organizations")),
    )
    list_filter = ("state", "kind", "tier", "region", exact("organization__slug"))
    search_fields = ("identifier", "name", "organization__slug", "=pk")
    ordering = ("identifier",)
    actions = (*VERBS, "reclaim", "give_back")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("agents")

    @admin.display(description="agent")
    def online(self, obj: Pool) -> SafeString:
        agents = [agent for agent in obj.agents.all() if agent.retired_at is None]
        return heard(agents[0]) if agents else badge("")

    @admin.display(description="memory", ordering="memory_mib")
    def memory(self, obj: Pool) -> str:
        return f"{obj.memory_mib / 1024:,.0f} GiB" if obj.memory_mib else ""

    @admin.display(description="FP32", ordering="fp32_mflops")
    def speed(self, obj: Pool) -> str:
        return f"{obj.fp32_mflops / 1000:,.1f} GFLOPS" if obj.fp32_mflops else ""

    def fits(self, action: str, obj: Pool) -> bool:
        if action == "reclaim":
            return obj.reclaim_at is None and obj.state in (Pool.State.ACTIVE, Pool.State.DRAINING)
        if action == "give_back":
            return obj.reclaimed_by == "owner"
        return obj.state in VERBS[action].sources

    def _move(self, request: HttpRequest, queryset: QuerySet[Pool], verb: str, done: str) -> None:
        carry_out(self, request, queryset, lambda pool: move_pool(pool, verb), done)

    @admin.action(description="Activate", permissions=["operate"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        self._move(request, queryset, "activate", "activated")

    @admin.action(description="Drain", permissions=["operate"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        self._move(request, queryset, "drain", "told to drain")

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        self._move(request, queryset, "resume", "resumed")

    @admin.action(description="Suspend", permissions=["operate"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        self._move(request, queryset, "suspend", "suspended")

    @admin.action(description="Reinstate", permissions=["operate"])
    def reinstate(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        self._move(request, queryset, "reinstate", "reinstated")

    @admin.action(description="Retire", permissions=["operate"])
    def retire(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        self._move(request, queryset, "retire", "retired")


    @admin.action(description="Want back", permissions=["operate"])
    def reclaim(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        in_s = settings.RECLAIM_NOTICE_SECONDS
        carry_out(self, request, queryset, lambda pool: reclaim_pool(pool, in_s=in_s), "wanted back")

    @admin.action(description="Lend again", permissions=["operate"])
    def give_back(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        carry_out(self, request, queryset, give_back_pool, "lent again")


def heard(agent: Agent) -> SafeString:
    """Is the agent there, and since when not?"""
    if agent.retired_at is not None:
        return badge("retired")
    there = agent.lease_until is not None and agent.lease_until > timezone.now()
    if there or agent.seen_at is None:
        return badge("online" if there else "offline")
    return format_html("{} {}", badge("offline"), f"for {age_text(timezone.now() - agent.seen_at)}")


@admin.register(Agent)
class AgentPage(Page):
    columns = ("name", "pool", "heard", "version", "seen_at", "lease_until", "report_seq", "created_at")
    chain = ("pool",)
    cards = (
        ("Agent", ("name", "heard", "version", "public_key", "session", "created_at", "retired_at")),
        ("Heard", ("seen_at", "lease_until", "report_seq", "report_digest")),
        ("Feels", ("status", "status_at")),
        ("Facts", ("facts",)),
    )
    heavy = ("facts",)
    list_filter = (("retired_at", admin.EmptyFieldListFilter), exact("pool__identifier"))
    search_fields = ("name", "pool__identifier", "=pk")

    def name_of(self, obj: Any) -> str:
        return str(obj.name)

    @admin.display(description="state")
    def heard(self, obj: Agent) -> SafeString:
        return heard(obj)


@admin.register(MaintenanceWindow)
class WindowPage(Page):
    columns = ("id", "pool", "category", "period", "note", "announced_at")
    chain = ("pool",)
    list_filter = ("category", exact("pool__identifier"))
    search_fields = ("pool__identifier", "note")
    actions = ("take_back",)

    def name_of(self, obj: Any) -> str:
        return f"window {obj.pk}"

    def fits(self, action: str, obj: MaintenanceWindow) -> bool:
        return bool(obj.period.upper > timezone.now())

    @admin.action(description="Take back", permissions=["operate"])
    def take_back(self, request: HttpRequest, queryset: QuerySet[MaintenanceWindow]) -> None:
        carry_out(self, request, queryset, lambda one: take_back_window(one.pool, one.pk), "taken back")


@admin.register(CachedBlob)
class CachedBlobPage(Page):
    columns = ("id", "pool", "sha256", "bytes", "seen_at")
    chain = ("pool",)
    list_filter = (exact("pool__identifier"),)
    search_fields = ("pool__identifier", "=sha256")
    huge = True


@admin.register(JoinToken)
class JoinTokenPage(Page):
    columns = ("id", "pool", "created_by", "created_at", "expires_at", "used_at", "agent")
    joins = ("agent",)
    hidden = ("token_hash",)
    chain = ("pool",)
    list_filter = (("used_at", admin.EmptyFieldListFilter), exact("pool__identifier"))
    search_fields = ("pool__identifier",)


@admin.register(Offer)
class OfferPage(Page):
    columns = ("id", "pool", "basis", "prices", "currency", "valid", "used", "round", "created_at")
    chain = ("pool",)
    list_filter = ("basis", "used", ("round", admin.EmptyFieldListFilter), exact("pool__identifier"), exact("origin"))
    search_fields = ("pool__identifier", "=pk")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("rates")

    def name_of(self, obj: Any) -> str:
        return f"offer {obj.pk}"

    @admin.display(description="prices")
    def prices(self, obj: Offer) -> str:
        return prices_of(obj)


def prices_of(offer: Offer) -> str:
    """`core_second 0.0001, gb_moved 0.01`."""
    return ", ".join(f"{rate.meter} {rate.unit_price.normalize():f}" for rate in offer.rates.all())


@admin.register(Rate)
class RatePage(Page):
    columns = ("id", "offer", "meter", "unit_price")
    joins = ("offer",)
    chain = ("offer__pool", "offer")
    list_filter = ("meter", exact("offer"))
    search_fields = ("=offer",)


@panel(Pool)
def agents(pool: Pool) -> Panel | None:
    rows = pool.agents.order_by("-created_at")[:SHOWN]
    lines = ((to(Agent, a.pk, a.name), heard(a), a.version, when(a.seen_at), when(a.created_at)) for a in rows)
    more = link(list_url(Agent, pool=pool.identifier), "all agents")
    return table("Agents", ("agent", "state", "version", "seen", "joined"), lines, more=more)


@panel(Pool)
def maintenance(pool: Pool) -> Panel | None:
    rows = pool.windows.order_by("-period")[:SHOWN]
    lines = ((to(MaintenanceWindow, w.pk), w.category, when(w.period.lower), when(w.period.upper), w.note) for w in rows)
    more = link(list_url(MaintenanceWindow, pool=pool.identifier), "all windows")
    return table("Maintenance", ("window", "category", "from", "to", "note"), lines, more=more)


@panel(Pool)
def offers(pool: Pool) -> Panel | None:
    rows = pool.offers.filter(origin=None).prefetch_related("rates").order_by("-valid")[:SHOWN]
    lines = ((to(Offer, o.pk), o.basis, prices_of(o), when(o.valid.lower), when(o.valid.upper), o.used) for o in rows)
    more = link(list_url(Offer, pool=pool.identifier), "all offers")
    return table("Offers", ("offer", "basis", "prices", "from", "to", "used"), lines, more=more)


@panel(Pool)
def selftest(pool: Pool) -> Panel | None:
    lines = (
        (item["code"], badge(item["status"]), item.get("measured", ""), item.get("needed", ""), item.get("hint", ""))
        for item in pool.selftest
    )
    return table("Self-test", ("code", "status", "measured", "needed", "hint"), lines)
