"""Exports: the files that were asked for and how far each is, and the form that asks for one."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, ClassVar, Final
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from billing.exports.files_api import ExportOut, ask, seen_by
from billing.exports.kinds import EVERYBODY, KINDS
from billing.exports.states import OPEN
from billing.exports.writers import FORMATS
from billing.models import Export
from console.pages import Page, document_of
from console.templatetags.console import day_in, last_day_in
from core.errors import DomainError, Invalid
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ
from metering.periods import zone_of

PAGE: Final = 40
_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class ExportList(Page):
    """The organization's exports (operators: all), newest first; `?older=<id>`. A form asks for one."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": BILLING_READ}
    template_name = "console/exports.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show({})

    def post(self, request: HttpRequest) -> HttpResponse:
        given = {name: request.POST[name] for name in ("kind", "format", "party") if request.POST.get(name)}
        try:
            ask(self.caller, given | window(request.POST.get("first", ""), request.POST.get("last", "")))
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            return self._show({"given": request.POST, "problem": problem}, problem["status"])
        return redirect("console:exports")

    def _show(self, more: dict[str, Any], status: int = 200) -> HttpResponse:
        rows = seen_by(self.caller).order_by("-pk")
        with suppress(ValueError):  # no id: as if not asked
            rows = rows.filter(pk__lt=UUID(self.request.GET["older"])) if self.request.GET.get("older") else rows
        found = list(rows[: PAGE + 1])
        older = str(found[PAGE - 1].pk) if len(found) > PAGE else ""
        context: dict[str, Any] = {"exports": [export_of(one) for one in found[:PAGE]], "older": older, "open": OPEN}
        context |= {"kinds": KINDS.items(), "formats": list(FORMATS), "parties": self._parties()}
        context |= {"month": f"{timezone.now():%Y-%m}", "writing": any(one["state"] in OPEN for one in context["exports"])}
        return self.show(context | more, status)

    def _parties(self) -> list[str]:
        known = dict.fromkeys(party for kind in KINDS.values() for party in kind.parties)
        return [party for party in known if party != EVERYBODY or self.caller.is_operator]


def export_of(export: Export) -> dict[str, Any]:
    """An export as the API tells it, with its first and last day by the clocks of its organization."""
    zone = settings.USAGE_ZONE if export.organization_id is None else zone_of(export.organization).key
    days = {"first": day_in(export.starts_at, zone), "last": last_day_in(export.ends_at, zone)}
    return dict(ExportOut(export).data) | days


def window(first: str, last: str) -> dict[str, str]:
    """The days `from` and `to` (excluded) of months, both included.

    >>> window("2026-03", "2026-12")
    {'from': '2026-03-01', 'to': '2027-01-01'}
    """
    for name, given in (("first", first), ("last", last)):
        if not _MONTH.fullmatch(given):
            raise Invalid("invalid_parameter", "a month (2026-03)", field=name)
    year, month = int(last[:4]), int(last[5:])
    return {"from": f"{first}-01", "to": f"{year + month // 12:04}-{month % 12 + 1:02}-01"}
