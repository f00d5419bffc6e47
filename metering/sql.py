"""The statement that measures a batch of ended attempts: `metering/meters.py` as PostgreSQL says it.

A claim is jsonb from a stranger's machine. Every counter is looked at with jsonb_typeof before it is cast, stays
numeric until it is below its bound, and only then becomes a bigint: no claim can make the batch fail.
Subqueries end in OFFSET 0 so that each expression is computed once per row, without a copy of the rows.
"""

from __future__ import annotations

from typing import Final

from metering.meters import (
    BYTES_PER_MS_OF_MBPS,
    CHECKPOINTED,
    LARGEST,
    LARGEST_GFLOP,
    LARGEST_QUANTITY,
    TFLOP,
    WATTS_PER_ACCELERATOR,
    WATTS_PER_CORE,
)


def _number(json: str) -> str:
    """A counter as it was claimed: NULL if left out, -1 (which no clamp lets through) if it is no number."""
    others = " ".join(f"WHEN '{kind}' THEN -1" for kind in ("string", "boolean", "object", "array"))
    return f"CASE jsonb_typeof({json}) WHEN 'number' THEN ({json})::numeric {others} END"


def _clamped(number: str, most: str) -> str:
    return f"floor(least(greatest(coalesce({number}, 0), 0), {most}))"


def _quantity(json: str) -> str:
    return _clamped(_number(f"need.document {json}"), str(LARGEST_QUANTITY))


def _claims(*names: str) -> str:
    cases = (_number(f"said.claim -> '{name}'") + f" AS {name}_claim" for name in names)
    return ",\n         ".join(cases)


def _flags(*names: str) -> str:
    """The names of counters that were claimed and not taken as they stood."""
    return ",\n           ".join(f"CASE WHEN {name}_claim <> {name} THEN '{name}' END" for name in names)


_MOST: Final = f"{LARGEST}::numeric"
_WATTS: Final = f"(cores * {WATTS_PER_CORE} + accelerators * {WATTS_PER_ACCELERATOR})"
_JOULES: Final = f"least(div(wall_ms * {_WATTS}, 1000), {_MOST})"

# Few rows: every class of need in the batch, read once.
_NEEDS: Final = f"""
  SELECT need.id, need.variant,
         {_quantity("#> '{need,cores}'")} AS cores,
         {_quantity("#> '{need,memory_mib}'")} AS memory_mib,
         least(devices.number, {LARGEST_QUANTITY}) AS accelerators,
         nullif({_quantity("-> 'run_s'")}, 0) * 1000 AS run_ms,
         CASE WHEN need.document ->> 'stage' ~ '^[0-9]{{1,2}}$' THEN (need.document ->> 'stage')::int ELSE 0 END AS stage,
         CASE WHEN need.document ->> 'tflop' ~ '{TFLOP.pattern}'
              THEN round(least((need.document ->> 'tflop')::numeric * 1000, {LARGEST_GFLOP}), 6)
              ELSE 0 END AS gflop
    FROM (SELECT held.id, ran.variant,
                 held.document || CASE WHEN jsonb_typeof(held.document -> 'variants' -> ran.variant) = 'object'
                      THEN (held.document -> 'variants' -> ran.variant) - '{{instruction_set,accelerator}}'::text[]
                      ELSE '{{}}' END AS document
            FROM (SELECT DISTINCT need_id, variant FROM ended) ran JOIN scheduler_need held ON held.id = ran.need_id
         ) need
   CROSS JOIN LATERAL (
         SELECT coalesce(sum({_clamped(_number("device -> 'count'"), str(LARGEST_QUANTITY))}), 0) AS number
           FROM jsonb_array_elements(CASE jsonb_typeof(need.document #> '{{need,accelerators}}')
                WHEN 'array' THEN need.document #> '{{need,accelerators}}' ELSE '[]' END) device
         ) devices
"""

# {model: ms}, asked only where accelerators are claimed: [sum, 1 if a value was refused].
_DEVICES: Final = f"""
         CASE WHEN jsonb_typeof(said.claim -> 'accelerator_ms') = 'object' THEN (
           SELECT ARRAY[coalesce(sum(taken), 0), coalesce(max((claimed <> taken)::int), 0)]
             FROM (SELECT claimed, {_clamped("claimed", _MOST)} AS taken
                     FROM (SELECT {_number("each.value")} AS claimed
                             FROM jsonb_each(said.claim -> 'accelerator_ms') each) claims) parts)
              WHEN jsonb_typeof(said.claim -> 'accelerator_ms') <> 'null' THEN ARRAY[0, 1]::numeric[]
         END"""

_ENDED: Final = f"""
  SELECT attempt.id, attempt.task_id, attempt.pool_id, attempt.offer_id, attempt.need_id, attempt.variant, attempt.batch_id,
         attempt.state, CASE WHEN saved.at IS NULL THEN attempt.reason_class ELSE '{CHECKPOINTED}' END AS reason_class,
         attempt.leased_at, attempt.ended_at,
         greatest(floor(extract(epoch FROM coalesce(least(saved.at, attempt.ended_at), attempt.ended_at) - attempt.leased_at)
                        * 1000), 0) AS window_ms,
         CASE WHEN jsonb_typeof(said.claim) NOT IN ('object', 'null') THEN 'usage' END AS usage_flag,
         {_claims("wall_ms", "core_ms", "memory_mib_ms", "bytes_in", "bytes_out", "joules")},
         {_DEVICES} AS devices
    FROM picked
    JOIN scheduler_attempt attempt ON attempt.id = picked.attempt_id
    LEFT JOIN scheduler_checkpoint saved
           ON saved.attempt_id = attempt.id AND attempt.state = 'failed' AND attempt.reason_class = 'reclaimed'
          AND NOT attempt.checked -- what is to be checked is begun anew by others: nobody goes on from it
   CROSS JOIN LATERAL (SELECT CASE WHEN saved.at IS NOT NULL THEN saved.usage
                                   WHEN attempt.state <> 'lost' THEN attempt.usage END AS claim) said
   WHERE attempt.state <> 'released'
"""

