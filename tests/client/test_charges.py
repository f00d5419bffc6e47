"""Charges' and contracts' commands: lists, proofs, what is not billed, what would have been, an operator's decisions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.client.conftest import Run
from tests.client.platform import Platform


def test_months_and_their_proof_are_shown(run: Run) -> None:
    assert "held_cores" in run("charge", "list").out
    assert run("charge", "list", "--json").json[0]["amount"] == "40.000000"
    assert "month_max" in run("charge", "evidence", "7").out
    assert "the facts are those that were charged" in run("charge", "evidence", "7").out
    of_task = run("charge", "evidence", "3", "--task").out
    assert "user pays" in of_task
    assert "round 46 priced core_second at 0.002, between 0.001 and 0.02" in of_task
    assert "held_cores" in run("charge", "previews").out


def test_what_is_not_billed_says_why(run: Run) -> None:
    assert "task_open" in run("charge", "unbilled").out
    assert run("charge", "unbilled", "--json").json[0]["count"] == 2


def test_what_if_takes_pools_files_and_rates(run: Run, platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps([{"name": "peak", "basis": "monthly_peak", "rates": {"held_cores": "10"}}]))
    done = run(
        "charge", "what-if", "2026-03", "--pool", "P", "--prices", str(file), "--basis", "result", "--rate", "result=1", "--json"
    )
    asked = [one["price"] for one in done.json["candidates"]]
    assert [price.get("pool", price.get("basis")) for price in asked] == ["P", "monthly_peak", "result"]
    assert run("charge", "what-if", "2026-03").code == 2
    file.write_text("{")
    assert run("charge", "what-if", "2026-03", "--prices", str(file)).code == 2


def test_subscriptions_are_begun_listed_and_ended(run: Run) -> None:
    assert "is charged with the month" in run("charge", "subscribe", "P").out
    assert "acme" in run("charge", "subscriptions").out
    assert run("charge", "unsubscribe", "4", "--json").json["to"] == "2026-04-01T00:00:00Z"


def test_operators_run_months_and_decide(run: Run) -> None:
    assert "1 charges, 0 parked" in run("charge", "run", "2026-03", "--final").out
    assert "bound" in run("charge", "parked").out
    assert run("charge", "approve", "5", "--note", "seen", "--json").json["state"] == "approved"
    assert run("charge", "refuse", "5", "--json").json["state"] == "refused"
    assert run("charge", "correct", "9", "--set", "core_ms=5", "--json").json["revision"] == 1
    assert run("charge", "correct", "9", "--set", "core_ms=-5").code == 2


def test_contracts_are_listed_and_signed(run: Run) -> None:
    assert "Europe/Berlin" in run("contract", "list").out
    done = run("contract", "sign", "acme", "--zone", "Asia/Shanghai", "--credit-limit", "500", "--share", "300", "--json")
    assert (done.json["zone"], done.json["credit_limit"], done.json["platform_basis_points"]) == ("Asia/Shanghai", "500", 300)
