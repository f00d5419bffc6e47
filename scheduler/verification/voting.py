"""Which of several results of one unit is the right one. Pure: votes in, a verdict out.

A result agrees with another when its comparison says so: equal hashes, or numbers that are close. Closeness is not
transitive, so groups are made as BOINC makes them: each result in turn gathers those that agree with it, and the one
that gathers most, the earliest of equals, is canonical.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from marketplace.policies import Policy


@dataclass(frozen=True, slots=True)
class Vote:
    """One result: its attempt, and what is compared (a hash, or the files)."""

    attempt: int
    ballot: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """won   `canonical` is delivered, `agree` confirm it, `wrong` lost the vote
    more  one more result is needed       wait  results are still on their way
    none  no agreement, and no more results may be asked for
    """

    kind: Literal["won", "more", "wait", "none"]
    canonical: int = 0
    agree: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()


Same = Callable[[Any, Any], bool]


def equal(one: Any, other: Any) -> bool:
    return bool(one == other)


def largest_group(votes: Sequence[Vote], same: Same = equal) -> list[Vote]:
    """The result that most others agree with, followed by those; of equals the one that came first."""
    groups = [[one, *(other for other in votes if other is not one and same(one.ballot, other.ballot))] for one in votes]
    return max(groups, key=len, default=[])


def verdict_of(policy: Policy, votes: Sequence[Vote], pending: int, asked: int, same: Same = equal) -> Verdict:
    """The verdict over a unit's results in the order they were asked for.

    pending  results on their way        asked  how many were asked for so far, those included that never came
    A group wins with `need` members and more of them than any other group has; `max_total` bounds what is asked for.
    """
    group = largest_group(votes, same)
    rest = [vote for vote in votes if vote not in group]
    if len(group) >= policy.need and len(largest_group(rest, same)) < len(group):
        agree = tuple(vote.attempt for vote in group[1:])
        return Verdict("won", group[0].attempt, agree, tuple(vote.attempt for vote in rest))
    if asked < policy.max_total and (len(votes) + pending < policy.initial or not pending):
        return Verdict("more")
    return Verdict("wait" if pending else "none")


def agrees_with_canonical(canonical: Any, votes: Sequence[Vote], same: Same = equal) -> tuple[list[int], list[int]]:
    """Results that came after the verdict: (attempts that agree with it, attempts that do not)."""
    agree = [vote.attempt for vote in votes if same(canonical, vote.ballot)]
    return agree, [vote.attempt for vote in votes if vote.attempt not in agree]
