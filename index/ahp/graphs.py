"""What judgements connect, and whether they go in a circle. Pure."""

from __future__ import annotations

from itertools import permutations

from index.ahp.matrices import Judgements


def parts_of(size: int, judgements: Judgements) -> list[list[int]]:
    """Those that chains of judgements connect, in their order; one part: all are connected."""
    left, found = list(range(size)), []
    while left:
        reached, waiting = {left[0]}, [left[0]]
        while waiting:
            one = waiting.pop()
            new = {b if a == one else a for a, b in judgements if one in (a, b)} - reached
            reached |= new
            waiting += new
        found.append(sorted(reached))
        left = [one for one in left if one not in reached]
    return found


def circle_of(size: int, judgements: Judgements) -> tuple[int, int, int] | None:
    """The first three of which each was said to weigh more than the next, and the last more than the first; None: none do."""
    more = {pair if value > 1 else pair[::-1] for pair, value in judgements.items() if value != 1}
    for one, two, three in permutations(range(size), 3):
        if one < min(two, three) and {(one, two), (two, three), (three, one)} <= more:
            return one, two, three
    return None
