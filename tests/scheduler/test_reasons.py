"""The reason table, cell by cell: what an ended attempt means for its unit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.reasons import (
    LONGEST_DELAY,
    MAX_FENCE,
    REASONS,
    RETRY_DELAY,
    Policy,
    Verdict,
    backoff,
    verdict_of,
    verdict_of_release,
)

HOUR = timedelta(hours=1)
GENEROUS = Policy(max_attempts=3, capability_error=True)

#                     reason            tried again  a try  the pool is avoided
TABLE = [
    ("capability_error", False, True, False),
    ("limit_exceeded", False, True, False),
    ("node_fault", True, True, True),
    ("reclaimed", True, False, True),
    ("invalid_result", True, True, True),
    ("platform_fault", True, False, False),
]


def verdict(reason: str, **facts: Any) -> Verdict:
    return verdict_of(reason, **{"lost": False, "tries": 0, "fence": 1, "age": HOUR, "policy": Policy()} | facts)


@pytest.mark.parametrize(("reason", "again", "counts", "avoided"), TABLE)
def test_the_first_failure_is_judged_by_its_class(reason: str, again: bool, counts: bool, avoided: bool) -> None:
    assert verdict(reason) == Verdict("waiting" if again else "failed", counts=counts, avoid_pool=avoided)


def test_the_table_knows_every_reason_that_ends_a_try() -> None:
    assert {row[0] for row in TABLE} | {"user_cancel", "superseded"} == set(REASONS)


def test_a_capability_that_asks_for_it_is_tried_again_after_its_own_errors() -> None:
    assert verdict("capability_error", policy=GENEROUS).unit_state == "waiting"
    assert verdict("limit_exceeded", policy=GENEROUS).unit_state == "failed"


@pytest.mark.parametrize(("reason", "again", "counts", "avoided"), [row for row in TABLE if row[1]])
@pytest.mark.parametrize("tries", range(5))
def test_only_what_counts_uses_up_the_tries(reason: str, again: bool, counts: bool, avoided: bool, tries: int) -> None:
    left = tries + counts < 3
    assert verdict(reason, tries=tries).unit_state == ("waiting" if left else "failed")


@pytest.mark.parametrize("reason", [row[0] for row in TABLE])
def test_no_reason_is_tried_again_beyond_the_most_leases(reason: str) -> None:
    assert verdict(reason, fence=MAX_FENCE, policy=GENEROUS).unit_state == "failed"


@pytest.mark.parametrize("reason", [row[0] for row in TABLE])
def test_nothing_is_tried_again_after_the_window(reason: str) -> None:
    policy = Policy(window_s=3600, capability_error=True)
    assert verdict(reason, age=timedelta(seconds=3600), policy=policy).unit_state == "failed"
    wanted = "failed" if reason == "limit_exceeded" else "waiting"
    assert verdict(reason, age=timedelta(seconds=3599), policy=policy).unit_state == wanted


@pytest.mark.parametrize("reason", [row[0] for row in TABLE if row[1]])
@pytest.mark.parametrize("tries", range(5))
@pytest.mark.parametrize("age_s", [0, 599, 600, 601, 10**6])
def test_both_limits_hold_attempts_and_window(reason: str, tries: int, age_s: int) -> None:
    policy = Policy(max_attempts=3, window_s=600)
    counts = reason not in ("reclaimed", "platform_fault")
    again = tries + counts < 3 and age_s < 600
    assert verdict(reason, tries=tries, age=timedelta(seconds=age_s), policy=policy).unit_state == (
        "waiting" if again else "failed"
    )


@pytest.mark.parametrize("chosen", [set(), {"node_fault"}, {"limit_exceeded", "reclaimed"}, {"capability_error"}])
def test_a_manifest_chooses_the_classes_that_are_tried_again(chosen: set[str]) -> None:
    policy = Policy.of({"on": sorted(chosen)})
    again = {reason for reason, *_ in TABLE if verdict(reason, policy=policy).unit_state == "waiting"}
    assert again == chosen | {"platform_fault"}


@given(st.integers(0, 10**6), st.integers(1, MAX_FENCE))
def test_each_try_that_counts_waits_longer_than_the_one_before_up_to_a_bound(tries: int, fence: int) -> None:
    waits = [backoff(counts=True, tries=n, fence=fence) for n in (tries, tries + 1)]
    assert waits[0] == waits[1] == LONGEST_DELAY or waits[1] == 2 * waits[0] or waits[1] == LONGEST_DELAY
    assert RETRY_DELAY <= waits[0] <= LONGEST_DELAY


def test_what_is_no_try_is_repeated_at_once_but_not_for_ever() -> None:
    waits = [backoff(counts=False, tries=0, fence=fence).total_seconds() for fence in range(1, 9)]
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16]


def test_a_lost_lease_is_no_try_because_nobody_reported_it() -> None:
    assert verdict("node_fault", lost=True, tries=2) == Verdict("waiting", counts=False, avoid_pool=True)
    assert verdict("node_fault", lost=True, tries=3).unit_state == "failed"


@pytest.mark.parametrize("facts", [{}, {"tries": 99}, {"fence": 99}, {"lost": True}])
def test_a_users_wish_cancels_whatever_happened_before(facts: dict[str, Any]) -> None:
    assert verdict("user_cancel", **facts) == Verdict("cancelled", counts=False, avoid_pool=False)


@pytest.mark.parametrize("unable", [True, False])
def test_giving_back_is_free_but_not_for_ever(unable: bool) -> None:
    assert verdict_of_release(fence=MAX_FENCE - 1, unable=unable) == Verdict("waiting", counts=False, avoid_pool=unable)
    assert verdict_of_release(fence=MAX_FENCE, unable=unable).unit_state == "failed"


def test_a_policy_is_read_from_a_manifest_that_may_say_more_or_nothing() -> None:
    assert Policy.of({}) == Policy()
    assert Policy.of({"max_attempts": 1, "capability_error": True, "later": 1}) == Policy(1, 86_400, True)
