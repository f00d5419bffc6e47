"""What a provider or publisher gets: its shares charge by charge and how each stands, and the payouts that paid them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode

from billing.models import Payout
from billing.settlement import api, queries, reserve_api, reserves
from billing.settlement.queries import Period
from console.bills import chosen, later_than, month_of, parties_of
from console.lists import newest
from console.pages import Page
from core.errors import NotFound
from core.money import text_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ

ROLES: Final = ("provider", "publisher")
SHOWN: Final = 500  # charges by period: a few for each customer, price list and meter
MEANING: Final = {
    "disputed": "the customer doubts it: it waits for a decision",
    "unpaid": "the customer has not paid yet",
    "held_back": "paid by the customer, goes out after the hold-back days",
    "due": "goes out with the next run",
    "in_payout": "on its way",
    "paid": "sent to you",
}


class Payables(Page):
    """A month's shares by how they stand, then each, newest first; `?party=`, `?month=2026-03`, `?before=<charge>`."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/payables.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        organization, now = self.caller.acting_for(), timezone.now()
        roles = [one for one in parties_of(organization) if one in ROLES]
        role = chosen(request, "party", roles or ROLES)
        start, end = month_of(request.GET.get("month", ""), now)
        found, before = newest(request, queries.shares_of(organization, role, Period(start, end)))
        lines = [queries.line_of(one, role, now) for one in found]
        months = queries.period_shares_of(organization, role, Period(start, end)).order_by("-pk")[:SHOWN]
        told = queries.standings_of(organization, role, Period(start, end), now)
        standings = [one | {"amount": text_of(one["micros"]), "meaning": MEANING[one["state"]]} for one in told]
        context: dict[str, Any] = {"roles": roles, "party": role, "standings": standings, "lines": lines, "before": before}
        context |= {"months": [queries.period_line_of(one, now) for one in months]}
        context |= {"start": start, "month": f"{start:%Y-%m}", "earlier": f"{start - timedelta(days=1):%Y-%m}"}
        csv = urlencode({"party": role, "from": start.isoformat(), "to": end.isoformat()})
        return self.show(context | {"later": later_than(start), "csv": csv})


class PayoutList(Page):
    """The organization's payouts (operators: all), newest first; `?state=`, `?before=<number>`."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/payouts.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows, state = api.shown_to(self.caller), request.GET.get("state", "")
        if state in Payout.State.values:
            rows = rows.filter(state=state)
        found, before = newest(request, rows)
        payouts = [api.summary(one) | {"payee": one.organization.name} for one in found]
        organization = self.caller.organization
        kept = [reserve_api.balance(one) for one in reserves.balances_of(organization)] if organization else []
        told = {"payouts": payouts, "before": before, "states": Payout.State.values, "chosen": state}
        return self.show(told | {"reserves": kept})


class OnePayout(Page):
    """A payout, the attempts to send it, and the shares that it pays; `?before=<share>`."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/payout.html"

    def get(self, request: HttpRequest, payout: int) -> HttpResponse:
        found = api.shown_to(self.caller).filter(pk=payout).first()
        if found is None:
            raise NotFound("not_found", "no such payout")
        months = ("period_charge__offer__pool", "period_charge__version__capability__organization")
        joins = ("charge__usage__pool", *months, "withholding", "release")
        lines: QuerySet[Any] = found.lines.select_related(*joins)
        shown, before = newest(request, lines, by="share")
        rows = [(one, text_of(one.amount_micros)) for one in shown]
        return self.show({"payout": api.document(found) | {"payee": found.organization.name}, "lines": rows, "before": before})
