"""Capabilities and their versions; what an operator may say about one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import Page, Panel, badge, carry_out, exact, link, panel, to, when
from core.admin.cells import list_url
from core.admin.panels import SHOWN, table
from marketplace.models import Capability, CapabilityVersion, Task
from marketplace.models.capabilities import Application
from marketplace.services import capabilities as services


@admin.register(Capability)
class CapabilityPage(Page):
    columns = ("name", "organization", "summary", "application", "created_at")
    joins = ("organization",)
    list_filter = ("application", exact("organization__slug"))
    search_fields = ("name", "organization__slug", "summary")
    date_hierarchy = "created_at"
    actions = (*(f"is_{kind}" for kind in Application.values), "is_nothing_new")

    def fits(self, action: str, obj: Any) -> bool:
        return obj.application != (action.removeprefix("is_") if action != "is_nothing_new" else "")


def _says(kind: str) -> Any:
    """An action that says of which kind capabilities are."""

    @admin.action(description=f"New application: {Application(kind).label}" if kind else "No new application", permissions=["operate"])
    def say(page: Any, request: HttpRequest, queryset: QuerySet[Capability]) -> None:
        carry_out(page, request, queryset, lambda one: services.say_application(one, kind), "told")

    return say


for _kind in ("", *Application.values):
    setattr(CapabilityPage, f"is_{_kind or 'nothing_new'}", _says(_kind))


@admin.register(CapabilityVersion)
class VersionPage(Page):
    columns = ("name", "state", "trusted", "unstable_since", "created_at", "published_at")
    joins = ("capability__organization",)
    heavy = ("manifest", "requirements", "test_report")
    chain = ("capability",)
    cards = (
        ("Version", ("capability", "version", "state", "trusted", "digest", "program", "created_at", "published_at", "unstable_since")),
        ("Requirements", ("requirements",)),
        ("Manifest", ("manifest",)),
    )
    list_filter = ("state", "trusted", ("unstable_since", admin.EmptyFieldListFilter), exact("capability__organization__slug", "publisher"))
    search_fields = ("capability__name", "capability__organization__slug", "=digest", "=pk")
    actions = ("trust", "distrust", "deprecate", "withdraw")

    @admin.display(description="capability version")
    def name(self, obj: CapabilityVersion) -> str:
        return str(obj)

    def fits(self, action: str, obj: Any) -> bool:
        if action in {"trust", "distrust"}:
            return (action == "distrust") == bool(obj.trusted)
        return {"deprecate": "deprecated", "withdraw": "withdrawn"}[action] in CapabilityVersion.MOVES[obj.state]

    @admin.action(description="Trust without a sandbox", permissions=["operate"])
    def trust(self, request: HttpRequest, queryset: QuerySet[CapabilityVersion]) -> None:
        carry_out(self, request, queryset, services.trust, "trusted")

    @admin.action(description="Take the trust back", permissions=["operate"])
    def distrust(self, request: HttpRequest, queryset: QuerySet[CapabilityVersion]) -> None:
        carry_out(self, request, queryset, lambda one: services.trust(one, trusted=False), "no longer trusted")

    @admin.action(description="Deprecate", permissions=["operate"])
    def deprecate(self, request: HttpRequest, queryset: QuerySet[CapabilityVersion]) -> None:
        carry_out(self, request, queryset, services.deprecate, "deprecated")

    @admin.action(description="Withdraw", permissions=["operate"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[CapabilityVersion]) -> None:
        carry_out(self, request, queryset, services.withdraw, "withdrawn")


@panel(Capability)
def versions(capability: Capability) -> Panel | None:
    rows = capability.versions.defer("manifest", "requirements").order_by("-pk")[:SHOWN]
    lines = ((to(CapabilityVersion, v.pk, v.version), badge(v.state), v.trusted, when(v.published_at)) for v in rows)
    return table("Versions", ("version", "state", "trusted", "published"), lines)


@panel(CapabilityVersion)
def test_report(version: CapabilityVersion) -> Panel | None:
    lines = (
        (test.get("name"), badge(test.get("state")), to(Task, test.get("task")), test.get("detail", ""))
        for test in version.test_report
    )
    return table("Tests", ("test", "state", "task", "detail"), lines)


@panel(CapabilityVersion)
def newest_tasks(version: CapabilityVersion) -> Panel | None:
    rows = version.tasks.select_related("organization").order_by("-pk")[:10]
    lines = ((to(Task, t.pk), t.name, t.organization, badge(t.state), f"{t.units_done}/{t.units_total}") for t in rows)
    more = link(list_url(Task, capability_version=version.pk), "all tasks")
    return table("Newest tasks", ("task", "name", "organization", "state", "#units done"), lines, more=more)
