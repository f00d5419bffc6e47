"""From raw values to ranks: published vectors, and what must hold whatever the numbers are."""

from __future__ import annotations

import csv
from decimal import Decimal, localcontext
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from index.analysis.bands import bands_of, sensitivity, world_of
from index.analysis.draws import Leaves, Voice, drawn_weights, ranked, ranks_of
from index.analysis.explaining import left_out, needed, strengths, swapping_weight
from index.analysis.types import line_of
from index.method.aggregating import mean_of, scaled, unscaled
from index.method.normalising import normalise
from index.method.numbers import CONTEXT, logarithm, outlying, ranks, shape
from index.method.scoring import Method, Result, pruned, score
from index.method.treating import PEAKED, SKEWED, treat
from index.trees import ROOT, Definition, definition_of
from tests.index.builders_index import FOLDER, document, equal, plain, shipped, table

D = Decimal
TREE = shipped()


def run(definition: Definition, observed: Any, weights: Any = None, **changes: Any) -> Result:
    return score(definition, "national", weights or equal(definition), observed, Method.of(definition, changes))


def random_table(seed: int, leaves: int = 6, regions: int = 9, missing: float = 0.0) -> dict[str, dict[str, Decimal]]:
    draw = Random(seed)
    return {
        f"v{n}": {f"r{place}": D(draw.randint(-999, 9_999)) / 8 for place in range(regions) if draw.random() >= missing}
        for n in range(leaves)
    }


# Published vectors.


def test_skewness_and_kurtosis_are_those_of_e1071_and_one_winsorised_value_is_enough() -> None:
    values = [D(n) for n in [*range(1, 11), 30, 100]]
    skewness, kurtosis = shape(values) or (D(0), D(0))
    assert (round(skewness, 6), round(kurtosis, 6)) == (D("3.063241"), D("9.741391"))
    treated = treat({str(n): value for n, value in enumerate(values)}, 3)
    assert treated.moved == {"11": D(100)}
    after = shape(list(treated.values.values())) or (D(0), D(0))
    assert (round(after[0], 6), round(after[1], 6)) == (D("1.712038"), D("1.815781"))


def test_what_winsorising_does_not_mend_is_taken_the_logarithm_of() -> None:
    values = {str(n): D(1 + n % 3) for n in range(30)} | {str(n): D(10) ** (n - 27) for n in range(30, 34)}
    treated = treat(values, 2)
    assert treated.logged
    assert treated.values["33"] == max(treated.values.values())
    assert treat(values, 0).values == values


def test_equal_extremes_are_winsorised_together() -> None:
    values = {str(n): D(n % 4) for n in range(30)} | {"a": D(99), "b": D(99)}
    assert set(treat(values, 3).moved) == {"a", "b"}
    assert treat(values, 1).logged


def test_means_are_coinrs() -> None:
    def mean(how: str, weights: list[int], values: list[int]) -> float:
        return float(scaled(mean_of(how, [(D(w), unscaled(D(v))) for w, v in zip(weights, values, strict=True)])))

    assert mean("geometric", [1, 1, 1], [1, 2, 3]) == pytest.approx(6 ** (1 / 3))
    assert mean("geometric", [1, 1, 2], [1, 2, 3]) == pytest.approx(18 ** (1 / 4))
    assert mean("harmonic", [2, 1, 1], [1, 2, 3]) == pytest.approx(4 / (2 + 1 / 2 + 1 / 3))
    assert float(mean_of("arithmetic", [(D(1), D(1)), (D(3), D(5))])) == 4


def test_goalposts_are_those_of_the_human_development_index() -> None:
    found = normalise({"a": D(55)}, 1, "minmax", (D(20), D("83.57")), None) or {}
    assert round(found["a"] / 100, 3) == D("0.551")
    assert (normalise({"a": D(90)}, 1, "minmax", (D(20), D("83.57")), None) or {})["a"] > 100, "it stands, and is flagged"


def test_ratings_as_weights_are_those_of_the_better_life_index() -> None:
    definition = plain(11)
    weights = equal(definition) | {f"L{n}": D(5 if n < 2 else 3) for n in range(11)}
    with localcontext(CONTEXT):
        result = run(definition, table(*[[0, 1] for _ in range(11)]), weights)
        assert abs(result.contributions["r1"]["L0"] - D(500) / 37) < D("1E-20")
        assert abs(result.contributions["r1"]["L5"] - D(300) / 37) < D("1E-20")


