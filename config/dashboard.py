"""The operators' first page: the river, who is there, what ended, what was earned, and whether the ledger balances."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join

from billing.models import LedgerAlarm
from config.gauges import ledger_imbalance
from config.river import COUNTED, Backlog, river
from core.admin import limited, money
from core.admin.cells import age_text, badge, link, list_url, to, when
from core.admin.filters import first_key
from core.admin.panels import Panel, table
from marketplace.models import Pool, Task

RECENT: Final = timedelta(hours=24)


class Gauge(NamedTuple):
    """One number on the first page. `state` is good, bad or plain; `url` leads to its rows."""

    title: str
    value: Any
    told: Any = ""
    state: str = "plain"
    url: str = ""


def first_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK."""
    steps = river(most=COUNTED)
    panels = [pools(), newest_tasks()]
    return context | {
        "title": "The market now",
        "river": [_line(one) for one in steps],
        "first_late": next((one.step.name for one in steps if one.state == "late"), None),
        "gauges": [agents(), tasks_today(), money_today(), ledger()],
        "panels": [panel for panel in panels if panel is not None],
    }


def _line(one: Backlog) -> dict[str, Any]:
    """A row of the river's table; its link only when there is something to look at."""
    url = reverse("admin:index") + one.step.where if one.step.where and one.count != 0 else ""
    return {
        "name": one.step.name,
        "asks": one.step.asks,
        "number": link(url, one.number),
        "age": age_text(one.age) if one.age is not None else "",
        "limit": age_text(one.step.late),
        "state": badge(one.state),
        "tone": one.state,
    }


_AGENTS: Final = """
SELECT count(*) FILTER (WHERE lease_until > now()), count(*) FROM marketplace_agent g
JOIN marketplace_pool p ON p.id = g.pool_id
WHERE g.retired_at IS NULL AND p.state <> 'retired'
"""


def agents() -> Gauge:
    """Agents whose leases run, of those that should."""
    online, known = (limited(_AGENTS) or [(0, 0)])[0]
    told = f"of {known}" if online < known else "all of them"
    url = reverse("admin:marketplace_agent_changelist") + "?retired_at__isempty=1"
    return Gauge("Agents online", online, told if known else "none has joined", "plain" if online == known else "bad", url)


_TASKS: Final = "SELECT state, count(*) FROM marketplace_task WHERE id >= %s GROUP BY state ORDER BY state"


def tasks_today() -> Gauge:
    """Tasks submitted within a day, by state: the key is ordered by time, so only those are read."""
    found = limited(_TASKS, [first_key(timezone.now() - RECENT)])
    url = list_url(Task, since="24h")
    if found is None:
        return Gauge("Tasks, last 24 hours", "many", "too many to count here", url=url)
    told = format_html_join(" ", "{} {}", ((badge(state), f"{count:,}") for state, count in found))
    return Gauge("Tasks, last 24 hours", f"{sum(count for _, count in found):,}", told, url=url)


_MONEY: Final = """
SELECT sum(c.amount_micros) FILTER (WHERE c.payer = 'user')::bigint, sum(c.provider_micros)::bigint,
       sum(c.publisher_micros)::bigint, sum(c.platform_micros)::bigint
FROM billing_charge c WHERE c.organization_id IN (SELECT id FROM marketplace_organization)
AND c.charged_at >= %s AND c.currency = %s
"""


def money_today() -> Gauge:
    """What users were charged since midnight, and who gets it."""
    found = limited(_MONEY, [_midnight(), settings.CURRENCY])
    if found is None:
        return Gauge("Charged today", "much", "too many charges to add up here")
    users, providers, publishers, platform = (money(micros or 0) for micros in found[0])
    told = format_html("providers {}, publishers {}, platform {}", providers, publishers, platform)
    return Gauge(f"Charged today, {settings.CURRENCY}", users, told, url=reverse("admin:billing_charge_changelist"))


def _midnight() -> datetime:
    return timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)


def ledger() -> Gauge:
    """Debits minus credits: anything but zero is an alarm, and so is a proof that failed."""
    if LedgerAlarm.objects.exists():
        told = "the ledger is not what was sealed"
        return Gauge("Ledger", "alarm", told, "bad", reverse("admin:billing_ledgeralarm_changelist"))
    url = reverse("admin:billing_account_changelist")
    sums = ledger_imbalance()
    if sums is None:
        return Gauge("Ledger", "not added up", "too many legs to add up here", url=url)
    if any(sums.values()):
        off = format_html_join(", ", "{}", ((money(micros, currency),) for currency, micros in sums.items() if micros))
        return Gauge("Ledger", off, "debits and credits differ", "bad", url)
    return Gauge("Ledger", money(0), "debits equal credits", "good", url)


_POOLS: Final = """
SELECT r.code, r.name, count(*), count(*) FILTER (WHERE p.state = 'active'), sum(p.cores),
       sum(p.cores) FILTER (WHERE p.state = 'active'), sum(p.fp32_mflops) FILTER (WHERE p.state = 'active')
FROM marketplace_pool p JOIN marketplace_region r ON r.id = p.region_id
WHERE p.state <> 'retired' GROUP BY 1, 2 ORDER BY 6 DESC NULLS LAST, 1 LIMIT 12
"""


def pools() -> Panel | None:
    """Where the computing power is."""
    lines = (
        (name, count, active, cores, live or 0, f"{(mflops or 0) / 1000:,.0f}")
        for code, name, count, active, cores, live, mflops in limited(_POOLS) or []
    )
    columns = ("region", "#pools", "#active", "#cores", "#active cores", "#GFLOPS")
    return table("Computing power by region", columns, lines, more=link(list_url(Pool), "all pools"))


def newest_tasks() -> Panel | None:
    rows = Task.objects.select_related("organization").defer("plan", "inputs", "units_index").order_by("-pk")[:12]
    lines = (
        (
            to(Task, task.pk, task.name or None),
            task.organization,
            badge(task.state),
            f"{task.units_done:,}/{task.units_total:,}",
            money(task.cost_micros, task.terms.get("currency", "")),
            when(task.created_at),
        )
        for task in rows
    )
    columns = ("task", "organization", "state", "#units", "#cost", "submitted")
    return table("Newest tasks", columns, lines, more=link(list_url(Task), "all tasks"))


def environment(request: HttpRequest) -> list[str]:
    """The label beside the title: on which kind of house an operator's hand is."""
    return ["production", "danger"] if settings.PRODUCTION else ["one machine", "info"]
