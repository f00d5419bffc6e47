"""What of an award goes to which charge, and how much of a charge's shares it takes back. Pure, micro-units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from core.errors import Invalid


class Item(NamedTuple):
    """A disputed charge and where it stands; `left` can still be taken back. A row of `sql.LEFT` or `sql.LEFT_OF_MONTHS`.

    charge, task  None where it is of a month; `month` is its charge then
    """

    id: int
    dispute: int
    charge: int | None
    task: UUID | None
    usage: int | None
    provider: int
    publisher: int
    platform: int
    left: int
    line: int | None
    invoice: int | None
    final: bool
    month: int | None


class Award(NamedTuple):
    """What is taken back of a disputed charge, in micros, more than nothing."""

    item: Item
    micros: int


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Share an amount by weights: whole micros each, those that are left go to the largest remainders, ties to the earlier.

    An amount up to the sum of the weights gives nobody more than its weight.

    >>> spread(10, [5, 5, 10]), spread(2, [1, 1, 1]), spread(0, [0, 0])
    ([3, 2, 5], [1, 1, 0], [0, 0])
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [amount * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda place: (-(amount * weights[place] % whole), place))
    for place in order[: amount - sum(parts)]:
        parts[place] += 1
    return parts


def awarded(outcome: str, micros: int | None, left: Sequence[int]) -> list[int]:
    """What a decision takes back of each charge, of which `left` can be taken back. Raises Invalid `award_invalid`.

    >>> awarded("upheld", None, [5, 7]), awarded("rejected", None, [5, 7]), awarded("partly", 6, [4, 8])
    ([5, 7], [0, 0], [2, 4])
    """
    if outcome != "partly":
        return list(left) if outcome == "upheld" else [0] * len(left)
    if micros is None or not 0 < micros < sum(left):
        raise Invalid("award_invalid", "a part is more than nothing and less than what is disputed", field="amount")
    return spread(micros, left)


def taken_back(shares: Sequence[int], award: int) -> list[int]:
    """What each party of a charge gives back: its share of the whole less its share of what stays, so never more than it got.

    >>> taken_back([950, 0, 50], 333), taken_back([1, 1, 1], 3)
    ([316, 0, 17], [1, 1, 1])
    """
    return [whole - stays for whole, stays in zip(shares, spread(sum(shares) - award, shares), strict=True)]
