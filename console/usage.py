"""What was used, by whatever one asks, in any window of any time zone: with the work in FP32 and the money beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode

from billing.spending import by_month, spent_by
from console.bills import chosen, parties_of
from console.pages import Page
from core.errors import Invalid
from core.money import text_of
from marketplace.models import Organization
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ
from metering.periods import zone_of
from metering.queries import Asked, after_of, cursor_of, groups_of, page_of
from metering.windows import moment_in, month_of, zone_named

ROWS: Final = 2000  # sums that a page is made of, one for each meter of each of its groups
BY: Final = ("day", "project", "capability", "pool", "month", "region", "api_key", "hour")
SHOWN: Final = ("core_second", "occupancy_second", "accelerator_second", "gb_moved", "results")  # meters with a column
WORK: Final = "fp32_tflop"
HIDDEN: Final = ("wall", WORK)
LAST: Final = "\uffff"  # is after every meter's name
ZONES: Final = tuple(sorted(available_timezones()))


@dataclass
class Line:
    """What was used under one key of groups, and what it costs. `more`: meters without a column, (meter, quantity, unit)."""

    key: tuple[str, ...]
    meters: dict[str, str] = field(default_factory=dict)
    work: str = "0"
    more: list[tuple[str, str, str]] = field(default_factory=list)
    money: list[tuple[str, str]] = field(default_factory=list)

    @property
    def work_hours(self) -> str:
        """The work as hours of a machine of one FP32 TFLOP/s."""
        return f"{round(Decimal(self.work) / 3600, 6).normalize():f}"


class UsagePage(Page):
    """`?by=day&then=project&label=team&from=2026-03-01&to=2026-03-31&zone=Asia/Shanghai&party=user`; `after` goes on.

    The last day is part of the window. What makes no sense is said, and the page answers as if it were not asked.
    """

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/usage.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        organization, now = self.caller.acting_for(), timezone.now()
        parties = [one for one in parties_of(organization) if one != "publisher"] or ["user"]
        asked, problem = asked_by(request, organization, chosen(request, "party", parties), now)
        lines, more = lines_by(asked)
        total = next(iter(lines_by(replace(asked, groups=(), after=None))[0]), Line(()))
        shown = form_of(asked)
        query = {name: value for name, value in shown.items() if value}
        context: dict[str, Any] = {"form": shown, "problem": problem, "total": total, "groups": asked.groups}
        context |= {"lines": [(list(zip(asked.groups, line.key, strict=True)), line) for line in lines]}
        context |= {"months": [(one.currency, text_of(one.micros)) for one in by_month(asked)], "parties": parties}
        context |= {"more": more and urlencode(query | {"after": more}), "csv": csv_query(asked), "by": BY, "zones": ZONES}
        return self.show(context | {"columns": [name for name in SHOWN if total.meters.get(name, "0") != "0"]})


def asked_by(request: HttpRequest, organization: Organization, party: str, now: datetime) -> tuple[Asked, str]:
    """The question, and what of it was not understood, or nothing."""
    usual = zone_of(organization)
    try:
        return _asked(request, organization, party, now, usual), ""
    except Invalid as error:
        return _window(organization, party, "", "", now, usual, ("day",)), error.detail


def _asked(request: HttpRequest, organization: Organization, party: str, now: datetime, usual: ZoneInfo) -> Asked:
    given = {name: str(text).strip() for name, text in request.GET.items()}
    zone = zone_named(given["zone"]) if given.get("zone") else usual
    label = [f"label:{given['label']}"] if given.get("label") else []
    groups = groups_of(",".join([given.get("by") or "day", given.get("then", ""), *label]))
    asked = _window(organization, party, given.get("from", ""), given.get("to", ""), now, zone, groups)
    return replace(asked, after=after_of(given["after"], groups)) if given.get("after") else asked


def _window(
    organization: Organization, party: str, first: str, last: str, now: datetime, zone: ZoneInfo, groups: tuple[str, ...]
) -> Asked:
    start = moment_in(first, zone, "from") if first else None
    end = now
    if last:
        day = moment_in(last[:10], zone, "to").astimezone(zone).date()
        end = moment_in((day + timedelta(days=1)).isoformat(), zone, "to")
    start = start or month_of(end - timedelta(microseconds=1), zone)
    if start > end:
        raise Invalid("invalid_parameter", "the window ends before it begins", field="to")
    return Asked(party, organization.pk, start, end, zone.key, groups, limit=ROWS)


def form_of(asked: Asked) -> dict[str, str]:
    """The question as the form's fields."""
    zone = ZoneInfo(asked.zone)
    label = next((name.removeprefix("label:") for name in asked.groups if name.startswith("label:")), "")
    by = [name for name in asked.groups if not name.startswith("label:")] + ["", ""]
    first, last = asked.start.astimezone(zone), (asked.end - timedelta(microseconds=1)).astimezone(zone)
    days = {"from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"}
    return {"by": by[0], "then": by[1], "label": label, "zone": asked.zone, "party": asked.party} | days


def csv_query(asked: Asked) -> str:
    """The same question at the API's CSV door."""
    window = {"from": asked.start.isoformat(), "to": asked.end.isoformat(), "zone": asked.zone}
    return urlencode({"party": asked.party, "group_by": ",".join(asked.groups)} | window)


def lines_by(asked: Asked) -> tuple[list[Line], str]:
    """A page of lines with their money, and the cursor of the next page or nothing. Two statements.

    A group may be cut where the page of sums ends: then it is left to the next page.
    """
    rows, following = page_of(asked)
    lines: dict[tuple[str, ...], Line] = {}
    for row in rows:
        key = tuple(row[name] or "" for name in asked.groups)
        _add(lines.setdefault(key, Line(key)), row)
    if following and len(lines) > 1:
        lines.popitem()
    last = next(reversed(lines)) if following else None
    for one in spent_by(asked, last):
        lines.setdefault(one.key, Line(one.key)).money.append((one.currency, text_of(one.micros)))
    return [lines[key] for key in sorted(lines)], cursor_of((*last, LAST, LAST)) if last is not None else ""


def _add(line: Line, row: dict[str, Any]) -> None:
    """Put a sum of one meter where it belongs."""
    if row["meter"] == WORK:
        line.work = row["quantity"]
    elif row["meter"] in SHOWN and row["unit"] != "":
        line.meters[row["meter"]] = row["quantity"]
    elif row["meter"] not in HIDDEN:
        line.more.append((row["meter"], row["quantity"], row["unit"]))
