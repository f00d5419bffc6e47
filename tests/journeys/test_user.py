"""A user's day: through the Python SDK, and through the command line as a script would."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from demo.market import PASSWORD
from gridfare.client import Client
from gridfare.sdk import errors

from .accounts import assert_bill_equals_charges, assert_delivered_and_charged_once
from .market import CAPABILITIES, Market
from .stack import Stack

COUNT = ["sh", "-c", "wc -c < in/files/words.txt > size.txt; tr a-z A-Z < in/files/words.txt > loud.txt; echo counted"]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A file that alice has."""
    path = tmp_path / "words.txt"
    path.write_text("snow in ningxia\n" * 1000)
    return path


def test_a_file_goes_in_and_verified_results_come_out_through_the_sdk(market: Market, words: Path, tmp_path: Path) -> None:
    alice, inputs = market.alice, {"argv": COUNT, "files": [words], "outputs": ["size.txt", "loud.txt"]}
    quote = alice.quote("gridfare/command", inputs)
    assert (quote["units"], quote["feasible"]) == (1, 2)
    assert quote["cheapest"] is not None
    assert Decimal(quote["cheapest"]["price"]) > 0

    submitted = alice.submit("gridfare/command", inputs, name="loud words", labels={"story": "sdk"})
    task = market.ended(submitted["id"])
    assert_delivered_and_charged_once(market, task, 1)
    assert [one["id"] for one in alice.tasks(label="story:sdk")] == [task["id"]]
    assert "".join(chunk["text"] for chunk in alice.logs(task["id"], stream="stdout")) == "counted\n"
    kinds = [event["kind"] for event in alice.events(task["id"])]
    assert kinds[0] == "task.submitted"
    assert "task.started" in kinds
    assert "task.delivered" in kinds

    manifest = alice.result(task["id"])
    paths = alice.download_results(task["id"], tmp_path / "out")
    assert [path.name for path in paths] == [file["path"] for file in manifest["files"]]
    for path, file in zip(paths, manifest["files"], strict=True):
        content = path.read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
    assert (tmp_path / "out" / "loud.txt").read_text() == words.read_text().upper()
    assert int((tmp_path / "out" / "size.txt").read_text()) == words.stat().st_size


def test_the_same_request_twice_is_one_task_and_another_person_does_not_see_it(market: Market) -> None:
    argv = ["sh", "-c", "echo once"]
    first = market.alice.submit("gridfare/command", {"argv": argv}, idempotency_key="a journey")
    again = market.alice.submit("gridfare/command", {"argv": argv}, idempotency_key="a journey")
    assert first["id"] == again["id"]
    with pytest.raises(errors.Refused) as other:
        market.alice.submit("gridfare/command", {"argv": ["true"]}, idempotency_key="a journey")
    assert other.value.code == "idempotency_mismatch"
    with pytest.raises(errors.NotFound):
        market.bob.task(first["id"])
    market.ended(first["id"])


def test_logs_arrive_while_the_program_still_runs(market: Market) -> None:
    loop = "i=0; while [ ! -e in/stop ] && [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.1; done"
    task = market.run(["sh", "-c", loop])
    seen: list[str] = []
    for chunk in market.alice.logs(task["id"], follow=True):
        seen += chunk["text"].splitlines()
        if len(seen) >= 5:
            break
    assert market.alice.task(task["id"])["state"] == "running"
    assert seen[:5] == [f"line {number}" for number in range(5)]
    market.alice.cancel(task["id"])
    market.ended(task["id"])


