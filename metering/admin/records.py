"""Usage records in the operators' pages, and where they hang on tasks and attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet

from core.admin import Page, Panel, badge, bytes_text, exact, limited, link, one_of, panel, to
from core.admin.cells import list_url
from core.admin.panels import SHOWN, table
from marketplace.models import Pool, Task
from metering.meters import CHECKPOINTED
from metering.models import UsageRecord
from scheduler.models import Attempt
from scheduler.reasons import REASONS


@admin.register(UsageRecord)
class UsageRecordPage(Page):
    columns = ("id", "task", "attempt", "outcome", "organization", "pool", "wall_ms", "core_ms", "fp32_gflop", "flags",
               "measured_at")  # fmt: skip
    joins = ("organization", "pool")
    chain = ("task", "attempt__unit", "attempt")
    cards = (
        ("Usage record", ("outcome", "reason_class", "revision", "corrects", "flags", "measured_at", "batch")),
        ("Parties", ("organization", "provider", "publisher", "pool", "offer", "capability_version", "api_key")),
        ("Time", ("started_at", "ended_at", "wall_ms", "core_ms", "held_core_ms", "cores", "accelerators", "accelerator_ms")),
        ("Work", ("fp32_gflop", "memory_mib_ms", "bytes_in", "bytes_out", "joules")),
    )
    list_filter = (
        one_of("outcome", ("valid", "invalid", "failed", "lost", "cancelled", "superseded")),
        one_of("reason_class", (*REASONS, CHECKPOINTED)),
        exact("task"),
        exact("attempt"),
        exact("pool__identifier"),
    )
    search_fields = ("=pk", "=task", "=attempt")
    search_help_text = "a usage record's, an attempt's or a task's whole number"
    huge = True


_TOTALS: Final = """
SELECT count(*), sum(wall_ms)::bigint, sum(core_ms)::bigint, sum(fp32_gflop), sum(bytes_in)::bigint, sum(bytes_out)::bigint
FROM metering_usagerecord WHERE task_id = %s
"""
_COLUMNS: Final = ("record", "attempt", "outcome", "pool", "#wall", "#core", "#FP32 GFLOP", "#in", "#out", "clamped")


@panel(Task)
def usage(task: Task) -> Panel | None:
    rows = UsageRecord.objects.filter(task=task).order_by("-pk")
    lines = _lines(rows)
    if not lines:
        return None
    more = link(list_url(UsageRecord, task=task.pk), "all usage records")
    return Panel("Usage 计量, newest first", _COLUMNS, lines, more=more, total=_totals(task))


def _totals(task: Task) -> tuple[Any, ...]:
    found = limited(_TOTALS, [task.pk])
    if found is None:
        return ()
    count, wall, core, gflop, bytes_in, bytes_out = found[0]
    amounts = (_seconds(wall), _seconds(core), f"{gflop:,.3f}", bytes_text(bytes_in), bytes_text(bytes_out))
    return (f"{count} records", "", "", "", *amounts, "")


@panel(Attempt)
def usage_of_attempt(attempt: Attempt) -> Panel | None:
    return table("Usage 计量", _COLUMNS, _lines(UsageRecord.objects.filter(attempt=attempt).order_by("revision")))


def _lines(rows: QuerySet[UsageRecord]) -> list[Sequence[Any]]:
    return [
        (
            to(UsageRecord, u.pk),
            to(Attempt, u.attempt_id),
            badge(u.outcome),
            to(Pool, u.pool_id, u.pool),
            _seconds(u.wall_ms),
            _seconds(u.core_ms),
            f"{u.fp32_gflop:,.3f}",
            bytes_text(u.bytes_in),
            bytes_text(u.bytes_out),
            ", ".join(u.flags),
        )
        for u in rows.select_related("pool")[:SHOWN]
    ]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:,.3f} s"
