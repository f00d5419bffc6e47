"""The operator's gauges: what each step of the river has still to do, read from rows.

The earliest step whose count does not fall is the broken one. Also the numbers of /metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric


class Step(NamedTuple):
    """What a step's backlog is, in words and as a query for one number."""

    backlog: str
    query: str


# The same questions that the sweeps ask.
RIVER: Final = {
    "expand": Step(
        "tasks without all of their units",
        """SELECT count(*) FROM marketplace_task
        WHERE state IN ('queued', 'running') AND units_expanded < units_total""",
    ),
    "match": Step("units waiting for a pool", "SELECT count(*) FROM scheduler_unit WHERE state = 'waiting'"),
    "lease": Step(
        "leases past their time",
        """SELECT count(*) FROM scheduler_attempt a JOIN marketplace_agent g ON g.id = a.agent_id
        WHERE a.state IN ('leased', 'running') AND (g.lease_until < now() OR g.retired_at IS NOT NULL)""",
    ),
    "measure": Step("ended attempts without usage", "SELECT count(*) FROM scheduler_ended"),
    "charge": Step(
        "ended tasks that are not settled",
        """SELECT count(*) FROM marketplace_task
        WHERE settled_at IS NULL AND state NOT IN ('queued', 'running')""",
    ),
}
_TASKS: Final = "SELECT state, count(*) FROM marketplace_task GROUP BY state"
# Done units are counted by their tasks; only those of open tasks are looked at one by one.
_UNITS: Final = """
SELECT u.state, count(*) FROM marketplace_task t JOIN scheduler_unit u ON u.task_id = t.id
WHERE t.state IN ('queued', 'running') AND u.state <> 'done' GROUP BY u.state
UNION ALL SELECT 'done', coalesce(sum(units_done), 0) FROM marketplace_task
"""
_ATTEMPTS: Final = "SELECT count(*) FROM scheduler_attempt WHERE state IN ('leased', 'running')"
_AGENTS: Final = "SELECT count(*) FROM marketplace_agent WHERE retired_at IS NULL AND lease_until > now()"
_POOLS: Final = "SELECT state, count(*) FROM marketplace_pool GROUP BY state"
_LEDGER: Final = """
SELECT a.currency, abs(sum(l.debit_micros) - sum(l.credit_micros))
FROM billing_leg l JOIN billing_account a ON a.id = l.account_id GROUP BY a.currency
"""


def river() -> dict[str, int]:
    """What each step has still to do, in the order in which a task meets the steps."""
    return {name: _number(step.query) for name, step in RIVER.items()}


def ledger_imbalance() -> dict[str, int]:
    """Debits minus credits per currency, in micros. Anything but 0 is an alarm."""
    return {currency: int(off) for currency, off in _rows(_LEDGER)}


def metrics() -> Iterator[Metric]:
    """Everything that /metrics tells."""
    yield _gauge("gridfare_tasks", "tasks by state", "state", dict(_rows(_TASKS)))
    yield _gauge("gridfare_units", "units by state, of ended tasks only done", "state", dict(_rows(_UNITS)))
    yield _gauge("gridfare_pools", "pools by state", "state", dict(_rows(_POOLS)))
    yield GaugeMetricFamily("gridfare_attempts_live", "attempts under a lease", value=_number(_ATTEMPTS))
    yield GaugeMetricFamily("gridfare_agents_online", "agents whose leases run", value=_number(_AGENTS))
    yield _gauge("gridfare_river_backlog", "rows that a step has still to do", "step", river())
    off = ledger_imbalance()
    yield _gauge("gridfare_ledger_imbalance_micros", "debits minus credits, must be 0", "currency", off)


def _gauge(name: str, help_text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _rows(query: str) -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _number(query: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])
