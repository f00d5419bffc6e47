"""What is missing is filled only where a run asks for it, from enough, marked, and never counted as known."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from index.defining import tree_of, weights_of
from index.demo import fill
from index.method.imputing import RULES, impute
from index.method.scoring import Method, score
from index.models import WeightSet
from index.regions import PROVINCES, zone_of
from index.running.documents import compute
from index.running.observed import read_seen
from index.running.services import Wanted, bundle_of, replay, run_index
from index.schema import IMPUTERS
from index.trees import ROOT
from tests.index.builders_index import equal, plain, table

HALF = Decimal("0.5")


def test_the_rules_of_a_definition_are_those_that_there_are() -> None:
    assert IMPUTERS == RULES


@pytest.mark.parametrize(("rule", "value"), [("mean", "4"), ("median", "3")])
def test_a_hole_is_filled_with_the_mean_or_the_median_of_the_others(rule: str, value: str) -> None:
    raw = {"a": {"x": Decimal(1), "y": Decimal(3), "z": Decimal(8)}, "b": dict.fromkeys("wxyz", Decimal(1))}
    assert impute(raw, rule, HALF) == {"a": {"w": Decimal(value)}}
    assert impute(raw, "none", HALF) == {}


def test_a_zones_mean_is_of_the_zone_alone_and_of_an_empty_zone_nothing_is_made_up() -> None:
    east, west = "110000", "540000"
    raw = {"a": {"310000": Decimal(2), "320000": Decimal(4), "210000": Decimal(90)}, "b": dict.fromkeys([east, west], Decimal(1))}
    full = {"a": raw["a"], "b": raw["b"] | dict.fromkeys(raw["a"], Decimal(1))}
    assert impute(full, "group_mean", Decimal("0.1"))["a"] == {east: Decimal(3)}


def test_too_little_is_never_filled() -> None:
    few = {"a": {"x": Decimal(1)}, "b": dict.fromkeys("wxyz", Decimal(1)), "c": dict.fromkeys("wxyz", Decimal(2))}
    assert impute(few, "mean", HALF) == {}, "an indicator of one region in four"
    thin = {leaf: dict.fromkeys("xyz", Decimal(1)) for leaf in "bcd"} | {"a": dict.fromkeys("wxyz", Decimal(1))}
    assert impute(thin, "mean", HALF) == {}, "a region of one indicator in four"


def test_every_province_is_in_one_of_four_zones() -> None:
    counts = [sum(zone_of(code) == zone for code in PROVINCES) for zone in ("east", "northeast", "centre", "west")]
    assert counts == [10, 3, 6, 12]


@given(
    st.lists(st.lists(st.none() | st.integers(0, 50), min_size=6, max_size=6), min_size=3, max_size=3), st.sampled_from(RULES),
)  # fmt: skip
@example([[None] * 5 + [0], [None] * 5 + [0], [None, 0, 0, 0, 1, None]], "median")
def test_what_is_known_is_never_touched_and_what_is_filled_is_flagged_and_not_known(
    columns: list[list[int | None]], rule: str
) -> None:
    definition, values = plain(3), table(*columns)
    plainly = score(definition, "national", equal(definition), values, Method(min_coverage=HALF, winsorise=0))
    found = score(definition, "national", equal(definition), values, Method(min_coverage=HALF, winsorise=0, impute=rule))
    flagged = {(leaf, region) for leaf, region, flag, _ in found.flags if flag == "imputed"}
    for leaf, row in found.raw.items():
        assert {region: value for region, value in row.items() if (leaf, region) not in flagged} == plainly.raw[leaf]
        if row:
            assert min(plainly.raw[leaf].values()) <= min(row.values()) <= max(row.values()) <= max(plainly.raw[leaf].values())
    assert (rule == "none") <= (not flagged)
    assert found.coverage.keys() >= {region for region in plainly.coverage if plainly.coverage[region]}
    assert all(value <= 1 for value in found.coverage.values())


def test_a_region_with_a_hole_gets_a_score_and_says_why() -> None:
    definition = plain(4, groups=2, min_coverage="0.75")
    values = table([1, 2, 3, None], [4, 5, 6, 7], [1, 5, 6, 2], [4, 9, 6, 7])
    method = Method(min_coverage=Decimal("0.75"))
    without = score(definition, "national", equal(definition), values, method)
    filled = score(definition, "national", equal(definition), values, Method(min_coverage=Decimal("0.75"), impute="mean"))
    assert "r3" not in without.ranks
    assert "r3" in filled.ranks
    assert filled.coverage["r3"] == Decimal("0.75")
    assert ("L0", "r3", "imputed", "2") in filled.flags
    assert abs(sum(filled.contributions["r3"].values()) - filled.scores[ROOT]["r3"]) < Decimal("1e-9")


@pytest.mark.django_db
def test_a_run_that_imputes_replays_and_marks_what_it_filled() -> None:
    fill((2022,))
    weights = WeightSet.objects.get(definition__code="cpsdi-2023", kind="placeholder")
    run = run_index(Wanted(weights, "national", "2022", parameters={"impute": "group_mean"}))
    bundle = bundle_of(run)
    assert all(before == now for before, now in replay(bundle).values())
    del bundle["inputs"]["latency"]["640000"]
    tree, values = tree_of(run.definition), read_seen(bundle["inputs"]).values
    _, document = compute(tree, "national", weights_of(weights), values, run.parameters)
    assert [(leaf, region) for leaf, region, flag, _ in document["flags"] if flag == "imputed"] == [("D21", "640000")]
    west = [Decimal(document["raw"]["D21"][code]) for code in PROVINCES if zone_of(code) == "west" and code != "640000"]
    assert Decimal(document["raw"]["D21"]["640000"]) == round(sum(west) / len(west), 12)
    assert Decimal(document["coverage"]["640000"]) < Decimal(document["coverage"]["650000"])
