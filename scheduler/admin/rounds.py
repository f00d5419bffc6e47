"""The matcher's words: what was needed, what rounds saw and decided, and the prices of full pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, exact, limited, link, one_of, panel, to, when
from core.admin.cells import list_url, number_text
from core.admin.panels import SHOWN, table
from marketplace.models import CapabilityVersion, Pool
from marketplace.stages import FIRST
from scheduler.models import Decision, KeptScene, MarketPrice, Need, Round


def stage_text(number: int) -> str:
    """A stage where no task's plan is at hand to name it."""
    return f"stage {number}" if number else FIRST


def asks_text(document: Mapping[str, Any]) -> str:
    """What one unit is given, in words."""
    need = document.get("need", {})
    cores = need.get("cores", "?")
    devices = [f"{one['count']} × {one['model']}" for one in need.get("accelerators", [])]
    return ", ".join([f"{cores} core{'' if cores == 1 else 's'}", f"{need.get('memory_mib', '?')} MiB", *devices])


@admin.register(Need)
class NeedPage(Page):
    columns = ("id", "of", "stage", "asks", "objective", "created_at", "key")
    cards = (("Need", ("of", "stage", "asks", "objective", "created_at", "key")), ("Document", ("document",)))
    search_fields = ("=pk", "=key")
    huge = True

    def prepare(self, rows: list[Any]) -> None:
        named = CapabilityVersion.objects.filter(pk__in={row.document.get("version") for row in rows})
        versions = {one.pk: one for one in named.select_related("capability__organization")}
        for row in rows:
            row.version = versions.get(row.document.get("version"))

    @admin.display(description="of")
    def of(self, obj: Any) -> SafeString | str:
        if not hasattr(obj, "version"):
            self.prepare([obj])
        return to(CapabilityVersion, obj.version.pk, obj.version) if obj.version else ""

    @admin.display(description="stage")
    def stage(self, obj: Need) -> str:
        return stage_text(obj.document.get("stage", 0))

    @admin.display(description="asks for")
    def asks(self, obj: Need) -> str:
        return asks_text(obj.document)

    @admin.display(description="objective")
    def objective(self, obj: Need) -> str:
        return "own weights" if obj.document.get("weights") else str(obj.document.get("objective", ""))


_HOURS: Final = """
SELECT date_trunc('hour', at), count(*), sum(placed), max(waiting - placed), count(*) FILTER (WHERE decided_by <> 'optimum'),
       sum(cost) FILTER (WHERE bound > 0) / nullif(sum(bound) FILTER (WHERE bound > 0), 0) - 1,
       avg(micros)::float / 1000, max(micros)::float / 1000
FROM scheduler_round GROUP BY 1 ORDER BY 1 DESC LIMIT 24
"""


@admin.register(Round)
class RoundPage(Page):
    columns = ("id", "at", "waiting", "placed", "decided", "over", "took")
    heavy = ("snapshot",)
    cards = (
        ("Round", ("at", "waiting", "placed", "decided", "took", "again")),
        ("Was it good?", ("cost", "bound", "over")),
        ("What it saw", ("scene", "snapshot")),
    )
    list_filter = (one_of("decided_by", ("optimum", "greedy")), exact("scene"))
    search_fields = ("=pk",)
    huge = True

    def notes(self) -> list[Panel]:
        """By the hour: were all placed, by which of the two, how far above the bound, how quickly?"""
        columns = (
            "hour",
            "#rounds",
            "#units placed",
            "#left waiting, most",
            "#greedy",
            "#above the bound",
            "#mean ms",
            "#longest ms",
        )
        lines = (
            (f"{hour:%Y-%m-%d %H:00}", f"{rounds:,}", f"{placed:,}", f"{left:,}", f"{greedy:,}", gap_text(gap), f"{mean:,.1f}", f"{most:,.1f}")
            for hour, rounds, placed, left, greedy, gap, mean, most in limited(_HOURS) or ()
        )  # fmt: skip
        made = table("Rounds by the hour", columns, lines)
        return [made] if made else []

    @admin.display(description="decided in")
    def took(self, obj: Round) -> str:
        return f"{obj.micros / 1000:,.2f} ms"

    @admin.display(description="decided by")
    def decided(self, obj: Round) -> SafeString:
        return badge(obj.decided_by)

    @admin.display(description="above the bound")
    def over(self, obj: Round) -> str:
        """No whole plan costs less than the bound: what this one costs beyond it is the most that a better one could save."""
        return gap_text(None if not obj.bound or obj.cost is None else obj.cost / obj.bound - 1)

    @admin.display(description="again")
    def again(self, obj: Round) -> SafeString:
        return format_html('<code class="gf-code">python manage.py replay_round {}</code>', obj.pk)


