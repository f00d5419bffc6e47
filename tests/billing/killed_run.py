"""A process that does one step of the way of money, and kills itself before a statement; tests give it lines to read.

A line is `{"work": "close", "given": {...}, "statement": 7}`: one of WORKS and what it is called with. For each a child is
forked, which has a connection of its own and is killed by SIGKILL before it sends its seventh statement; the answer is how it
ended (`-9`, or `0` when it sent fewer). Statements that follow one that only read are not counted: a kill there leaves what a
kill before the read left. With EVERY_STATEMENT in the environment they are. Tests call WORKS themselves for the run that is
repeated, and for the undisturbed one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import django


def main() -> None:
    django.setup()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(told: dict[str, Any]) -> None:
    from django.db import connection

    sent, read = 0, False

    def killer(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal sent, read
        sent += not read
        if sent == told["statement"]:
            os.kill(os.getpid(), signal.SIGKILL)
        read = sql.startswith("SELECT") and "EVERY_STATEMENT" not in os.environ
        return execute(sql, *rest)

    with connection.execute_wrapper(killer):
        WORKS[told["work"]](told["given"])


def _now(given: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(given["now"])


def hold(given: dict[str, Any]) -> None:
    """A submit's last step: the task is open, and its hold with it, or neither."""
    from django.db import transaction

    from marketplace.models import Hold, Task
    from marketplace.services.credit import place_hold

    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=given["task"])
        if not Hold.objects.filter(task=task).exists():
            place_hold(task, Decimal(given["price"]))


def watch(given: dict[str, Any]) -> None:
    from billing.credit.watching import watch_credit
    from billing.services import refresh_costs

    refresh_costs()
    watch_credit()


def measure(given: dict[str, Any]) -> None:
    from metering import services

    while services.measure(2).taken:
        pass


def charge(given: dict[str, Any]) -> None:
    from django.conf import settings

    from billing.services import charge_tasks

    settings.CHUNK, chunk = 2, settings.CHUNK
    try:
        charge_tasks([UUID(task) for task in given["tasks"]])
    finally:
        settings.CHUNK = chunk


def rate(given: dict[str, Any]) -> None:
    from billing.invoices.closing import BEGINNING
    from billing.invoices.months import rate_months

    rate_months(given["organizations"], BEGINNING, _now(given))


def close(given: dict[str, Any]) -> None:
    from billing.invoices.closing import close_all

    close_all(_now(given), given["organizations"])


def void(given: dict[str, Any]) -> None:
    from billing.invoices.closing import void_invoice
    from billing.models import Invoice

    invoice = Invoice.objects.get(pk=given["invoice"])
    if invoice.state != "void":
        void_invoice(invoice, "wrong address", _now(given))


def credit(given: dict[str, Any]) -> None:
    from billing.invoices.credit_notes import issue_credit_note
    from billing.models import Invoice

    for number in given["invoices"]:
        issue_credit_note(Invoice.objects.get(pk=number), {1: given["micros"]}, "goodwill", f"note/{number}", _now(given))


def pay(given: dict[str, Any]) -> None:
    from billing.invoices.payments import Receipt, record_payment

    day = _now(given).date()
    receipt = Receipt(given["key"], given["organization"], "CNY", given["micros"], "operator", day, given["invoices"])
    record_payment(receipt, _now(given))


def reverse(given: dict[str, Any]) -> None:
    from billing.credit.reversing import reverse_payment
    from billing.models import Payment

    reverse_payment(Payment.objects.get(pk=given["payment"]), "returned by the bank", now=_now(given))


def wallet(given: dict[str, Any]) -> None:
    from billing.credit.settling import settle_from_wallet

    settle_from_wallet([given["organization"]], _now(given))


def dun(given: dict[str, Any]) -> None:
    from billing.invoices.dunning import climb, follow_blocks

    climb(_now(given))
    follow_blocks()


def pay_out(given: dict[str, Any]) -> None:
    """From what is due to money that is out, with an operator who approves everything."""
    from billing.models import Payout
    from billing.settlement.payouts import approve, gather
    from billing.settlement.sending import send_payouts
    from marketplace.models import User

    now = _now(given)
    gather(now)
    for payout in Payout.objects.filter(state="draft"):
        approve(payout, User.objects.get(username="olga"), now)
    send_payouts(now)


def decide(given: dict[str, Any]) -> None:
    """What nobody answered in time."""
    from billing.disputes.deciding import time_out

    time_out(_now(given))


WORKS: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "hold": hold,
    "watch": watch,
    "measure": measure,
    "charge": charge,
    "rate": rate,
    "close": close,
    "void": void,
    "credit": credit,
    "pay": pay,
    "wallet": wallet,
    "reverse": reverse,
    "dun": dun,
    "payout": pay_out,
    "decide": decide,
}


if __name__ == "__main__":
    main()
