"""Who pays for an attempt, and how the amount is split. Pure.

The reason table (docs/billing.md) is data: `VERDICTS` is joined by the statement that charges, and asked by
`verdict_of` in tests and explanations, so there is one table and not two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.money import BASIS_POINTS

# A charge above this is a wrong price, not a bill; it keeps sums of millions of charges inside a bigint.
CEILING_MICROS: Final = 10_000_000 * 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who pays. The provider is paid when somebody pays; the publisher's unit fee is asked only with `fee`."""

    payer: str  # user | platform | nobody
    fee: bool = False


USER_WITH_FEE: Final = Verdict("user", fee=True)
USER: Final = Verdict("user")
PLATFORM: Final = Verdict("platform")
NOBODY: Final = Verdict("nobody")

# How a task ended decides the column.
ENDINGS: Final = ("delivered", "cancelled", "capability_error", "limit_exceeded", "failed")

_TABLE: Final[Mapping[str, Sequence[Verdict]]] = {
    #                   delivered      cancelled      capability_error  limit_exceeded  failed otherwise, expired
    "valid":            (USER_WITH_FEE, USER_WITH_FEE, NOBODY,          USER,           PLATFORM),
    "limit_exceeded":   (USER,          USER,          NOBODY,          USER,           PLATFORM),
    "user_cancel":      (PLATFORM,      USER,          NOBODY,          USER,           PLATFORM),
    "superseded":       (PLATFORM,      PLATFORM,      PLATFORM,        PLATFORM,       PLATFORM),
    "platform_fault":   (PLATFORM,      PLATFORM,      PLATFORM,        PLATFORM,       PLATFORM),
    "capability_error": (NOBODY,        NOBODY,        NOBODY,          NOBODY,         NOBODY),
    "node_fault":       (NOBODY,        NOBODY,        NOBODY,          NOBODY,         NOBODY),
    "reclaimed":        (NOBODY,        NOBODY,        NOBODY,          NOBODY,         NOBODY),
    "checkpointed":     (USER,          USER,          NOBODY,          USER,           PLATFORM),
    "invalid_result":   (NOBODY,        NOBODY,        NOBODY,          NOBODY,         NOBODY),
}  # fmt: skip

VERDICTS: Final[Mapping[tuple[str, str], Verdict]] = {
    (work, ending): verdict for work, row in _TABLE.items() for ending, verdict in zip(ENDINGS, row, strict=True)
}

# The attempt's final state names its row; only a failed one is told apart by its reason class.
WORK_OF_OUTCOME: Final[Mapping[str, str]] = {
    "valid": "valid",
    "invalid": "invalid_result",
    "lost": "node_fault",
    "cancelled": "user_cancel",
    "superseded": "superseded",
}


def work_of(outcome: str, reason_class: str) -> str:
    """The row of the table for an attempt. A failure without a known class is the node's: nobody pays."""
    if outcome in WORK_OF_OUTCOME:
        return WORK_OF_OUTCOME[outcome]
    return reason_class if reason_class in _TABLE and reason_class != "valid" else "node_fault"


def ending_of(state: str, reason_class: str) -> str:
    """The column of the table for a task that ended in `state`."""
    if state in {"delivered", "cancelled"}:
        return state
    known = state == "failed" and reason_class in {"capability_error", "limit_exceeded"}
    return reason_class if known else "failed"


def verdict_of(work: str, ending: str, kind: str = "user") -> Verdict:
    """Who pays for such work in a task that ended so. A test of a capability is the platform's, without a fee."""
    verdict = VERDICTS[work, ending]
    return PLATFORM if kind == "test" and verdict.payer == "user" else verdict


@dataclass(frozen=True, slots=True)
class Split:
    """How an amount is shared, in micros. The three parts always add up to it."""

    provider: int
    publisher: int
    platform: int


def capped(resource: int, fee: int, left: int | None) -> tuple[int, int]:
    """Both parts of an amount once a price cap leaves only `left` micros for it (None = no cap).

    Provider and publisher bear the cut in proportion; the fee takes the micro that rounding leaves.
    """
    total = resource + fee
    allowed = total if left is None else max(left, 0)
    if total <= allowed:
        return resource, fee
    part = resource * allowed // total
    return part, allowed - part


def split_of(resource: int, fee: int, basis_points: int) -> Split:
    """Share an amount: the platform takes its basis points of the resource's part and of the publisher's part.

    Largest remainder: each party gets its whole micros, and the one or two that are left go to the largest
    fractions, ties in the order provider, publisher, platform (research/billing.md 5.6).
    """
    kept = BASIS_POINTS - basis_points
    weights = (resource * kept, fee * kept, (resource + fee) * basis_points)
    shares = [weight // BASIS_POINTS for weight in weights]
    left = resource + fee - sum(shares)
    by_fraction = sorted(range(3), key=lambda party: (-(weights[party] % BASIS_POINTS), party))
    for party in by_fraction[:left]:
        shares[party] += 1
    return Split(*shares)
