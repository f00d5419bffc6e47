"""Three owners with real agents, one of which lies: the right result is delivered, the liar unpaid and shut out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from demo.market import ERIN
from gridfare.sdk import errors

from .accounts import assert_bill_equals_charges, assert_ledger_balances, witness
from .market import Market, a_pool, an_owner, client_of, retire

LIAR = "night-shift"
NUMBERS = 4


def lying(command: list[str]) -> list[str]:
    """An agent that flips a byte of every result before it hashes it."""
    return ["env", "GRIDFARE_CHAOS=corrupt_results=1", *command]


@pytest.fixture
def pools(market: Market) -> Iterator[dict[str, str]]:
    """Pools of two more owners: erin's, and the cheapest of all, whose agent lies."""
    erin, liar = client_of(market.stack, ERIN.username), an_owner(market, LIAR)
    yield {
        "honest": a_pool(market, erin, "honest", "0.0001"),
        "liar": a_pool(market, liar, "liar", "0.00000001", lying),
    }
    retire(market, {"honest": erin, "liar": liar})


def test_the_right_result_is_delivered_and_the_liar_is_unpaid_and_shut_out(
    market: Market, pools: dict[str, str], tmp_path: Path
) -> None:
    alice, quorum = market.alice, {"quorum": {"of": 3, "need": 2}}
    with pytest.raises(errors.Refused) as refused:
        alice.submit("gridfare/sums", {"count": 1}, verify={"quorum": {"of": 4, "need": 2}})
    assert (refused.value.code, refused.value.field) == ("too_few_owners", "verify")

    task = market.ended(alice.submit("gridfare/sums", {"count": NUMBERS}, verify=quorum)["id"], 180)
    assert task["state"] == "delivered", task
    alice.download_results(task["id"], tmp_path)
    assert json.loads((tmp_path / "sum.json").read_text())["sum"] == sum(n * n for n in range(NUMBERS))

    attempts = [attempt for unit in alice.units(task["id"]) for attempt in unit["attempts"]]
    lies = [one for one in attempts if one["pool"] == pools["liar"]]
    assert len([one for one in lies if one["state"] == "invalid"]) >= 3, lies
    assert not [one for one in lies if one["state"] in ("valid", "superseded")]
    assert len([one for one in attempts if one["state"] == "valid"]) == NUMBERS + 1

    charges = list(alice.charges(task["id"]))
    paid = {(charge["payer"], Decimal(charge["amount"]) > 0) for charge in charges if charge["pool"] == pools["liar"]}
    assert paid == {("nobody", False)}
    confirmed = [charge for charge in charges if charge["reason"] == "superseded/delivered"]
    assert {charge["payer"] for charge in confirmed} == {"platform"}
    assert len(confirmed) >= NUMBERS + 1
    found = witness(market, task["id"])
    assert (found["valid"], found["units_valid"], found["live"]) == (NUMBERS + 1, NUMBERS + 1, 0)
    assert found["paid_by_user"] == NUMBERS + 1
    assert found["measurable"] == found["measured"] == found["charged"]
    assert_bill_equals_charges(market, task)
    assert_ledger_balances(market)

    trust = market.olga.pool_trust(pools["liar"])
    assert trust["quarantine"] is not None
    assert trust["quarantine"]["state"] == "closed"
    assert trust["versions"][0]["consecutive_valid"] == 0
    kinds = [event["kind"] for event in trust["events"] if event["kind"] not in ("rechecks", "wrong")]
    assert kinds[0] == "quarantined"
    assert (trust["reputation"]["score"] or 1) < 0.5
    market_view = {pool["identifier"]: pool for pool in alice.market()}
    assert (market_view[pools["honest"]]["reputation"]["score"] or 0) > 0.7

    shut_out = alice.submit("gridfare/sums", {"count": 1}, providers=[LIAR], name="nobody takes it")
    market.stack.wait(lambda: alice.explain(shut_out["id"])["waiting"], "it does not wait", "worker", 20)
    assert alice.explain(shut_out["id"])["waiting"]["reason"] == "pools_quarantined"
    alice.cancel(shut_out["id"])
    market.ended(shut_out["id"])
