"""What the organization may still spend: balances, budgets, what is held for tasks, credit that it was given, the wallet."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from billing.credit.wallet_api import SOURCES, movements_of
from billing.models import Grant, Leg
from console.lists import newest
from console.pages import Page
from core.money import text_of
from marketplace.budgets import parse_thresholds
from marketplace.models import Allowance, Budget, Hold, Organization, SpendBlock
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ
from marketplace.services.credit import allowances_of

MOST: Final = 200  # budgets and grants that the page shows
HOLDS: Final = 30
MOVEMENTS: Final = 30
KINDS: Final = {
    "payment": "paid in", "grant": "given", "settle": "paid an invoice", "expire": "grant ended", "credit_note": "credit note",
    "reversal": "payment reversed",
}  # fmt: skip
SUMS: Final = (
    ("prepaid", "Wallet", "deposits and grants"),
    ("held", "Held", "for tasks not charged yet"),
    ("unpaid", "Unpaid", "charged and not paid"),
    ("limit", "Limit", "that may be owed"),
)


class CreditPage(Page):
    """Per currency what is available and why; open budgets with a bar; grants with something left, the next to expire first;
    the newest holds; the wallet's movements, newest first (`?before=<number>`).
    """

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/credit.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        organization = self.caller.acting_for()
        blocks = SpendBlock.objects.filter(organization=organization, lifted_at=None).order_by("pk")
        context: dict[str, Any] = {"balances": [balance_of(one) for one in allowances_of([organization.pk])], "blocks": blocks}
        context |= {"budgets": budgets_of(organization), "grants": grants_of(organization), "holds": holds_of(organization)}
        moved, before = newest(request, movements_of(self.caller), MOVEMENTS)
        return self.show(context | {"movements": [movement_of(one) for one in moved], "before": before})


def balance_of(one: Allowance) -> dict[str, Any]:
    """A currency: what is available, and the sums that it follows from."""
    sums = [(name, label, text_of(int(getattr(one, f"{name}_micros"))), what) for name, label, what in SUMS]
    available = one.available_micros
    return {"currency": one.currency, "available": text_of(available), "is_short": available <= 0, "sums": sums}


def budgets_of(organization: Organization) -> list[dict[str, Any]]:
    """Open budgets, the one that is used up most first."""
    rows = Budget.objects.filter(organization=organization, closed_at=None).select_related("user", "api_key").order_by("-pk")[:MOST]
    return sorted((bar_of(one) for one in rows), key=lambda bar: -bar["percent"])


def bar_of(budget: Budget) -> dict[str, Any]:
    """A budget as a bar: whole per cent spent and held, rounded down, and the threshold that was reached last."""
    used = int(budget.spent_micros) + int(budget.held_micros)
    percent = used * 100 // budget.amount_micros
    reached = [one for one in parse_thresholds(budget.thresholds) if used * 100 >= one.percent * budget.amount_micros]
    last = max(reached, key=lambda one: one.percent, default=None)
    prefix = budget.api_key and budget.api_key.prefix
    subject = {"project": budget.project, "user": budget.user, "key": prefix, "task": budget.task_id}.get(budget.scope)
    amounts = {name: text_of(int(getattr(budget, f"{name}_micros"))) for name in ("amount", "spent", "held")}
    return {"budget": budget, "subject": subject or "", "percent": percent, "reached": last} | amounts


def grants_of(organization: Organization) -> list[dict[str, Any]]:
    rows = Grant.objects.filter(organization=organization, left_micros__gt=0, expires_at__gt=timezone.now())
    return [
        {"grant": one, "left": text_of(one.left_micros), "amount": text_of(one.amount_micros)}
        for one in rows.order_by("expires_at", "pk")[:MOST]
    ]


def holds_of(organization: Organization) -> dict[str, Any]:
    """The newest holds that are open, and whether there are more."""
    rows = Hold.objects.filter(organization=organization, state=Hold.State.HELD).select_related("task").order_by("-task_id")
    found = list(rows[: HOLDS + 1])
    shown = [(one, text_of(one.amount_micros), text_of(one.captured_micros)) for one in found[:HOLDS]]
    return {"shown": shown, "more": len(found) > HOLDS}


def movement_of(leg: Leg) -> dict[str, Any]:
    """Money that came into the wallet (above zero) or left it (below)."""
    amount = text_of(leg.credit_micros - leg.debit_micros)
    kind = KINDS.get(leg.entry.kind, leg.entry.kind.replace("_", " "))
    told = {"at": leg.entry.posted_at, "source": SOURCES[leg.account.kind], "key": leg.entry.key}
    return told | {"kind": kind, "amount": amount, "currency": leg.account.currency}
