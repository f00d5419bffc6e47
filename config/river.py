"""The river as an operator reads it: each step, what its sweep asks for, how many rows wait there, since when.

The earliest step that is late is the broken one. Counting stops at COUNTED rows and after a few seconds, so that
looking at a market in trouble does not add to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from core.admin.paging import limited

COUNTED: Final = 10_000


@dataclass(frozen=True)
class Step:
    """A step of the river.

    asks   what its sweep asks for, in words
    rows   a query of one column, the moment since when each row waits; keys in order, so that the oldest come first
    late   how long a row may wait there before somebody should look
    where  the admin's list of these rows, and its filter
    """

    name: str
    asks: str
    rows: str
    late: timedelta
    where: str = ""


@dataclass(frozen=True)
class Backlog:
    """What a step has still to do. `count` None: it took too long to count."""

    step: Step
    count: int | None
    age: timedelta | None

    @property
    def state(self) -> str:
        if self.count is None:
            return "late"
        if not self.count:
            return "ok"
        return "late" if self.age is not None and self.age > self.step.late else "busy"

    @property
    def number(self) -> str:
        if self.count is None:
            return "too many"
        return f"{self.count:,}" if self.count <= COUNTED else f"{COUNTED:,}+"


OPEN: Final = "state IN ('queued', 'running')"
STEPS: Final = (
    Step(
        "expand 拆解",
        "tasks without all of their units",
        f"SELECT created_at AS since FROM marketplace_task WHERE {OPEN} AND units_expanded < units_total ORDER BY id",
        timedelta(seconds=60),
        "marketplace/task/?state__exact=queued",
    ),
    Step(
        "match 调度",
        "units that wait for a pool",
        """SELECT t.created_at AS since FROM scheduler_unit u JOIN marketplace_task t ON t.id = u.task_id
        WHERE u.state = 'waiting'""",
        timedelta(minutes=10),
        "scheduler/unit/?state__exact=waiting",
    ),
    Step(
        "fetch",
        "placed units that no agent has fetched",
        """SELECT r.at AS since FROM scheduler_unit u LEFT JOIN scheduler_decision d ON d.id = u.decision_id
        LEFT JOIN scheduler_round r ON r.id = d.round_id WHERE u.state = 'placed'""",
        timedelta(minutes=10),
        "scheduler/unit/?state__exact=placed",
    ),
    Step(
        "lease",
        "leases past their time",
        """SELECT coalesce(g.lease_until, g.retired_at) AS since
        FROM scheduler_attempt a JOIN marketplace_agent g ON g.id = a.agent_id
        WHERE a.state IN ('leased', 'running') AND (g.lease_until < now() OR g.retired_at IS NOT NULL)""",
        timedelta(seconds=30),
        "scheduler/attempt/?state__exact=leased",
    ),
    Step(
        "advance",
        "open tasks with a next step that nobody took",
        f"""SELECT coalesce(cancel_requested_at, deadline, created_at) AS since FROM marketplace_task
        WHERE {OPEN} AND (cancel_requested_at IS NOT NULL OR deadline <= now()
        OR units_done >= (plan->>'units')::int AND units_done = units_total) ORDER BY id""",
        timedelta(minutes=5),
        "marketplace/task/?state__exact=running",
    ),
    Step(
        "measure 计量",
        "ended attempts without usage",
        "SELECT at AS since FROM scheduler_ended ORDER BY attempt_id",
        timedelta(seconds=60),
        "scheduler/ended/",
    ),
    Step(
        "charge 结算",
        "ended tasks that are not settled",
        f"SELECT ended_at AS since FROM marketplace_task WHERE settled_at IS NULL AND NOT {OPEN} ORDER BY id",
        timedelta(seconds=60),
        "marketplace/task/?settled=no",
    ),
)


def backlog_of(step: Step) -> Backlog:
    """Count a step's rows, up to one more than COUNTED, and find the oldest of them."""
    found = limited(f"SELECT count(*), min(since) FROM ({step.rows} LIMIT {COUNTED + 1}) AS found")
    if found is None:
        return Backlog(step, None, None)
    count, since = found[0]
    return Backlog(step, count, None if since is None else timezone.now() - since)


def river() -> list[Backlog]:
    """All steps, in the order in which a task meets them. One query each."""
    return [backlog_of(step) for step in STEPS]
