"""Programs that misbehave, under the real agent: the task says what it was, and the reason table says who pays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .accounts import assert_bill_equals_charges, assert_ledger_balances
from .market import Market


@dataclass(frozen=True)
class Bad:
    """A program, and what becomes of its task: reason class and code, and who pays for what it took."""

    argv: list[str]
    reason_class: str
    code: str
    payer: str
    inputs: dict[str, Any] = field(default_factory=dict)


BAD = {
    "forks without end": Bad(
        ["python", "-c", "import os, time\nwhile True:\n  try: os.fork() or time.sleep(60)\n  except OSError: time.sleep(1)"],
        "limit_exceeded", "process_limit", "user",
    ),
    "fills the disk": Bad(
        ["sh", "-c", "i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero > f$i; sleep 0.05; done"],
        "limit_exceeded", "disk_limit", "user", {"disk_mib": 32},
    ),
    "ignores SIGTERM": Bad(
        ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        "limit_exceeded", "time_limit", "user", {"run_s": 1},
    ),
    "prints gigabytes": Bad(
        ["sh", "-c", "yes 'a long line that says nothing'"],
        "limit_exceeded", "time_limit", "user", {"run_s": 2},
    ),
    "takes all memory": Bad(
        ["python", "-c", "import time; kept = []\nwhile True: kept.append(b'x' * (1 << 22)); time.sleep(0.02)"],
        "limit_exceeded", "memory_limit", "user", {"memory_mib": 96},
    ),
    "leaves no output": Bad(["true"], "capability_error", "outputs_missing", "nobody", {"outputs": ["nothing/*.txt"]}),
    "fails": Bad(["sh", "-c", "echo so sorry >&2; exit 9"], "capability_error", "exit_nonzero", "nobody"),
    "crashes": Bad(["sh", "-c", "kill -SEGV $$"], "capability_error", "killed_by_signal", "nobody"),
}  # fmt: skip


def test_bad_programs_end_with_their_reason_and_are_paid_by_the_table(market: Market) -> None:
    """All at the same time: one must not take down what runs beside it."""
    good = market.run(["sh", "-c", "sleep 4; echo fine > fine.txt"], outputs=["fine.txt"])
    tasks = {name: market.run(bad.argv, **bad.inputs)["id"] for name, bad in BAD.items()}
    found = {name: outcome(market, task_id) for name, task_id in tasks.items()}
    assert found == {name: (bad.reason_class, {bad.code}, {bad.payer}) for name, bad in BAD.items()}
    assert market.ended(good["id"])["state"] == "delivered"
    assert_ledger_balances(market)
    printed = sum(len(chunk["text"]) for chunk in market.alice.logs(tasks["prints gigabytes"]))
    assert 0 < printed <= 1024 * 1024 + 4096
    assert "so sorry" in str(market.alice.task(tasks["fails"])["reason"])


def outcome(market: Market, task_id: str) -> tuple[str | None, set[str | None], set[str]]:
    """The task's reason class, its attempts' codes, and who paid."""
    task = market.ended(task_id)
    assert task["state"] == "failed", task
    (unit,) = market.alice.units(task_id)
    # An agent gives back what waits in its queue once another machine can start it sooner: that is no try.
    tries = [one for one in unit["attempts"] if one["state"] != "released"]
    assert len(tries) == 1, "neither class is tried again"
    assert_bill_equals_charges(market, task)
    return task["reason_class"], {one["code"] for one in tries}, {
        charge["payer"] for charge in market.alice.charges(task_id)
    }
