"""What the resources of a version's tasks cost in a month: what a publisher's percentage (`fee_share`) is of.

Of tasks that are charged by themselves it is what the customer was charged for them, without fees. Of a pool's price list by month
it is a part of each of its lines, in proportion to the core time that the version's tasks held under it; meters that the pool
itself reports are left out, since no task made that usage. What disputes took back changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

from billing.periods.rating import Month
from billing.periods.reading import Line, rows, total_micros, windows
from billing.periods.sql import HELD_BY_VERSION, TASKS_WITH_FEES
from core.money import MICROS, text_of

# A charge of a task without its publisher's fee.
RESOURCES: Final = """CASE charge.kind WHEN 'usage' THEN greatest(charge.amount_micros - coalesce((
         SELECT round(sum((line ->> 'amount')::numeric) * 1000000) FROM jsonb_array_elements(charge.lines) line
          WHERE line ->> 'meter' = 'publisher_fee'), 0), 0) ELSE charge.amount_micros END"""
OF_TASKS: Final = f"""{TASKS_WITH_FEES}
SELECT task.organization_id, task.version_id, task.start, sum({RESOURCES})::bigint
  FROM task
  JOIN billing_charge charge ON charge.task_id = task.id AND charge.kind IN ('usage', 'delta') AND charge.payer = 'user'
   AND charge.charged_at < %(cutoff)s
  JOIN metering_usagerecord usage ON usage.id = charge.usage_id AND usage.ended_at >= start AND usage.ended_at < until
 WHERE task.version_id = ANY(%(versions)s)
 GROUP BY task.organization_id, task.version_id, task.start
"""


class Place(NamedTuple):
    """A version that a customer used in the month that begins then."""

    organization: int
    version: int
    start: datetime


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of what resources cost: `held` of `of` core-microseconds of a line of a price list; all of what tasks were charged.

    offer, meter  None: of tasks that were charged by themselves
    """

    offer: int | None
    meter: str | None
    micros: int
    held: int = 1
    of: int = 1

    @property
    def amount(self) -> Fraction:
        """In currency units, exact."""
        return Fraction(self.micros * self.held, self.of * MICROS)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        told: dict[str, Any] = {"offer": self.offer, "meter": self.meter, "amount": text_of(self.micros)}
        return told | {"held_core_seconds": text_of(self.held), "of_core_seconds": text_of(self.of)}


def portions_of(
    months: Mapping[int, Month], cutoff: datetime, versions: Sequence[int], lines: Sequence[Line]
) -> dict[Place, list[Portion]]:
    """What the percentages of these versions are of, in order. `lines` are all of the months' price lists. Two statements."""
    found: dict[Place, list[Portion]] = defaultdict(list)
    asked = {**windows(months), "cutoff": cutoff, "versions": list(versions)}
    for organization, version, start, micros in rows(OF_TASKS, asked):
        found[Place(organization, version, start)].append(Portion(None, None, micros))
    listed: dict[tuple[int, int, datetime], list[Line]] = defaultdict(list)
    for line in lines:
        if line.key.payer == "user" and line.is_measured:
            listed[line.key.organization, line.key.offer, line.key.start].append(line)
    for organization, offer, start, version, held, of in rows(HELD_BY_VERSION, asked):
        mine = sorted(listed[organization, offer, start], key=lambda line: line.key.meter)
        found[Place(organization, version, start)] += [
            Portion(offer, line.key.meter, total_micros(line.rated), int(held), int(of)) for line in mine
        ]
    return {place: [one for one in portions if one.micros] for place, portions in found.items()}
