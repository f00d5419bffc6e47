"""The sweeps of the scheduler: leases past their time, units placed on pools that went away, wakes that were lost."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from core.wake import wake
from marketplace.models import Task
from scheduler.closing import CLOSED_NOW
from scheduler.services.advancing import tasks_to_advance
from scheduler.services.blaming import strand_units
from scheduler.services.settling import end_attempts
from scheduler.sql import dicts, rows

LOST_PER_SWEEP: Final = 20_000

_OVERDUE: Final = """
SELECT a.id, a.fence, a.agent_id FROM scheduler_attempt a JOIN marketplace_agent g ON g.id = a.agent_id
WHERE a.state IN ('leased', 'running') AND (g.lease_until < now() OR g.retired_at IS NOT NULL)
ORDER BY a.id LIMIT %s FOR UPDATE OF a SKIP LOCKED
"""
# Live, but for longer than its own time limit and a good margin: the agent names it for ever and never ends it.
_OVERRUN: Final = """
SELECT a.id, a.fence, a.agent_id FROM scheduler_attempt a JOIN scheduler_need n ON n.id = a.need_id
WHERE a.state IN ('leased', 'running')
  AND a.leased_at < now() - ((n.document->>'run_s')::float * 2 + 3600) * interval '1 second'
ORDER BY a.id LIMIT %s FOR UPDATE OF a SKIP LOCKED
"""
# Placed on a pool that takes no work now, or where it was not fetched: back to waiting, for another pool.
_UNFETCHED: Final = f"""
UPDATE scheduler_unit u SET state = 'waiting', pool_id = NULL
FROM marketplace_pool p
WHERE u.state = 'placed' AND p.id = u.pool_id AND (
    p.state <> 'active' OR p.quarantined_until > now() OR {CLOSED_NOW} OR NOT EXISTS (
        SELECT 1 FROM marketplace_agent g
        WHERE g.pool_id = p.id AND g.retired_at IS NULL AND g.lease_until > now()))
RETURNING u.id
"""


def expire_leases() -> dict[str, int]:
    """End what is overdue and take back what was not fetched. Returns the counts, for the operator's gauge."""
    counts = {"lost": 0, "overrun": 0, "unfetched": 0, "stranded": 0}
    with transaction.atomic():
        overdue = dicts(_OVERDUE, [LOST_PER_SWEEP])
        counts["lost"] = end_attempts(overdue, code="lease_expired", detail="the agent was not heard of in time")
    with transaction.atomic():
        overrun = dicts(_OVERRUN, [LOST_PER_SWEEP])
        counts["overrun"] = end_attempts(overrun, code="overrun", detail="it ran far beyond its time limit")
    with transaction.atomic():
        counts["unfetched"] = len(rows(_UNFETCHED, {"notice": settings.RECLAIM_NOTICE_SECONDS}))
        if any(counts.values()):
            wake("scheduler.match")
    counts["stranded"] = strand_units()
    return counts


def sweep() -> dict[str, list[Any]]:
    """Rows whose wake was lost: tasks without all their units, tasks with a step that nobody took."""
    now = timezone.now()
    lacking = Task.objects.filter(state__in=["queued", "running"], units_expanded__lt=F("units_total"))
    lacking = lacking.filter(Q(units_open=None) | Q(units_expanded__lt=F("units_open")))
    lacking = lacking.filter(cancel_requested_at=None, reason_class="")
    return {
        "expand": list(lacking.order_by("id").values_list("id", flat=True)[:500]),
        "advance": tasks_to_advance(now),
    }
