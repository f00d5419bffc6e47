"""What is counted of a window, by province: one statement. Pools count where they stand, customers where their users are.

A community's machines count as general ones. Only what has a GB/T 2260 code counts; amounts are of one currency.
"""

from __future__ import annotations

from typing import Final

_KINDS: Final = {"general": "'general', 'community'", "ai": "'intelligent'", "super": "'super'"}
_POOLS: Final = """
  FROM marketplace_pool pool JOIN marketplace_region region ON region.id = pool.region_id AND region.gb_code IS NOT NULL
 WHERE pool.state IN ('active', 'draining') AND pool.kind IN ({kinds})
 GROUP BY region.gb_code"""
# Where there are pools at all, none of a kind is a fact and not a gap: 0.
_HERE: Final = """
  FROM marketplace_pool pool JOIN marketplace_region region ON region.id = pool.region_id AND region.gb_code IS NOT NULL
 WHERE pool.state IN ('active', 'draining')"""
_OF_KIND: Final = "FILTER (WHERE pool.kind IN ({kinds}))"
# What an active pool could have done since it was verified, within the window.
_OFFERED: Final = """
sum(pool.fp32_mflops * 1000000::numeric
    * extract(epoch FROM greatest(%(until)s - greatest(coalesce(pool.verified_at, pool.created_at), %(start)s), interval '0')))"""
_SCALE: Final = """
SELECT 'live_fp32_{name}', region.gb_code, coalesce(sum(pool.fp32_mflops) {of}, 0) * 1000000::numeric, count(*) {of}{here}
 GROUP BY region.gb_code"""
_WORK: Final = """
SELECT 'live_fp32_offered_{name}', region.gb_code, coalesce({offered} {of}, 0), count(*) {of}{here} GROUP BY region.gb_code"""
_USED: Final = """
SELECT 'live_fp32_used_{name}', gb_code, sum(gflop) * 1000000000, sum(n)::bigint
  FROM (SELECT region.gb_code, usage.fp32_gflop AS gflop, 1 AS n
          FROM metering_usagerecord usage JOIN marketplace_pool pool ON pool.id = usage.pool_id AND pool.kind IN ({kinds})
          JOIN marketplace_region region ON region.id = pool.region_id AND region.gb_code IS NOT NULL
         WHERE usage.revision = 0 AND usage.ended_at >= %(start)s AND usage.ended_at < %(until)s
        UNION ALL
        SELECT region.gb_code, 0, 0{here}) used
 GROUP BY gb_code"""
_REVENUE: Final = """
SELECT '{variable}', region.gb_code, sum(due.micros) * 0.000001, count(*)
  FROM (SELECT usage.pool_id, charge.amount_micros AS micros
          FROM billing_charge charge JOIN metering_usagerecord usage ON usage.id = charge.usage_id
         WHERE charge.charged_at >= {start} AND charge.charged_at < {until} AND charge.currency = %(currency)s
        UNION ALL
        SELECT offer.pool_id, charge.amount_micros
          FROM billing_periodcharge charge JOIN marketplace_offer offer ON offer.id = charge.offer_id
         WHERE charge.rated_at >= {start} AND charge.rated_at < {until} AND charge.currency = %(currency)s) due
  JOIN marketplace_pool pool ON pool.id = due.pool_id
  JOIN marketplace_region region ON region.id = pool.region_id AND region.gb_code IS NOT NULL
 GROUP BY region.gb_code"""
_PROVIDERS: Final = """
SELECT '{variable}', region.gb_code, count(DISTINCT pool.organization_id)::numeric, count(DISTINCT pool.organization_id)"""
_TASKS: Final = """
  FROM marketplace_task task JOIN marketplace_organization customer ON customer.id = task.organization_id
  JOIN marketplace_region region ON region.id = customer.region_id AND region.gb_code IS NOT NULL"""


