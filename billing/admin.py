"""Charges and the ledger in the operators' pages, and where they hang on tasks and usage records."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.credit import admin as _credit  # noqa: F401
from billing.disputes import admin as _disputes  # noqa: F401  registers its pages
from billing.exports import admin as _exports  # noqa: F401
from billing.invoices import admin as _invoices  # noqa: F401  registers its pages
from billing.invoices import tax_admin as _taxes  # noqa: F401
from billing.ledger import admin as _ledger  # noqa: F401  registers its pages
from billing.models import Account, Charge, CostSoFar, JournalEntry, Leg
from billing.periods import admin as _periods  # noqa: F401
from billing.pricing import VERDICTS
from billing.settlement import admin as _settlement  # noqa: F401  registers its pages
from billing.sla import admin as _sla  # noqa: F401  registers its pages
from core.admin import Page, Panel, badge, exact, limited, link, money, one_of, panel, to, when
from core.admin.cells import list_url
from core.admin.panels import SHOWN, table
from marketplace.models import Organization, Task
from metering.models import UsageRecord

REASONS: Final = sorted({f"{work}/{ending}" for work, ending in VERDICTS})


@admin.register(Account)
class AccountPage(Page):
    columns = ("id", "kind", "organization", "currency", "created_at")
    list_filter = ("kind", exact("organization__slug"))
    search_fields = ("organization__slug", "kind")

    def name_of(self, obj: Any) -> str:
        return f"{obj.kind} of {obj.organization or 'the platform'}"


@admin.register(JournalEntry)
class JournalEntryPage(Page):
    columns = ("id", "key", "kind", "task", "posted_at", "memo")
    chain = ("task",)
    list_filter = (exact("task"),)
    search_fields = ("=pk", "=key", "=task")
    search_help_text = "an entry's or a task's whole number, or the entry's key"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"{obj.kind} {obj.pk}"


@admin.register(Leg)
class LegPage(Page):
    columns = ("id", "entry", "whose", "debit_micros", "credit_micros")
    joins = ("entry", "account__organization")
    cards = (("Leg", ("entry", "whose", "debit_micros", "credit_micros")),)
    chain = ("entry__task", "entry")
    list_filter = (exact("entry"), exact("account"))
    search_fields = ("=pk", "=entry", "=account")
    search_help_text = "a leg's, an entry's or an account's number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"leg {obj.pk}"

    @admin.display(description="account")
    def whose(self, obj: Leg) -> SafeString:
        return _account(obj.account)


@admin.register(Charge)
class ChargePage(Page):
    columns = ("id", "kind", "task", "usage", "payer", "reason", "amount", "provider_micros", "publisher_micros", "platform_micros", "charged_at")
    chain = ("task", "usage__attempt__unit", "usage__attempt", "usage")
    cards = (
        ("Charge", ("kind", "payer", "reason", "amount", "charged_at", "entry")),
        ("Split", ("provider_micros", "publisher_micros", "platform_micros")),
        ("Parties", ("organization", "provider", "publisher")),
    )
    list_filter = (
        "kind",
        "payer",
        one_of("reason", REASONS),
        exact("task"),
        exact("organization__slug", "user's organization"),
        exact("provider__slug", "provider"),
        exact("publisher__slug", "publisher"),
    )
    search_fields = ("=pk", "=task", "=usage")
    search_help_text = "a charge's, a usage record's or a task's whole number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"charge {obj.pk}"

    @admin.display(description="amount")
    def amount(self, obj: Charge) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(CostSoFar)
class CostSoFarPage(Page):
    """What open tasks would cost; thrown away when they are settled."""

    columns = ("task", "micros", "usage_id")
    chain = ("task",)
    search_fields = ("=task",)


_CHARGES: Final = ("charge", "kind", "usage", "payer", "reason", "#amount", "#provider", "#publisher", "#platform", "entry")
_TOTALS: Final = """
SELECT count(*), sum(amount_micros)::bigint, sum(provider_micros)::bigint, sum(publisher_micros)::bigint,
       sum(platform_micros)::bigint FROM billing_charge WHERE task_id = %s
