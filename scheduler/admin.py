"""Units, attempts and the matcher in the operators' pages; and what of them hangs on tasks, pools and agents."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import (
    Page,
    Panel,
    badge,
    bytes_text,
    carry_out,
    exact,
    limited,
    link,
    one_of,
    panel,
    to,
    when,
)
from core.admin.cells import list_url, short
from core.admin.filters import Dropdown
from core.admin.panels import SHOWN, table
from marketplace.admin.tasks import TaskPage
from marketplace.models import Agent, Blob, Pool, Task
from marketplace.stages import FIRST, stage_name
from scheduler import network_admin  # noqa: F401  its pages belong here too
from scheduler.models import (
    Attempt,
    Checkpoint,
    Decision,
    Ended,
    KeptScene,
    LogChunk,
    MarketPrice,
    Need,
    Output,
    Pace,
    Prediction,
    ReportBatch,
    Round,
    Unit,
)
from scheduler.reasons import REASONS
from scheduler.services.advancing import cancel_task

LOG_SHOWN: Final = 8_000  # bytes of a chunk of output that its page shows


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


@admin.register(Unit)
class UnitPage(Page):
    columns = ("id", "task", "stage", "index", "replica", "state", "pool", "tries", "fence", "decision", "not_before")
    chain = ("task",)
    list_filter = ("state", "stage", "checked", exact("task"), exact("need"), exact("pool__identifier"))
    search_fields = ("=pk", "=task")
    search_help_text = "a unit's or a task's whole number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"stage {obj.stage}, unit {obj.index}" if obj.stage else f"unit {obj.index}"


@admin.register(ReportBatch)
class ReportBatchPage(Page):
    columns = ("id", "agent", "seq", "items", "digest", "created_at")
    joins = ("agent",)
    chain = ("agent__pool", "agent")
    list_filter = (exact("agent"),)
    search_fields = ("=pk", "=agent", "=digest")
    huge = True


class Lease(Dropdown):
    """Attempts whose lease runs, or should have been ended: the question of the sweep that ends them, and its index."""

    title = "lease"
    parameter_name = "lease"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("live", "live"), ("late", "past its time")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        if self.value() not in ("live", "late"):
            return queryset
        late = Q(agent__lease_until__lt=timezone.now()) | Q(agent__retired_at__isnull=False)
        rows = queryset.filter(state__in=Attempt.LIVE)
        return rows.filter(late) if self.value() == "late" else rows


@admin.register(Attempt)
class AttemptPage(Page):
    columns = ("id", "task", "unit", "state", "reason_class", "pool", "leased_at", "took", "exit_code")
    heavy = ("usage",)
    chain = ("task", "unit")
    cards = (
        ("Attempt", ("state", "progress", "reason_class", "code", "detail", "exit_code")),
        ("Where", ("pool", "agent", "offer", "need", "session", "fence", "batch")),
        ("When", ("leased_at", "started_at", "ended_at", "took")),
        ("The agent's claim", ("usage",)),
    )
    list_filter = (
        "state",
        Lease,
        one_of("reason_class", REASONS),
        exact("task"),
        exact("unit"),
        exact("agent"),
        exact("pool__identifier"),
    )
    search_fields = ("=pk", "=task")
    search_help_text = "an attempt's or a task's whole number"
    huge = True

    @admin.display(description="took")
    def took(self, obj: Attempt) -> str:
        return f"{(obj.ended_at - obj.leased_at).total_seconds():,.1f} s" if obj.ended_at else ""

    @admin.display(description="progress")
    def progress(self, obj: Attempt) -> str:
        return "" if obj.progress_ppm is None else f"{obj.progress_ppm / 10_000:.1f} %"


@admin.register(Checkpoint)
class CheckpointPage(Page):
    """What attempts saved last: the next attempt of the unit goes on from it."""

    columns = ("attempt", "at", "number", "bytes")
    cards = (("Checkpoint", ("attempt", "unit", "at", "number", "bytes", "files")), ("The agent's claim up to then", ("usage",)))
    heavy = ("files", "usage")
    chain = ("attempt__task", "attempt__unit", "attempt")
    search_fields = ("=attempt",)
    huge = True


@admin.register(Ended)
class EndedPage(Page):
    """Ended attempts that are not measured yet."""

    columns = ("attempt", "at")
    chain = ("attempt__task", "attempt__unit", "attempt")
    search_fields = ("=attempt",)
    huge = True


@admin.register(Output)
class OutputPage(Page):
    columns = ("id", "task", "attempt", "path", "bytes", "media_type", "blob")
    chain = ("task", "attempt__unit", "attempt")
    list_filter = (exact("task"), exact("attempt"))
    search_fields = ("=task", "=attempt")
    huge = True


@admin.register(LogChunk)
class LogChunkPage(Page):
    columns = ("id", "attempt", "stream", "offset", "length")
    cards = (("Piece of output", ("attempt", "stream", "offset", "length")), ("Text", ("text",)))
    hidden = ("data",)
    chain = ("attempt__task", "attempt__unit", "attempt")
    list_filter = (exact("attempt"),)
    search_fields = ("=attempt",)
    huge = True

    @admin.display(description="length")
    def length(self, obj: LogChunk) -> str:
        return bytes_text(len(obj.data))

    @admin.display(description="text")
    def text(self, obj: LogChunk) -> SafeString:
        return printed([obj])


@admin.register(Pace)
class PacePage(Page):
    columns = ("capability_version", "stage", "variant", "pool", "mean", "deviation", "work", "memory", "result", "seen", "updated_at")
    joins = ("capability_version__capability__organization",)
    list_filter = (exact("pool__identifier"), exact("capability_version"))
    search_fields = ("pool__identifier", "capability_version__capability__name")

    @admin.display(description="seconds a unit")
    def mean(self, obj: Pace) -> str:
        return f"{obj.seconds / obj.samples:,.3f}"

    @admin.display(description="deviation, s")
    def deviation(self, obj: Pace) -> str:
        """Of the times themselves; around the line it is less where units differ in size."""
        return f"{max(obj.seconds_squared / obj.samples - (obj.seconds / obj.samples) ** 2, 0.0) ** 0.5:,.3f}"

    @admin.display(description="peak MiB, mean / most")
    def memory(self, obj: Pace) -> str:
        return f"{obj.memory_mib / obj.samples:,.0f} / {obj.memory_most:,}"

    @admin.display(description="result a unit")
    def result(self, obj: Pace) -> str:
        return bytes_text(round(obj.bytes_out / obj.samples))

    @admin.display(description="TFLOP a unit")
    def work(self, obj: Pace) -> str:
        return f"{obj.tflop / obj.samples:,.3f}"

    @admin.display(description="samples", ordering="samples")
    def seen(self, obj: Pace) -> str:
        return f"{obj.samples:,.0f}"


@admin.register(Prediction)
class PredictionPage(Page):
    columns = ("task", "made_at", "starts", "ends", "came", "price", "tflop")
    joins = ("task",)
    chain = ("task",)
    search_fields = ("=task",)
    huge = True

    @admin.display(description="start, P50 / P90")
    def starts(self, obj: Prediction) -> str:
        return f"{obj.start_p50_s:,.1f} / {obj.start_p90_s:,.1f} s"

    @admin.display(description="result, P50 / P90")
    def ends(self, obj: Prediction) -> str:
        return f"{obj.finish_p50_s:,.1f} / {obj.finish_p90_s:,.1f} s"

    @admin.display(description="result came in")
    def came(self, obj: Prediction) -> str:
        delivered = obj.task.ended_at if obj.task.state == Task.State.DELIVERED else None
        return f"{(delivered - obj.task.created_at).total_seconds():,.1f} s" if delivered else ""

    def name_of(self, obj: Any) -> str:
        return f"result in {obj.finish_p50_s:,.1f} s"


@admin.register(KeptScene)
class KeptScenePage(Page):
    columns = ("digest", "created_at")


@admin.register(MarketPrice)
class MarketPricePage(Page):
    columns = ("at", "pool", "resource", "price")
    joins = ("pool",)
    list_filter = (exact("pool__identifier"), exact("resource"))
    search_fields = ("pool__identifier",)


# What an operator may do to a task is the scheduler's service.


@admin.action(description="Cancel", permissions=["operate"])
def cancel(page: TaskPage, request: HttpRequest, queryset: QuerySet[Task]) -> None:
    carry_out(page, request, queryset, lambda task: cancel_task(task.pk), "asked to stop")


class CancellableTaskPage(TaskPage):
    actions = (cancel,)

    def fits(self, action: str, obj: Any) -> bool:
        return obj.ended_at is None and obj.cancel_requested_at is None


admin.site.unregister(Task)
admin.site.register(Task, CancellableTaskPage)


# Below a task.

_UNITS: Final = """
SELECT u.stage, u.state, u.pool_id, p.identifier, r.code, count(*), sum(u.tries) FROM scheduler_unit u
LEFT JOIN marketplace_pool p ON p.id = u.pool_id LEFT JOIN marketplace_region r ON r.id = p.region_id
WHERE u.task_id = %s GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 4
"""


@panel(Task)
def units(task: Task) -> Panel | None:
    """Where the units are: one query, whatever their number."""
    more = link(list_url(Unit, task=task.pk), "all units")
    found = limited(_UNITS, [task.pk])
    if found is None:
        return Panel("Units", more=more, note="Too many to add up here.")
    lines = (
        (stage_name(task.plan, stage), badge(state), to(Pool, pool, name), region or "", count, tries)
        for stage, state, pool, name, region, count, tries in found
    )
    return table("Units", ("stage", "state", "pool", "region", "#units", "#failed tries"), lines, more=more)


_ATTEMPTS: Final = ("attempt", "unit", "state", "reason", "pool", "leased", "#took", "#exit code")


@panel(Task)
def attempts(task: Task) -> Panel | None:
    rows = Attempt.objects.filter(task=task).order_by("-pk")
    more = link(list_url(Attempt, task=task.pk), "all attempts")
    return table("Attempts, newest first", _ATTEMPTS, _attempt_lines(rows), more=more)


@panel(Unit)
def attempts_of_unit(unit: Unit) -> Panel | None:
    rows = Attempt.objects.filter(task=unit.task_id, unit=unit).order_by("-pk")  # the task's index finds them
    return table("Attempts, newest first", _ATTEMPTS, _attempt_lines(rows))


@panel(Agent)
def attempts_live(agent: Agent) -> Panel | None:
    rows = Attempt.objects.filter(agent=agent, state__in=Attempt.LIVE).order_by("-pk")
    return table("What it holds", _ATTEMPTS, _attempt_lines(rows))


@panel(Pool)
def attempts_on_pool(pool: Pool) -> Panel | None:
    held = Agent.objects.filter(pool=pool).values("pk")
    rows = Attempt.objects.filter(agent__in=held, state__in=Attempt.LIVE).order_by("-pk")
    return table("Running now", _ATTEMPTS, _attempt_lines(rows))


def _attempt_lines(rows: QuerySet[Attempt]) -> list[tuple[Any, ...]]:
    chosen = rows.select_related("pool", "unit").defer("usage")[:SHOWN]
    return [
        (
            to(Attempt, a.pk),
            to(Unit, a.unit_id, f"stage {a.unit.stage}: {a.unit.index}" if a.unit.stage else a.unit.index),
            badge(a.state),
            a.reason_class,
            to(Pool, a.pool_id, a.pool),
            when(a.leased_at),
            f"{(a.ended_at - a.leased_at).total_seconds():,.1f} s" if a.ended_at else "",
            "" if a.exit_code is None else a.exit_code,
        )
        for a in chosen
    ]


# Below an attempt.


@panel(Attempt)
def outputs(attempt: Attempt) -> Panel | None:
    rows = attempt.outputs.order_by("path")[:SHOWN]
    lines = ((o.path, bytes_text(o.bytes), o.media_type, to(Blob, o.blob_id)) for o in rows)
    more = link(list_url(Output, attempt=attempt.pk), "all outputs")
    return table("Outputs", ("path", "#size", "type", "SHA-256"), lines, more=more)


@panel(Attempt)
def saved(attempt: Attempt) -> Panel | None:
    rows = Checkpoint.objects.filter(attempt=attempt)
    lines = ((to(Checkpoint, c.pk), when(c.at), c.number, len(c.files), bytes_text(c.bytes)) for c in rows)
    return table("Checkpoint", ("checkpoint", "saved", "times", "#files", "#size"), lines)


@panel(Attempt)
def log(attempt: Attempt) -> Panel | None:
    """The end of what the program printed."""
    chunks = list(attempt.log_chunks.order_by("-pk")[:4])
    more = link(list_url(LogChunk, attempt=attempt.pk), "all output")
    return Panel("Output, its end", more=more, note=printed(chunks[::-1])) if chunks else None


def printed(chunks: list[LogChunk]) -> SafeString:
    data = b"".join(bytes(chunk.data) for chunk in chunks)[-LOG_SHOWN:]
    return format_html('<pre class="gf-json">{}</pre>', data.decode(errors="replace").replace("\0", ""))


# Below the matcher's words.


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


@panel(ReportBatch)
def signed(batch: ReportBatch) -> Panel:
    note = format_html("The agent signed {} reports; the batch before it had the digest {}.", batch.items, short(batch.prev) or "-")
    return Panel("Chain", note=note)


from scheduler import admin_trust  # noqa: E402, F401  its pages register beside these
