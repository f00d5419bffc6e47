"""What a task sets aside, and which limits speak against it. Pure: micros in, decisions out, all integers.

A limit is the organization's credit or one of its budgets. All of them are asked, and all that are crossed are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from core.errors import Invalid
from core.money import MICROS

MOST_MICROS: Final = 10**18
ACTIONS: Final = ("notify", "block", "pause", "stop")  # each does what those before it do, too
MOST_THRESHOLDS: Final = 10
MOST_PERCENT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Threshold:
    """A part of a budget in percent, and what happens when it is reached."""

    percent: int
    action: str

    def mark(self, amount: int) -> int:
        """Micros of a budget's amount up to this threshold, rounded down.

        >>> Threshold(80, "notify").mark(1_000_001)
        800000
        """
        return amount * self.percent // 100


@dataclass(frozen=True, slots=True)
class Limit:
    """What may still be held under one limit. `room` is negative where it has been passed.

    kind   credit | budget      id, name   of the budget
    """

    kind: str
    room: int
    id: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a task asks to set aside, and what that follows from (Hold.By)."""

    micros: int
    by: str


def wish_of(price_p90: Decimal | None, max_price: Decimal | None, least_micros: int) -> Wish:
    """The hold of a task: the price that nine of ten such tasks do not pass, or its price cap where that is less.

    Without an estimate the price cap alone, without either the settings' least hold. An estimate is rounded up to a micro,
    a cap down, as a bill's is.

    >>> wish_of(Decimal("2.5"), Decimal("1"), 10_000)
    Wish(micros=1000000, by='price_cap')
    """
    known = []
    if price_p90 is not None:
        known.append(Wish(_micros(price_p90, ROUND_CEILING), "estimate"))
    if max_price is not None:
        known.append(Wish(_micros(max_price, ROUND_FLOOR), "price_cap"))
    return min(known, key=lambda one: one.micros, default=Wish(least_micros, "minimum"))


def _micros(amount: Decimal, rounding: str) -> int:
    return min(int((amount * MICROS).to_integral_value(rounding=rounding)), MOST_MICROS)


def crossed(limits: Sequence[Limit], needed: int) -> list[Limit]:
    """The limits that have no room for so much more, the one that binds first: it has least room."""
    return sorted((one for one in limits if one.room < needed), key=lambda one: (one.room, one.kind != "credit", one.id or 0))


def parse_thresholds(given: Any) -> list[Threshold]:
    """Checked thresholds in ascending order. Raises Invalid `thresholds_invalid`."""
    if not isinstance(given, list) or not 0 < len(given) <= MOST_THRESHOLDS:
        raise Invalid("thresholds_invalid", f"1 to {MOST_THRESHOLDS} thresholds, please", field="thresholds")
    found = [_threshold(n, one) for n, one in enumerate(given)]
    if len(set(found)) < len(found):
        raise Invalid("thresholds_invalid", "a threshold is there twice", field="thresholds")
    return sorted(found, key=lambda one: (one.percent, ACTIONS.index(one.action)))


def _threshold(number: int, given: Any) -> Threshold:
    at = f"thresholds.{number}"
    if not isinstance(given, dict) or set(given) != {"percent", "action"}:
        raise Invalid("thresholds_invalid", "each is {percent, action}", field=at)
    percent, action = given["percent"], given["action"]
    if isinstance(percent, bool) or not isinstance(percent, int) or not 0 < percent <= MOST_PERCENT:
        raise Invalid("thresholds_invalid", f"a whole number from 1 to {MOST_PERCENT}", field=f"{at}.percent")
    if action not in ACTIONS:
        raise Invalid("thresholds_invalid", f"one of {', '.join(ACTIONS)}", field=f"{at}.action")
    return Threshold(percent, action)


def room_of(amount: int, thresholds: Sequence[Threshold], spent: int, held: int) -> int | None:
    """What new tasks may still hold under a budget: up to its lowest threshold that does more than notify. None: as they like."""
    marks = [one.mark(amount) for one in thresholds if one.action != "notify"]
    return min(marks) - spent - held if marks else None


def reached(amount: int, thresholds: Sequence[Threshold], spent: int, held: int) -> list[Threshold]:
    """Thresholds that what is spent and held has come to."""
    return [one for one in thresholds if spent + held >= one.mark(amount)]


def acting(amount: int, thresholds: Sequence[Threshold], spent: int, held: int) -> str | None:
    """What happens to tasks that run: `pause` or `stop` once such a threshold is passed, not merely reached.

    New tasks are held back at the threshold, so what runs stays within it unless tasks outgrow what was held for them.
    """
    passed = {one.action for one in thresholds if spent + held > one.mark(amount)}
    return next((action for action in ("stop", "pause") if action in passed), None)


def grown(held: int, so_far: int, done: int, total: int, cap: int | None) -> int:
    """What a task's hold should be once it has cost so much with so many of its units done. It never shrinks.

    While the cost so far is within the hold, the hold stands. Beyond it, the rest is taken to cost what was done:
    `so_far x total / done`, rounded up, and no more than the price cap.

    >>> grown(100, 120, 3, 4, None)
    160
    """
    if so_far <= held:
        return held
    whole = so_far if done <= 0 else -(-so_far * max(total, done) // done)
    return min(max(held, so_far, whole if cap is None else min(whole, cap)), MOST_MICROS)


@dataclass(frozen=True, slots=True)
class Growth:
    """A task whose cost so far has outgrown its hold: what must be held at least, and what had better be."""

    held: int
    least: int
    better: int


def share_room(growths: Sequence[Growth], room: int) -> list[int]:
    """New holds for the growths of one allowance, in their order: the better one where there is room, else the least one that
    must be, else as much as is left. The sum of what is added never passes `room`.
    """
    given = []
    for one in growths:
        left = max(room, 0)
        wanted = one.better if one.better - one.held <= left else min(one.least, one.held + left)
        new = max(wanted, one.held)
        room -= new - one.held
        given.append(new)
    return given
