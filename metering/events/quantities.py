"""How much each event counts, as SQL: `{EVENTS}` stands for a relation where a query needs events with their quantities."""

from __future__ import annotations

from typing import Final

# A counter's reading counts the difference to the one before it in its boot; without one before it, all of it. What went
# backwards counts nothing. `gap` flags both a missing reading and one that went backwards.
FROM_EVENTS: Final = """
  metering_usageevent event
  JOIN metering_usageseries series ON series.id = event.series_id
  LEFT JOIN LATERAL (
       SELECT earlier.value, earlier.seq FROM metering_usageevent earlier
        WHERE event.value IS NOT NULL AND earlier.value IS NOT NULL AND earlier.series_id = event.series_id
          AND earlier.boot_id = event.boot_id AND earlier.seq < event.seq
        ORDER BY earlier.seq DESC LIMIT 1) before ON true
"""
QUANTITY: Final = "coalesce(event.quantity, greatest(event.value - coalesce(before.value, 0), 0))"
GAP: Final = "coalesce(event.seq <> before.seq + 1 OR event.value < before.value, false)"
DIGEST: Final = "md5(string_agg(event.key::text || event.digest::text, ',' ORDER BY event.key))::uuid"
