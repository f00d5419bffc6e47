"""Reciprocal matrices: their principal eigenvector, consistency, and what is missing in them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Final

from core.errors import Invalid
from index.ahp.tables import random_index

Matrix = list[list[Decimal]]
Judgements = dict[tuple[int, int], Decimal]  # (row, column) -> how much more the row weighs; one of each pair

PRECISION: Final = Context(prec=34)
ACCEPTED: Final = Decimal("0.10")  # Saaty: a ratio below is good enough
LARGEST: Final = Decimal(9)
_ENOUGH: Final = Decimal("1E-24")
_MOST: Final = 100_000
_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a matrix says.

    weights  sum to 1
    largest  the principal eigenvalue; the size of the matrix if it is consistent
    ratio    the consistency ratio by the table; 0 below three rows
    """

    weights: list[Decimal]
    largest: Decimal
    ratio: Decimal

    @property
    def consistent(self) -> bool:
        return self.ratio < ACCEPTED


def matrix_of(size: int, judgements: Judgements) -> Matrix:
    """The whole matrix. Invalid `judgement_invalid`, `judgements_disconnected`.

    What is missing is completed so that the principal eigenvalue is least, which has one solution if the judgements connect all.
    """
    matrix = _of(size, judgements)
    missing = [(row, column) for row in range(size) for column in range(row) if not matrix[row][column]]
    if not missing:
        return matrix
    _connected(size, judgements)
    with localcontext(PRECISION):
        start = least_squares(size, judgements)
        for row, column in missing:
            _set(matrix, row, column, start[row] / start[column])
        return _least_eigenvalue(matrix, missing)


def weigh(matrix: Matrix, table: str) -> Weighed:
    """The normalised principal eigenvector and the consistency by one of the tables of random indices."""
    with localcontext(PRECISION):
        size = len(matrix)
        weights = _principal(matrix)
        largest = sum((a * w for row in matrix for a, w in zip(row, weights, strict=True)), _ZERO)  # of a vector that sums to 1
        if size < 3:
            return Weighed(weights, Decimal(size), Decimal(0))
        index = (largest - size) / (size - 1)
        return Weighed(weights, largest, max(index, Decimal(0)) / random_index(table, size))


def worst(matrix: Matrix, weights: Sequence[Decimal]) -> tuple[int, int, Decimal]:
    """The judgement that fits least: (row, column, what the weights would have it be).

    Of several the first. A matrix below three rows has none that do not fit.
    """
    with localcontext(PRECISION):
        pairs = [(row, column) for row in range(len(matrix)) for column in range(row + 1, len(matrix))]

        def strain(pair: tuple[int, int]) -> Decimal:
            row, column = pair
            error = matrix[row][column] * weights[column] / weights[row]
            return max(error, 1 / error)

        row, column = max(pairs, key=strain)
        return row, column, weights[row] / weights[column]


def least_squares(size: int, judgements: Judgements) -> list[Decimal]:
    """Weights by logarithmic least squares: one linear system over the graph of what was judged. They sum to 1."""
    _connected(size, judgements)
    with localcontext(PRECISION):
        left = [[Decimal(0)] * size for _ in range(size)]
        right = [Decimal(0)] * size
        for (row, column), value in judgements.items():
            log = value.ln()
            for one, other, sign in ((row, column, 1), (column, row, -1)):
                left[one][one] += 1
                left[one][other] -= 1
                right[one] += sign * log
        found = [Decimal(0), *_solved([row[1:] for row in left[1:]], right[1:])]
        return shares([one.exp() for one in found])


def shares(values: Iterable[Decimal]) -> list[Decimal]:
    """Values divided by their sum."""
    found = list(values)
    total = sum(found, _ZERO)
    return [one / total for one in found]


def _of(size: int, judgements: Judgements) -> Matrix:
    """0 where nothing was judged."""
    matrix = [[_ONE if row == column else Decimal(0) for column in range(size)] for row in range(size)]
    with localcontext(PRECISION):
        for (row, column), value in judgements.items():
            if not (0 <= row < size and 0 <= column < size) or row == column or matrix[row][column]:
                raise Invalid("judgement_invalid", "a judgement is of two different ones, once", field="judgements")
            if not value.is_finite() or not 1 / LARGEST - _ENOUGH <= value <= LARGEST:
                raise Invalid("judgement_invalid", "a judgement is between 1/9 and 9", field="judgements")
            _set(matrix, row, column, value)
    return matrix


def _set(matrix: Matrix, row: int, column: int, value: Decimal) -> None:
    matrix[row][column], matrix[column][row] = value, 1 / value


def _connected(size: int, judgements: Judgements) -> None:
    reached, waiting = {0}, [0]
    while waiting:
        one = waiting.pop()
        new = {b if a == one else a for a, b in judgements if one in (a, b)} - reached
        reached |= new
        waiting += new
    if len(reached) < size:
        raise Invalid("judgements_disconnected", "no chain of judgements connects all", field="judgements")


def _principal(matrix: Matrix) -> list[Decimal]:
    """Power iteration. A positive matrix has one principal eigenvector, which it always reaches."""
    weights = [_ONE / len(matrix)] * len(matrix)
    for _ in range(_MOST):
        following = shares(sum((a * w for a, w in zip(row, weights, strict=True)), _ZERO) for row in matrix)
        if all(abs(new - old) <= _ENOUGH for new, old in zip(following, weights, strict=True)):
            return following
        weights = following
    raise Invalid("judgements_extreme", "the weights of these judgements cannot be found", field="judgements")


def _least_eigenvalue(matrix: Matrix, missing: Sequence[tuple[int, int]]) -> Matrix:
    """Where the eigenvalue is least its slope by each missing one is 0: a_ij^2 = (right_i / right_j) (left_j / left_i)."""
    for _ in range(_MOST):
        right, left = _principal(matrix), _principal([list(column) for column in zip(*matrix, strict=True)])
        moved = Decimal(0)
        for row, column in missing:
            value = (right[row] / right[column] * left[column] / left[row]).sqrt()
            moved = max(moved, abs(value / matrix[row][column] - 1))
            _set(matrix, row, column, value)
        if moved <= Decimal("1E-18"):
            return matrix
    raise Invalid("judgements_extreme", "what is missing cannot be found", field="judgements")


def _solved(left: Matrix, right: list[Decimal]) -> list[Decimal]:
    """Gauss with the largest pivot."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(left, right, strict=True)]
    for step in range(size):
        pivot = max(range(step, size), key=lambda number: abs(rows[number][step]))
        rows[step], rows[pivot] = rows[pivot], rows[step]
        for number in range(step + 1, size):
            times = rows[number][step] / rows[step][step]
            rows[number] = [a - times * b for a, b in zip(rows[number], rows[step], strict=True)]
    found = [Decimal(0)] * size
    for step in reversed(range(size)):
        rest = sum(rows[step][number] * found[number] for number in range(step + 1, size))
        found[step] = (rows[step][size] - rest) / rows[step][step]
    return found
