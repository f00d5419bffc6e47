"""Unbilled because ...: usage that stands on no charge yet, by the reason why. Reads only, one statement a reason."""

from __future__ import annotations

from typing import Any, Final

from billing.periods.reading import rows
from core.money import text_of
from marketplace.models import Organization

# reason -> (why, the statement: how many, since when, micros if they are known)
_PRICED: Final = "offer.rules -> 'events' ->> subject.meter = subject.unit"
_REPORTED: Final = """SELECT count(*), min(day.day::timestamp AT TIME ZONE subject.zone), NULL::bigint
             FROM metering_usagesubject subject JOIN metering_usageday day ON day.subject_id = subject.id
            CROSS JOIN LATERAL (SELECT tstzrange(day.day::timestamp AT TIME ZONE subject.zone,
                                                 (day.day + 1)::timestamp AT TIME ZONE subject.zone) AS time) whole
            WHERE subject.meter NOT IN ('held_cores', 'held_accelerators', 'heartbeat') AND {subject}
              AND day.day >= current_date - 100"""
_SUBSCRIBED: Final = """SELECT FROM billing_subscription subscription
                            WHERE subscription.organization_id = subject.customer_id
                              AND subscription.pool_id = subject.pool_id AND subscription.valid && whole.time"""

_PREVIEWED: Final = """(SELECT sum(preview.total_micros)::bigint FROM billing_periodpreview preview
                    WHERE preview.payer = 'user' AND {{preview}}
                      AND upper(preview.period) > coalesce(max(closed.until), '-infinity')
                      AND (preview.version_id IS NULL) = {pools})"""
_CLOSED: Final = """LEFT JOIN LATERAL (SELECT max(cutoff) AS cutoff, max(upper(period)) AS until FROM billing_periodcharge period
                                 WHERE period.organization_id = {of}.organization_id) closed ON true"""

REASONS: Final[dict[str, tuple[str, str]]] = {
    "not_measured": (
        "attempts have ended and are not measured yet",
        """SELECT count(*), min(attempt.ended_at), NULL::bigint
             FROM scheduler_ended ended JOIN scheduler_attempt attempt ON attempt.id = ended.attempt_id
             JOIN marketplace_task task ON task.id = attempt.task_id WHERE {task}""",
    ),
    "task_open": (
        "its task is still open: it is charged when the task has ended",
        """SELECT count(*), min(usage.ended_at), NULL::bigint
             FROM marketplace_task task JOIN metering_usagerecord usage ON usage.task_id = task.id AND usage.revision = 0
            WHERE task.ended_at IS NULL AND {task}""",
    ),
    "not_charged": (
        "its task has ended and is about to be charged; if it stays, an operator must look",
        """SELECT count(*), min(usage.ended_at), NULL::bigint
             FROM marketplace_task task JOIN metering_usagerecord usage ON usage.task_id = task.id AND usage.revision = 0
            WHERE task.ended_at IS NOT NULL AND task.settled_at IS NULL AND {task}
              AND NOT EXISTS (SELECT FROM billing_charge charge WHERE charge.usage_id = usage.id AND charge.kind <> 'refund')""",
    ),
    "by_period": (
        "its price needs a whole month: it is charged when the month closes; the amount is last night's preview",
        f"""SELECT count(*), min(charge.charged_at), {_PREVIEWED.format(pools="true")}
             FROM billing_charge charge {_CLOSED.format(of="charge")}
            WHERE charge.reason = 'by_period' AND charge.payer = 'user' AND {{charge}}
              AND charge.charged_at >= coalesce(closed.cutoff, '-infinity')""",
    ),
    "fees_by_month": (
        "its publisher's fee needs a whole month: it is charged when the month closes; the amount is last night's preview",
        f"""SELECT count(*), min(task.settled_at), {_PREVIEWED.format(pools="false")}
             FROM marketplace_task task {_CLOSED.format(of="task")}
            WHERE task.terms ? 'fees_by_month' AND task.kind <> 'test' AND task.state IN ('delivered', 'cancelled') AND {{task}}
              AND task.settled_at >= coalesce(closed.cutoff, '-infinity')""",
    ),
    "unpriced": (
        "its pool had no price in the task's currency: an operator must look",
        """SELECT count(*), min(charge.charged_at), NULL::bigint
             FROM marketplace_task task JOIN billing_charge charge ON charge.task_id = task.id
            WHERE charge.reason = 'unpriced' AND {task}""",
    ),
    "not_subscribed": (
        "a pool reported it, by meter and day, and its customer has not subscribed to what that pool reports",
        f"{_REPORTED} AND NOT EXISTS ({_SUBSCRIBED})",
    ),
    "not_listed": (
        "a pool reported it, by meter and day, and the pool's price list then in force does not charge that meter in that unit",
        f"""{_REPORTED} AND EXISTS ({_SUBSCRIBED})
              AND NOT EXISTS (SELECT FROM marketplace_offer offer WHERE offer.pool_id = subject.pool_id
                                 AND (offer.customer_id IS NULL OR offer.customer_id = subject.customer_id)
                                 AND offer.valid && whole.time AND {_PRICED})""",
    ),
    "parked": (
        "the amount cannot be believed, or came late: it waits for an operator's word",
        """SELECT count(*), min(parked.parked_at), sum(parked.total_micros - parked.before_micros)::bigint
             FROM billing_parkedperiod parked WHERE parked.state = 'open' AND abs(parked.total_micros) < 9e18 AND {parked}""",
    ),
}
_OF: Final = {"task": "task.organization_id", "charge": "charge.organization_id", "parked": "parked.organization_id",
              "preview": "preview.organization_id", "subject": "subject.customer_id"}  # fmt: skip


def unbilled_of(organization: Organization | None) -> list[dict[str, Any]]:
    """For each reason that there is: how many records, since when, how much if that is known. None: of everybody."""
    found = []
    for reason, (why, statement) in REASONS.items():
        places = {name: "true" if organization is None else f"{column} = %(organization)s" for name, column in _OF.items()}
        ((count, since, micros),) = rows(statement.format(**places), {"organization": organization and organization.pk})
        if count:
            amount = None if micros is None else text_of(micros)
            found.append({"reason": reason, "why": why, "count": count, "since": since, "amount": amount})
    return found
