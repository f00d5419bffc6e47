"""The change between two runs is that of data, of weights and of what is known, to the last digit; or there is a reason why not."""

from __future__ import annotations

from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from index.analysis.comparing import Comparison, Side, beside, compare, summed
from index.analysis.scales import lent
from index.defining import canonical
from index.method.numbers import CONTEXT
from index.running.documents import compute
from index.trees import ROOT, Definition, definition_of
from tests.index.builders_index import document, equal, plain, table

NEAR = Decimal("1E-9")
D = Decimal
Columns = list[list[Any]]
LEAVES, GROUPS, REGIONS = 4, 2, 5


def side(definition: Definition, columns: Columns, weights: dict[str, Decimal] | None = None, **parameters: Any) -> Side:
    """A run of these values, as it is written down."""
    weights = weights or equal(definition)
    _, told = compute(definition, "national", weights, table(*columns), parameters)
    return Side(definition, weights, orjson.loads(canonical(told)))


def on(base: Side) -> dict[str, Any]:
    return dict(lent(base.definition, base.document))


def moves(found: Comparison) -> dict[str, Any]:
    return {one.region: one for one in found.regions}


def cells(draw: Any) -> Columns:
    known = st.one_of(st.none(), st.integers(0, 60))
    return [draw(st.lists(known, min_size=REGIONS, max_size=REGIONS)) for _ in range(LEAVES)]


@st.composite
def runs(draw: Any) -> tuple[Side, Side]:
    """Two runs on one scale with other values, other weights, and other gaps."""
    definition = plain(LEAVES, groups=GROUPS, min_coverage="0.3", winsorise=draw(st.sampled_from([0, 2])))
    sets = [{code: D(draw(st.integers(0 if code[0] == "L" else 1, 9))) for code in definition.nodes} for _ in range(2)]
    for weights in sets:
        weights |= {"L0": D(1), "L1": D(2)}
    before = side(definition, cells(draw), sets[0])
    return before, side(definition, cells(draw), sets[1], **on(before))


@settings(max_examples=60, deadline=None)
@given(runs())
def test_the_parts_of_a_change_add_up_to_it(pair: tuple[Side, Side]) -> None:
    found = compare(*pair)
    codes = {reason.code for reason in found.reasons}
    assert codes <= {"regions", "scale"}, "an indicator that told nobody from anybody has no ends to lend"
    for one in found.regions if found.comparable else ():
        assert (one.change is None) == (one.rank_before is None or one.rank_after is None)
        if one.change is not None:
            assert abs(one.effects[ROOT].total - one.change) < NEAR
            assert abs(sum(one.effects[f"G{n}"].total for n in range(GROUPS) if f"G{n}" in one.effects) - one.change) < NEAR
            leaves = [effect for code, effect in one.effects.items() if code[0] == "L"]
            assert abs(sum(effect.total for effect in leaves) - one.change) < NEAR


@settings(max_examples=40, deadline=None)
@given(runs())
def test_the_way_back_is_the_same_change_turned_round(pair: tuple[Side, Side]) -> None:
    there, back = compare(*pair), moves(compare(*reversed(pair)))
    for one in there.regions:
        assert one.change is None or one.change == -back[one.region].change


VALUES: Columns = [[1, 5, 9], [2, 8, 4], [7, 3, 6], [1, 2, 3]]
LATER: Columns = [[2, 6, 8], [3, 8, 6], [7, 5, 6], [1, 3, 3]]


def test_of_the_same_data_all_comes_of_weights_and_of_the_same_weights_all_of_data() -> None:
    definition = plain(4, groups=2)
    before, heavy = side(definition, VALUES), side(definition, VALUES, equal(definition) | {"L0": D(3), "G1": D(2)})
    for one in compare(before, heavy).regions:
        assert one.effects[ROOT].data == one.effects[ROOT].coverage == 0
        assert one.change == one.after - one.before != 0  # type: ignore[operator]
    for one in compare(before, side(definition, LATER, **on(before))).regions:
        assert one.effects[ROOT].weights == one.effects[ROOT].coverage == 0
        assert one.effects[ROOT].data != 0


def test_an_example_by_hand() -> None:
    """r0: L0 from 0 to 50 at a half, then a quarter of the weight; L1 from 100 to 80 at a half, then three quarters."""
    definition = plain(2)
    before = side(definition, [[0, 10], [10, 0]])
    after = side(definition, [[5, 10], [8, 0]], equal(definition) | {"L1": D(3)}, **on(before))
    effects = moves(compare(before, after))["r0"].effects
    assert (effects["L0"].data, effects["L0"].weights) == (25, D("-12.5"))
    assert (effects["L1"].data, effects["L1"].weights) == (-10, 20)
    assert effects[ROOT].total == D("72.5") - 50


