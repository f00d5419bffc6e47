"""How much each event counts, as SQL: the relation of events, and what a row of it is worth."""

from __future__ import annotations

from typing import Final


def from_events(accepted: str = "true", earlier_accepted: str = "true") -> str:
    """Events with their series, and before each reading of a counter the one before it.

    accepted, earlier_accepted  conditions on `event` and `earlier`, where facts are asked for as of a moment

    A counter's reading counts the difference to the one before it in its boot; without one before it, all of it. What went
    backwards counts nothing.
    """
    return f"""
  metering_usageevent event
  JOIN metering_usageseries series ON series.id = event.series_id AND {accepted}
  LEFT JOIN LATERAL (
       SELECT earlier.value, earlier.seq FROM metering_usageevent earlier
        WHERE event.value IS NOT NULL AND earlier.value IS NOT NULL AND earlier.series_id = event.series_id
          AND earlier.boot_id = event.boot_id AND earlier.seq < event.seq AND {earlier_accepted}
        ORDER BY earlier.seq DESC LIMIT 1) before ON true
"""


AS_OF: Final = ("event.accepted_at < %(cutoff)s", "earlier.accepted_at < %(cutoff)s")
FROM_EVENTS: Final = from_events()
# A gauge's sample adds nothing up. `gap` flags both a missing reading and one that went backwards.
QUANTITY: Final = "coalesce(event.quantity, greatest(event.value - coalesce(before.value, 0), 0))"
GAP: Final = "coalesce(event.seq <> before.seq + 1 OR event.value < before.value, false)"
DIGEST: Final = "md5(string_agg(event.key::text || event.digest::text, ',' ORDER BY event.key))::uuid"
