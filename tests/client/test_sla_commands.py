"""The commands of service levels: what they ask of the platform, and what they show."""

from __future__ import annotations

import pytest

from gridfare.cli.sla import steps_of
from tests.client.conftest import Run
from tests.client.platform import Platform

TERMS = {
    "id": 3, "pool": "310000-G-000003-M", "provider": "bund-edge", "customer": None, "kind": "deadline",
    "steps": [[9900, 1000], [9550, 2500]], "minimum": 5, "valid_from": "2026-03-03T00:00:00Z", "valid_to": None,
    "withdrawn_at": None,
}  # fmt: skip
DAY = {
    "id": 5, "terms": 3, "pool": "310000-G-000003-M", "kind": "deadline", "customer": "acme", "day": "2026-03-03", "good": 97,
    "total": 100, "credit_basis_points": 1000, "covered": "125.000000", "credit": "12.500000", "currency": "CNY", "evidence": {},
    "digest": "00", "measured_at": "2026-03-04T01:05:00Z",
}  # fmt: skip
CREDIT = {
    "id": 1, "measurement": 5, "task": "0196f0c2-7d6e-7c52-9f2e-6f4a0f3c1d11", "charge": 99,
    "amount": "12.500000", "currency": "CNY",
}  # fmt: skip
IMAGINED = {
    "day": "2026-03-03", "customer": "acme", "currency": "CNY", "good": 9, "total": 10, "credit_basis_points": 2550,
    "credit": "2.5",
}  # fmt: skip


@pytest.fixture(autouse=True)
def told(platform: Platform) -> None:
    platform.answers |= {
        "GET /sla/terms": {"results": [TERMS], "next": None},
        "POST /sla/terms": TERMS,
        "POST /sla/terms/3/end": TERMS | {"valid_to": "2026-04-01T00:00:00Z"},
        "POST /sla/terms/3/withdraw": TERMS | {"withdrawn_at": "2026-03-02T08:00:00Z"},
        "POST /sla/backtest": {"days": [IMAGINED], "credits": {"CNY": "2.5"}},
        "GET /sla/measurements": {"results": [DAY], "next": None},
        "GET /sla/credits": {"results": [CREDIT], "next": None},
    }


def test_promises_days_and_credits_are_shown(run: Run) -> None:
    assert all(word in run("sla", "list").out for word in ("<99%: 10%", "<95.5%: 25%", "everybody"))
    assert all(word in run("sla", "days").out for word in ("2026-03-03", "97", "12.500000"))
    assert "99" in run("sla", "credits").out
    assert run("sla", "days", "--json").json == [DAY]


def test_a_provider_promises_ends_and_asks_what_it_would_have_cost(run: Run) -> None:
    promised = run("sla", "promise", "310000-G-000003-M", "deadline", "--below", "99:10", "--below", "95.5:25", "--minimum", "5")
    assert "<95.5%: 25%" in promised.out
    assert steps_of(["99:10", "95.5:25"]) == [[9900, 1000], [9550, 2500]]
    assert "2026-04-01" in run("sla", "end", "3").out
    assert "withdrawn" in run("sla", "withdraw", "3").out
    told = run("sla", "backtest", "310000-G-000003-M", "deadline", "--below", "99:10").out
    assert all(word in told for word in ("25.5", "in all 2.5 CNY"))


def test_a_step_that_is_none_is_refused_before_anything_is_asked(run: Run) -> None:
    for wrong in ("99", "99:x", "99:1.234"):
        assert run("sla", "promise", "p", "deadline", "--below", wrong).code == 2