def test_sobols_indices_of_ishigamis_function_are_the_analytic_ones() -> None:
    uniform = [stats.uniform(-np.pi, 2 * np.pi)] * 3
    found = stats.sobol_indices(
        func=lambda x: np.sin(x[0]) + 7 * np.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * np.sin(x[0]),
        n=4096,
        dists=uniform,
        rng=np.random.default_rng(1),
    )
    assert np.allclose(found.first_order, [0.3139, 0.4424, 0], atol=0.02)
    assert np.allclose(found.total_order, [0.5576, 0.4424, 0.2437], atol=0.02)


def test_five_real_indicators_rank_provinces_as_the_research_found() -> None:
    names = ("utility_model_patents_in_force", "pct_applications", "gdp_revised", "gdp_per_capita", "tertiary_va")
    observed: dict[str, dict[str, Decimal]] = {f"v{n}": {} for n in range(5)}
    with (FOLDER.parent / "data" / "provinces_2022.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            if row["indicator"] in names and row["region_code"] != "100000":
                observed[f"v{names.index(row['indicator'])}"][row["region_code"]] = D(row["value"])
    result = run(plain(5), observed)
    first = sorted(result.ranks, key=lambda region: result.ranks[region])[:9]
    assert first == ["440000", "320000", "110000", "330000", "310000", "370000", "350000", "420000", "510000"]
    assert [round(result.scores[ROOT][region]) for region in first] == [87, 72, 51, 49, 45, 43, 31, 26, 24]
    treated = run(plain(5, winsorise=3), observed)
    assert ("L0", "440000", "winsorised") in [flag[:3] for flag in treated.flags] or ("L0", "", "logged", "") in treated.flags


# Rules.


def test_a_child_alone_gives_its_parent_its_own_score() -> None:
    made = document({"L0": "v0", "L1": "v1"}, groups=2)
    definition = definition_of(made)
    result = run(definition, table([1, 2, 5], [3, 1, 2]))
    assert result.scores["G0"] == result.scores["L0"]


def test_an_indicator_that_tells_nobody_from_anybody_is_left_out_and_flagged() -> None:
    result = run(plain(2), table([7, 7, 7], [1, 2, 3]))
    assert ("L0", "", "no_variation", "") in result.flags
    assert result.scores[ROOT]["r2"] == 100
    alone = run(plain(2), table([7, None, None], [1, 2, 3]))
    assert ("L0", "", "one_region", "") in alone.flags
    assert ("L1", "", "no_data", "") in run(plain(2), table([1, 2], [])).flags


def test_coverage_decides_who_has_a_score() -> None:
    observed = table([1, 2, 3], [1, 2, None], [1, 2, None])
    assert set(run(plain(3), observed).ranks) == {"r0", "r1"}
    assert set(run(plain(3), observed, min_coverage="0.33").ranks) == {"r0", "r1", "r2"}
    assert run(plain(3), observed).coverage["r2"] == D(1) / 3
    two = plain(2, groups=2)
    assert set(run(two, table([1, 2, 3], [1, 2, None]), min_coverage="0.1").ranks) == {"r0", "r1"}, (
        "the index needs every first level"
    )


def test_less_is_better_where_the_definition_says_so() -> None:
    for how, best in (("minmax", 100), ("efficacy", 100), ("rank", 3), ("prank", 100)):
        found = normalise({"a": D(1), "b": D(2), "c": D(9)}, -1, how, None, None) or {}
        assert found["a"] == best == max(found.values())
    found = normalise({"a": D(1), "b": D(2), "c": D(3)}, -1, "zscore", None, None) or {}
    assert [found[name] for name in "abc"] == [60, 50, 40]
    assert (normalise({"a": D(0), "b": D(5)}, 1, "target", None, D(10)) or {})["b"] == 50


def test_growth_below_zero_goes_through_a_geometric_mean() -> None:
    result = run(plain(2, aggregate="geometric"), table([-50, 10, 20], [5, 1, 9]))
    assert all(0 <= value <= 100 for value in result.scores[ROOT].values())


def test_copeland_counts_who_outranks_whom() -> None:
    result = run(plain(3, aggregate="copeland"), table([3, 2, 1], [3, 2, 1], [1, 3, 2]))
    assert result.scores["G0"] == {"r0": 100, "r1": 50, "r2": 0}


def test_ties_share_a_rank() -> None:
    assert ranks({"a": D(1), "b": D("1.0000000001"), "c": D(0)}) == {"a": 1, "b": 1, "c": 3}


@given(st.decimals("1E-12", "1E12", allow_nan=False, allow_infinity=False))
def test_logarithms_are_those_of_decimals(value: Decimal) -> None:
    exact = CONTEXT.copy()
    exact.prec = 12
    assert logarithm(value) == exact.ln(value)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=40))
