"""Credit's commands: balances, holds, operators' blocks."""

from __future__ import annotations

from tests.client.conftest import Run


def test_what_may_be_spent_is_shown_with_its_parts_and_blocks(run: Run) -> None:
    shown = run("credit").out
    assert "9985.5" in shown
    assert "invoice 7" in shown
    assert run("credit", "--json").json["allowances"][0]["held"] == "2.000000"


def test_holds_are_listed_by_state(run: Run) -> None:
    assert "estimate" in run("credit", "holds").out
    assert run("credit", "holds", "--state", "captured", "--json").json[0]["state"] == "captured"


def test_operators_block_and_lift(run: Run) -> None:
    assert "is blocked" in run("credit", "block", "acme", "dunning", "--detail", "invoice 7").out
    assert run("credit", "lift", "acme", "dunning", "--json").json["changed"] is False


def test_a_wallet_is_filled_and_shows_what_moved(run: Run) -> None:
    given = ("--until", "2099-01-01T00:00:00Z", "--reason", "welcome", "--reference", "welcome/acme")
    assert "acme was given" in run("credit", "grant", "acme", "5", *given).out
    assert run("credit", "top-up", "acme", "7.5", "--reference", "bank/7", "--json").json["amount"] == "7.5"
    assert "welcome" in run("credit", "grants").out
    assert run("credit", "movements", "--json").json[0]["amount"] == "-2.000000"
    assert "settle" in run("credit", "movements").out
    assert run("credit", "top-up", "acme", "7.5").code == 2


def test_budgets_are_opened_listed_changed_and_closed(run: Run) -> None:
    made = run("budget", "open", "film", "500", "--scope", "project", "--of", "film", "--at", "90:pause", "--json").json
    assert (made["amount"], made["thresholds"]) == ("500", [{"percent": 90, "action": "pause"}])
    assert "80:notify" in run("budget", "list").out
    assert run("budget", "change", "3", "--amount", "7", "--json").json["amount"] == "7"
    assert "closed" in run("budget", "close", "3").out
    assert "80 %" in run("budget", "alerts").out
    assert run("budget", "open", "film", "500", "--at", "many").code == 2
