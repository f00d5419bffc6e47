"""Who agrees with whom: properties of policies, votes, comparisons and trust that hold for all values."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.policies import NONE, Policy, Tolerance, at_least, parse_policy, strengthen
from scheduler.verification.comparing import close_contents
from scheduler.verification.trust import (
    FLOOR,
    FULL_QUOTA,
    LONGEST_QUARANTINE,
    Record,
    decay,
    drawn,
    expected_valid,
    halved,
    quarantine_of,
    regained,
    replication_probability,
    reputation,
)
from scheduler.verification.voting import Vote, agrees_with_canonical, largest_group, verdict_of

numbers = {"files": ["*.csv"], "relative": 1e-6}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    need = draw(st.integers(2, 5))
    initial = need + draw(st.integers(0, 3))
    counts = {"need": need, "max_total": initial + draw(st.integers(0, 3)), "homogeneous": draw(st.booleans())}
    adaptive = {"initial": initial, "adaptive": draw(st.booleans())}
    value: Any = draw(
        st.sampled_from(
            [
                "none",
                "exact",
                {"exact": counts | adaptive},
                {"tolerance": numbers | counts | adaptive},
                {"quorum": counts | {"of": initial, "compare": draw(st.sampled_from(["exact", {"tolerance": numbers}]))}},
            ]
        )
    )
    return parse_policy(value)


votes = st.lists(st.sampled_from("abcd"), max_size=8).map(lambda said: [Vote(i, ballot) for i, ballot in enumerate(said)])


@given(policies())
def test_a_policy_comes_back_from_a_plan_as_it_went_in(policy: Policy) -> None:
    assert Policy.of(json.loads(json.dumps(policy.in_plan()))) == policy


def strengthened(base: Policy, wanted: Policy) -> Policy | None:
    try:
        return strengthen(base, wanted)
    except Invalid:
        return None


@given(policies(), policies())
def test_strengthening_never_weakens_and_asking_twice_is_asking_once(base: Policy, wanted: Policy) -> None:
    stronger = strengthened(base, wanted)
    if stronger is None:
        assert not at_least(wanted, base) or wanted.tolerance != base.tolerance
        return
    assert at_least(stronger, base)
    assert at_least(stronger, wanted)
    assert strengthen(stronger, wanted if wanted.compares else stronger) == stronger


@given(policies())
def test_every_policy_is_as_strong_as_itself_and_as_none(policy: Policy) -> None:
    assert strengthen(policy, policy) == policy
    assert strengthen(NONE, policy) == policy


@given(policies().filter(lambda policy: policy.compares), votes, st.integers(0, 4), st.integers(0, 3))
def test_a_verdict_is_won_by_enough_and_by_more_than_anybody_else_has(
    policy: Policy, cast: list[Vote], pending: int, gone: int
) -> None:
    asked = len(cast) + pending + gone
    verdict = verdict_of(policy, cast, pending, asked)
    counts = {ballot: sum(vote.ballot == ballot for vote in cast) for ballot in "abcd"}
    first, second = sorted(counts.values(), reverse=True)[:2]
    assert (verdict.kind == "won") == (first >= policy.need and first > second)
    if verdict.kind == "won":
        assert len(verdict.agree) + 1 == first
        assert sorted((verdict.canonical, *verdict.agree, *verdict.wrong)) == [vote.attempt for vote in cast]
    if verdict.kind == "more":
        assert asked < policy.max_total
    if verdict.kind == "wait":
        assert pending
    if verdict.kind == "none":
        assert not pending
        assert asked >= policy.max_total


@given(policies().filter(lambda policy: policy.compares), st.lists(st.sampled_from("ab"), min_size=20, max_size=20))
def test_asking_one_by_one_comes_to_an_end(policy: Policy, said: list[str]) -> None:
    cast: list[Vote] = []
    for number, ballot in enumerate(said):
        verdict = verdict_of(policy, cast, 0, len(cast))
        if verdict.kind in ("won", "none"):
            break
        assert verdict.kind == "more"
        cast.append(Vote(number, ballot))
    assert len(cast) <= policy.max_total


def test_closeness_is_not_transitive_so_the_one_in_the_middle_is_canonical() -> None:
    near = Tolerance(("*.csv",), absolute=1.0)
    group = largest_group([Vote(1, 0.0), Vote(2, 1.0), Vote(3, 2.0)], near.same)
    assert [vote.attempt for vote in group] == [2, 1, 3]


def test_what_comes_late_is_measured_by_the_canonical_result() -> None:
    assert agrees_with_canonical("a", [Vote(1, "a"), Vote(2, "b")]) == ([1], [2])


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("maybe", "verify"),
        ({}, "verify"),
        ({"exact": {}, "quorum": {}}, "verify"),
        ({"exact": None}, "verify.exact"),
        ({"exact": {"need": 1}}, "verify.exact.need"),
        ({"exact": {"need": True}}, "verify.exact.need"),
        ({"exact": {"need": 3, "initial": 2}}, "verify.exact"),
        ({"exact": {"ned": 3}}, "verify.exact"),
        ({"quorum": {"need": 2}}, "verify.quorum"),
        ({"quorum": {"of": 16, "need": 2}}, "verify.quorum.of"),
        ({"quorum": {"of": 2, "need": 3}}, "verify.quorum"),
        ({"quorum": {"of": 3, "need": 2, "compare": "none"}}, "verify.quorum.compare"),
        ({"tolerance": {}}, "verify.tolerance.files"),
        ({"tolerance": {"files": ["../*"]}}, "verify.tolerance.files.0"),
        ({"tolerance": {"files": ["*.csv"], "relative": -1}}, "verify.tolerance.relative"),
        ({"tolerance": {"files": ["*.csv"], "absolute": float("nan")}}, "verify.tolerance.absolute"),
        (7, "verify"),
        ([], "verify"),
    ],
)
def test_a_policy_that_makes_no_sense_names_its_field(value: Any, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_policy(value)
    assert caught.value.field == field


# -- numbers ----------------------------------------------------------------------------------------------------------

NEAR = Tolerance(("*",), absolute=0.01, relative=1e-3)


@pytest.mark.parametrize(
    ("path", "one", "other", "same"),
    [
        ("a.csv", "x,y\n1,2\n", "x,y\n1.001,2\n", True),
        ("a.csv", "x,y\n1,2\n", "x,y\n1.1,2\n", False),
        ("a.csv", "x,y\n1,2\n", "x,z\n1,2\n", False),
        ("a.csv", "x\n1\n", "x\n1\n2\n", False),
        ("a.csv", "x\nnan\n", "x\nNaN\n", True),
        ("a.csv", "x\ninf\n", "x\n-inf\n", False),
        ("a.csv", "x\none\n", "x\ntwo\n", False),
        ("a.json", '{"a": [1, 2.0]}', '{"a": [1.0001, 2]}', True),
        ("a.json", '{"a": 1}', '{"b": 1}', False),
        ("a.json", '{"a": true}', '{"a": 1}', False),
        ("a.json", '{"a": 1}', "{", False),
        ("a.json", "[" * 5000, "[" * 5001, False),
        ("a.txt", "1", "1.001", False),
    ],
)
def test_numbers_may_differ_a_little_and_nothing_else_may(path: str, one: str, other: str, same: bool) -> None:
    assert close_contents(NEAR, path, one.encode(), other.encode()) == same
    assert close_contents(NEAR, path, other.encode(), one.encode()) == same


def test_only_the_named_columns_are_loose() -> None:
    loose = Tolerance(("*",), absolute=1.0, columns=("y",))
    assert close_contents(loose, "a.csv", b"x,y\n1,2\n", b"x,y\n1,2.5\n")
    assert not close_contents(loose, "a.csv", b"x,y\n1,2\n", b"x,y\n1.5,2\n")


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(["a.csv", "a.json", "a.bin"]))
def test_nothing_that_a_program_writes_breaks_a_comparison(one: bytes, other: bytes, path: str) -> None:
    assert close_contents(NEAR, path, one, other) in (True, False)
    assert close_contents(NEAR, path, one, one)


# -- trust ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9))
def test_nobody_is_ever_checked_less_than_one_time_in_fifty(streak: int) -> None:
    assert FLOOR <= replication_probability(streak) <= 1
    assert replication_probability(streak + 1) <= replication_probability(streak)


def test_checks_begin_to_thin_out_after_ten_right_results() -> None:
    assert [replication_probability(n) for n in (0, 9, 10, 25, 50, 1000)] == [1, 1, 0.1, 0.04, 0.02, 0.02]


@given(st.integers(1, 2**62), st.integers(1, 1000), st.floats(0, 1))
def test_a_draw_is_the_same_each_time_and_certain_at_the_ends(unit: int, fence: int, chance: float) -> None:
    assert drawn("s", unit, fence, chance) == drawn("s", unit, fence, chance)
    assert drawn("s", unit, fence, 1.0)
    assert not drawn("s", unit, fence, 0.0)


def test_draws_keep_to_their_probability_and_to_their_secret() -> None:
    said = [drawn("one secret", unit, 1, 0.02) for unit in range(20_000)]
    assert 300 < sum(said) < 500
    assert said != [drawn("another", unit, 1, 0.02) for unit in range(20_000)]


counts = st.floats(0, 1e6)


@given(counts, counts, counts, st.integers(0, 10_000))
def test_an_expectation_is_a_probability_that_right_results_raise_and_wrong_ones_lower(
    valid: float, invalid: float, lost: float, days: int
) -> None:
    age = timedelta(days=days)
    here = expected_valid(Record(valid=valid, invalid=invalid, lost=lost, age=age))
    assert 0 < here < 1
    assert expected_valid(Record(valid=valid + 1, invalid=invalid, lost=lost, age=age)) >= here
    assert expected_valid(Record(valid=valid, invalid=invalid + 1, lost=lost, age=age)) <= here
    assert expected_valid(Record(valid=valid, invalid=invalid, lost=lost + 1, age=age)) <= here


def test_an_observation_counts_half_after_two_weeks_and_a_clock_that_jumps_back_changes_nothing() -> None:
    assert decay(timedelta(days=14)) == pytest.approx(0.5)
    assert decay(timedelta(days=28)) == pytest.approx(0.25)
    assert decay(timedelta(days=-3)) == 1
    assert expected_valid(Record(valid=8, invalid=0, samples=8, age=timedelta(days=14))) == pytest.approx(6 / 7)


def test_somebody_new_has_no_score() -> None:
    assert (reputation(Record())["score"], reputation(Record())["status"]) == (None, "new")
    assert reputation(Record(valid=1, samples=1))["score"] == 0.75


@given(st.one_of(st.none(), st.integers(1, FULL_QUOTA)), st.integers(1, 100))
def test_a_quota_halves_down_to_one_and_grows_back_to_none(quota: int | None, times: int) -> None:
    less = halved(quota, times)
    assert 1 <= less <= (quota or FULL_QUOTA)
    assert regained(less, FULL_QUOTA) is None


def test_quarantines_double_up_to_a_week() -> None:
    hours = [quarantine_of(times) / timedelta(hours=1) for times in (1, 2, 3, 4)]
    assert hours == [1, 2, 4, 8]
    assert quarantine_of(10**6) == LONGEST_QUARANTINE
