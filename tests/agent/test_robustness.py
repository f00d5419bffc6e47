"""What goes wrong between an agent and the platform, and what must not come of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from gridfare.agent import drain
from gridfare.agent.identity import load_identity
from gridfare.agent.outbox import Outbox

from .conftest import Join, Machine, Spawn
from .platform import Platform, Refusal, spec
from .programs import alive, marked, python

SLEEP = python("import time; time.sleep(60)")


def break_answers(platform: Platform, path: str, times: int) -> None:
    """The platform does its work, but the connection breaks before the answer, so many times."""
    left = [times]

    def after(method: str, called: str) -> bool:
        if called == path and left[0] > 0 and platform.live:
            left[0] -= 1
            return False
        return True

    platform.after_work = after


def test_a_lost_answer_costs_no_unit_and_runs_none_twice(platform: Platform, join: Join, tmp_path: Path) -> None:
    break_answers(platform, "/agent/v1/sync", 3)
    counter = tmp_path / "runs"
    code = f"open({str(counter)!r}, 'a').write('x')"
    attempts = platform.offer(spec(python(code)), count=20)
    join().start()
    for attempt in attempts:
        assert platform.report_of(attempt)["outcome"] == "done"
    assert len(counter.read_text()) == 20
    assert not platform.refused


def test_a_batch_is_repeated_until_it_is_accepted_and_adopted_once(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import time; time.sleep(0.5)")))
    platform.until(lambda: attempt in platform.live)
    failures = [3]

    def before(method: str, path: str) -> None:
        if path == "/agent/v1/sync" and failures[0] > 0:
            failures[0] -= 1
            raise Refusal(503, "platform_fault")

    platform.before_answer = before
    assert platform.report_of(attempt)["outcome"] == "done"
    platform.until(lambda: machine.loop.outbox.batch is None)
    assert [batch["seq"] for batch in platform.batches] == [1]


def test_the_chain_of_digests_goes_on_across_restarts(platform: Platform, join: Join) -> None:
    machine = join()
    for number in range(1, 4):
        machine.start()
        (attempt,) = platform.offer(spec(["/bin/true"]))
        platform.report_of(attempt)
        machine.stop()
        assert platform.chain[0] == number
    assert [batch["prev"] for batch in platform.batches[1:]] == [b["digest"] for b in platform.batches[:-1]]


def test_a_report_that_was_not_accepted_is_sent_after_a_restart(platform: Platform, join: Join) -> None:
    machine = join()
    (attempt,) = platform.offer(spec(["/bin/true"]))
    platform.live[attempt] = platform.waiting.pop()
    outbox = Outbox(machine.home.outbox, load_identity(machine.home.key), machine.home.rejected)
    outbox.put([{"attempt": attempt, "fence": 1, "outcome": "done"}])
    platform.session, platform.given = "before", {attempt}
    machine.start()
    assert platform.report_of(attempt)["outcome"] == "done"
    (after,) = platform.offer(spec(["/bin/true"]))
    platform.report_of(after)
    assert platform.chain[0] == 2


def test_a_lease_that_comes_twice_runs_once(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import time; print('run'); time.sleep(1)")))
    platform.until(lambda: attempt in platform.live)
    with platform.guard:
        platform.waiting.append(platform.live[attempt])
        platform.guard.notify_all()
    assert platform.report_of(attempt)["outcome"] == "done"
    assert platform.log_of(attempt) == b"run\n"
    assert len(platform.batches) == 1


def test_a_higher_fence_ends_the_older_run_and_starts_a_new_one(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import os, time; print(os.getpid(), flush=True); time.sleep(3)")))
    platform.until(lambda: platform.log_of(attempt).strip())
    older = int(platform.log_of(attempt))
    with platform.guard:
        row = [attempt, 2, *platform.live[attempt][2:]]
        platform.live[attempt] = row
        platform.logs.clear()
        platform.waiting.append(row)
        platform.guard.notify_all()
    platform.until(lambda: not alive(older))
    report = platform.report_of(attempt)
    assert (report["outcome"], report["fence"]) == ("done", 2)


def test_a_stale_attempt_is_killed_and_never_reported(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)")))
    platform.until(lambda: platform.log_of(attempt).strip())
    pid = int(platform.log_of(attempt))
    with platform.guard:
        del platform.live[attempt]
    platform.until(lambda: not alive(pid))
    platform.until(lambda: not machine.loop.holdings.held)
    assert attempt not in platform.reports
    assert not platform.batches
    platform.until(lambda: not machine.folders())


def test_an_upload_under_a_stale_fence_ends_the_attempt(platform: Platform, machine: Machine) -> None:
    def before(method: str, path: str) -> None:
        if method == "PUT":
            raise Refusal(409, "stale_lease")

    platform.before_answer = before
    code = "open('r.txt', 'w').write('x')"
    (attempt,) = platform.offer(spec(python(code), outputs=[{"path": "*.txt", "required": True}]))
    platform.until(lambda: attempt in platform.live)
    platform.until(lambda: not machine.loop.holdings.held)
    assert attempt not in platform.reports
    assert not machine.folders()


def test_units_end_by_themselves_when_their_leases_cannot_be_renewed(platform: Platform, join: Join) -> None:
    platform.lease_s = 13
    join().start()
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    attempts = platform.offer(spec(python(code)), count=2)
    platform.until(lambda: all(platform.log_of(attempt).strip() for attempt in attempts))
    pids = [int(platform.log_of(attempt)) for attempt in attempts]

    def before(method: str, path: str) -> None:
        raise Refusal(500, "platform_fault")

    platform.before_answer = before
    silent = time.monotonic()
    platform.until(lambda: not any(map(alive, pids)), 13)
    assert time.monotonic() - silent < 11
    platform.before_answer = lambda method, path: None
    for attempt in attempts:
        report = platform.report_of(attempt)
        assert (report["reason_class"], report["code"]) == ("node_fault", "lease_unrenewed")


def test_a_clock_that_is_hours_wrong_is_corrected_by_the_platforms(platform: Platform, join: Join) -> None:
    platform.clock_ms = lambda: time.time_ns() // 1_000_000 + 7_200_000
    join().start()
    file = {"path": "in/a", **platform.store(b"x")}
    (attempt,) = platform.offer(spec(["/bin/true"], files=[file]))
    assert platform.report_of(attempt)["outcome"] == "done"


def test_an_agent_that_the_platform_does_not_know_ends(platform: Platform, join: Join) -> None:
    machine = join()
    platform.agents.clear()
    machine.start()
    machine.join_thread(60)
    assert machine.code == 3


def test_a_batch_that_is_refused_for_good_is_set_aside(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(["/bin/true"]))
    refuse = [True]
    adopt = platform._adopt

    def picky(batch: object) -> int | None:
        if batch is not None and refuse[0]:
            raise Refusal(422, "report_invalid")
        return adopt(batch)

    platform._adopt = picky
    platform.until(lambda: machine.home.rejected.exists() and list(machine.home.rejected.iterdir()))
    refuse[0] = False
    platform.until(lambda: platform.report_of(attempt, 30))
    assert platform.chain[0] == 1


def test_draining_finishes_what_runs_and_gives_back_the_rest(platform: Platform, join: Join) -> None:
    machine = join(cores=1).start()
    (running,) = platform.offer(spec(python("import time; print('on', flush=True); time.sleep(3)")))
    platform.until(lambda: platform.log_of(running))
    machine.loop.holdings.appetite.seconds = 0.01
    machine.loop.holdings.news.set()
    (queued,) = platform.offer(spec(["/bin/true"]))
    platform.until(lambda: queued in platform.live)
    assert not drain(machine.home.path)
    assert platform.report_of(queued)["outcome"] == "released"
    assert platform.report_of(running)["outcome"] == "done"
    machine.join_thread()
    assert machine.code == 0
    assert drain(machine.home.path)


def test_draining_asked_by_the_platform_takes_no_new_work(platform: Platform, machine: Machine) -> None:
    platform.drain = True
    platform.until(lambda: platform.syncs and platform.syncs[-1]["draining"])
    assert platform.syncs[-1]["want"] == 0
    platform.drain = False
    (attempt,) = platform.offer(spec(["/bin/true"]))
    assert platform.report_of(attempt)["outcome"] == "done"


def test_sigterm_gives_back_what_waits_and_reports_what_was_ended(platform: Platform, join: Join, spawn: Spawn) -> None:
    process = spawn(join(cores=1), "--executor", "process", "--stop-s", "1")
    attempts = platform.offer(spec(SLEEP))
    platform.until(lambda: any(row[2] == "running" for sync in platform.syncs for row in sync["held"]))
    process.send_signal(signal.SIGTERM)
    report = platform.report_of(attempts[0])
    assert (report["reason_class"], report["code"]) == ("reclaimed", "agent_stopping")
    assert process.wait(30) == 0


def test_a_killed_agent_leaves_no_program_running_and_starts_clean(platform: Platform, join: Join, spawn: Spawn) -> None:
    machine = join()
    code = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)
open('result', 'w').write('x'); print('on', flush=True); time.sleep(60)
"""
    for trusted in (True, False):
        process = spawn(machine)
        (attempt,) = platform.offer(spec(python(code), trusted=trusted))
        platform.until(lambda: attempt in platform.reports or platform.log_of(attempt))  # noqa: B023
        process.kill()
        process.wait()
        ends = time.monotonic() + 10
        while marked("GRIDFARE_ATTEMPT", str(attempt)) and time.monotonic() < ends:
            time.sleep(0.05)
        assert not marked("GRIDFARE_ATTEMPT", str(attempt))
    machine.start()
    assert not machine.folders()
    (after,) = platform.offer(spec(["/bin/true"]))
    assert platform.report_of(after)["outcome"] == "done"