def test_binary_numbers_find_the_same_outliers_as_decimals(values: list[int]) -> None:
    numbers = [D(one) for one in values]
    with localcontext(CONTEXT):
        found = shape(numbers)
        side = 0 if found is None or abs(found[0]) <= SKEWED or found[1] <= PEAKED else 1 if found[0] > 0 else -1
        assert outlying(numbers, SKEWED, PEAKED) == side


# Whatever the numbers are.

seeds = st.integers(0, 10**6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.2]))
def test_contributions_add_up_to_the_index(seed: int, missing: float) -> None:
    result = run(plain(6, groups=2, winsorise=3), random_table(seed, missing=missing))
    for region, index in result.scores.get(ROOT, {}).items():
        assert abs(sum(result.contributions[region].values()) - index) < D("1E-20")
        assert 0 <= index <= 100


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 50), st.integers(-99, 99), st.sampled_from(["minmax", "zscore", "rank", "prank"]))
def test_another_unit_or_zero_of_one_indicator_changes_nothing(seed: int, times: int, more: int, how: str) -> None:
    observed = random_table(seed)
    other = observed | {"v0": {region: value * times + more for region, value in observed["v0"].items()}}
    one, two = (run(plain(6, normalise=how), some) for some in (observed, other))
    assert one.ranks == two.ranks
    assert all(abs(one.scores[ROOT][region] - two.scores[ROOT][region]) < D("1E-18") for region in one.ranks)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(2, 9))
def test_neither_order_nor_the_scale_of_weights_matters(seed: int, times: int) -> None:
    observed, definition = random_table(seed, missing=0.1), plain(6, groups=2)
    turned = {code: dict(reversed(values.items())) for code, values in reversed(observed.items())}
    weights = {code: D(n + 1) for n, code in enumerate(definition.nodes)}
    one = run(definition, observed, weights)
    assert run(definition, turned, weights) == one
    scaled_ = run(definition, observed, {code: weight * times for code, weight in weights.items()})
    assert scaled_.ranks == one.ranks


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 99))
def test_more_of_a_good_thing_never_lowers_ones_own_score(seed: int, more: int) -> None:
    observed, definition = random_table(seed), plain(6)
    better = observed | {"v0": observed["v0"] | {"r0": observed["v0"]["r0"] + more}}
    assert run(definition, better).scores[ROOT]["r0"] >= run(definition, observed).scores[ROOT]["r0"] - D("1E-20")


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_a_region_twice_changes_no_score_and_an_indicator_without_weight_changes_nothing(seed: int) -> None:
    observed, definition = random_table(seed), plain(6)
    twice = {code: values | {"twin": values["r3"]} for code, values in observed.items()}
    one, two = run(definition, observed), run(definition, twice)
    assert all(one.scores[ROOT][region] == two.scores[ROOT][region] for region in one.ranks)
    weights = equal(definition) | {"L0": D(0)}
    without = run(plain(6), {code: values for code, values in observed.items() if code != "v0"})
    assert run(definition, observed, weights).ranks == without.ranks


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(["arithmetic", "geometric", "harmonic"]), st.sampled_from([0.0, 0.25]))
def test_drawn_runs_are_the_same_runs(seed: int, how: str, missing: float) -> None:
    definition = plain(6, groups=3, aggregate=how, min_coverage="0.5")
    result = run(definition, random_table(seed, missing=missing))
    leaves = Leaves.of({code: values for code, values in result.normalised.items() if values})
    tree = pruned(definition.tree("national"), set(leaves.codes))
    found = ranks_of(tree, {code: np.ones(3) for code in definition.nodes}, leaves, how, 0.5)
    assert all([int(rank) for rank in row] == [result.ranks.get(region, 0) for region in leaves.regions] for row in found)


