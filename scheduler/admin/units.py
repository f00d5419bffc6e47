"""Units and attempts, what attempts left and what their agents signed."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, bytes_text, exact, link, one_of, panel, to, when
from core.admin.cells import list_url, short
from core.admin.filters import Dropdown
from core.admin.panels import SHOWN, table
from marketplace.models import Agent, Blob, Pool, Task
from scheduler.models import Attempt, Checkpoint, Ended, LogChunk, Output, ReportBatch, Unit
from scheduler.reasons import REASONS

LOG_SHOWN: Final = 8_000  # bytes of a chunk of output that its page shows
ATTEMPTS: Final = ("attempt", "unit", "state", "reason", "pool", "leased", "#took", "#exit code")


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

    columns = ("attempt", "at", "task", "pool", "how")
    joins = ("attempt__pool",)
    chain = ("attempt__task", "attempt__unit", "attempt")
    search_fields = ("=attempt",)
    huge = True

    @admin.display(description="task")
    def task(self, obj: Ended) -> SafeString:
        return to(Task, obj.attempt.task_id)

    @admin.display(description="pool")
    def pool(self, obj: Ended) -> SafeString:
        return to(Pool, obj.attempt.pool_id, obj.attempt.pool)

    @admin.display(description="ended")
    def how(self, obj: Ended) -> SafeString:
        return format_html("{} {}", badge(obj.attempt.state), obj.attempt.reason_class.replace("_", " "))


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


@panel(Unit)
def attempts_of_unit(unit: Unit) -> Panel | None:
    rows = Attempt.objects.filter(task=unit.task_id, unit=unit).order_by("-pk")  # the task's index finds them
    return table("Attempts, newest first", ATTEMPTS, attempt_lines(rows))


@panel(Agent)
def attempts_live(agent: Agent) -> Panel | None:
    rows = Attempt.objects.filter(agent=agent, state__in=Attempt.LIVE).order_by("-pk")
    return table("What it holds", ATTEMPTS, attempt_lines(rows))


@panel(Pool)
def attempts_on_pool(pool: Pool) -> Panel | None:
    held = Agent.objects.filter(pool=pool).values("pk")
    rows = Attempt.objects.filter(agent__in=held, state__in=Attempt.LIVE).order_by("-pk")
    return table("Running now", ATTEMPTS, attempt_lines(rows))


def attempt_lines(rows: QuerySet[Attempt]) -> list[tuple[Any, ...]]:
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


@panel(ReportBatch)
def signed(batch: ReportBatch) -> Panel:
    note = format_html("The agent signed {} reports; the batch before it had the digest {}.", batch.items, short(batch.prev) or "-")
    return Panel("Chain", note=note)
