"""An amount -> the parties' shares in basis points, by largest remainder. Pure, whole minor units."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Invalid
from core.money import BASIS_POINTS


def shares_of(amount: int, points: Sequence[int]) -> tuple[int, ...]:
    """Shares of an amount in minor units; they always add up to it.

    Each party has its whole units; those that are left go to the largest fractions, ties to the earlier party (provider,
    publisher, platform). A negative amount is shared like its absolute value.

    >>> shares_of(100, (3333, 3333, 3334)), shares_of(-1, (5000, 5000, 0))
    ((33, 33, 34), (-1, 0, 0))
    """
    if any(part < 0 for part in points) or sum(points) != BASIS_POINTS:
        raise Invalid("split_invalid", f"shares are basis points from 0 that add up to {BASIS_POINTS}", field="split")
    sign = -1 if amount < 0 else 1
    weights = [abs(amount) * part for part in points]
    shares = [weight // BASIS_POINTS for weight in weights]
    by_fraction = sorted(range(len(points)), key=lambda party: (-(weights[party] % BASIS_POINTS), party))
    for party in by_fraction[: abs(amount) - sum(shares)]:
        shares[party] += 1
    return tuple(sign * share for share in shares)


def share_change(before: int, after: int, points: Sequence[int]) -> tuple[int, ...]:
    """What each party gets when a line's cumulative amount goes from `before` to `after`.

    Cumulative amounts are split and the difference is posted: by whatever corrections an amount came about, the parties
    end with the same shares, and no unit is left over.
    """
    return tuple(new - old for old, new in zip(shares_of(before, points), shares_of(after, points), strict=True))
