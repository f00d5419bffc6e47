"""A tax's amount -> the lines' parts of it, by largest remainder. Pure, whole minor units; sql.TAX says the same."""

from __future__ import annotations

from collections.abc import Sequence


def shares_of_tax(tax: int, lines: Sequence[int]) -> tuple[int, ...]:
    """Parts of a tax on the sum of lines that add up to it, each line's in proportion and rounded down, also below zero; units
    left go to the largest fractions, ties to the earlier line.

    >>> shares_of_tax(10, (1, 1, 1)), shares_of_tax(0, ()), shares_of_tax(1, (9, -1, -1))
    ((4, 3, 3), (), (1, 0, 0))
    """
    base = sum(lines)
    if not base:
        return tuple(0 for _ in lines)
    sign = 1 if base > 0 else -1
    weights = [divmod(sign * tax * line, sign * base) for line in lines]
    shares = [whole for whole, _ in weights]
    by_fraction = sorted(range(len(lines)), key=lambda place: (-weights[place][1], place))
    for place in by_fraction[: tax - sum(shares)]:
        shares[place] += 1
    return tuple(shares)
