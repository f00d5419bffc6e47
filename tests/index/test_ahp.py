"""Weights from judgements are those that are printed: complete, incomplete, grouped; what is no judgement is refused."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from index.ahp.groups import geometric, judgements_together, priorities_together, spread
from index.ahp.matrices import Judgements, Matrix, least_squares, matrix_of, weigh, worst
from index.ahp.tables import TABLES

VECTORS = json.loads((Path(__file__).parent / "ahp_vectors.json").read_text())
CASES = {case["id"]: case for case in VECTORS["cases"]}
D = Decimal


def decimal(text: str) -> Decimal:
    part = Fraction(text)
    return D(part.numerator) / D(part.denominator)


def matrix(case: dict[str, Any]) -> Matrix:
    return [[decimal(str(one)) for one in row] for row in case["matrix"]]


def upper(case: dict[str, Any]) -> Judgements:
    size = len(case["matrix"])
    return {(row, column): decimal(str(case["matrix"][row][column])) for row in range(size) for column in range(row + 1, size)}


def near(value: Decimal, expected: float, places: float) -> bool:
    return abs(float(value) - expected) <= places


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_weights_and_ratios_are_the_published_ones(case: dict[str, Any]) -> None:
    whole = matrix_of(len(case["names"]), upper(case))
    for table, ratio in case["computed"].get("cr", {}).items():
        found = weigh(whole, table)
        assert near(found.ratio, ratio, 2e-5)
        assert near(found.largest, case["computed"]["lambda_max"], 2e-6)
        assert all(near(one, other, 1e-6) for one, other in zip(found.weights, case["computed"]["weights"], strict=True))
    found = weigh(whole, "saaty2005")
    for one, other in zip(found.weights, case["published"].get("weights", []), strict=False):
        assert near(one, other, 0.6 * 10 ** -case["published"]["weights_dp"])
    for table, ratio in case["published"].get("cr", {}).items():
        assert near(weigh(whole, table).ratio, ratio, 6e-4)


def test_a_matrix_of_contradictions_is_flagged_and_a_consistent_one_is_not() -> None:
    assert not weigh(matrix(CASES["car_style"]), "saaty2005").consistent
    perfect = weigh(matrix(CASES["car_passenger"]), "saaty2005")
    assert perfect.consistent
    assert near(perfect.ratio, 0, 1e-9)


@pytest.mark.parametrize("tree", VECTORS["hierarchies"], ids=lambda tree: tree["id"])
def test_hierarchies_come_to_what_is_printed(tree: dict[str, Any]) -> None:
    top = weigh(matrix(CASES[tree["root"]]), "saaty2005").weights
    below = [weigh(matrix(CASES[child]), "saaty2005").weights for child in tree["children"].values()]
    totals = [sum(w * local[n] for w, local in zip(top, below, strict=True)) for n in range(len(tree["alternatives"]))]
    tolerance = tree.get("abs_tol", 0.6 * 10 ** -tree["dp"])
    assert all(near(D(one), other, tolerance) for one, other in zip(totals, tree["published_target_weights"], strict=True))


def judged(case: dict[str, Any]) -> Judgements:
    place = {name: number for number, name in enumerate(case["names"])}
    pairs = {tuple(place[name] for name in pair.split(",")): decimal(value) for pair, value in case["known"].items()}
    return {(one, other): value for (one, other), value in pairs.items()}


def test_what_is_missing_is_completed_as_published() -> None:
    small, house, _ = VECTORS["incomplete"]
    whole = matrix_of(4, judged(small))
    assert abs(whole[2][3] - (D(8) / D(15)).sqrt()) < D("1E-15")
    found = weigh(whole, "dd1991")
    assert near(found.ratio, small["cr_dd1991"], 6e-5)
    assert all(near(one, other, 6e-5) for one, other in zip(found.weights, small["weights_eigen"], strict=True))
    lines = least_squares(4, judged(small))
    assert all(near(one, other, 6e-5) for one, other in zip(lines, small["weights_lls"], strict=True))
    whole = matrix_of(8, judged(house))
    place = {name: number for number, name in enumerate(house["names"])}
    for pair, value in house["expected_missing"].items():
        row, column = (place[name] for name in pair.split(","))
        assert near(whole[row][column], value, value * 1e-3)


def test_judgements_that_do_not_connect_all_are_refused() -> None:
    with pytest.raises(Invalid) as error:
        matrix_of(4, judged(VECTORS["incomplete"][2]))
    assert error.value.code == "judgements_disconnected"


@pytest.mark.parametrize(
    "judgements",
    [{(0, 0): D(1)}, {(0, 3): D(2)}, {(0, 1): D(10)}, {(0, 1): D("0.1")}, {(0, 1): D(2), (1, 0): D(3)}, {(0, 1): D("NaN")}],
)
def test_what_is_no_judgement_is_refused(judgements: Judgements) -> None:
    with pytest.raises(Invalid) as error:
        matrix_of(3, judgements)
    assert error.value.code == "judgement_invalid"


def test_a_table_says_how_large_a_matrix_it_knows() -> None:
    ones = [[D(1)] * 11 for _ in range(11)]
    assert weigh(ones, "saaty2005").consistent
    with pytest.raises(Invalid, match="10"):
        weigh(ones, "saaty1980")
    with pytest.raises(Invalid, match="nobody"):
        weigh(ones, "nobody")


def test_two_are_always_consistent_and_the_worst_judgement_is_named() -> None:
    assert weigh([[D(1), D(9)], [1 / D(9), D(1)]], "saaty2005").ratio == 0
    whole = matrix_of(3, {(0, 1): D(2), (1, 2): D(2), (0, 2): D(1) / D(9)})
    found = weigh(whole, "saaty2005")
    assert worst(whole, found.weights)[:2] in {(0, 2), (0, 1), (1, 2)}
    whole = matrix_of(4, {(0, 1): D(1), (0, 2): D(1), (0, 3): D(9), (1, 2): D(1), (1, 3): D(1), (2, 3): D(1)})
    assert worst(whole, weigh(whole, "saaty2005").weights)[:2] == (0, 3)


def test_a_group_keeps_reciprocity_and_counts_voices() -> None:
    group, rule = VECTORS["group"]
    assert near(geometric([D(one) for one in rule["inputs"]], [D(1)] * 3), rule["geometric"], 1e-12)
    both = judgements_together([matrix_of(2, {(0, 1): D(2)}), matrix_of(2, {(0, 1): D(8)})], [D(1), D(1)])
    assert abs(both[0][1] - 4) < D("1E-25")
    assert abs(both[0][1] * both[1][0] - 1) < D("1E-30")
    loud = judgements_together([matrix_of(2, {(0, 1): D(2)}), matrix_of(2, {(0, 1): D(8)})], [D(2), D(0)])
    assert abs(loud[0][1] - 2) < D("1E-25")
    printed = weigh([[D(str(one)) for one in row] for row in group["published_aij_matrix"]], "saaty2005")
    assert all(near(one, other, 3e-4) for one, other in zip(printed.weights, group["computed_aij_weights"], strict=True))
    assert near(printed.ratio, group["computed_aij_cr_saaty2005"], 1e-3)
    total = sum(group["published_aip_geometric_unnormalised"])
    together = priorities_together([[D(str(one)) for one in group["published_aip_geometric_unnormalised"]]], [D(1)])
    assert all(
        near(one, other / total, 1e-9) for one, other in zip(together, group["published_aip_geometric_unnormalised"], strict=True)
    )
    assert spread([D(3)]) == spread([D(3), D(3)]) == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_eigenvector_is_numpys(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 7))
    scale = st.integers(1, 9).flatmap(lambda one: st.sampled_from([D(one), 1 / D(one)]))
    whole = matrix_of(size, {(row, column): data.draw(scale) for row in range(size) for column in range(row + 1, size)})
    values, vectors = np.linalg.eig(np.array(whole, dtype=float))
    best = int(np.argmax(values.real))
    expected = np.abs(vectors[:, best].real) / np.abs(vectors[:, best].real).sum()
    found = weigh(whole, "saaty2005")
    assert np.allclose([float(one) for one in found.weights], expected, atol=1e-9)
    assert near(found.largest, values[best].real, 1e-9)
    assert sum(found.weights) == pytest.approx(1)


def test_matrices_by_chance_have_the_simulated_random_index() -> None:
    """Monte Carlo over Saaty's seventeen judgements: 3,000 are within 0.03 of half a million."""
    random = np.random.default_rng(5)
    scale = np.array([1 / n for n in range(9, 1, -1)] + list(range(1, 10)))
    for size in (3, 5, 8):
        whole = np.ones((3_000, size, size))
        for row in range(size):
            for column in range(row + 1, size):
                whole[:, row, column] = random.choice(scale, 3_000)
                whole[:, column, row] = 1 / whole[:, row, column]
        largest = np.linalg.eigvals(whole).real.max(axis=1)
        assert abs(((largest - size) / (size - 1)).mean() - float(TABLES["simulated_500k"][1][size])) < 0.03
