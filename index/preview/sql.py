"""What a recount reads beside the counts themselves: by which rows it is due, and what happened since the last one.

MARKS and POOLS have the columns of COUNTED, so that one statement reads all of it, of one moment.
"""

from __future__ import annotations

from typing import Final

from index.live.sql import COUNTED

# Rows that a recount has seen. Charges are numbered before they are committed: one that commits late shows in how many there are
# among the last ten thousand.
MARKS: Final = """
SELECT 'mark/charges', '', coalesce(newest.id, 0)::numeric,
       (SELECT count(*) FROM billing_charge WHERE id > newest.id - 10000)
  FROM (SELECT max(id) AS id FROM billing_charge) newest
UNION ALL
SELECT 'mark/months', '', coalesce(newest.id, 0)::numeric,
       (SELECT count(*) FROM billing_periodcharge WHERE id > newest.id - 10000)
  FROM (SELECT max(id) AS id FROM billing_periodcharge) newest
UNION ALL
SELECT 'mark/pools', coalesce(md5(string_agg(
         concat_ws(' ', pool.id, pool.kind, pool.region_id, pool.fp32_mflops, pool.organization_id, pool.verified_at), ';'
         ORDER BY pool.id)), ''), 0, count(*)
  FROM marketplace_pool pool WHERE pool.state IN ('active', 'draining')
UNION ALL
SELECT 'mark/ratings', coalesce(max(rated_at)::text, ''), 0, count(*) FROM index_taskrating WHERE rated_at >= %(start)s"""
POOLS: Final = """
SELECT 'pool/' || pool.kind, region.gb_code, pool.id::numeric, pool.fp32_mflops
  FROM marketplace_pool pool JOIN marketplace_region region ON region.id = pool.region_id AND region.gb_code IS NOT NULL
 WHERE pool.state IN ('active', 'draining')"""
MOMENT: Final = f"{COUNTED}\nUNION ALL\n{MARKS}\nUNION ALL\n{POOLS}"
# Charges since the last recount, where their pools stand and where their customers are.
CHARGED: Final = """
WITH fresh AS MATERIALIZED (
  SELECT id, usage_id, task_id, organization_id FROM billing_charge WHERE id > %(after)s AND id <= %(until)s)
SELECT 'site', region.gb_code, count(*), count(DISTINCT fresh.task_id)
  FROM fresh JOIN metering_usagerecord usage ON usage.id = fresh.usage_id JOIN marketplace_pool pool ON pool.id = usage.pool_id
  JOIN marketplace_region region ON region.id = pool.region_id AND region.gb_code IS NOT NULL GROUP BY region.gb_code
UNION ALL
SELECT 'customer', region.gb_code, count(*), count(DISTINCT fresh.task_id)
  FROM fresh JOIN marketplace_organization customer ON customer.id = fresh.organization_id
  JOIN marketplace_region region ON region.id = customer.region_id AND region.gb_code IS NOT NULL GROUP BY region.gb_code"""
# Only one recount at a time, and none more often than its own length allows.
LOCK: Final = 0x70_72_65_76  # advisory: "prev"
