"""The statements of ingestion. A batch costs the same number of them whatever its size, but for up to four look-ups."""

from __future__ import annotations

from typing import Final

SERIES: Final = """
SELECT asked.place, series.id
  FROM unnest(%(source)s::text[], %(pool)s::bigint[], %(customer)s::bigint[], %(meter)s::text[], %(unit)s::text[])
       WITH ORDINALITY AS asked(source, pool, customer, meter, unit, place)
  JOIN metering_usageseries series
    ON series.provider_id = %(provider)s AND series.source = asked.source AND series.pool_id = asked.pool
   AND series.customer_id = asked.customer AND series.meter = asked.meter AND series.unit = asked.unit
"""
# In one order for everybody, so that two batches with the same new series never wait for each other in a circle.
NEW_SERIES: Final = """
INSERT INTO metering_usageseries (provider_id, source, pool_id, customer_id, meter, unit)
SELECT %(provider)s, source, pool, customer, meter, unit
  FROM unnest(%(source)s::text[], %(pool)s::bigint[], %(customer)s::bigint[], %(meter)s::text[], %(unit)s::text[])
       AS asked(source, pool, customer, meter, unit)
 ORDER BY source, pool, customer, meter, unit
ON CONFLICT DO NOTHING
"""
STORED: Final = """
SELECT uuid_send(key), uuid_send(digest) FROM metering_usageevent WHERE key = ANY(%(keys)s::uuid[])
"""
STAGE: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS usage_stage (
  key uuid, digest uuid, series_id bigint, external_id text, occurred_at timestamptz, quantity numeric, labels jsonb,
  value numeric, boot_id text, seq bigint, gauge numeric, old boolean
) ON COMMIT DELETE ROWS
"""
COPY: Final = "COPY usage_stage FROM STDIN"

# Ordered by key, so that the index is written from left to right and two batches never wait for each other in a circle.
INSERT: Final = """
INSERT INTO metering_usageevent (key, series_id, batch_id, external_id, occurred_at, accepted_at, quantity, labels, digest,
                                 value, boot_id, seq, gauge)
SELECT key, series_id, %(batch)s, external_id, occurred_at, %(now)s, quantity, labels, digest, value, boot_id, seq, gauge
  FROM usage_stage WHERE NOT old ORDER BY key
ON CONFLICT DO NOTHING
"""
# What was not inserted by this batch. A new statement, so that it sees what others committed while INSERT waited for them.
OTHERS: Final = """
SELECT stage.key::text, CASE WHEN event.key IS NOT NULL THEN event.digest::text WHEN stage.old THEN 'too_old' ELSE 'seq_used' END
  FROM usage_stage stage LEFT JOIN metering_usageevent event ON event.key = stage.key
 WHERE event.batch_id IS DISTINCT FROM %(batch)s
"""
# A reading changes its own hour, and that of the reading after it: there the difference begins anew. A heartbeat concerns
# everybody whose usage the pool reports, and is looked at when the local day is over wherever that is.
_DIRTY: Final = """
INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour, due)
SELECT DISTINCT CASE WHEN beats THEN NULL ELSE series.customer_id END, series.pool_id,
       CASE WHEN beats THEN '' ELSE series.meter END, CASE WHEN beats THEN '' ELSE series.unit END,
       date_trunc('hour', changed.at, 'UTC'),
       CASE WHEN beats THEN greatest(now(), date_trunc('hour', changed.at, 'UTC') + interval '26 hours') ELSE now() END
  FROM ({changed}) changed
  JOIN metering_usageseries series ON series.id = changed.series_id
 CROSS JOIN LATERAL (SELECT series.meter = 'heartbeat' AS beats) kind
"""
DIRTY: Final = _DIRTY.format(
    changed="""
       SELECT series_id, date_trunc('hour', occurred_at, 'UTC') AS at FROM usage_stage WHERE NOT old
        GROUP BY 1, 2
        UNION
       SELECT stage.series_id, following.occurred_at
         FROM usage_stage stage
        CROSS JOIN LATERAL (
              SELECT occurred_at FROM metering_usageevent event
               WHERE event.series_id = stage.series_id AND event.boot_id = stage.boot_id AND event.seq > stage.seq
                 AND event.value IS NOT NULL
               ORDER BY event.seq LIMIT 1) following
        WHERE stage.value IS NOT NULL"""
)
DIRTY_HOURS: Final = _DIRTY.format(
    changed="SELECT * FROM unnest(%(series)s::bigint[], %(hours)s::timestamptz[]) AS hours (series_id, at)"
)
QUARANTINE: Final = """
INSERT INTO metering_quarantinedevent (key, digest, provider_id, reason, state, document, occurred_at, received_at)
SELECT key, digest, %(provider)s, reason, 'open', document, occurred_at, %(now)s
  FROM jsonb_to_recordset(%(kept)s::jsonb)
       AS refused(key uuid, digest uuid, reason text, document jsonb, occurred_at timestamptz)
 ORDER BY key, digest
ON CONFLICT (key, digest) DO NOTHING
"""
