"""Real agents whose results cannot be compared, only judged by the publisher's program; and one that changes its mind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from demo.market import ERIN
from marketplace.stages import VALIDATES

from .accounts import assert_bill_equals_charges, assert_ledger_balances
from .market import Market, a_pool, an_owner, client_of, retire

GUESSES = Path(__file__).parent / "guesses"
TRIES = f"""
SELECT p.identifier, a.state, a.code FROM scheduler_unit u JOIN scheduler_attempt a ON a.unit_id = u.id
JOIN marketplace_pool p ON p.id = a.pool_id WHERE u.task_id = %s AND u.stage = {VALIDATES} ORDER BY a.id
"""
WORDS = """
SELECT p.identifier, c.state FROM scheduler_commitment c JOIN scheduler_attempt a ON a.id = c.attempt_id
JOIN marketplace_pool p ON p.id = a.pool_id WHERE a.task_id = %s ORDER BY c.id
"""


def fickle(command: list[str]) -> list[str]:
    """An agent that spoils its results; where it has to commit to one first, it shows the right one after all."""
    return ["env", "GRIDFARE_CHAOS=corrupt_results=1,break_commitments=1", *command]


@pytest.fixture(scope="module")
def pools(market: Market) -> Iterator[dict[str, str]]:
    """A second honest owner, and after the capability has passed its tests a third one, the cheapest, that is fickle."""
    erin, other = client_of(market.stack, ERIN.username), an_owner(market, "day-shift")
    found = {"steady": a_pool(market, erin, "steady", "0.0001")}
    market.publish(GUESSES, trusted=True)
    found["fickle"] = a_pool(market, other, "fickle", "0.00000001", fickle)
    yield found
    retire(market, {"steady": erin, "fickle": other})


def attempts_of(market: Market, task: Any) -> list[dict[str, Any]]:
    return [attempt for unit in market.alice.units(task["id"]) for attempt in unit["attempts"]]


def test_a_validator_refuses_the_wrong_result_and_takes_the_right_one_on_machines_of_those_who_gave_none(
    market: Market, pools: dict[str, str], tmp_path: Path
) -> None:
    task = market.ended(market.alice.submit("gridfare/guesses", {"count": 1})["id"], 180)
    assert task["state"] == "delivered", task
    market.alice.download_results(task["id"], tmp_path)
    assert 720 % int((tmp_path / "divisor.txt").read_text()) == 0

    results = {one["pool"]: (one["state"], one["code"]) for one in attempts_of(market, task) if one["code"] != "validated"}
    assert results[pools["fickle"]] == ("invalid", "outvoted")
    right = [pool for pool, (state, _) in results.items() if state == "valid"]
    assert len(right) == 1
    tries = market.stack.rows(TRIES, [task["id"]])
    assert tries
    assert {(one["state"], one["code"]) for one in tries} == {("superseded", "validated")}
    last = tries[-1]["identifier"]
    assert last not in (right[0], pools["fickle"])

    paid = {charge["pool"]: charge["payer"] for charge in market.alice.charges(task["id"]) if charge["pool"]}
    assert paid[pools["fickle"]] == "nobody" or last == pools["fickle"]
    assert paid[right[0]] == "user"
    assert_bill_equals_charges(market, task)
    assert_ledger_balances(market)


def test_who_changes_its_result_after_it_has_committed_to_another_is_refused_though_the_new_one_is_right(
    market: Market, pools: dict[str, str], tmp_path: Path
) -> None:
    bound = {"quorum": {"of": 3, "need": 2, "commit_reveal": True}}
    task = market.ended(market.alice.submit("gridfare/sums", {"count": 1}, verify=bound)["id"], 180)
    assert task["state"] == "delivered", task
    market.alice.download_results(task["id"], tmp_path)
    assert json.loads((tmp_path / "sum.json").read_text())["sum"] == 0

    lies = [one for one in attempts_of(market, task) if one["pool"] == pools["fickle"]]
    assert lies
    assert {(one["state"], one["code"]) for one in lies if one["state"] != "superseded"} == {("invalid", "broken_commitment")}
    words = [(row["identifier"], row["state"]) for row in market.stack.rows(WORDS, [task["id"]])]
    assert len(words) >= 5
    assert {state for pool, state in words if pool != pools["fickle"]} <= {"kept", "asked", "void"}
    assert (pools["fickle"], "broken") in words
    charges = [charge for charge in market.alice.charges(task["id"]) if charge["pool"] == pools["fickle"]]
    assert {(charge["payer"], Decimal(charge["amount"]) > 0) for charge in charges if "invalid" in charge["reason"]} == {
        ("nobody", False)
    }
    assert_bill_equals_charges(market, task)
    assert_ledger_balances(market)
