"""The matcher's words: what was needed, what rounds saw and decided, and the prices of full pools."""

from __future__ import annotations

from typing import Final

from django.contrib import admin

from core.admin import Page, Panel, exact, link, panel, to, when
from core.admin.cells import list_url
from core.admin.panels import SHOWN, table
from marketplace.models import Pool
from marketplace.stages import FIRST
from scheduler.models import Decision, KeptScene, MarketPrice, Need, Round


def _stage(number: int) -> str:
    """A stage where no task's plan is at hand to name it."""
    return f"stage {number}" if number else FIRST


@admin.register(Need)
class NeedPage(Page):
    columns = ("id", "stage", "asks", "created_at", "key")
    search_fields = ("=pk", "=key")
    huge = True

    @admin.display(description="stage")
    def stage(self, obj: Need) -> str:
        return _stage(obj.document.get("stage", 0))

    @admin.display(description="asks for")
    def asks(self, obj: Need) -> str:
        need = obj.document.get("need", {})
        return f"{need.get('cores', '?')} cores, {need.get('memory_mib', '?')} MiB"


@admin.register(Round)
class RoundPage(Page):
    columns = ("id", "at", "waiting", "placed", "decided_by", "took")
    heavy = ("snapshot",)
    cards = (("Round", ("at", "waiting", "placed", "decided_by", "took")), ("What it saw", ("snapshot",)))
    search_fields = ("=pk",)
    huge = True

    @admin.display(description="decided in")
    def took(self, obj: Round) -> str:
        return f"{obj.micros / 1000:,.2f} ms"


@admin.register(Decision)
class DecisionPage(Page):
    columns = ("id", "round", "need", "where", "left_out")
    heavy = ("candidates",)
    chain = ("round",)
    cards = (("Decision", ("round", "need", "where", "left_out")),)
    list_filter = (exact("round"), exact("need"))
    search_fields = ("=pk", "=round", "=need")
    huge = True

    @admin.display(description="placed")
    def where(self, obj: Decision) -> str:
        return ", ".join(f"{units} on pool {pool}" for pool, units in obj.placed) or "nowhere"

    @admin.display(description="pools left out")
    def left_out(self, obj: Decision) -> str:
        return ", ".join(f"{count} by {dimension}" for dimension, count in obj.excluded.items())


@admin.register(KeptScene)
class KeptScenePage(Page):
    columns = ("digest", "created_at")


@admin.register(MarketPrice)
class MarketPricePage(Page):
    columns = ("at", "pool", "resource", "price")
    joins = ("pool",)
    list_filter = (exact("pool__identifier"), exact("resource"))
    search_fields = ("pool__identifier",)


@panel(Round)
def decisions(one: Round) -> Panel | None:
    rows = one.decisions.order_by("pk")[:SHOWN]
    lines = ((to(Decision, d.pk), to(Need, d.need_id), sum(units for _, units in d.placed)) for d in rows)
    more = link(list_url(Decision, round=one.pk), "all decisions")
    return table("Decisions", ("decision", "need", "#units placed"), lines, more=more)


@panel(Need)
def decisions_of_need(need: Need) -> Panel | None:
    rows = Decision.objects.filter(need=need).select_related("round").defer("round__snapshot").order_by("-pk")[:SHOWN]
    lines = ((to(Decision, d.pk), when(d.round.at), sum(units for _, units in d.placed), d.excluded) for d in rows)
    more = link(list_url(Decision, need=need.pk), "all decisions")
    return table("Decisions, newest first", ("decision", "at", "#units placed", "left out"), lines, more=more)


_TERMS: Final = ("pool", "region", "cost", "price", "wait_s", "transfer_s", "run_s", "return_s", "finish_s")  # first, in this order


@panel(Decision)
def placed(one: Decision) -> Panel | None:
    """Where it went; one query for the pools' names."""
    names = dict(Pool.objects.filter(pk__in=[pool for pool, _ in one.placed]).values_list("pk", "identifier"))
    lines = ((to(Pool, pool, names.get(pool, pool)), units) for pool, units in one.placed)
    return table("Placed", ("pool", "#units"), lines)


@panel(Decision)
def candidates(one: Decision) -> Panel | None:
    """The best pools, each with the terms that it was compared by; terms that are nothing at every one are left out."""
    known = {name for candidate in one.candidates for name, value in candidate.items() if value}
    names = [*(name for name in _TERMS if name in known), *sorted(known.difference(_TERMS))]
    lines = ([candidate.get(name, "") for name in names] for candidate in one.candidates)
    columns = [name if name in ("pool", "region") else f"#{name.replace('_', ' ')}" for name in names]
    return table("Best candidates", columns, lines)
