"""The clouds' worked examples through the whole engine: usage that makes their peaks goes in, their bill comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from billing.models import PeriodCharge
from billing.rating import precise
from billing.services import charge_tasks
from tests.builders_billing import Market, make_attempt, make_need, make_task, make_usage
from tests.builders_periods import SHANGHAI, amount, close, period_market

FOLDER = Path(__file__).parent.parent / "metering" / "golden"
EXAMPLES = [
    pytest.param(example, id=f"{path.stem}: {example['name']}")
    for path in sorted(FOLDER.glob("*.json"))
    for example in json.loads(path.read_text())
    if "days" in example
]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)


def held(example: dict[str, Any]) -> Iterator[tuple[datetime, int, int]]:
    """(begin, seconds, cores) that make the example's slots: its rest all day, its spikes on top, equal neighbours as one."""
    for group in example["days"]:
        for number in range(group["count"]):
            begin = midnight(date.fromisoformat(group["from"]) + timedelta(days=number))
            if group["rest"]:
                yield begin, 86_400, group["rest"]
            at = 0
            for spike, slots in groupby(group["spikes"]):
                length = len(list(slots))
                if spike > group["rest"]:
                    yield begin + timedelta(seconds=300 * at), 300 * length, spike - group["rest"]
                at += length


def market_of(example: dict[str, Any]) -> Market:
    policy = example["policy"]
    floor = {"cap": str(example["cap"])} if policy.get("min_ratio", "0") != "0" else {}
    bounds = ("active_from", "active_to")
    start, end = (midnight(date.fromisoformat(example[name])) if name in example else None for name in bounds)
    basis = "daily_peak" if policy["kind"].startswith("day") else "monthly_peak"
    rates = {"held_cores": example.get("rate", "1")}
    first = midnight(date.fromisoformat(example["month"]).replace(day=1))
    return period_market(basis, rates, {"peak": policy, **floor}, start=start or first, end=end)


@pytest.mark.django_db
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_vendors_usage_under_the_vendors_price_is_charged_as_the_vendor_bills(example: dict[str, Any]) -> None:
    market = market_of(example)
    task, need = make_task(market, terms={"fee_per_unit": "0"}), make_need()
    for begin, seconds, cores in held(example):
        end, wall = begin + timedelta(seconds=seconds), seconds * 1000
        attempt = make_attempt(market, task, need, leased_at=begin, ended_at=end)
        make_usage(market, task, attempt, wall_ms=wall, core_ms=0, held_core_ms=wall * cores)
    charge_tasks([task.pk])
    close(market, date.fromisoformat(example["month"]))
    charge, expected = PeriodCharge.objects.get(), example["expect"]
    (first, *others) = charge.evidence["peaks"]
    assert first["value"] == expected["peak"]
    assert first["billed"] == expected["billed"]
    assert charge.billed == precise(Fraction(expected["billed"]) * (1 + len(others)))
    if "samples" in expected:
        assert (first["samples"], first["winners"][0]["rank"]) == (expected["samples"], expected["rank"])
    if "rate" in example:
        assert charge.amount_micros == amount(expected.get("total", expected["amount"]))