def test_programs_of_a_killed_agent_whose_guardian_died_too_end_when_it_starts_again(
    platform: Platform, join: Join, spawn: Spawn
) -> None:
    machine = join()
    process = spawn(machine, "--executor", "process")
    (attempt,) = platform.offer(spec(python("print('on', flush=True); import time; time.sleep(60)")))
    platform.until(lambda: platform.log_of(attempt))
    mark = json.loads(machine.home.running.read_text())["mark"]
    (program,) = marked("GRIDFARE_AGENT", mark)
    for guardian in guardians(mark):
        os.kill(guardian, signal.SIGKILL)
    process.kill()
    process.wait()
    assert alive(program)
    machine.start()
    assert not alive(program)


def guardians(mark: str) -> list[int]:
    """Processes that were told a mark on their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_two_agents_do_not_share_a_home(platform: Platform, machine: Machine, spawn: Spawn) -> None:
    process = spawn(machine)
    assert process.wait(30) == 1


def test_a_lying_agent_lies_as_told(platform: Platform, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFARE_CHAOS", "inflate_usage=1000,corrupt_results=1,drop_heartbeats=0.2")
    join().start()
    code = "open('r.txt', 'w').write('right'); import time; time.sleep(0.1)"
    (attempt,) = platform.offer(spec(python(code), outputs=[{"path": "r.txt", "required": True}]))
    report = platform.report_of(attempt)
    assert report["usage"]["wall_ms"] > 100_000
    assert platform.blobs[report["outputs"][0]["sha256"]] != b"right"
