"""What is left of a month's amount once disputes took something back. Pure, micro-units.

A refund is of an amount that usage came to when it was decided. Usage that comes later is paid for; usage that turns out to have
been less is refunded once, not twice: the refund stands for it as far as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Refund(NamedTuple):
    """`micros` taken back when the month's usage came to `rated`."""

    rated: int
    micros: int


def left_of(rated: int, refunds: Sequence[Refund]) -> int:
    """What a month that is rated at this amount comes to, after its refunds, in the order in which they were decided.

    >>> [left_of(rated, [Refund(40, 10)]) for rated in (50, 40, 35, 30, 20, 0)]
    [40, 30, 30, 30, 20, 0]
    >>> left_of(40, [Refund(40, 40)]), left_of(20, [Refund(40, 40)]), left_of(45, [Refund(40, 40)])
    (0, 0, 5)
    """
    if not refunds:
        return rated
    *earlier, last = refunds
    most = left_of(last.rated, earlier) - last.micros
    left = left_of(rated, earlier)
    return left - last.micros if rated > last.rated else min(left, most)