_TIMED: Final = f"""
  SELECT ended.*, need.cores, need.memory_mib, need.accelerators, need.gflop, need.stage,
         pool.organization_id AS provider_id, task.organization_id, task.api_key_id, task.capability_version_id,
         capability.organization_id AS publisher_id,
         least(ended.window_ms * pool.bandwidth_mbps * {BYTES_PER_MS_OF_MBPS}, {_MOST}) AS moved,
         CASE ended.state WHEN 'lost' THEN ended.window_ms
              ELSE {_clamped("wall_ms_claim", "least(ended.window_ms, need.run_ms)")} END AS wall_ms
    FROM ended
    JOIN needs need ON need.id = ended.need_id AND need.variant = ended.variant
    JOIN marketplace_pool pool ON pool.id = ended.pool_id
    JOIN marketplace_task task ON task.id = ended.task_id
    JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
    JOIN marketplace_capability capability ON capability.id = version.capability_id
   ORDER BY ended.id OFFSET 0
"""

_MEASURED: Final = f"""
  SELECT timed.*,
         {_clamped("core_ms_claim", f"least(wall_ms * cores, {_MOST})")} AS core_ms,
         least(wall_ms * cores, {_MOST}) AS held_core_ms,
         {_clamped("memory_mib_ms_claim", f"least(wall_ms * memory_mib, {_MOST})")} AS memory_mib_ms,
         least(coalesce(devices[1], 0), wall_ms * accelerators, {_MOST}) AS accelerator_ms,
         {_clamped("bytes_in_claim", "moved")} AS bytes_in,
         {_clamped("bytes_out_claim", "moved")} AS bytes_out,
         CASE WHEN joules_claim IS NOT NULL THEN {_clamped("joules_claim", _JOULES)} END AS joules
    FROM ({_TIMED}) timed OFFSET 0
"""

# The days in which something was held are to be built anew. No local day is as short as twelve hours.
_MARKED: Final = """
  INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
  SELECT DISTINCT organization_id, pool_id, meter, unit, hour
    FROM (SELECT organization_id, pool_id, date_trunc('hour', started_at, 'UTC') AS since,
                 date_trunc('hour', ended_at, 'UTC') AS until, bool_or(cores > 0) AS cores,
                 bool_or(accelerators > 0) AS accelerators
            FROM recorded GROUP BY 1, 2, 3, 4) held
   CROSS JOIN LATERAL (VALUES ('held_cores', 'core', cores), ('held_accelerators', 'accelerator', accelerators))
         AS meters (meter, unit, any_held)
   CROSS JOIN LATERAL (SELECT generate_series(since, until, interval '12 hours') UNION SELECT until) AS hours (hour)
   WHERE any_held
"""

# A queue that is empty whenever PostgreSQL counts it looks like a single row: any join with it may come out as every row
# compared with every other. Rows that are locked stay where they are, so they are deleted by their place.
MEASURE: Final = f"""
WITH picked AS (
  DELETE FROM scheduler_ended WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM scheduler_ended ORDER BY attempt_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
  RETURNING attempt_id
), ended AS MATERIALIZED ({_ENDED}
), needs AS MATERIALIZED ({_NEEDS}
), priced AS (
  UPDATE marketplace_offer SET used = true
   WHERE NOT used AND id IN (SELECT offer_id FROM ended)
), recorded AS (
  INSERT INTO metering_usagerecord (
         attempt_id, revision, task_id, organization_id, provider_id, publisher_id, pool_id, offer_id, api_key_id,
         capability_version_id, stage, outcome, reason_class, started_at, ended_at, wall_ms, core_ms, held_core_ms, cores,
         accelerators, memory_mib_ms, accelerator_ms, fp32_gflop, bytes_in, bytes_out, joules, flags, batch_id, measured_at)
  SELECT id, 0, task_id, organization_id, provider_id, publisher_id, pool_id, offer_id, api_key_id,
         capability_version_id, stage, state, reason_class, leased_at, ended_at, wall_ms, core_ms, held_core_ms, cores,
         accelerators, memory_mib_ms, accelerator_ms,
         CASE WHEN state = 'valid' OR state = 'superseded' AND reason_class = '' THEN gflop ELSE 0 END, bytes_in, bytes_out, joules,
         array_remove(ARRAY[
           usage_flag,
           {_flags("wall_ms", "core_ms", "memory_mib_ms")},
           CASE WHEN devices[2] = 1 OR devices[1] > accelerator_ms THEN 'accelerator_ms' END,
           {_flags("bytes_in", "bytes_out", "joules")}], NULL),
         batch_id, statement_timestamp() -- the statement begins behind the lock that `safe_cutoff` waits for
    FROM ({_MEASURED}) measured
  ON CONFLICT (attempt_id, revision) DO NOTHING
  RETURNING organization_id, pool_id, started_at, ended_at, cores, accelerators
), marked AS ({_MARKED}
)
SELECT (SELECT count(*) FROM picked), (SELECT count(*) FROM recorded),
       ARRAY(SELECT DISTINCT task_id FROM ended)
"""
