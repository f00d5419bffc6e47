"""Which peak is billed, as data: what a price version stores, read back into a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final

from core.errors import Invalid
from metering.peaks.sweep import DIRECTIONS, SLOT_STATS

DAILY: Final = ("day_max", "day_kth", "day_p95")
OF_DAYS: Final = ("month_max", "month_mean_day_peak", "month_topk_mean")  # a statistic of the days' peaks
MONTHLY: Final = (*OF_DAYS, "month_p95")
KINDS: Final = (*DAILY, *MONTHLY)
VALID_DAYS: Final = ("used", "active")
MOST_RANKS: Final = 276  # slots of the shortest day


@dataclass(frozen=True, slots=True)
class Policy:
    """A peak policy.

    kind        one of KINDS
    k           day_kth: the rank that is taken; month_topk_mean: how many days are averaged
    day, day_k  for OF_DAYS: how each day's own peak is found (one of DAILY, and its rank)
    slot_stat   what a slot holds: avg (time-weighted) or max
    direction   of a two-way meter: in, out, max, sum
    valid_days  used: days with any slot above `above`; active: every day in which the subject was active
    day_factor  whether the peak counts for its valid days only: times valid days / days of the month
    min_ratio   floor: at least this part of what the customer may use at most
    whole       the fraction of a mean and of the floor is cut off
    """

    kind: str
    k: int = 5
    day: str = "day_max"
    day_k: int = 5
    slot_stat: str = "avg"
    direction: str = "max"
    valid_days: str = "used"
    above: int = 0
    day_factor: bool = False
    min_ratio: Fraction = Fraction(0)
    whole: bool = False

    @property
    def daily(self) -> bool:
        """Whether each day is billed for itself."""
        return self.kind in DAILY

    @property
    def day_rule(self) -> tuple[str, int]:
        """(kind, k) by which a day's own peak is found."""
        return (self.kind, self.k) if self.daily else (self.day, self.day_k)

    @property
    def days_taken(self) -> int | None:
        """How many of the highest days OF_DAYS averages; None for all."""
        return {"month_max": 1, "month_topk_mean": self.k}.get(self.kind)

    def document(self) -> dict[str, Any]:
        """As JSON; `parse_policy` reads it back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"min_ratio": str(self.min_ratio)}

    def __str__(self) -> str:
        named = {"day_kth": f"day_kth({self.k})", "month_topk_mean": f"month_topk_mean({self.k})"}.get(self.kind, self.kind)
        if self.kind not in OF_DAYS or self.day == "day_max":
            return named
        return f"{named} of {self.day}({self.day_k})" if self.day == "day_kth" else f"{named} of {self.day}"


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "kind": KINDS,
    "day": DAILY,
    "slot_stat": SLOT_STATS,
    "direction": DIRECTIONS,
    "valid_days": VALID_DAYS,
}
_NUMBERS: Final[Mapping[str, tuple[int, int]]] = {"k": (1, MOST_RANKS), "day_k": (1, MOST_RANKS), "above": (0, 2**63 - 1)}


def parse_policy(document: Any, field: str = "policy") -> Policy:
    """Read a policy's JSON; `kind` is the only member that must be there. Raises Invalid `peak_policy_invalid`."""
    if not isinstance(document, Mapping):
        raise Invalid("peak_policy_invalid", "a peak policy is an object", field=field)
    unknown = sorted(set(document) - {known.name for known in fields(Policy)})
    if unknown:
        raise Invalid("peak_policy_invalid", "a peak policy has no such member", field=f"{field}.{unknown[0]}")
    values = {name: _member(name, value, f"{field}.{name}") for name, value in document.items()}
    if "kind" not in values:
        raise Invalid("peak_policy_invalid", f"kind is one of {', '.join(KINDS)}", field=f"{field}.kind")
    return Policy(**values)


def _member(name: str, value: Any, field: str) -> Any:
    if name in _CHOICES:
        return _choice(value, _CHOICES[name], field)
    if name in _NUMBERS:
        return _number(value, *_NUMBERS[name], field)
    return _ratio(value, field) if name == "min_ratio" else _flag(value, field)


def _choice(value: Any, known: tuple[str, ...], field: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise Invalid("peak_policy_invalid", f"this is one of {', '.join(known)}", field=field)
    return value


def _number(value: Any, least: int, most: int, field: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid("peak_policy_invalid", f"this is a whole number from {least} to {most}", field=field)
    return value


def _flag(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid("peak_policy_invalid", "this is true or false", field=field)
    return value


def _ratio(value: Any, field: str) -> Fraction:
    """Decimal text or a quotient ("0.2", "1/5"), from 0 to 1: a float would not be exact."""
    try:
        ratio = Fraction(value) if isinstance(value, str) and len(value) <= 40 and "e" not in value.lower() else None
    except (ValueError, ZeroDivisionError):
        ratio = None
    if ratio is None or not 0 <= ratio <= 1:
        raise Invalid("peak_policy_invalid", 'this is text between "0" and "1"', field=field)
    return ratio