def gap_text(share: float | None) -> str:
    """A share above the bound; rounding of sums may leave it a hair below."""
    return "unknown" if share is None else f"{max(share, 0.0):.2%}"


@admin.register(Decision)
class DecisionPage(Page):
    columns = ("id", "round", "need", "where", "left_out")
    heavy = ("candidates",)
    chain = ("round",)
    cards = (("Decision", ("round", "need", "left_out")),)
    list_filter = (exact("round"), exact("need"))
    search_fields = ("=pk", "=round", "=need")
    huge = True

    def prepare(self, rows: list[Any]) -> None:
        names = pools_named(rows)
        for row in rows:
            row.places = placed_text(row, names)

    @admin.display(description="placed")
    def where(self, obj: Any) -> SafeString:
        return format_html('<span class="gf-wrap">{}</span>', obj.places)

    @admin.display(description="pools left out")
    def left_out(self, obj: Decision) -> str:
        return left_out_text(obj)


def pools_named(decisions: Iterable[Decision]) -> dict[int, str]:
    """Of every pool that these decisions name, its identifier. One statement."""
    ids = {pool for one in decisions for pool, _ in (*one.placed, *one.queued)}
    return dict(Pool.objects.filter(pk__in=ids).values_list("pk", "identifier"))


def placed_text(one: Decision, names: Mapping[int, str]) -> str:
    """`8 on 640000-G-00YGKJ-3`, the most first, cut where there are many."""
    most = sorted(one.placed, key=lambda placed: -placed[1])
    listed = [f"{units:,} on {names.get(pool, pool)}" for pool, units in most[:4]]
    return ", ".join(listed + ([f"{len(most) - 4} pools more"] if len(most) > 4 else [])) or "nowhere"


def left_out_text(one: Decision) -> str:
    return ", ".join(f"{count} by {dimension.replace('_', ' ')}" for dimension, count in one.excluded.items())


@admin.register(KeptScene)
class KeptScenePage(Page):
    columns = ("digest", "created_at", "shared")
    heavy = ("document",)
    search_fields = ("=digest",)
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(used=Count("rounds"))

    @admin.display(description="rounds that saw it", ordering="used")
    def shared(self, obj: Any) -> SafeString:
        return link(list_url(Round, scene=obj.pk), obj.used)


_PRICES: Final = """
SELECT p.id, p.identifier, r.code, m.resource, count(*), avg(m.price), max(m.price), (array_agg(m.price ORDER BY m.at DESC))[1], max(m.at)
FROM scheduler_marketprice m JOIN marketplace_pool p ON p.id = m.pool_id JOIN marketplace_region r ON r.id = p.region_id
WHERE m.at > now() - interval '24 hours' GROUP BY 1, 2, 3, 4 ORDER BY sum(m.price) DESC LIMIT 30
"""


@admin.register(MarketPrice)
class MarketPricePage(Page):
    columns = ("id", "at", "pool", "resource", "price")
    joins = ("pool",)
    list_filter = (exact("pool__identifier"), exact("resource"))
    search_fields = ("pool__identifier",)
    huge = True

    def notes(self) -> list[Panel]:
        """Which pools were short of what, and how dear that was: the dearest first."""
        found = limited(_PRICES)
        lines = (
            (to(Pool, pk, name), region, resource, f"{rounds:,}", *map(number_text, (mean, most, last)), when(at))
            for pk, name, region, resource, rounds, mean, most, last, at in found or ()
        )
        columns = ("pool", "region", "resource", "#rounds it was full", "#mean price", "#highest", "#last", "at")
        made = table("Full in the last 24 hours", columns, lines)
        return [made] if made else []


