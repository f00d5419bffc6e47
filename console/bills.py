"""What the organization owes and earns in a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode

from billing.queries import FIRST, GROUPS, Statement, lines_of, total_of
from console.pages import Page
from core.money import text_of
from marketplace.models import Organization
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ

SIDES: Final = {"user": "to pay", "provider": "earned by pools", "publisher": "earned by capabilities"}
GROUPED_BY: Final = ("task", "pool", "day", "capability")


class Bill(Page):
    """A month's statement: a total for each party that the organization is, and the lines of one of them.

    `?party=`, `?group=task|pool|day|capability`, `?month=2026-03`, `?after=<task>`; what makes no sense counts as not given.
    """

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/bill.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        organization = self.caller.acting_for()
        parties = parties_of(organization)
        party = chosen(request, "party", parties)
        group = chosen(request, "group", GROUPED_BY)
        start, end = month_of(request.GET.get("month", ""), timezone.now())
        statements = {one: Statement(one, organization, settings.CURRENCY, start, end, group) for one in parties}
        totals = [(one, SIDES[one], text_of(total_of(statement))) for one, statement in statements.items()]
        lines, following = lines_of(statements[party], after_of(request.GET.get("after", "")))
        context: dict[str, Any] = {"totals": totals, "party": party, "lines": lines, "following": following}
        context |= {"group": group, "groups": GROUPED_BY, "columns": GROUPS[group], "currency": settings.CURRENCY}
        months = {"month": f"{start:%Y-%m}", "before": f"{start - timedelta(days=1):%Y-%m}", "later": later_than(start)}
        return self.show(context | months | {"start": start, "csv": csv_query(statements[party])})


def parties_of(organization: Organization) -> list[str]:
    """The sides of the market on which an organization stands; asking is everybody's."""
    stands = {"user": organization.is_user, "provider": organization.is_provider, "publisher": organization.is_publisher}
    return [party for party, is_one in stands.items() if is_one] or ["user"]


def chosen(request: HttpRequest, name: str, allowed: Any) -> str:
    """What was asked for, or the first there is."""
    given = request.GET.get(name, "")
    return given if given in allowed else str(next(iter(allowed)))


def month_of(text: str, now: datetime) -> tuple[datetime, datetime]:
    """[start, end) of a month given as 2026-03, in UTC; of the present one, up to now, for anything else."""
    try:
        start = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        start = now
    if not 2000 <= start.year <= now.year or start > now:
        start = now
    start = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start, min(next_month(start), now)


def next_month(start: datetime) -> datetime:
    return (start + timedelta(days=32)).replace(day=1)


def later_than(start: datetime) -> str:
    """The month after, or nothing when it has not begun."""
    later = next_month(start)
    return f"{later:%Y-%m}" if later <= timezone.now() else ""


def after_of(text: str) -> UUID:
    try:
        return UUID(text) if text else FIRST
    except ValueError:
        return FIRST


def csv_query(statement: Statement) -> str:
    """The query of the same statement at the API's CSV door."""
    period = {"from": statement.start.isoformat(), "to": statement.end.isoformat()}
    return urlencode({"party": statement.party, "group": statement.group} | period)
