"""The taxes' commands: what they ask of the platform, and what they show."""

from __future__ import annotations

import pytest

from tests.client.conftest import Run
from tests.client.platform import Platform

RATE = {
    "number": 4, "tax": "vat", "category": "small", "region": None, "percent": "1", "valid_from": "2026-03-01T00:00:00Z",
    "valid_to": None,
}  # fmt: skip
HELD = {
    "number": 7, "tax": "vat", "organization": "acme", "category": "standard", "valid_from": "2026-03-01T00:00:00Z",
    "valid_to": None,
}  # fmt: skip
TAX = {"code": "vat", "name": "VAT 增值税"}


@pytest.fixture(autouse=True)
def told(platform: Platform) -> None:
    platform.answers |= {
        "GET /taxes": {"results": [TAX], "next": None},
        "POST /taxes": TAX,
        "GET /tax-rates": {"results": [RATE], "next": None},
        "POST /tax-rates": RATE,
        "GET /tax-assignments": {"results": [HELD], "next": None},
        "POST /tax-assignments": HELD,
        "POST /tax-assignments/7/stop": HELD | {"valid_to": "2026-04-01T00:00:00Z"},
    }


def test_taxes_rates_and_who_is_asked_are_shown(run: Run) -> None:
    assert "VAT 增值税" in run("tax", "list").out
    assert all(word in run("tax", "rates").out for word in ("1 %", "small", "everywhere"))
    assert "acme" in run("tax", "assignments").out
    assert run("tax", "rates", "--json").json == [RATE]


def test_operators_set_them(run: Run) -> None:
    assert "vat: VAT 增值税" in run("tax", "add", "vat", "VAT 增值税").out
    assert "small" in run("tax", "rate", "vat", "1", "--category", "small").out
    assert "acme" in run("tax", "assign", "vat", "acme").out
    assert run("tax", "stop", "7", "--json").json["valid_to"] == "2026-04-01T00:00:00Z"
