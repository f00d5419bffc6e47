"""What a user's objective is worth in money: the weights that turn seconds, grams and risk into cost.

A core-hour costs about 0.1 CNY. Who asks for the cheapest values an hour at a tenth of that and so waits ten times a
unit's length before paying twice the price; who asks for the fastest pays for seconds. Carbon is valued near the
national market's price of an allowance (about 0.1 CNY a kilogram) by `balanced`, a hundred times as much by `greenest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Weights:
    """Money for a unit of each term: `hour` and `kilogram` in currency units, `price` and `risk` as factors."""

    price: float = 1.0
    hour: float = 0.01
    kilogram: float = 0.0
    risk: float = 1.0


OBJECTIVES: Final[Mapping[str, Weights]] = {
    "cheapest": Weights(hour=0.01),
    "fastest": Weights(hour=100.0),
    "greenest": Weights(hour=0.01, kilogram=10.0),
    "balanced": Weights(hour=1.0, kilogram=0.1),
}
NAMES: Final = ("price", "hour", "kilogram", "risk")
MOST: Final = 1e6
AGE_S: Final = 600.0  # an hour's worth has doubled when a unit has waited a bit over four minutes, quadrupled at ten
OLDEST: Final = 100.0  # and grows up to this factor


def weights_of(document: Mapping[str, Any]) -> Weights:
    """A need's weights: its own ones, or its objective's."""
    own = document.get("weights")
    if own:
        return Weights(**{name: float(own.get(name, 0)) for name in NAMES})
    return OBJECTIVES.get(document["objective"], OBJECTIVES["cheapest"])


def check_weights(weights: Mapping[str, Any]) -> dict[str, str]:
    """Own weights as decimal texts. Raises Invalid("bad_weights") naming the one at fault."""
    checked = {}
    for name, value in weights.items():
        if name not in NAMES:
            raise Invalid("bad_weights", f"weights are {', '.join(NAMES)}", field=f"constraints.weights.{str(name)[:40]}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number <= MOST:
            raise Invalid("bad_weights", f"a number from 0 to {MOST:,.0f}, please", field=f"constraints.weights.{name}")
        checked[name] = repr(number)
    if not any(float(value) for value in checked.values()):
        raise Invalid("bad_weights", "at least one weight must be more than zero", field="constraints.weights")
    return checked


def impatience(age_s: float) -> float:
    """The factor by which waiting becomes dearer the longer a unit has waited: (1 + age / 10 min)², at most 100.

    Monotone in the age, so that nothing starves (Firmament's unscheduled cost, as a factor on time).
    """
    return min((1 + max(age_s, 0.0) / AGE_S) ** 2, OLDEST)
