"""Tasks: what was asked, what happened, what was delivered. Upper apps hang units, usage and money below."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.admin import Page, Panel, Since, badge, bytes_text, exact, link, money, one_of, panel, to, when
from core.admin.cells import list_url, short
from core.admin.filters import Dropdown
from core.admin.panels import SHOWN, table
from core.errors import DomainError
from marketplace import storage
from marketplace.models import Artifact, Blob, Result, Task, TaskArtifact, TaskEvent, TaskReference

MANIFEST_READ: Final = 1024 * 1024  # bytes of a result's manifest that a page opens
REASONS: Final = ("capability_error", "limit_exceeded", "node_fault", "invalid_result", "user_cancel", "deadline", "platform_fault")


class Settled(Dropdown):
    """Ended tasks that wait for their bill: the question of the sweep that charges, and its index."""

    title = "bill"
    parameter_name = "settled"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "ended, not settled"), ("yes", "settled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if self.value() == "no":
            return queryset.filter(settled_at=None).exclude(state__in=["queued", "running"])
        return queryset.filter(settled_at__isnull=False) if self.value() == "yes" else queryset


@admin.register(Task)
class TaskPage(Page):
    columns = ("key", "name", "state", "organization", "capability_version", "progress", "cost", "bill", "created_at")
    joins = ("capability_version__capability__organization",)
    heavy = ("plan", "inputs", "units_index")
    cards = (
        ("Task", ("state", "reason_class", "reason", "progress", "organization", "user", "api_key", "capability_version", "kind")),
        ("Time", ("created_at", "started_at", "ended_at", "took", "deadline", "cancel_requested_at")),
        ("Money", ("cost", "settled", "priced_at", "terms")),
        ("Asked", ("name", "objective", "constraints", "labels", "inputs", "idempotency_key", "request_digest")),
        ("Plan 拆解", ("units_total", "units_expanded", "units_open", "probing_until", "units_done", "plan")),
    )
    list_filter = ("state", Since, Settled, "kind", one_of("reason_class", REASONS), exact("organization__slug"), exact("capability_version"))
    search_fields = ("=pk", "=name", "=organization__slug")
    search_help_text = "a task's whole number or name, or its organization"
    huge = True

    def name_of(self, obj: Any) -> str:
        return obj.name or short(obj.pk)

    @admin.display(description="task")
    def key(self, obj: Task) -> SafeString:
        return format_html('<span class="gf-code" title="{}">{}</span>', obj.pk, short(obj.pk))

    @admin.display(description="units done")
    def progress(self, obj: Task) -> SafeString:
        share = 100 * obj.units_done // max(obj.units_total, 1)
        return format_html(
            '<span class="gf-bar" title="{}%"><i style="width:{}%"></i></span> <span class="gf-num">{}/{}</span>',
            share, share, f"{obj.units_done:,}", f"{obj.units_total:,}",
        )  # fmt: skip

    @admin.display(description="cost")
    def cost(self, obj: Task) -> SafeString:
        return money(obj.cost_micros, obj.terms.get("currency", ""))

    @admin.display(description="bill")
    def bill(self, obj: Task) -> SafeString:
        return badge("settled" if obj.settled_at else "so far" if obj.ended_at is None else "not yet")

    @admin.display(description="settled")
    def settled(self, obj: Task) -> SafeString | str:
        return when(obj.settled_at) if obj.settled_at else "so far" if obj.ended_at is None else "not yet"

    @admin.display(description="took")
    def took(self, obj: Task) -> str:
        return f"{(obj.ended_at - obj.created_at).total_seconds():,.1f} s" if obj.ended_at else ""


@admin.register(TaskEvent)
class TaskEventPage(Page):
    columns = ("seq", "task", "kind", "at", "data")
    chain = ("task",)
    list_filter = (exact("task"),)
    search_fields = ("=task",)
    huge = True


@admin.register(TaskArtifact)
class TaskArtifactPage(Page):
    columns = ("path", "task", "field", "artifact")
    joins = ("artifact",)
    chain = ("task",)
    list_filter = (exact("task"), exact("artifact"))
    search_fields = ("=task", "=artifact")
    huge = True


@admin.register(TaskReference)
class TaskReferencePage(Page):
    columns = ("task", "needs", "field", "position", "path")
    chain = ("task",)
    list_filter = (exact("task"), exact("needs"))
    search_fields = ("=task", "=needs")
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"{obj.field}: {obj.path}"


@admin.register(Result)
class ResultPage(Page):
    columns = ("task", "files", "bytes", "result_hash", "manifest", "region", "created_at")
    chain = ("task",)
    list_filter = (exact("result_hash"),)
    search_fields = ("=task", "=result_hash")
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"{obj.files} files"


@panel(Task)
def result(task: Task) -> Panel | None:
    """The delivered files, as the manifest lists them."""
    found = Result.objects.filter(task=task).select_related("manifest").first()
    return None if found is None else manifest_panel(found)


@panel(Result)
def result_files(found: Result) -> Panel | None:
    return manifest_panel(found)


def manifest_panel(found: Result) -> Panel:
    more = format_html("{} files, {} · {}", found.files, bytes_text(found.bytes), to(Blob, found.manifest_id, "manifest"))
    one = Panel("Result", ("path", "#size", "type", "SHA-256"), more=more)
    files = _files(found)
    if isinstance(files, str):
        one.note = files
        return one
    one.rows = [(_file_link(found, f), bytes_text(f["bytes"]), f["media_type"], to(Blob, f["sha256"])) for f in files[:SHOWN]]
    if len(files) > SHOWN:
        one.note = f"The first {SHOWN} of {len(files)} files."
    return one


def _files(found: Result) -> list[dict[str, Any]] | str:
    """The manifest's files, or why they cannot be shown."""
    if found.manifest.bytes > MANIFEST_READ:
        return f"The manifest is {bytes_text(found.manifest.bytes)} long and is not opened here."
    try:
        files: list[dict[str, Any]] = json.loads(storage.read_bytes(found.manifest_id, MANIFEST_READ))["files"]
    except DomainError as missing:
        return f"The manifest cannot be read: {missing.detail}."
    return files


def _file_link(found: Result, file: dict[str, Any]) -> SafeString:
    """Through the API's own door, which serves operators by their session."""
    return link(f"/api/v1/tasks/{found.task_id}/result/files/{quote(file['path'])}", file["path"])


@panel(Task, last=True)
def inputs(task: Task) -> Panel | None:
    rows = task.files.select_related("artifact__blob").order_by("path")[:SHOWN]
    lines = ((f.path, f.field, to(Artifact, f.artifact_id, f.artifact), bytes_text(f.artifact.blob.bytes)) for f in rows)
    more = link(list_url(TaskArtifact, task=task.pk), "all input files")
    return table("Input files", ("path", "input", "artifact", "#size"), lines, more=more)


@panel(Task, last=True)
def events(task: Task) -> Panel | None:
    rows = task.events.order_by("-seq")[:SHOWN]
    lines = ((e.seq, when(e.at), e.kind, _told(e.data)) for e in rows)
    more = link(list_url(TaskEvent, task=task.pk), "all events")
    return table("Events, newest first", ("#seq", "at", "kind", "data"), lines, more=more)


def _told(data: dict[str, Any]) -> SafeString:
    return format_html('<span class="gf-wrap">{}</span>', ", ".join(f"{key}: {value}" for key, value in data.items()))
