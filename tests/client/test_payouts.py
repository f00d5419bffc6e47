"""The payouts' commands: what they ask of the platform, and what they show."""

from __future__ import annotations

import pytest

from tests.client.conftest import Run
from tests.client.platform import Platform

SHARE = {
    "charge": 3, "task": "0198", "attempt": 9, "pool": "640000-G-1", "share": "1.200000", "currency": "CNY", "state": "held_back",
    "due_at": "2026-04-08T16:00:00Z",
}  # fmt: skip
PAYOUT = {
    "id": 7, "run": 1, "organization": "bobs-pools", "currency": "CNY", "amount": "20.000000", "lines": 2, "state": "failed",
    "reason": "no such account",
}  # fmt: skip
ATTEMPT = {"number": 1, "key": "payout/7/1", "state": "failed", "reference": "r-1", "reason": "no such account"}
DOCUMENT = PAYOUT | {"attempts": [ATTEMPT]}
MONTH = {
    "period_charge": 5, "meter": "held_cores", "pool": "640000-G-1", "from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z",
    "share": "38.000000", "currency": "CNY", "state": "due", "due_at": "2026-04-08T16:00:00Z",
}  # fmt: skip
OF_MONTH = {"charge": None, "period_charge": 5, "role": "provider", "task": None, "attempt": None, "amount": "38.000000"}
LINE = {"charge": 3, "role": "provider", "task": "0198", "attempt": None, "amount": "1.200000"}
KEPT = OF_MONTH | {"period_charge": None, "withheld": 4, "role": "reserve", "amount": "-2.000000"}
FREED = KEPT | {"withheld": None, "released": 3, "role": "provider", "amount": "2.000000"}
RESERVE = {
    "number": 4, "organization": "bobs-pools", "payout": 7, "state": "held", "amount": "2.000000", "drawn": "0.500000",
    "released": "0.000000", "left": "1.500000", "currency": "CNY", "release_at": "2026-07-08T16:00:00Z",
}  # fmt: skip
TERMS = {
    "organization": "bobs-pools", "basis_points": 1000, "days": 90, "starts_at": "2026-04-08T16:00:00Z", "note": "two disputes",
}  # fmt: skip
ANSWERS = {
    "GET /payables": {"results": [SHARE], "next": None},
    "GET /payables/periods": {"results": [MONTH], "next": None},
    "GET /payouts": {"results": [PAYOUT], "next": None},
    "GET /payouts/7": DOCUMENT,
    "GET /payouts/7/lines": {"results": [LINE, OF_MONTH, KEPT, FREED], "next": None},
    "GET /reserves": {"results": [RESERVE], "next": None},
    "GET /reserve-terms": {"results": [TERMS], "next": None},
    "POST /reserve-terms": TERMS,
    "POST /payout-runs": {"run": 1, "payouts": [PAYOUT]},
    "POST /payouts/send": {"paid": 1, "failed": 0, "pending": 2},
    "POST /payouts/7/approve": DOCUMENT,
    "POST /payouts/7/retry": DOCUMENT,
    "POST /payouts/7/cancel": DOCUMENT,
}


@pytest.fixture(autouse=True)
def told(platform: Platform) -> None:
    platform.answers |= ANSWERS


def test_a_payees_shares_are_shown(run: Run) -> None:
    shown = run("statement", "lines", "--party", "publisher").out
    assert all(word in shown for word in ("1.200000", "held_back", "640000-G-1"))
    assert run("statement", "lines", "--json").json == [SHARE]


def test_a_providers_shares_of_months_are_shown(run: Run) -> None:
    shown = run("statement", "periods", "--from", "2026-04-01").out
    assert all(word in shown for word in ("held_cores", "2026-03-01", "38.000000", "due"))
    assert run("statement", "periods", "--json").json == [MONTH]


def test_a_publisher_s_shares_of_months_name_the_capability(run: Run, platform: Platform) -> None:
    fees = MONTH | {"meter": "fee_per_unit", "pool": None, "capability": "carol/render@1.0.0"}
    platform.answers["GET /payables/periods"] = {"results": [fees], "next": None}
    assert "carol/render@1.0.0" in run("statement", "periods", "--party", "publisher").out


def test_payouts_their_attempts_and_lines_are_shown(run: Run) -> None:
    assert "bobs-pools" in run("payout", "list").out
    assert "payout/7/1" in run("payout", "show", "7").out
    assert run("payout", "show", "7", "--json").json == DOCUMENT
    assert all(word in run("payout", "lines", "7").out for word in ("1.200000", "period 5", "kept back 4", "released 3"))


def test_reserves_and_their_terms_are_shown_and_agreed_on(run: Run, platform: Platform) -> None:
    assert all(word in run("reserve", "list").out for word in ("held", "1.500000", "2026-07-0"))
    assert "two disputes" in run("reserve", "terms").out
    told = run("reserve", "agree", "bobs-pools", "1000", "90", "--from", "2026-04-08T16:00:00Z", "--note", "two disputes")
    assert "1000 basis points of bobs-pools's payouts are kept back for 90 days" in told.out
    assert run("reserve", "agree", "bobs-pools", "1000").code == 2
    platform.answers["GET /reserves"] = platform.answers["GET /reserve-terms"] = {"results": [], "next": None}
    assert "nothing was kept back" in run("reserve", "list").out
    assert "the platform's hold" in run("reserve", "terms").out


@pytest.mark.parametrize("words", [("approve", "7"), ("retry", "7"), ("cancel", "7", "--reason", "wrong payee")])
def test_operators_decide(run: Run, words: tuple[str, ...]) -> None:
    assert "no such account" in run("payout", *words).out


def test_operators_gather_and_send(run: Run, platform: Platform) -> None:
    assert "20.000000" in run("payout", "run").out
    assert "1 paid, 0 failed, 2 without an answer yet" in run("payout", "send").out
    platform.answers["POST /payout-runs"] = {"run": None, "payouts": []}
    assert "nothing is due" in run("payout", "run").out