def asked(stack: Stack, *line: str, code: int = 0) -> Any:
    """What a command prints with --json; its exit code is checked."""
    done = stack.cli(*line, "--json")
    assert done.returncode == code, (line, done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def test_a_script_can_do_a_users_whole_day_on_the_command_line(market: Market, words: Path, tmp_path: Path) -> None:
    stack = market.stack
    who = asked(stack, "login", stack.url, "--user", "alice", "--password", PASSWORD)
    assert who["user"]["username"] == "alice"

    argv = ["-i", f"argv={json.dumps(COUNT)}", "-i", f"files=@{words.parent}", "-i", "outputs=[\"loud.txt\"]"]
    quote = asked(stack, "quote", "gridfare/command", *argv)
    assert quote["units"] == 1
    out = tmp_path / "out"
    task = asked(stack, "submit", "gridfare/command", *argv, "--label", "story=shell", "--wait", "--download", str(out))
    assert task["state"] == "delivered"
    assert (out / "loud.txt").read_text() == words.read_text().upper()

    assert [one["id"] for one in asked(stack, "tasks", "--label", "story=shell")] == [task["id"]]
    shown = asked(stack, "show", task["id"])
    assert shown["explain"]["where"][0]["units"] == 1
    assert stack.cli("logs", task["id"]).stdout == "counted\n"
    listed = asked(stack, "results", task["id"])
    assert [file["path"] for file in listed["files"]] == ["loud.txt"]
    final = market.ended(task["id"])
    bill = asked(stack, "bill")
    assert final["cost"]["amount"] in [line["share"] for line in bill["lines"] if line["task"] == task["id"]]
    assert {pool["region"] for pool in asked(stack, "market")} >= {"ningxia", "guizhou"}
    assert_bill_equals_charges(market, final)


def test_exit_codes_tell_a_script_what_happened(market: Market) -> None:
    stack = market.stack
    asked(stack, "login", stack.url, "--user", "alice", "--password", PASSWORD)
    failed = asked(stack, "submit", "gridfare/command", "-i", 'argv=["sh","-c","exit 3"]', "--wait", code=1)
    assert (failed["state"], failed["reason_class"]) == ("failed", "capability_error")
    wrong = asked(stack, "submit", "gridfare/command", "-i", "argv=[]", code=2)
    assert wrong["error"]["field"] == "inputs.argv"
    assert asked(stack, "show", "00000000-0000-7000-8000-000000000000", code=4)["error"]["code"] == "not_found"
    late = stack.cli("run", "--timeout", "1s", "--json", "--", "sleep", "60")
    assert late.returncode == 6, late.stderr
    (running,) = asked(stack, "tasks", "--state", "running")
    assert asked(stack, "cancel", running["id"])["cancel_requested"]
    assert asked(stack, "wait", running["id"], code=7)["state"] == "cancelled"
    nobody = subprocess.run(
        [sys.executable, "-m", "gridfare", "--url", stack.url, "--key", "gf_no_key", "tasks", "--json"],
        env=stack.person("nobody"), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert nobody.returncode == 3, nobody.stderr


def test_logs_are_followed_on_the_command_line_until_the_end(market: Market) -> None:
    stack = market.stack
    asked(stack, "login", stack.url, "--user", "alice", "--password", PASSWORD)
    task = market.run(["sh", "-c", "for i in 1 2 3; do echo step $i; sleep 0.4; done"])
    followed = stack.cli("logs", "-f", task["id"])
    assert (followed.returncode, followed.stdout) == (0, "step 1\nstep 2\nstep 3\n")
    market.ended(task["id"])


def test_the_archive_capability_keeps_a_folder_and_proves_it(market: Market, tmp_path: Path) -> None:
    market.publish(CAPABILITIES / "archive", trusted=True)
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    (folder / "2024" / "a.jpg").write_bytes(b"\xff\xd8" * 30_000)
    (folder / "年.txt").write_text("snow in Ningxia\n")
    task = market.alice.submit("gridfare/archive", {"files": folder}, regions=["guizhou"])
    task = market.ended(task["id"])
    assert_delivered_and_charged_once(market, task, 2)
    assert {row["region"] for row in market.alice.explain(task["id"])["where"]} == {"guizhou"}

    out = tmp_path / "out"
    market.alice.download_results(task["id"], out)
    subprocess.run(["tar", "-xf", str(out / "archive.tar.xz"), "-C", str(out)], check=True)
    for path in (Path("2024/a.jpg"), Path("年.txt")):
        assert (out / path).read_bytes() == (folder / path).read_bytes()
    verified = json.loads((out / "verification.json").read_text())
    assert verified["files"] == 2
    earned = {who: Decimal(client.statement(who)["total"]) for who, client in parties(market).items()}
    assert all(total > 0 for total in earned.values()), earned


def parties(market: Market) -> dict[str, Client]:
    """The three that a result is shared between, as statements call them."""
    return {"user": market.alice, "provider": market.bob, "publisher": market.carol}
