"""What judgements of one group of siblings come to, and how that is told in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Final

from core.errors import Invalid
from index.ahp.graphs import circle_of, parts_of
from index.ahp.matrices import ACCEPTED, PRECISION, Judgements, least_squares, matrix_of, weigh, worst

PLACES: Final = Decimal("1E-6")
WEIGHT: Final = Decimal("1E-18")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a group of siblings is judged by one expert, or by all together.

    missing    judgements that are not there; weights stand once those that are connect all
    weights    by node; of an incomplete matrix by least squares, so that they are told at once
    ratio      of a complete matrix; None before
    worst      the judgement that fits least, and what the weights would have it be
    judged     what was said of that pair, and what all other judgements say of it
    circle     three of which each was said to weigh more than the next, and the last more than the first
    parts      of what nothing connects yet: those that are connected
    spread     of a group: the geometric standard deviation of each pair among experts
    """

    parent: str
    missing: int
    weights: Mapping[str, Decimal] = field(default_factory=dict)
    ratio: Decimal | None = None
    consistent: bool | None = None
    worst: tuple[str, str, Decimal] | None = None
    judged: tuple[Decimal, Decimal] | None = None
    circle: tuple[str, ...] = ()
    parts: tuple[tuple[str, ...], ...] = ()
    spread: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def untouched(self) -> bool:
        """Whether one expert has judged nothing here."""
        return bool(self.parts) and all(len(part) == 1 for part in self.parts)


def standing_of(parent: str, below: Sequence[str], judgements: Judgements, table: str) -> Standing:
    """Of one expert; `judgements` are of places in `below`. Invalid `matrix_too_large` where the table ends before."""
    return _standing(parent, tuple(below), tuple(sorted(judgements.items())), table)


@lru_cache(maxsize=20_000)  # a page of many experts asks again and again
def _standing(parent: str, below: tuple[str, ...], said: tuple[tuple[tuple[int, int], Decimal], ...], table: str) -> Standing:
    judgements = dict(said)
    size = len(below)
    missing = size * (size - 1) // 2 - len(judgements)
    circle = tuple(below[place] for place in circle_of(size, judgements) or ())
    if not missing:
        return _complete(parent, below, judgements, table, circle)
    parts = parts_of(size, judgements)
    if len(parts) > 1:
        named = tuple(tuple(below[place] for place in part) for part in parts)
        return Standing(parent, missing, circle=circle, parts=named)
    return Standing(parent, missing, named_weights(below, least_squares(size, judgements)), circle=circle)


def _complete(parent: str, below: Sequence[str], judgements: Judgements, table: str, circle: tuple[str, ...]) -> Standing:
    size = len(below)
    matrix = matrix_of(size, judgements)
    found = weigh(matrix, table)
    told = {"ratio": found.ratio.quantize(PLACES), "consistent": found.consistent}
    weights = named_weights(below, found.weights)
    if size < 3:
        return Standing(parent, 0, weights, **told)  # type: ignore[arg-type]
    row, column, wished = worst(matrix, found.weights)
    others = least_squares(size, {pair: value for pair, value in judgements.items() if pair not in {(row, column), (column, row)}})
    judged = matrix[row][column], PRECISION.divide(others[row], others[column])
    fits = (below[row], below[column], wished.quantize(PLACES))
    return Standing(parent, 0, weights, worst=fits, judged=judged, circle=circle, **told)  # type: ignore[arg-type]


def named_weights(below: Sequence[str], weights: Sequence[Decimal]) -> dict[str, Decimal]:
    """By node, with as many places as are kept."""
    return {code: weight.quantize(WEIGHT) for code, weight in zip(below, weights, strict=True)}


def value_of(text: str) -> Decimal | None:
    """`3`, `0.5` or `1/3`, from 1/9 to 9; None for anything else."""
    above, slash, below = text.strip().partition("/")
    try:
        value = Decimal(above) / Decimal(below) if slash else Decimal(above)
    except ArithmeticError:  # no number, a division by 0, more than a decimal holds
        return None
    return value if value.is_finite() and Decimal(1) / 9 - Decimal("1E-20") <= value <= 9 else None


def turned(text: str) -> str:
    """The same said of the other one."""
    above, slash, below = text.strip().partition("/")
    return f"{below}/{above}" if slash else f"1/{above}"


def ratio_text(value: Decimal) -> str:
    """A judgement for people.

    >>> ratio_text(Decimal(3)), ratio_text(Decimal("2.83")), ratio_text(Decimal(1) / 7)
    ('3', '2.8', '1/7')
    """
    times = f"{round(value if value >= 1 else 1 / value, 1):.1f}".removesuffix(".0")
    return times if value >= 1 or times == "1" else f"1/{times}"


def sentences(one: Standing, names: Mapping[str, str]) -> list[str]:
    """What stands in the way of weights, in words; empty where nothing does. `names` by node."""
    found = []
    if one.untouched:
        found.append("Nothing is judged here yet.")
    elif len(one.parts) > 1:
        sides = "; ".join(" and ".join(names[code] for code in part) for part in one.parts)
        found.append(f"No chain of judgements connects these: {sides}. Weights are known once something does.")
    elif one.missing:
        word = "judgement is" if one.missing == 1 else "judgements are"
        found.append(f"{one.missing} {word} missing. The weights stand without; how consistent all is shows with the last one.")
    if one.circle:
        first, second, third = (names[code] for code in one.circle)
        order = f"{first} weighs more than {second}, {second} more than {third}, {third} more than {first}"
        found.append(f"These contradict each other: {order}.")
    if one.consistent is False:
        found.append(f"The consistency ratio is {one.ratio:.3f}; below {ACCEPTED} is good enough.")
    if one.consistent is False and one.worst and one.judged:
        above, below = names[one.worst[0]], names[one.worst[1]]
        said, others = map(ratio_text, one.judged)
        found.append(f"What fits least: {above} against {below} is {said} where the others say {others}.")
    return found


def sorted_out(groups: Mapping[str, Sequence[str]], said: Sequence[tuple[str, str, str]]) -> dict[str, Judgements]:
    """Judgements by parent and places, of (one, other, value); an empty value counts as not said. Invalid `judgement_invalid`."""
    place = {code: (parent, below.index(code)) for parent, below in groups.items() for code in below}
    found: dict[str, Judgements] = {}
    for number, (one, other, text) in enumerate(said):
        first, second, value = place.get(one), place.get(other), value_of(text)
        if first is None or second is None or first[0] != second[0] or one == other or (value is None and text):
            raise wrong_judgement(number)
        pair, turn = ((first[1], second[1]), False) if first[1] < second[1] else ((second[1], first[1]), True)
        if value is not None:
            found.setdefault(first[0], {})[pair] = 1 / value if turn else value
    return found


def wrong_judgement(number: int) -> Invalid:
    return Invalid("judgement_invalid", "two different siblings, and 1/9 to 9 as 3 or 1/3", field=f"judgements.{number}")


def looked_at(groups: Mapping[str, Sequence[str]], judgements: Mapping[str, Judgements], table: str) -> list[Standing]:
    """Of one expert, every group."""
    return [standing_of(parent, below, judgements.get(parent, {}), table) for parent, below in groups.items()]
