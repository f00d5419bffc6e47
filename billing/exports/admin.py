"""Exports in the operators' pages."""

from __future__ import annotations

from django.contrib import admin

from billing.exports.kinds import KINDS
from billing.models import Export
from core.admin import Page, bytes_text, exact, one_of


@admin.register(Export)
class ExportPage(Page):
    columns = ("id", "organization", "kind", "format", "party", "starts_at", "ends_at", "state", "progress", "size", "requested_at")
    cards = (
        ("Export", ("organization", "requested_by", "kind", "schema", "format", "party", "group_by", "currency", "site", "in_ascii")),
        ("Window", ("starts_at", "ends_at")),
        ("How far it is", ("state", "progress", "tries", "lease_until", "reason", "size", "sha256")),
        ("Times", ("requested_at", "started_at", "ended_at", "expires_at")),
    )
    list_filter = (one_of("state", Export.State.values), one_of("kind", list(KINDS)), exact("organization__slug", "organization"))
    search_fields = ("=pk", "=organization__slug")
    search_help_text = "an export's whole number, or an organization's short name"
    huge = True

    @admin.display(description="rows")
    def progress(self, obj: Export) -> str:
        return f"{obj.rows} of {'?' if obj.estimated is None else obj.estimated}"

    @admin.display(description="size")
    def size(self, obj: Export) -> str:
        return "" if obj.bytes is None else bytes_text(obj.bytes)
