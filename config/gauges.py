"""The numbers of /metrics, read from rows when somebody asks. The river's questions are those of `config.river`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from config.river import Backlog, river
from core.admin import limited

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
SELECT a.currency, (sum(l.debit_micros) - sum(l.credit_micros))::bigint
FROM billing_leg l JOIN billing_account a ON a.id = l.account_id GROUP BY a.currency
"""
_ALARMS: Final = "SELECT count(*) FROM billing_ledgeralarm"


def ledger_imbalance() -> dict[str, int] | None:
    """Debits minus credits per currency, in micros: anything but 0 is an alarm. None: too many legs to add up in time."""
    found = limited(_LEDGER)
    return None if found is None else {currency: int(off) for currency, off in sorted(found)}


def metrics() -> Iterator[Metric]:
    """Everything that /metrics tells. What takes too long to count is left out, but for the river, where it is +Inf."""
    yield _gauge("gridfare_tasks", "tasks by state", "state", limited(_TASKS))
    yield _gauge("gridfare_units", "units by state, of ended tasks only done", "state", limited(_UNITS))
    yield _gauge("gridfare_pools", "pools by state", "state", limited(_POOLS))
    yield _number("gridfare_attempts_live", "attempts under a lease", _ATTEMPTS)
    yield _number("gridfare_agents_online", "agents whose leases run", _AGENTS)
    yield from _river(river())
    off = ledger_imbalance() or {}
    yield _number("gridfare_ledger_alarms", "proofs of the ledger that failed, must be 0", _ALARMS)
    yield _gauge("gridfare_ledger_imbalance_micros", "debits minus credits, must be 0", "currency", off.items())


def _river(found: list[Backlog]) -> Iterator[Metric]:
    counts = [(one.step.key, inf if one.count is None else one.count) for one in found]
    yield _gauge("gridfare_river_backlog", "rows that a step has still to do", "step", counts)
    ages = [(one.step.key, one.age.total_seconds() if one.age else 0) for one in found if one.count is not None]
    yield _gauge("gridfare_river_oldest_seconds", "how long the oldest of them waits", "step", ages)
    late = [(one.step.key, int(one.is_late)) for one in found]
    yield _gauge("gridfare_river_late", "1: look here, the earliest step first", "step", late)


def _gauge(name: str, help_text: str, label: str, values: Iterable[tuple[str, float]] | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values or ():
        family.add_metric([key], float(value))
    return family


def _number(name: str, help_text: str, query: str) -> GaugeMetricFamily:
    found = limited(query)
    family = GaugeMetricFamily(name, help_text)
    if found is not None:
        family.add_metric([], found[0][0])
    return family
