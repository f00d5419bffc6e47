"""How long something was occupied, in billable quanta (按占用时间). Pure, whole numbers of one unit of time.

    B(t) = 0                                             while nothing has run
         = max(minimum, ceil(elapsed(t) / quantum) * quantum)
    charged in [from, to) = B(to) - B(from)

`elapsed` counts from the task's first start, pauses left out, so charges telescope: over any periods they add up to B(end).
Several things held at once are charged each for itself; the amount held is a factor of the price, never of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from core.errors import Invalid

Run = tuple[int, int | None]  # [start, end); None: it still runs


@dataclass(frozen=True, slots=True)
class Rule:
    """Time is billed in whole quanta, and once anything has run for at least `minimum`."""

    quantum: int = 1
    minimum: int = 0

    def __post_init__(self) -> None:
        for field, least in (("quantum", 1), ("minimum", 0)):
            if getattr(self, field) < least:
                raise Invalid("occupancy_invalid", f"{field} is a whole number from {least}", field=field)

    def without_minimum(self) -> Rule:
        """For what was preempted: time until then, and no more."""
        return replace(self, minimum=0)

    def billable(self, elapsed: int) -> int:
        """B, of the time that has elapsed.

        >>> Rule(60, 180).billable(61), Rule(60, 180).billable(181), Rule(60, 180).billable(0)
        (180, 240, 0)
        """
        return max(self.minimum, -(-elapsed // self.quantum) * self.quantum) if elapsed > 0 else 0


def elapsed_at(runs: Sequence[Run], moment: int) -> int:
    """How long the runs had lasted by then. Runs do not overlap: one thing cannot run twice at once."""
    ends = [(start, moment if end is None else min(end, moment)) for start, end in runs]
    return sum(end - start for start, end in ends if end > start)


def charged(runs: Sequence[Run], bounds: Sequence[int], rule: Rule) -> list[int]:
    """The billable time of each period between `bounds`, in order."""
    billed = [rule.billable(elapsed_at(runs, bound)) for bound in bounds]
    return [after - before for before, after in pairwise(billed)]


def charged_by_price(runs: Sequence[Run], bounds: Sequence[int], rule: Rule) -> list[int]:
    """The billable time of each segment of one period, whose inner `bounds` are changes of price.

    Each segment has its real time; what was billed ahead of this period (a quantum that began before it) is not billed
    again, from the front; what the last quantum or the minimum adds goes to the last segment in which anything ran. The sum
    is that of `charged` for the whole period.
    """
    real = charged(runs, bounds, Rule())
    ahead = _ahead(runs, bounds[0], rule)
    parts = []
    for time in real:
        covered = min(ahead, time)
        ahead -= covered
        parts.append(time - covered)
    ran = [number for number, time in enumerate(real) if time]
    if ran:
        parts[ran[-1]] += _ahead(runs, bounds[-1], rule) - ahead
    return parts


def _ahead(runs: Sequence[Run], moment: int, rule: Rule) -> int:
    """How much more is billed by then than has elapsed."""
    elapsed = elapsed_at(runs, moment)
    return rule.billable(elapsed) - elapsed