def test_an_indicator_known_in_one_run_alone_is_neither_data_nor_weight() -> None:
    definition = plain(3, min_coverage="0.5")
    before = side(definition, [[0, 10, 5], [0, 10, 5], [None, 10, 0]])
    after = side(definition, [[0, 10, 5], [0, 10, 5], [6, 10, 0]], **on(before))
    found = moves(compare(before, after))["r0"]
    assert (found.effects[ROOT].data, found.effects[ROOT].weights) == (0, 0)
    assert found.effects[ROOT].coverage == found.change == 20


def codes(before: Side, after: Side) -> list[str]:
    found = compare(before, after)
    assert all(one.change is None and not one.effects for one in found.regions) or found.comparable
    return [reason.code for reason in found.reasons]


def test_what_is_not_alike_is_not_compared() -> None:
    definition = plain(4, groups=2)
    before = side(definition, VALUES)
    assert codes(before, side(definition, VALUES)) == []
    assert codes(before, side(definition, LATER)) == ["scale"], "each stands between its own ends"
    assert codes(before, side(definition, LATER, **on(before))) == []
    assert codes(side(definition, LATER, **on(before)), side(definition, VALUES[::-1], **on(before))) == []
    other = definition_of(document({f"L{n}": f"v{n}" for n in range(4)}, groups=2, version=2))
    assert codes(before, side(other, VALUES)) == ["definition"]
    assert codes(before, side(definition, VALUES, aggregate="geometric")) == ["method"]
    assert codes(before, side(definition, VALUES, normalise="efficacy")) == ["method", "scale"]
    assert codes(before, Side(definition, before.weights, {**before.document, "profile": "platform"})) == ["profile"]
    assert codes(before, side(definition, [[*[None] * 3, *column] for column in VALUES])) == ["regions"]


def test_ranks_and_deviations_are_one_scale_only_for_the_same_values() -> None:
    definition = plain(4, groups=2, normalise="zscore")
    before = side(definition, VALUES)
    assert codes(before, side(definition, VALUES)) == []
    assert codes(before, side(definition, [*VALUES[:3], [1, 1, 3]])) == ["scale"]
    assert codes(before, side(definition, VALUES, **on(before))) == ["scale"], "from deviations to goalposts"


def test_a_mean_that_is_no_sum_has_a_change_and_no_parts() -> None:
    definition = plain(4, groups=2, aggregate="geometric")
    before = side(definition, VALUES)
    found = compare(before, side(definition, LATER, **on(before)))
    assert found.comparable
    assert all(one.change and not one.effects for one in found.regions)


def test_a_base_lends_what_it_did_to_its_values_not_only_its_ends() -> None:
    """A value far above was moved to the next, of powers the logarithm was taken; a year later nothing is as skewed, or all is."""
    definition = plain(3, winsorise=1)
    even = [*range(20)]
    cut, logged = [*range(19), 900], [4**n for n in range(20)]
    base = side(definition, [even, cut, logged])
    assert {flag for _, _, flag, _ in base.document["flags"]} == {"winsorised", "logged"}
    later = side(definition, [[*range(19), 900], [*range(19), 18], [*logged[:15], -9, *[99] * 4]], **on(base))
    assert compare(base, later).comparable
    scores = later.document["normalised"]
    assert D(scores["L0"]["r19"]) > 100, "nothing was done to it, so it stands beyond its goalposts"
    assert scores["L1"]["r17"] == base.document["normalised"]["L1"]["r17"]
    assert D(scores["L1"]["r19"]) == 100
    assert [scores["L2"][f"r{n}"] for n in range(15)] == [base.document["normalised"]["L2"][f"r{n}"] for n in range(15)]
    assert D(scores["L2"]["r15"]) == 0, "what is below all that there was stands at their end: it has no logarithm"
    again = side(definition, [even, cut, logged], **on(base))
    assert again.document["scores"] == base.document["scores"], "the base on its own goalposts is itself"
    assert on(later) == on(base), "and what stands on a base lends the base's"


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_differences_of_two_regions_add_up_to_that_of_their_index(data: Any) -> None:
    definition = plain(LEAVES, groups=GROUPS, min_coverage="0.3")
    one = side(definition, cells(data.draw))
    ranked = sorted(one.document["ranks"])
    for left, right in pairwise(ranked):
        found = beside(one, left, right)
        root = found[ROOT]
        assert root.left is not None
        assert root.right is not None
        with localcontext(CONTEXT):
            apart = sum(pair.difference or D(0) for code, pair in found.items() if code[0] == "L")
            assert abs(apart - (root.left - root.right)) < NEAR
        assert abs((root.difference or D(0)) - (root.left - root.right)) < NEAR


def test_a_region_without_an_index_has_no_points() -> None:
    definition = plain(2, groups=2)
    one = side(definition, [[1, 5, 9], [None, 8, 4]])
    found = beside(one, "r0", "r1")
    assert (found[ROOT].left, found[ROOT].left_points) == (None, None)
    assert found["L0"].left == 0
    assert summed(definition, {}) == {}
