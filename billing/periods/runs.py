"""Runs over months: previews of the open one, charges at its close, corrections of those before.

    cutoff = safe_cutoff()
    rate_periods(organizations, month, cutoff, final=True)
    correct_periods(organizations, month, cutoff)

A run may be killed and repeated anywhere: it is one transaction, and the same cutoff finds the same facts, which stand then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction

from billing.periods.fees import fee_lines_of
from billing.periods.posting import Outcome, post_lines, preview_lines
from billing.periods.reading import lines_of, months_of
from billing.services import CHARGING_LOCK
from metering.cutoffs import safe_cutoff as nothing_earlier_arrives

RUN_LOCK: Final = 0x67_66_70_64  # advisory: one run at a time
OLDEST: Final = 24  # months; what is later still is looked at by hand

# The oldest usage of each organization that was charged, or corrected, since a moment.
LATE: Final = """
SELECT organization_id, min(began_at)
  FROM (SELECT charge.organization_id, usage.ended_at - usage.wall_ms * interval '1 millisecond' AS began_at
          FROM billing_charge charge JOIN metering_usagerecord usage ON usage.id = charge.usage_id
         WHERE charge.organization_id = ANY(%(organizations)s) AND charge.reason = 'by_period'
           AND charge.charged_at >= %(since)s AND charge.charged_at < %(cutoff)s
        UNION ALL
        SELECT organization_id, coalesce(started_at, created_at) FROM marketplace_task
         WHERE organization_id = ANY(%(organizations)s) AND terms ? 'fees_by_month'
           AND settled_at >= %(since)s AND settled_at < %(cutoff)s
        UNION ALL
        SELECT usage.organization_id, usage.ended_at - usage.wall_ms * interval '1 millisecond'
          FROM metering_usagerecord usage
         WHERE usage.organization_id = ANY(%(organizations)s) AND usage.revision > 0
           AND usage.measured_at >= %(since)s AND usage.measured_at < %(cutoff)s
        UNION ALL
        SELECT subject.customer_id, day.day::timestamp AT TIME ZONE subject.zone
          FROM billing_subscription subscription
          JOIN metering_usagesubject subject ON subject.customer_id = subscription.organization_id
           AND subject.pool_id = subscription.pool_id
          JOIN metering_usageday day ON day.subject_id = subject.id
         WHERE subscription.organization_id = ANY(%(organizations)s) AND day.latest >= %(since)s) late
 GROUP BY organization_id
"""


CUSTOMERS: Final = """
SELECT organization_id FROM billing_charge WHERE reason = 'by_period' AND charged_at >= %(since)s
 UNION
SELECT organization_id FROM marketplace_task WHERE terms ? 'fees_by_month' AND settled_at >= %(since)s
 UNION
SELECT organization_id FROM billing_subscription WHERE upper_inf(valid) OR upper(valid) >= %(since)s
"""


def safe_cutoff() -> datetime:
    """PostgreSQL's clock at a moment when no task is being charged: whatever is charged later has a later time.

    So a run with this cutoff finds the same facts whenever it is repeated. It waits for whoever is accepting events, too;
    one after the other, so that nobody who holds the one and wants the other waits for us for ever.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHARGING_LOCK])
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    nothing_earlier_arrives()
    return moment


def rate_periods(organizations: Iterable[int], month: date, cutoff: datetime, *, final: bool, late: bool = False) -> Outcome:
    """Rate a month of these organizations, everything that was recorded before the cutoff.

    final  charges are posted, as the difference to what stands; otherwise only previews are rewritten
    late   a month that is corrected no more without asking: differences are parked
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RUN_LOCK])
        months, terms = months_of(sorted(set(organizations)), month)
        lines = lines_of(months, cutoff, final=final)
        lines += fee_lines_of(months, cutoff, lines, final=final)
        return post_lines(lines, months, terms, cutoff, late=late) if final else preview_lines(lines, months, cutoff)


def preview_open_month(now: datetime) -> Outcome:
    """Previews of the month that `now` is in, for everybody who was charged anything by period since it began."""
    with connection.cursor() as cursor:
        cursor.execute(CUSTOMERS, {"since": now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)})
        customers = [one for (one,) in cursor.fetchall()]
    local = now.astimezone(ZoneInfo(settings.USAGE_ZONE)).date()
    return rate_periods(customers, local, safe_cutoff(), final=False) if customers else Outcome()


def correct_periods(organizations: Sequence[int], month: date, cutoff: datetime) -> Outcome:
    """Rate the months before `month` again: so many as settings.LOOK_BACK_MONTHS post the difference, older ones park it.

    Older months are looked at where usage of theirs was charged or corrected since the month before `month` began, so that
    one close that was left out loses nothing.
    """
    done = Outcome()
    for back in range(1, settings.LOOK_BACK_MONTHS + 1):
        done = _sum(done, rate_periods(organizations, months_before(month, back), cutoff, final=True))
    oldest = _oldest(organizations, month, cutoff)
    for back in range(settings.LOOK_BACK_MONTHS + 1, OLDEST + 1):
        before = months_before(month, back)
        late = [one for one, first in oldest.items() if first < before + timedelta(days=33)]
        if late:
            done = _sum(done, rate_periods(late, before, cutoff, final=True, late=True))
    return done


def _oldest(organizations: Sequence[int], month: date, cutoff: datetime) -> dict[int, date]:
    since = datetime.combine(months_before(month, 1), datetime.min.time(), cutoff.tzinfo)
    with connection.cursor() as cursor:
        cursor.execute(LATE, {"organizations": list(organizations), "since": since, "cutoff": cutoff})
        return {organization: first.date() for organization, first in cursor.fetchall()}


def months_before(month: date, back: int) -> date:
    """The first day of the month so many months before.

    >>> months_before(date(2026, 1, 31), 2)
    datetime.date(2025, 11, 1)
    """
    number = month.year * 12 + month.month - 1 - back
    return date(number // 12, number % 12 + 1, 1)


def _sum(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(one.charges + other.charges, one.parked + other.parked)
