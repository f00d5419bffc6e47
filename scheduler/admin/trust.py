"""Trust in the operators' pages: records, pools' events, the queue of verdicts; and what an operator may lift."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, carry_out, exact, link, panel, to, when
from core.admin.cells import list_url
from core.admin.filters import Dropdown
from core.admin.panels import SHOWN, table
from marketplace.admin.providers import PoolPage
from marketplace.models import Pool
from scheduler.models import Commitment, PoolEvent, Recheck, Trust, Unit, Unjudged
from scheduler.scene import is_unproven, unproven_ones
from scheduler.services.standing import standing_of, vouch_for
from scheduler.services.trusting import lift_quarantine, record_of
from scheduler.verification.trust import replication_probability, reputation

AUDIT_TERM: Final = timedelta(days=365)


@admin.register(Trust)
class TrustPage(Page):
    columns = ("capability_version", "pool", "score", "checked", "streak", "right", "wrong", "gone", "samples", "updated_at")
    cards = (
        ("Of", ("pool", "capability_version", "updated_at")),
        ("Standing", ("score", "checked", "streak")),
        ("Results that were checked, each counting half after 14 days", ("right", "wrong", "gone", "samples")),
    )
    joins = ("capability_version__capability__organization",)
    list_filter = (exact("pool__identifier"), exact("capability_version"))
    search_fields = ("pool__identifier", "capability_version__capability__name")

    def name_of(self, obj: Any) -> str:
        return f"{obj.capability_version} on {obj.pool}"

    @admin.display(description="reputation")
    def score(self, obj: Trust) -> str:
        return str(reputation(record_of(obj, timezone.now() - obj.updated_at))["score"] or "new")

    @admin.display(description="checked", ordering="streak")
    def checked(self, obj: Trust) -> str:
        return f"{replication_probability(obj.streak):.0%}"

    @admin.display(description="valid", ordering="valid")
    def right(self, obj: Trust) -> str:
        return f"{obj.valid:,.1f}"

    @admin.display(description="invalid", ordering="invalid")
    def wrong(self, obj: Trust) -> str:
        return f"{obj.invalid:,.1f}"

    @admin.display(description="lost", ordering="lost")
    def gone(self, obj: Trust) -> str:
        return f"{obj.lost:,.1f}"


@admin.register(PoolEvent)
class PoolEventPage(Page):
    columns = ("id", "pool", "kind", "detail", "at")
    chain = ("pool",)
    list_filter = ("kind", exact("pool__identifier"))
    search_fields = ("pool__identifier",)


@admin.register(Commitment)
class CommitmentPage(Page):
    """What attempts bound themselves to before results were shown."""

    columns = ("attempt", "state", "hash", "batch", "at")
    chain = ("attempt__task", "attempt")
    list_filter = ("state", exact("attempt__pool__identifier"))
    search_fields = ("=attempt", "hash")
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"commitment of attempt {obj.attempt_id}"


@admin.register(Recheck)
class RecheckPage(Page):
    """What pools that were caught had delivered unchecked, run again elsewhere."""

    columns = ("attempt", "unit", "state", "at")
    chain = ("attempt__task", "attempt")
    list_filter = ("state", exact("attempt__pool__identifier"))
    search_fields = ("=attempt", "=unit")
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"attempt {obj.attempt_id} run again"


@admin.register(Unjudged)
class UnjudgedPage(Page):
    """Units whose siblings want a look."""

    columns = ("id", "unit", "at")
    chain = ("unit__task", "unit")
    search_fields = ("=unit",)
    huge = True


@admin.action(description="Lift quarantine", permissions=["operate"])
def lift(page: PoolPage, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
    carry_out(page, request, queryset, lift_quarantine, "free again")


@admin.action(description="Vouch for an audit, a year from today", permissions=["operate"])
def vouch(page: PoolPage, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
    """The usual term; another one is given through the API (docs/scheduling/verification.md)."""
    until = timezone.now() + AUDIT_TERM
    carry_out(page, request, queryset, lambda pool: vouch_for(pool, until), f"audited until {until:%Y-%m-%d}")


TRUST_CARD: Final = (
    "Trust",
    ("stands", "level_until", "level_reason", "selftest_at", "audited_until", "quarantined_until", "quarantine_reason",
     "quarantines", "daily_quota"),
)  # fmt: skip


class Proven(Dropdown):
    """Community pools whose word alone is not enough, and all others."""

    title = "believed alone"
    parameter_name = "proven"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "unproven"), ("yes", "proven")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Pool]) -> QuerySet[Pool]:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(unproven_ones()) if self.value() == "no" else queryset.exclude(unproven_ones())


class TrustedPoolPage(PoolPage):
    columns = (*PoolPage.columns[:4], "stands", *PoolPage.columns[4:])
    list_filter: ClassVar[Any] = (*PoolPage.list_filter[:3], Proven, *PoolPage.list_filter[3:])
    actions: Any = (*PoolPage.actions, lift, vouch)
    cards: ClassVar[Any] = (*PoolPage.cards, TRUST_CARD)

    @admin.display(description="standing", ordering="level")
    def stands(self, obj: Pool) -> SafeString:
        """Its level, and what keeps its word from being believed."""
        closed = obj.quarantined_until is not None
        words = [word for word, holds in (("unproven", is_unproven(obj)), ("quarantine", closed)) if holds]
        return format_html("L{} {}", obj.level, format_html_join(" ", "{}", ((badge(word),) for word in words)))

    def fits(self, action: str, obj: Any) -> bool:
        if action == "lift":
            return obj.quarantined_until is not None or obj.daily_quota is not None
        if action == "vouch":
            return obj.state not in {"registered", "suspended", "retired"}
        return super().fits(action, obj)


admin.site.unregister(Pool)
admin.site.register(Pool, TrustedPoolPage)


@panel(Pool)
def trust(pool: Pool) -> Panel | None:
    standing = standing_of(pool)
    lines = (
        (v["capability"], v["consecutive_valid"], f"{v['check_probability']:.0%}", v["reputation"]["score"] or "new",
         v["reputation"]["sample_size"])
        for v in standing["versions"]
    )  # fmt: skip
    more = link(list_url(Trust, pool=pool.identifier), "all records")
    columns = ("capability", "#right in a row", "#checked", "#reputation", "#samples")
    return table(f"Trust: L{pool.level}, reputation {standing['reputation']['score'] or 'new'}", columns, lines, more=more)


@panel(Pool)
def events(pool: Pool) -> Panel | None:
    rows = PoolEvent.objects.filter(pool=pool).order_by("-id")[:SHOWN]
    more = link(list_url(PoolEvent, pool=pool.identifier), "all events")
    lines = ((badge(e.kind), e.detail, when(e.at)) for e in rows)
    return table("Standing, newest first", ("kind", "what", "when"), lines, more=more)


@panel(Unit)
def siblings(unit: Unit) -> Panel | None:
    """The other results of the same unit."""
    if not unit.checked:
        return None
    rows = Unit.objects.filter(task=unit.task_id, stage=unit.stage, index=unit.index).select_related("pool").order_by("replica")
    lines = ((to(Unit, u.pk, f"replica {u.replica}"), badge(u.state), to(Pool, u.pool_id, u.pool)) for u in rows[:SHOWN])
    return table("Results that are compared", ("replica", "state", "pool"), lines)