# Below the matcher's words.


@panel(Round)
def decisions(one: Round) -> Panel | None:
    rows = list(one.decisions.select_related("need").defer("candidates").order_by("pk")[:SHOWN])
    names = pools_named(rows)
    lines = (
        (to(Decision, d.pk), to(Need, d.need_id, asks_text(d.need.document)), placed_text(d, names), queued_text(d, names), left_out_text(d))
        for d in rows
    )  # fmt: skip
    more = link(list_url(Decision, round=one.pk), "all decisions")
    return table("Decisions", ("decision", "need", "placed", "had better wait for", "pools left out"), lines, more=more)


def queued_text(one: Decision, names: Mapping[int, str]) -> str:
    return ", ".join(f"{units:g} for {names.get(pool, pool)}" for pool, units in one.queued[:4])


@panel(Round)
def prices(one: Round) -> Panel | None:
    """What one more of a resource would have saved: written with the round, at its moment."""
    rows = MarketPrice.objects.filter(at=one.at).select_related("pool__region").order_by("-price")[:SHOWN]
    lines = ((to(Pool, p.pool_id, p.pool), p.pool.region.code, p.resource, number_text(p.price)) for p in rows)
    return table("Prices of being full", ("pool", "region", "resource", "#price"), lines)


@panel(KeptScene)
def rounds(scene: KeptScene) -> Panel | None:
    rows = scene.rounds.defer("snapshot").order_by("-pk")[:SHOWN]
    lines = ((to(Round, r.pk), when(r.at), f"{r.waiting:,}", f"{r.placed:,}", badge(r.decided_by)) for r in rows)
    return table("Rounds that saw it, newest first", ("round", "at", "#waiting", "#placed", "decided by"), lines)


@panel(Need)
def decisions_of_need(need: Need) -> Panel | None:
    rows = list(
        Decision.objects.filter(need=need).select_related("round").defer("round__snapshot", "candidates").order_by("-pk")[:SHOWN]
    )
    names = pools_named(rows)
    lines = ((to(Decision, d.pk), when(d.round.at), placed_text(d, names), left_out_text(d)) for d in rows)
    more = link(list_url(Decision, need=need.pk), "all decisions")
    return table("Decisions, newest first", ("decision", "at", "placed", "pools left out"), lines, more=more)


_TERMS: Final = ("pool", "region", "cost", "price", "wait_s", "transfer_s", "run_s", "return_s", "finish_s")  # first, in this order


@panel(Decision)
def placed(one: Decision) -> Panel | None:
    """Where it went; one query for the pools' names."""
    names = pools_named([one])
    lines = ((to(Pool, pool, names.get(pool, pool)), units) for pool, units in one.placed)
    return table("Placed", ("pool", "#units"), lines)


@panel(Decision)
def candidates(one: Decision) -> Panel | None:
    """The best pools, each with the terms that it was compared by; terms that are nothing at every one are left out."""
    known = {name for candidate in one.candidates for name, value in candidate.items() if value}
    names = [*(name for name in _TERMS if name in known), *sorted(known.difference(_TERMS))]
    lines = ([_term(candidate.get(name, "")) for name in names] for candidate in one.candidates)
    columns = [name if name in ("pool", "region") else f"#{name.replace('_', ' ')}" for name in names]
    return table("Best candidates", columns, lines)


def _term(value: Any) -> Any:
    return number_text(value) if isinstance(value, float) else value


@panel(Decision)
def queued(one: Decision) -> Panel | None:
    """Full pools for which the rest had better wait, cheaper than anywhere at once."""
    names = pools_named([one])
    lines: Sequence[Any] = [(to(Pool, pool, names.get(pool, pool)), f"{units:g}") for pool, units in one.queued]
    return table("The rest had better wait for", ("pool", "#units"), lines)
