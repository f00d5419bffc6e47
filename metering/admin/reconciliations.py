"""Reconciliations of providers' counters in the operators' pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin

from core.admin import Page, Panel, exact, link, one_of, panel, to, when
from core.admin.cells import list_url
from core.admin.panels import SHOWN
from metering.models import Reconciliation, ReconciliationRow, ReconciliationRun, ReportedCounter


@admin.register(Reconciliation)
class ReconciliationPage(Page):
    columns = ("id", "name", "provider", "relative", "absolute", "created_at")
    joins = ("provider",)
    list_filter = (exact("provider__slug", "provider"),)
    search_fields = ("=pk", "=name")


@admin.register(ReportedCounter)
class ReportedCounterPage(Page):
    columns = ("id", "reconciliation", "pool", "customer", "meter", "unit", "start", "end", "quantity")
    joins = ("reconciliation", "pool", "customer")
    list_filter = (exact("reconciliation"), exact("pool__identifier", "pool"))
    search_fields = ("=pk", "=meter")
    huge = True


@admin.register(ReconciliationRun)
class ReconciliationRunPage(Page):
    columns = ("id", "reconciliation", "number", "cutoff", "counts")
    joins = ("reconciliation",)
    list_filter = (exact("reconciliation"),)
    search_fields = ("=pk",)


@admin.register(ReconciliationRow)
class ReconciliationRowPage(Page):
    columns = ("id", "run", "pool", "customer", "meter", "unit", "start", "end", "theirs", "ours", "difference", "status")
    joins = ("run", "pool", "customer")
    list_filter = (exact("run"), one_of("status", tuple(ReconciliationRow.Status.values)))
    search_fields = ("=pk", "=meter")
    huge = True


@panel(Reconciliation)
def runs(made: Reconciliation) -> Panel | None:
    found = ReconciliationRun.objects.filter(reconciliation=made).order_by("-number")[:SHOWN]
    names = ("matched", "within", "off", "missing_here", "missing_there")
    lines: list[Sequence[Any]] = [
        (to(ReconciliationRun, run.pk, run.number), when(run.cutoff), *(run.counts[name] for name in names)) for run in found
    ]
    more = link(list_url(ReportedCounter, reconciliation=made.pk), "its counters")
    return Panel("Runs, the last first", ("run", "as of", *(f"#{name}" for name in names)), lines, more=more) if lines else None
