"""The river as an operator reads it: each step, what its sweep asks for, how many rows wait there, since when.

The earliest step that is late is the broken one. The first page and /metrics ask the same questions; the page stops
counting at COUNTED rows, and both give up after a few seconds, so that looking at a market in trouble adds little to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from core.admin.paging import limited

COUNTED: Final = 10_000


@dataclass(frozen=True)
class Step:
    """A step of the river.

    key    its name in /metrics, which alarms are written for
    name   its name on the first page
    asks   what its sweep asks for, in words
    rows   a query of one column, the moment since when each row waits
    late   how long a row may wait there before somebody should look
    where  the admin's list of these rows, and its filter
    order  a key that an index has in order, so that the oldest are counted when not all are
    moved  a query for the moment when the step last took a row. Given where rows queue for machines: a long queue
           that moves is good business, only one that stands still is late
    """

    key: str
    name: str
    asks: str
    rows: str
    late: timedelta
    where: str = ""
    order: str = ""
    moved: str = "SELECT NULL::timestamptz"


@dataclass(frozen=True)
class Backlog:
    """What a step has still to do. `count` None: it took too long to count. `still`: how long nothing was taken."""

    step: Step
    count: int | None
    age: timedelta | None = None
    still: timedelta | None = None

    @property
    def is_late(self) -> bool:
        if self.count is None:
            return True
        waits = self.age is not None and self.age > self.step.late
        return waits and (self.still is None or self.still > self.step.late)

    @property
    def state(self) -> str:
        return "late" if self.is_late else "busy" if self.count else "ok"

    @property
    def number(self) -> str:
        if self.count is None:
            return "too many"
        return f"{self.count:,}" if self.count <= COUNTED else f"{COUNTED:,}+"


OPEN: Final = "state IN ('queued', 'running')"
STEPS: Final = (
    Step(
        "expand",
        "expand 拆解",
        "tasks without all of their units",
        f"""SELECT created_at AS since FROM marketplace_task WHERE {OPEN} AND units_expanded < coalesce(units_open, units_total)
        AND cancel_requested_at IS NULL AND reason_class = ''""",
        timedelta(seconds=60),
        "marketplace/task/?state__exact=queued",
        order="id",
    ),
    Step(
        "match",
        "match 调度",
        "units that wait for a pool",
        """SELECT t.created_at AS since FROM scheduler_unit u JOIN marketplace_task t ON t.id = u.task_id
        WHERE u.state = 'waiting'""",
        timedelta(minutes=10),
        "scheduler/unit/?state__exact=waiting",
        moved="SELECT at FROM scheduler_round ORDER BY id DESC LIMIT 1",
    ),
    Step(
        "fetch",
        "fetch",
        "placed units that no agent has fetched",
        """SELECT r.at AS since FROM scheduler_unit u LEFT JOIN scheduler_decision d ON d.id = u.decision_id
        LEFT JOIN scheduler_round r ON r.id = d.round_id WHERE u.state = 'placed'""",
        timedelta(minutes=10),
        "scheduler/unit/?state__exact=placed",
        moved="SELECT leased_at FROM scheduler_attempt ORDER BY id DESC LIMIT 1",
    ),
    Step(
        "lease",
        "lease",
        "leases past their time",
        """SELECT coalesce(g.lease_until, g.retired_at) AS since
        FROM scheduler_attempt a JOIN marketplace_agent g ON g.id = a.agent_id
        WHERE a.state IN ('leased', 'running') AND (g.lease_until < now() OR g.retired_at IS NOT NULL)""",
        timedelta(seconds=30),
        "scheduler/attempt/?lease=late",
    ),
    Step(
        "verify",
        "verify 验证",
        "units whose results nobody has compared",
        "SELECT at AS since FROM scheduler_unjudged",
        timedelta(seconds=60),
        "scheduler/unjudged/",
        order="id",
    ),
    Step(
        "advance",
        "advance",
        "open tasks with a next step that nobody took",
        # Since when: the last that happened to the task, its deadline, or the wish to stop it.
        f"""SELECT greatest(t.created_at, t.cancel_requested_at, CASE WHEN t.deadline <= now() THEN t.deadline END,
            (SELECT e.at FROM marketplace_taskevent e WHERE e.task_id = t.id ORDER BY e.seq DESC LIMIT 1)) AS since
        FROM marketplace_task t WHERE t.{OPEN} AND (
            t.cancel_requested_at IS NOT NULL OR t.reason_class <> '' OR t.deadline <= now()
            OR t.units_done >= t.units_total AND t.units_expanded >= t.units_total
            OR t.units_open > 0 AND t.units_open < t.units_total AND t.units_done >= t.units_open
            OR t.units_open = 1 AND NOT t.probing_until BETWEEN now() AND now() + interval '2 minutes'
            OR t.units_open = 0 AND NOT EXISTS (
                SELECT 1 FROM marketplace_taskreference r JOIN marketplace_task n ON n.id = r.needs_id
                WHERE r.task_id = t.id AND n.ended_at IS NULL)
            OR t.units_done >= (t.plan->>'units')::int
            AND EXISTS (SELECT 1 FROM scheduler_unit u WHERE u.task_id = t.id AND u.stage = 1 AND u.state = 'blocked')
            OR EXISTS (SELECT 1 FROM scheduler_unit u WHERE u.task_id = t.id AND u.state = 'failed')
        )""",
        timedelta(minutes=5),
        "marketplace/task/?state__exact=running",
        order="t.id",
    ),
    Step(
        "measure",
        "measure 计量",
        "ended attempts without usage",
        "SELECT at AS since FROM scheduler_ended",
        timedelta(seconds=60),
        "scheduler/ended/",
        order="attempt_id",
    ),
    Step(
        "charge",
        "charge 结算",
        "ended tasks that are not settled",
        f"SELECT ended_at AS since FROM marketplace_task WHERE settled_at IS NULL AND NOT {OPEN}",
        timedelta(seconds=60),
        "marketplace/task/?settled=no",
        order="id",
    ),
    Step(
        "tell",
        "tell 通知",
        "webhooks that are due and nobody sent",
        # The first of each subject only, as far as its endpoint is on: the others wait for it.
        """SELECT d.due_at AS since FROM marketplace_webhookdelivery d JOIN marketplace_webhookendpoint e ON e.id = d.endpoint_id
        WHERE d.state IN ('pending', 'sending') AND d.due_at <= now() AND e.disabled_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM marketplace_webhookdelivery x WHERE x.endpoint_id = d.endpoint_id AND x.subject = d.subject
            AND x.event_id < d.event_id AND x.state IN ('pending', 'sending'))""",
        timedelta(minutes=5),
        "marketplace/webhookdelivery/?state=pending",
        moved="SELECT at FROM marketplace_webhooktry ORDER BY id DESC LIMIT 1",
    ),
    Step(
        "close",
        "close 出账",
        "months that are over and not closed, or parked",
        "SELECT ends_at AS since FROM billing_billingperiod WHERE state <> 'closed' AND ends_at <= now()",
        timedelta(hours=3),
        "billing/billingperiod/?state=open",
        order="ends_at",
    ),
    Step(
        "dispute",
        "dispute 争议",
        "disputes that nobody answered in time, or that nobody decides",
        # What was answered waits for an operator, who should see it after some days.
        """SELECT answer_until AS since FROM billing_dispute WHERE state = 'open' AND answer_until <= now()
        UNION ALL SELECT answered_at + interval '3 days' FROM billing_dispute
        WHERE state = 'answered' AND answered_at <= now() - interval '3 days'""",
        timedelta(hours=3),
        "billing/dispute/?state=open",
        order="since",
    ),
    Step(
        "service_level",
        "service level 服务等级",
        "days that are over, of which providers promised something, and that were not measured",
        """SELECT over + interval '1 day' AS since
             FROM generate_series((now() AT TIME ZONE 'UTC')::date - 7, (now() AT TIME ZONE 'UTC')::date - 1, interval '1 day') over
            WHERE NOT EXISTS (SELECT FROM billing_sladay day WHERE day.day = over::date)
              AND EXISTS (SELECT FROM billing_slaterms WHERE valid @> over)""",
        timedelta(hours=3),
        "billing/sladay/",
        order="since",
    ),
    Step(
        "payout",
        "payout 打款",
        "payouts that were approved and are not out",
        "SELECT approved_at AS since FROM billing_payout WHERE state IN ('approved', 'sent')",
        timedelta(hours=3),
        "billing/payout/?state=approved",
        order="id",
    ),
    Step(
        "export",
        "export 导出",
        "exports that nobody writes, or that stand still",
        # One that is written renews its lease of five minutes with every piece of progress.
        """SELECT CASE state WHEN 'running' THEN lease_until - interval '5 minutes' ELSE requested_at END AS since
        FROM billing_export WHERE state IN ('requested', 'running')""",
        timedelta(minutes=15),
        "billing/export/?state=requested",
        order="id",
    ),
)


def backlog_of(step: Step, most: int | None = None) -> Backlog:
    """Count a step's rows, up to one more than `most`, and find the oldest of them."""
    order = f" ORDER BY {step.order}" if step.order else ""
    bound = "" if most is None else f"{order} LIMIT {most + 1}"
    found = limited(f"SELECT count(*), min(since), ({step.moved}) FROM ({step.rows}{bound}) AS found")
    if found is None:
        return Backlog(step, None)
    count, since, moved = found[0]
    return Backlog(step, count, _since(since), _since(moved))


def _since(moment: datetime | None) -> timedelta | None:
    return None if moment is None else timezone.now() - moment


def river(most: int | None = None) -> list[Backlog]:
    """All steps, in the order in which a task meets them. One query each."""
    return [backlog_of(step, most) for step in STEPS]
