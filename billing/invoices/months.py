"""What is charged by period is rated when its month is over, before invoices are drawn; and again when usage came or changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from billing.periods import Outcome, correct_periods, rate_periods, safe_cutoff

# Customers who have used something before their open month began that came, or was put right, after the mark of the month before
# it: an earlier one that an operator rates, or lets be posted, says nothing of this one.
_TO_RATE: Final = """
SELECT DISTINCT organization.id, ((%(now)s AT TIME ZONE zone.name)::date - interval '1 month')::date
  FROM (SELECT charge.organization_id, charge.charged_at AS came_at, usage.ended_at - usage.wall_ms * interval '1 ms' AS began_at
          FROM billing_charge charge JOIN metering_usagerecord usage ON usage.id = charge.usage_id
         WHERE charge.reason = 'by_period' AND charge.charged_at >= %(since)s
        UNION ALL
        SELECT task.organization_id, task.settled_at, coalesce(task.started_at, task.created_at)
          FROM marketplace_task task WHERE task.terms ? 'fees_by_month' AND task.settled_at >= %(since)s
        UNION ALL
        SELECT charge.organization_id, charge.charged_at, usage.ended_at - usage.wall_ms * interval '1 ms'
          -- of which a publisher has a share
          FROM billing_charge charge JOIN metering_usagerecord usage ON usage.id = charge.usage_id
          JOIN marketplace_task task ON task.id = charge.task_id AND task.terms -> 'fees_by_month' ? 'share'
         WHERE charge.kind = 'delta' AND charge.charged_at >= %(since)s
        UNION ALL
        SELECT usage.organization_id, usage.measured_at, usage.ended_at - usage.wall_ms * interval '1 ms'
          FROM metering_usagerecord usage
          JOIN metering_usagerecord original ON original.attempt_id = usage.attempt_id AND original.revision = 0
          JOIN billing_charge charge ON charge.usage_id = original.id AND charge.reason = 'by_period'  -- by whichever list
         WHERE usage.revision > 0 AND usage.measured_at >= %(since)s
        UNION ALL
        SELECT subject.customer_id, day.latest, day.day::timestamp AT TIME ZONE subject.zone
          FROM billing_subscription subscription
          JOIN metering_usagesubject subject ON subject.customer_id = subscription.organization_id
           AND subject.pool_id = subscription.pool_id
          JOIN metering_usageday day ON day.subject_id = subject.id
         WHERE day.latest >= %(since)s
           AND EXISTS (SELECT FROM marketplace_offer offer WHERE offer.pool_id = subject.pool_id AND offer.rules ? 'events')) came
  JOIN marketplace_organization organization ON organization.id = came.organization_id
 CROSS JOIN LATERAL (SELECT coalesce(nullif(organization.zone, ''), %(zone)s) AS name) zone
 WHERE (%(organizations)s::bigint[] IS NULL OR organization.id = ANY(%(organizations)s))
   AND came.began_at < date_trunc('month', %(now)s AT TIME ZONE zone.name) AT TIME ZONE zone.name
   AND NOT EXISTS (SELECT FROM billing_ratedmonth rated
                    WHERE rated.organization_id = organization.id AND came.came_at < rated.cutoff
                      AND rated.month >= date_trunc('month', %(now)s AT TIME ZONE zone.name) - interval '1 month')
"""
_MARK: Final = """
INSERT INTO billing_ratedmonth AS rated (organization_id, month, cutoff)
SELECT customer, %(month)s, %(cutoff)s FROM unnest(%(customers)s::bigint[]) AS customer ORDER BY customer
ON CONFLICT (organization_id) DO UPDATE SET month = excluded.month, cutoff = excluded.cutoff
 WHERE (rated.month, rated.cutoff) < (excluded.month, excluded.cutoff)
"""


def rate_months(organizations: Sequence[int] | None, since: datetime, now: datetime) -> Outcome:
    """Rate the last month that is over, and correct those before it, for everybody of whom there is something new.

    organizations  None: all. A run that finds nothing new costs one statement.
    """
    given: dict[str, Any] = {"organizations": organizations, "since": since, "now": now, "zone": settings.USAGE_ZONE}
    months: dict[date, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_TO_RATE, given)
        for organization, month in cursor.fetchall():
            months[month.replace(day=1)].append(organization)
    done = Outcome()
    for month, customers in sorted(months.items()):
        one = _rate(customers, month, safe_cutoff())
        done = Outcome(done.charges + one.charges, done.parked + one.parked)
    return done


def _rate(customers: Sequence[int], month: date, cutoff: datetime) -> Outcome:
    """A month and those before it, together or not at all, with the mark that says what the next run may leave out."""
    with transaction.atomic():
        rated = rate_periods(customers, month, cutoff, final=True)
        corrected = correct_periods(customers, month, cutoff)
        with connection.cursor() as cursor:
            cursor.execute(_MARK, {"customers": list(customers), "month": month, "cutoff": cutoff})
    return Outcome(rated.charges + corrected.charges, rated.parked + corrected.parked)
