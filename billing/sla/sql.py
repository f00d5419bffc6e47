"""The statements of service levels. A day is [start, end) in UTC; its tasks are those that were settled in it.

So whatever a task cost is known when its day is measured, and no task comes to a day later.
"""

from __future__ import annotations

from typing import Final

from billing.rating_sql import WORK

# The node's: it was lost, broke, or was taken back by its owner outside of a window that was announced a day before.
_AWAY: Final = f"""
       ({WORK} = 'node_fault' OR {WORK} = 'reclaimed' AND NOT EXISTS (
         SELECT FROM marketplace_maintenancewindow planned
          WHERE planned.pool_id = usage.pool_id AND planned.announced_at <= lower(planned.period) - interval '1 day'
            AND tstzrange(lower(planned.period) - interval '1 hour', upper(planned.period)) @> usage.ended_at))"""

# A task at a pool that promised something: what its customer paid there, without publishers' fees, and has not got back, and what
# was held.
_USED: Final = f"""
  SELECT task.id AS task_id, task.organization_id, task.terms ->> 'currency' AS currency, usage.pool_id,
         task.deadline IS NOT NULL AS promised, task.state = 'delivered' AS delivered,
         coalesce(sum(usage.held_core_ms) FILTER (WHERE offer.basis = 'occupancy'), 0)::bigint AS held,
         coalesce(sum(usage.held_core_ms) FILTER (WHERE offer.basis = 'occupancy' AND {_AWAY}), 0)::bigint AS away,
         coalesce(sum(paid.micros), 0)::bigint AS paid,
         coalesce(sum(paid.micros) FILTER (WHERE offer.basis = 'occupancy'), 0)::bigint AS paid_held
    FROM marketplace_task task JOIN metering_usagerecord usage ON usage.task_id = task.id AND usage.revision = 0
    LEFT JOIN marketplace_offer offer ON offer.id = usage.offer_id
    LEFT JOIN (SELECT record.attempt_id, sum(charge.amount_micros - charge.publisher_micros) AS micros
                 FROM marketplace_task mine JOIN billing_charge charge ON charge.task_id = mine.id
                 JOIN metering_usagerecord record ON record.id = charge.usage_id
                WHERE mine.settled_at >= %(start)s AND mine.settled_at < %(end)s
                  AND (charge.payer = 'user' OR charge.kind = 'refund')
                GROUP BY record.attempt_id) paid ON paid.attempt_id = usage.attempt_id
   WHERE task.settled_at >= %(start)s AND task.settled_at < %(end)s AND task.kind <> 'test'
     AND usage.pool_id IN (SELECT pool_id FROM terms)
   GROUP BY task.id, usage.pool_id"""

# The terms that hold for a customer: its own, otherwise everybody's.
FACTS: Final = f"""
WITH terms AS MATERIALIZED (
  SELECT id, pool_id, customer_id, kind FROM ({{terms}}) promised
), used AS MATERIALIZED ({_USED}
), judged AS MATERIALIZED (
  SELECT DISTINCT ON (used.task_id, used.pool_id, terms.kind) terms.id AS terms_id, terms.kind, used.*
    FROM used JOIN terms ON terms.pool_id = used.pool_id
     AND (terms.customer_id IS NULL OR terms.customer_id = used.organization_id)
   WHERE CASE terms.kind WHEN 'deadline' THEN used.promised ELSE used.held > 0 END
   ORDER BY used.task_id, used.pool_id, terms.kind, terms.customer_id
)
SELECT terms_id, organization_id, currency, kind,
       CASE kind WHEN 'deadline' THEN count(*) FILTER (WHERE delivered) ELSE sum(held - away) END::bigint AS good,
       CASE kind WHEN 'deadline' THEN count(*) ELSE sum(held) END::bigint AS total,
       array_agg(task_id ORDER BY task_id) AS tasks,
       array_agg(greatest(CASE kind WHEN 'deadline' THEN paid ELSE paid_held END, 0) ORDER BY task_id) AS paid,
       coalesce(array_agg(task_id ORDER BY task_id)
                FILTER (WHERE CASE kind WHEN 'deadline' THEN NOT delivered ELSE away > 0 END), '{{{{}}}}') AS missed
  FROM judged
 GROUP BY terms_id, organization_id, currency, kind
 ORDER BY terms_id, organization_id, currency
"""
IN_FORCE: Final = "SELECT * FROM billing_slaterms WHERE valid @> %(start)s::timestamptz AND withdrawn_at IS NULL"
# As many parameters as `%(...)s`: terms that are only imagined, for one pool.
IMAGINED: Final = "SELECT 0::bigint AS id, %(pool)s::bigint AS pool_id, NULL::bigint AS customer_id, %(kind)s::text AS kind"

# Corrections of their usage, disputes and other measurements wait.
LOCK_TASKS: Final = """
SELECT id FROM marketplace_task WHERE settled_at >= %(start)s AND settled_at < %(end)s
   AND EXISTS (SELECT FROM metering_usagerecord usage
                WHERE usage.task_id = marketplace_task.id AND usage.pool_id IN (SELECT pool_id FROM ({terms}) promised))
 ORDER BY id FOR NO KEY UPDATE
"""