def _parts() -> list[str]:
    found = []
    for name, kinds in _KINDS.items():
        found += [
            _SCALE.format(name=name, of=_OF_KIND.format(kinds=kinds), here=_HERE),
            _WORK.format(name=name, of=_OF_KIND.format(kinds=kinds), offered=_OFFERED, here=_HERE),
            _USED.format(name=name, kinds=kinds, here=_HERE),
        ]
    every = ", ".join(_KINDS.values())
    segments = {"live_providers": every, "live_providers_existing": f"{_KINDS['general']}, {_KINDS['super']}"}
    for variable, kinds in (segments | {"live_providers_emerging": _KINDS["ai"]}).items():
        found.append(_PROVIDERS.format(variable=variable) + _POOLS.format(kinds=kinds))
    found.append(_REVENUE.format(variable="live_revenue", start="%(start)s", until="%(until)s"))
    found.append(_REVENUE.format(variable="live_revenue_before", start="%(before)s", until="%(start)s"))
    found.append(f"""
SELECT 'live_customers', region.gb_code, count(DISTINCT customer.id)::numeric, count(*){_TASKS}
 WHERE task.settled_at >= %(start)s AND task.settled_at < %(until)s GROUP BY region.gb_code""")
    for variable, late in (("live_started", ""), ("live_started_in_time", _IN_TIME)):
        found.append(f"""
SELECT '{variable}', region.gb_code, count(*)::numeric, count(*){_TASKS}
  JOIN scheduler_prediction promised ON promised.task_id = task.id
 WHERE task.started_at >= %(start)s AND task.started_at < %(until)s{late} GROUP BY region.gb_code""")
    found.append("""
SELECT 'live_latency', region.gb_code, percentile_cont(0.5) WITHIN GROUP (ORDER BY probe.latency_p50_s)::numeric * 1000, count(*)
  FROM scheduler_probe probe JOIN marketplace_region region ON region.id = probe.region_id AND region.gb_code IS NOT NULL
 WHERE probe.measured_at >= %(start)s AND probe.measured_at < %(until)s GROUP BY region.gb_code""")
    found.append(f"""
SELECT 'live_industries', region.gb_code, count(DISTINCT customer.industry)::numeric, count(DISTINCT customer.id){_TASKS}
 WHERE task.settled_at >= %(start)s AND task.settled_at < %(until)s AND customer.industry <> '' GROUP BY region.gb_code""")
    found.append(f"""
SELECT 'live_new_applications', region.gb_code, count(DISTINCT capability.id) FILTER (WHERE capability.application <> '')::numeric,
       count(*){_TASKS}
  JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
  JOIN marketplace_capability capability ON capability.id = version.capability_id
 WHERE task.settled_at >= %(start)s AND task.settled_at < %(until)s GROUP BY region.gb_code""")
    return [*found, _SATISFACTION]


# 1 to 5 stars as 0 to 100. Few ratings are drawn towards the platform's mean, as if `shrink` more had said that; what fewer than
# `fewest` organizations said is not told, so that nobody's own word can be read off.
_SATISFACTION: Final = f"""
SELECT 'live_satisfaction', gb_code, 100 * ((stars + %(shrink)s * mean) / (n + %(shrink)s) - 1) / 4, n
  FROM (SELECT region.gb_code, sum(rating.stars)::numeric AS stars, count(*) AS n, count(DISTINCT rating.organization_id) AS raters,
               sum(sum(rating.stars)) OVER () / sum(count(*)) OVER () AS mean{_TASKS}
          JOIN index_taskrating rating ON rating.task_id = task.id
         WHERE rating.rated_at >= %(start)s AND rating.rated_at < %(until)s
         GROUP BY region.gb_code) rated
 WHERE raters >= %(fewest)s"""
_IN_TIME: Final = " AND task.started_at <= promised.made_at + promised.start_p90_s * interval '1 second'"
COUNTED: Final = "\nUNION ALL\n".join(_parts())