"""


@panel(Task)
def charges(task: Task) -> Panel | None:
    lines = _charge_lines(Charge.objects.filter(task=task).order_by("-pk"))
    if not lines:
        return None
    more = link(list_url(Charge, task=task.pk), "all charges")
    return Panel("Charges 结算, newest first", _CHARGES, lines, more=more, total=_totals(task))


def _totals(task: Task) -> tuple[Any, ...]:
    found = limited(_TOTALS, [task.pk])
    if found is None:
        return ()
    count, *amounts = found[0]
    return (f"{count} charges", "", "", "", "", *(money(micros) for micros in amounts), "")


@panel(UsageRecord)
def charge_of_usage(usage: UsageRecord) -> Panel | None:
    return table("Charge 结算", _CHARGES, _charge_lines(Charge.objects.filter(task=usage.task_id, usage=usage)))


@panel(UsageRecord)
def postings_of_usage(usage: UsageRecord) -> Panel | None:
    entries = list(Charge.objects.filter(task=usage.task_id, usage=usage, entry__isnull=False).values_list("entry", flat=True))
    return _postings("Postings of its entry", JournalEntry.objects.filter(pk__in=entries))


def _charge_lines(rows: QuerySet[Charge]) -> list[tuple[Any, ...]]:
    return [
        (
            to(Charge, c.pk),
            c.kind,
            to(UsageRecord, c.usage_id),
            badge(c.payer),
            c.reason,
            money(c.amount_micros, c.currency),
            money(c.provider_micros),
            money(c.publisher_micros),
            money(c.platform_micros),
            to(JournalEntry, c.entry_id),
        )
        for c in rows.defer("lines")[:SHOWN]
    ]


@panel(Charge)
def lines_of_charge(charge: Charge) -> Panel | None:
    lines = (
        (line.get("meter"), line.get("quantity"), line.get("unit_price"), line.get("amount")) for line in charge.lines
    )
    return table("Lines", ("meter", "#quantity", "#unit price", "#amount"), lines)


@panel(Charge)
def postings_of_charge(charge: Charge) -> Panel | None:
    return _postings("Postings of its entry", JournalEntry.objects.filter(pk=charge.entry_id))


@panel(Task)
def postings(task: Task) -> Panel | None:
    more = link(list_url(JournalEntry, task=task.pk), "all entries")
    return _postings("Journal 复式记账, newest first", JournalEntry.objects.filter(task=task), more=more)


@panel(JournalEntry)
def legs(entry: JournalEntry) -> Panel | None:
    return _postings("Legs", JournalEntry.objects.filter(pk=entry.pk))


@panel(JournalEntry)
def charges_of_entry(entry: JournalEntry) -> Panel | None:
    if entry.task_id is None:
        return None
    rows = Charge.objects.filter(task=entry.task_id, entry=entry).order_by("-pk")  # the task's index finds them
    return table("Charges that it posts", _CHARGES, _charge_lines(rows))


def _postings(title: str, entries: QuerySet[JournalEntry], *, more: SafeString | str = "") -> Panel | None:
    """Entries with their legs, two queries for all; the last line shows that they balance."""
    newest = list(entries.order_by("-pk")[:SHOWN])
    rows = Leg.objects.filter(entry__in=newest).select_related("entry", "account__organization")
    found = list(rows.order_by("-entry", "pk"))
    if not found:
        return None
    debit, credit = sum(leg.debit_micros for leg in found), sum(leg.credit_micros for leg in found)
    total = ("sum", "", "", badge("ok" if debit == credit else "broken"), money(debit), money(credit))
    columns = ("leg", "entry", "posted", "account", "#debit", "#credit")
    return Panel(title, columns, [_leg_line(leg) for leg in found], more=more, total=total)


def _leg_line(leg: Leg) -> tuple[Any, ...]:
    debit = money(leg.debit_micros, leg.account.currency) if leg.debit_micros else ""
    credit = money(leg.credit_micros, leg.account.currency) if leg.credit_micros else ""
    entry = to(JournalEntry, leg.entry_id, f"{leg.entry.kind} {leg.entry_id}")
    return (to(Leg, leg.pk), entry, when(leg.entry.posted_at), _account(leg.account), debit, credit)


def _account(account: Account) -> SafeString:
    party = to(Organization, account.organization_id, account.organization) if account.organization_id else "platform"
    return format_html("{} · {}", to(Account, account.pk, account.kind.replace("_", " ")), party)


_BALANCE: Final = "SELECT sum(debit_micros)::bigint, sum(credit_micros)::bigint FROM billing_leg WHERE account_id = %s"


@panel(Account)
def newest_legs(account: Account) -> Panel | None:
    rows = Leg.objects.filter(account=account).select_related("entry", "account__organization").order_by("-pk")
    found = limited(_BALANCE, [account.pk])
    debit, credit = found[0] if found else (None, None)
    columns = ("leg", "entry", "posted", "account", "#debit", "#credit")
    lines = [_leg_line(leg) for leg in rows[:SHOWN]]
    more = link(list_url(Leg, account=account.pk), "all legs")
    total = ("sum of all legs", "", "", "", money(debit), money(credit)) if found else ()
    return Panel("Legs, newest first", columns, lines, more=more, total=total) if lines else None
