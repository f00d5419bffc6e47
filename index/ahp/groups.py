"""What several experts say together. Pure.

AIJ  the weighted geometric mean of each judgement, then the eigenvector: experts who act as one. The arithmetic mean of judgements
     would break reciprocity, so it is not offered.
AIP  the weighted geometric mean of each expert's weights, normalised: experts who are separate voices.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final

from index.ahp.matrices import PRECISION, Matrix, shares

_ZERO: Final = Decimal(0)


def judgements_together(matrices: Sequence[Matrix], voices: Sequence[Decimal]) -> Matrix:
    """AIJ: one matrix of all. `voices` are the experts' own weights, of any sum."""
    size = len(matrices[0])
    with localcontext(PRECISION):
        together = [[Decimal(1)] * size for _ in range(size)]
        for row in range(size):
            for column in range(row + 1, size):
                value = geometric([matrix[row][column] for matrix in matrices], voices)
                together[row][column], together[column][row] = value, 1 / value
        return together


def priorities_together(weights: Sequence[Sequence[Decimal]], voices: Sequence[Decimal]) -> list[Decimal]:
    """AIP: weights that sum to 1."""
    with localcontext(PRECISION):
        return shares(geometric(column, voices) for column in zip(*weights, strict=True))


def geometric(values: Sequence[Decimal], voices: Sequence[Decimal]) -> Decimal:
    """The weighted geometric mean."""
    with localcontext(PRECISION):
        total = sum(voices, _ZERO)
        return (sum((voice * _ln(value) for value, voice in zip(values, voices, strict=True)), _ZERO) / total).exp()


def spread(values: Sequence[Decimal]) -> Decimal:
    """The geometric standard deviation of what several said of one pair; 1: all the same, or there is one only."""
    if len(values) < 2:
        return Decimal(1)
    with localcontext(PRECISION):
        logs = [_ln(value) for value in values]
        mean = sum(logs, _ZERO) / len(logs)
        return (sum(((one - mean) ** 2 for one in logs), _ZERO) / (len(logs) - 1)).sqrt().exp()


@lru_cache(maxsize=4_096)  # of seventeen judgements most are the same
def _ln(value: Decimal) -> Decimal:
    with localcontext(PRECISION):
        return value.ln()