def test_bands_are_the_same_for_the_same_seed_and_hold_the_rank() -> None:
    observed = {code: {f"r{n}": D(Random(f"{code}{n}").randint(1, 999)) for n in range(12)} for code in TREE.variables}
    result = run(TREE, observed)
    world = world_of(TREE, "national", equal(TREE), observed, Method.of(TREE), 400, 7)
    assert world
    bands = bands_of(world, 7)
    assert bands == bands_of(world, 7)
    assert all(band.low <= band.middle <= band.high for band in bands.values())
    inside = sum(band.low <= result.ranks[region] <= band.high for region, band in bands.items())
    assert inside >= 10
    found = sensitivity(world, result.ranks, 7, 64)
    assert found == sensitivity(world, result.ranks, 7, 64)
    assert set(found) == {"weights", "normalise", "aggregate", "winsorise"}
    experts = [Voice(equal(TREE) | {"A": D(n)}) for n in (1, 2, 3, 4, 5)]
    panel = drawn_weights(TREE.tree("national"), equal(TREE), 50, 1, experts)
    assert panel["A"].std() > 0 == panel["A11"].std()
    louder = drawn_weights(TREE.tree("national"), equal(TREE), 50, 1, [*experts[:4], Voice(experts[4].weights, D(9))])
    assert louder["A"].mean() > panel["A"].mean()
    assert world_of(TREE, "national", equal(TREE), {}, Method.of(TREE), 10, 7) is None


def test_ranks_of_draws_share_ties_and_leave_out_the_unknown() -> None:
    found = ranked(np.array([[3.0, 1.0, 3.0, np.nan, 2.0]]))
    assert found.tolist() == [[1, 4, 1, 0, 3]]


def test_what_it_would_take_takes_it() -> None:
    definition, observed = plain(4), random_table(11, 4)
    result = run(definition, observed)
    first, second = sorted(result.ranks, key=lambda region: result.ranks[region])[:2]
    found = needed(definition, "national", Method.of(definition), result, second, first)
    assert found
    for one in found:
        changed = {**observed, f"v{one.leaf[1:]}": observed[f"v{one.leaf[1:]}"] | {second: one.value}}
        again = run(definition, changed)
        assert abs(again.scores[ROOT][second] - again.scores[ROOT][first]) < D("1E-18")


def test_a_share_of_one_child_makes_two_stand_level() -> None:
    definition = plain(4, groups=2)
    result = run(definition, random_table(3, 4))
    first, last = sorted(result.ranks, key=lambda region: result.ranks[region])[:2]
    share = swapping_weight(result.weights, ["G0", "G1"], result.scores, "G0", first, last)
    if share is not None and share < 1:
        weights = equal(definition) | {"G0": share, "G1": 1 - share}
        again = run(definition, random_table(3, 4), weights)
        assert abs(again.scores[ROOT][first] - again.scores[ROOT][last]) < D("1E-18")


def test_strengths_and_weaknesses_never_meet_and_a_third_place_is_a_strength() -> None:
    result = run(TREE, {code: {f"r{n}": D(Random(f"{n}{code}").randint(1, 999)) for n in range(12)} for code in TREE.variables})
    for region in result.ranks:
        strong, weak = strengths(result, region)
        assert not set(strong) & set(weak)
    gone = left_out(TREE, "national", equal(TREE), {}, Method.of(TREE), run(TREE, {}))
    assert gone == {leaf: {} for leaf in run(TREE, {}).normalised}


def test_the_line_is_scipys_and_types_follow_the_residual() -> None:
    index = {f"r{n}": float(n) for n in range(10)}
    economy = {f"r{n}": 2.0 * n + (6 if n == 4 else -6 if n == 5 else 0) for n in range(10)}
    line = line_of(index, economy)
    assert line
    assert (line.n, line.low < line.slope < line.high, 0 < line.r2 < 1) == (10, True, True)
    assert (line.kind("r4"), line.kind("r5"), line.kind("r1")) == ("demand_pulled", "supply_driven", "balanced")
    assert line_of({"a": 1.0}, {"a": 2.0}) is None
    assert line_of(dict.fromkeys(index, 1.0), economy) is None
