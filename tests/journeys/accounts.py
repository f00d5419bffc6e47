"""What must hold of every task that was delivered, whatever happened on the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .market import Market

# One row for a task: how often things happened that must happen once, or never.
WITNESS = """
WITH attempt AS (SELECT * FROM scheduler_attempt WHERE task_id = %(task)s),
     usage AS (SELECT u.* FROM metering_usagerecord u WHERE u.task_id = %(task)s),
     charge AS (SELECT * FROM billing_charge WHERE task_id = %(task)s)
SELECT (SELECT count(*) FROM scheduler_unit WHERE task_id = %(task)s) AS units,
       (SELECT count(*) FROM scheduler_unit WHERE task_id = %(task)s AND state = 'done') AS done,
       (SELECT count(*) FROM attempt WHERE state = 'valid') AS valid,
       (SELECT count(DISTINCT unit_id) FROM attempt WHERE state = 'valid') AS units_valid,
       (SELECT count(*) FROM attempt WHERE state IN ('leased', 'running')) AS live,
       (SELECT count(*) FROM attempt WHERE state <> 'released') AS measurable,
       (SELECT count(*) FROM usage) AS measured,
       (SELECT count(DISTINCT attempt_id) FROM usage) AS attempts_measured,
       (SELECT count(*) FROM charge WHERE kind = 'usage') AS charged,
       (SELECT count(DISTINCT usage_id) FROM charge WHERE kind = 'usage') AS usages_charged,
       (SELECT count(*) FROM charge WHERE kind = 'usage' AND payer = 'user') AS paid_by_user,
       (SELECT count(*) FROM charge WHERE kind <> 'usage') AS task_fees
"""


def witness(market: Market, task_id: str) -> dict[str, int]:
    """The counts that PostgreSQL holds for a task."""
    return market.stack.rows(WITNESS, {"task": task_id})[0]


def assert_delivered_and_charged_once(market: Market, task: Any, units: int, *, task_fees: int = 0) -> dict[str, int]:
    """Every unit has one valid result, every attempt one usage record and one charge, and the user paid each unit once."""
    assert task["state"] == "delivered", task
    found = witness(market, task["id"])
    expected = {"units": units, "done": units, "valid": units, "units_valid": units, "live": 0}
    expected |= {"paid_by_user": units, "task_fees": task_fees}
    assert {name: found[name] for name in expected} == expected, found
    assert found["measurable"] == found["measured"] == found["attempts_measured"], found
    assert found["measured"] == found["charged"] == found["usages_charged"], found
    assert_bill_equals_charges(market, task)
    return found


def assert_bill_equals_charges(market: Market, task: Any) -> None:
    """What the task costs is what its charges and the statement's lines say, and the ledger sums to zero."""
    charges = list(market.alice.charges(task["id"]))
    paid = sum(Decimal(charge["amount"]) for charge in charges if charge["payer"] == "user")
    assert paid == Decimal(task["cost"]["amount"]), (paid, task["cost"])
    lines = [line for line in market.alice.statement("user")["lines"] if line["task"] == task["id"]]
    assert sum(Decimal(line["share"]) for line in lines) == paid, lines
    assert_ledger_balances(market)


def assert_ledger_balances(market: Market) -> None:
    """The operator's trial balance: debits equal credits, over all accounts."""
    balance = market.olga.trial_balance()
    accounts = balance["accounts"]
    assert balance["balanced"], accounts
    assert sum(Decimal(account["debit"]) - Decimal(account["credit"]) for account in accounts) == 0, accounts
