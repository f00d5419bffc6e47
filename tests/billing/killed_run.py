"""A process that closes months or pays out, and kills itself before a statement; `test_killed_runs.py` gives it lines to read.

A line is `{"work": "close", "organizations": [...], "now": "...", "statement": 7}`, or of work `payout`. For each a child is
forked, which has a connection of its own and is killed by SIGKILL before it sends its seventh statement; the answer is how it
ended (`-9`, or `0` when it sent fewer).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

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

    from billing.invoices.closing import close_all

    sent = 0

    def killer(execute: Callable[..., Any], *rest: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == told["statement"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*rest)

    with connection.execute_wrapper(killer):
        if told.get("work") == "payout":
            pay_out(datetime.fromisoformat(told["now"]))
        else:
            close_all(datetime.fromisoformat(told["now"]), told["organizations"])


def pay_out(now: datetime) -> None:
    """From what is due to money that is out, with an operator who approves everything."""
    from billing.models import Payout
    from billing.settlement.payouts import approve, gather
    from billing.settlement.sending import send_payouts
    from marketplace.models import User

    gather(now)
    for payout in Payout.objects.filter(state="draft"):
        approve(payout, User.objects.get(username="olga"), now)
    send_payouts(now)


if __name__ == "__main__":
    main()
