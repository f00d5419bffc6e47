"""How much each event counts, as SQL: the relation of events, and what a row of it is worth."""

from __future__ import annotations

from typing import Final


def from_events(accepted: str = "true", earlier_accepted: str = "true", fix_accepted: str = "true") -> str:
    """Events with their series, their last corrections, and before each reading of a counter the one before it.

    accepted, earlier_accepted, fix_accepted  conditions on `event`, `earlier` and `fix`, where facts are asked for as of a moment

    Both are looked up event by event: however wrong the planner's guess of how many there are, each costs one look at an index,
    and nothing where there is no correction at all.

    A counter's reading counts the difference to the one before it in its boot; without one before it, all of it. What went
    backwards counts nothing.
    """
    return f"""
  metering_usageevent event
  JOIN metering_usageseries series ON series.id = event.series_id AND {accepted}
  LEFT JOIN LATERAL (
       SELECT fix.revision, fix.quantity, fix.gauge, fix.digest, fix.accepted_at FROM metering_usagecorrection fix
        WHERE EXISTS (SELECT FROM metering_usagecorrection) AND fix.event_id = event.key AND {fix_accepted}
        ORDER BY fix.revision DESC LIMIT 1) fix ON true
  LEFT JOIN LATERAL (
       SELECT earlier.value, earlier.seq FROM metering_usageevent earlier
        WHERE event.value IS NOT NULL AND earlier.value IS NOT NULL AND earlier.series_id = event.series_id
          AND earlier.boot_id = event.boot_id AND earlier.seq < event.seq AND {earlier_accepted}
        ORDER BY earlier.seq DESC LIMIT 1) before ON true
"""


AS_OF: Final = tuple(f"{name}.accepted_at < %(cutoff)s" for name in ("event", "earlier", "fix"))
FROM_EVENTS: Final = from_events()
# A gauge's sample adds nothing up. `gap` flags both a missing reading and one that went backwards.
QUANTITY: Final = "coalesce(fix.quantity, event.quantity, greatest(event.value - coalesce(before.value, 0), 0))"
GAP: Final = "coalesce(event.seq <> before.seq + 1 OR event.value < before.value, false)"
GAUGE: Final = "coalesce(fix.gauge, event.gauge)"
# What an event says, and what the last correction of it: nothing where there is none.
SAID: Final = "event.key::text || event.digest::text || coalesce(fix.digest::text, '')"
SAID_BYTES: Final = "uuid_send(event.key) || uuid_send(event.digest) || coalesce(uuid_send(fix.digest), '')"
DIGEST: Final = f"md5(string_agg({SAID}, ',' ORDER BY event.key))::uuid"
