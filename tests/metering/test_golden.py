"""The clouds' own worked examples, to the cent: their pages' numbers go in, and their pages' bills come out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.rating import amount_of, parse_rate
from metering.peaks import Calendar, Day, Peak, Settlement, calendar_of, floor_of, parse_policy, peaks_of, settle

FOLDER = Path(__file__).parent / "golden"
EXAMPLES = [
    pytest.param(example, id=f"{path.stem}: {example['name']}")
    for path in sorted(FOLDER.glob("*.json"))
    for example in json.loads(path.read_text())
]


def days_of(example: dict[str, Any]) -> Iterator[Day]:
    """Each group of days: the spikes in its first slots, `rest` in all others."""
    for group in example["days"]:
        slots = (*group["spikes"], *[group["rest"]] * (288 - len(group["spikes"])))
        for number in range(group["count"]):
            yield Day(date.fromisoformat(group["from"]) + timedelta(days=number), slots)


def calendar(example: dict[str, Any]) -> Calendar:
    month, *bounds = (
        date.fromisoformat(example[name]) if name in example else None for name in ("month", "active_from", "active_to")
    )
    assert month is not None
    return calendar_of(month, ZoneInfo("Asia/Shanghai"), *bounds)


def settled(example: dict[str, Any]) -> list[tuple[Peak, Settlement]]:
    policy, days = parse_policy(example["policy"]), calendar(example)
    caps = [example["cap"]] * len(days.days) if "cap" in example else []
    return [(peak, settle(policy, peak, days, caps)) for peak in peaks_of(policy, days_of(example), days)]


def figures(example: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything that can be said of an example, as its file would."""
    if "caps_of_the_day" in example:
        yield "floor", str(floor_of(parse_policy(example["policy"]), [max(example["caps_of_the_day"])]))
    if "quantity" in example:
        yield "amount", amount_of(parse_rate(example["rate"]), Fraction(example["quantity"]))
    if "days" not in example:
        return
    bills = settled(example)
    peak, bill = bills[0]
    yield from {"peak": str(peak.value), "billed": str(bill.billed), "samples": peak.samples}.items()
    yield from {"rank": peak.winners[0].rank, "valid_days": peak.valid_days}.items()
    yield "factor", str(round(Decimal(peak.valid_days) / calendar(example).month_days, 8))
    if "rate" in example:
        amounts = [amount_of(parse_rate(example["rate"]), bill.billed) for _, bill in bills]
        yield from {"amount": amounts[0], "total": sum(amounts)}.items()


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_vendors_numbers_give_the_vendors_bill(example: dict[str, Any]) -> None:
    found = dict(figures(example))
    assert example["expect"]
    for name, value in example["expect"].items():
        assert found[name] == (Decimal(value) if name in {"amount", "total"} else value), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_says_where_and_when_it_was_read(example: dict[str, Any]) -> None:
    assert example["source"].startswith("https://")
    assert date.fromisoformat(example["read"]) >= date(2026, 11, 25)
    assert example["given"]
