"""A result is committed to by a hash, and shown only when the platform asks for it."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from .conftest import Join, Machine
from .platform import Platform, spec
from .programs import python

WRITES = python("open('numbers.csv', 'w').write('1,2,3\\n'); print('ready', flush=True)")
CONTENT = b"1,2,3\n"
SHA = hashlib.sha256(CONTENT).hexdigest()
BOUND: dict[str, Any] = {"commit": True, "outputs": [{"path": "numbers.csv", "required": True}]}


def committed(result: bytes, salt: str) -> str:
    """The commitment of docs/protocol.md, written out."""
    line = f"numbers.csv\t{len(result)}\t{hashlib.sha256(result).hexdigest()}\n"
    return hashlib.sha256((hashlib.sha256(line.encode()).hexdigest() + salt).encode()).hexdigest()


def test_nothing_leaves_the_machine_before_the_platform_asks_and_the_result_is_the_one_committed_to(
    platform: Platform, machine: Machine
) -> None:
    (attempt,) = platform.offer(spec(WRITES, **BOUND))
    word = platform.until(lambda: platform.commitments.get(attempt))
    platform.until(lambda: platform.syncs[-1]["held"] == [[attempt, 1, "committed", None]])
    time.sleep(1.5)
    assert SHA not in platform.blobs
    assert not platform.reports
    platform.asks.add(attempt)
    report = platform.report_of(attempt)
    assert report["outputs"][0]["sha256"] == SHA
    assert platform.blobs[SHA] == CONTENT
    assert word == committed(CONTENT, report["salt"])
    assert len(report["salt"]) == 64


def test_who_waits_to_show_a_result_works_on_other_units(platform: Platform, join: Join) -> None:
    join(cores=1).start()
    attempts = platform.offer(spec(WRITES, **BOUND), 3)
    platform.until(lambda: len(platform.commitments) == 3)
    assert not platform.reports
    platform.asks.update(attempts)
    salts = {platform.report_of(attempt)["salt"] for attempt in attempts}
    assert len(salts) == 3


def test_a_result_without_files_is_committed_to_as_well(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("pass"), commit=True))
    platform.asks.add(attempt)
    report = platform.report_of(attempt)
    empty = hashlib.sha256(b"").hexdigest()
    assert platform.commitments[attempt] == hashlib.sha256((empty + report["salt"]).encode()).hexdigest()


def test_a_unit_that_fails_commits_to_nothing(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import sys; sys.exit(3)"), **BOUND))
    assert platform.report_of(attempt)["code"] == "exit_nonzero"
    assert not platform.commitments


@pytest.mark.parametrize("why", ["user_cancel", "stale_lease"])
def test_an_attempt_that_waits_to_show_its_result_can_be_stopped(platform: Platform, machine: Machine, why: str) -> None:
    (attempt,) = platform.offer(spec(WRITES, **BOUND))
    platform.until(lambda: platform.commitments.get(attempt))
    platform.stop(attempt, why)
    if why == "stale_lease":
        platform.live.pop(attempt)
    platform.until(lambda: platform.syncs[-1]["held"] == [] and len(platform.syncs) > 3)
    assert (attempt in platform.reports) == (why == "user_cancel")
    assert SHA not in platform.blobs
    loop = machine.loop
    assert loop is not None
    platform.until(lambda: loop.holdings.capacity == loop.holdings.whole)


def test_a_commitment_whose_answer_was_lost_is_sent_again_and_counts_once(platform: Platform, machine: Machine) -> None:
    lost: list[str] = []

    def lose(method: str, path: str) -> bool:
        if path == "/agent/v1/sync" and platform.commitments and not lost:
            lost.append(path)
            return False
        return True

    platform.after_work = lose
    (attempt,) = platform.offer(spec(WRITES, **BOUND))
    platform.until(lambda: lost)
    platform.asks.add(attempt)
    assert platform.report_of(attempt)["outcome"] == "done"
    assert [item["outcome"] for batch in platform.batches for item in batch["items"]] == ["committed", "done"]


def test_chaos_makes_an_agent_show_another_result_than_it_committed_to(
    platform: Platform, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDFARE_CHAOS", "break_commitments=1")
    join().start()
    (attempt,) = platform.offer(spec(WRITES, **BOUND))
    platform.asks.add(attempt)
    report = platform.report_of(attempt)
    assert report["outputs"][0]["sha256"] != SHA
    assert platform.commitments[attempt] == committed(CONTENT, report["salt"])
