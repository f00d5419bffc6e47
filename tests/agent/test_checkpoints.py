"""Programs that save their state, machines that are wanted back, and going on where another left off."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gridfare.agent import give_back, reclaim
from gridfare.agent.checkpoints import Saver
from gridfare.agent.model import SpecError, read_lease, read_spec
from gridfare.agent.notice import Notice, read_wish, write_wish

from .conftest import Join, Machine
from .platform import Platform, spec
from .programs import python

RULE = {"checkpoint": {"paths": ["state/*.txt"], "every_s": 300}}
SAVES = """
import os, signal, sys, time
def save(text):
    os.makedirs("state", exist_ok=True)
    open("state/new", "w").write(text)
    os.replace("state/new", "state/at.txt")
def asked(*_):
    save("asked " + str(os.path.exists("checkpoint-please")))
"""
LISTENS = python(SAVES + "signal.signal(signal.SIGUSR1, asked)\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)")
LOOKS = python(SAVES + "print('ready', flush=True)\nwhile not os.path.exists('checkpoint-please'): time.sleep(0.02)\n"
               "save('looked')\ntime.sleep(60)")  # fmt: skip


def running(platform: Platform, attempt: int) -> None:
    platform.until(lambda: b"ready" in platform.log_of(attempt), 30)


def said(platform: Platform) -> Any:
    """The agent's last call."""
    return platform.syncs[-1]


def content_of(platform: Platform, item: Any) -> bytes:
    (file,) = item["files"]
    assert file["path"] == "state/at.txt"
    return platform.blobs[file["sha256"]]


@pytest.mark.parametrize("executor", ["process", "sandbox"])
@pytest.mark.parametrize(("program", "expected"), [(LISTENS, b"asked True"), (LOOKS, b"looked")])
def test_a_program_is_asked_by_file_and_signal_and_what_it_saves_is_stored(
    platform: Platform, join: Join, program: list[str], expected: bytes, executor: str
) -> None:
    join().start(executor=executor)
    (attempt,) = platform.offer(spec(program, **RULE))
    running(platform, attempt)
    platform.reclaim_at = time.monotonic() + 30
    saved = platform.until(lambda: platform.checkpoints)[0]
    assert (saved["attempt"], saved["fence"]) == (attempt, 1)
    assert content_of(platform, saved) == expected
    assert saved["usage"]["wall_ms"] > 0
    assert attempt in platform.live  # it goes on until its time


def test_a_program_without_a_handler_is_not_killed_by_being_asked(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import time; print('ready', flush=True); time.sleep(2)"), **RULE))
    running(platform, attempt)
    platform.reclaim_at = time.monotonic() + 60
    assert platform.report_of(attempt)["outcome"] == "done"


def test_what_still_runs_at_the_moment_is_ended_and_not_before(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import time; print('ready', flush=True); time.sleep(60)")))
    running(platform, attempt)
    platform.reclaim_at = at = time.monotonic() + 2.5
    report = platform.report_of(attempt)
    assert time.monotonic() >= at
    assert (report["outcome"], report["reason_class"], report["code"]) == ("failed", "reclaimed", "reclaimed")


def test_the_state_a_program_leaves_when_it_is_ended_is_stored_before_its_report(platform: Platform, machine: Machine) -> None:
    leaves = "signal.signal(signal.SIGTERM, lambda *_: (save('last'), sys.exit(1)))\n"
    code = SAVES + leaves + "print('ready', flush=True)\ntime.sleep(60)"
    (attempt,) = platform.offer(spec(python(code), **RULE))
    running(platform, attempt)
    platform.reclaim_at = time.monotonic()
    assert platform.report_of(attempt)["reason_class"] == "reclaimed"
    assert content_of(platform, platform.checkpoints[-1]) == b"last"


def test_nothing_new_is_taken_meanwhile_and_what_waits_goes_back(platform: Platform, join: Join) -> None:
    machine = join(cores=1).start()
    (first,) = platform.offer(spec(python("import time; print('ready', flush=True); time.sleep(60)")))
    running(platform, first)
    machine.loop.holdings.appetite.seconds = 0.01  # so that it fetches ahead
    (queued,) = platform.offer(spec(["/bin/true"]))
    platform.until(lambda: queued in platform.live)
    platform.reclaim_at = time.monotonic() + 60
    assert platform.report_of(queued)["outcome"] == "released"
    (later,) = platform.offer(spec(["/bin/true"]))
    platform.until(lambda: said(platform)["draining"])
    assert platform.syncs[-1]["want"] == 0
    platform.reclaim_at = None
    platform.stop(first)
    assert platform.report_of(later)["outcome"] == "done"


def test_checkpoints_are_stored_every_so_often_and_only_when_something_changed(platform: Platform, machine: Machine) -> None:
    code = SAVES + "save('one'); print('ready', flush=True); time.sleep(2.5); save('two'); time.sleep(30)"
    rule = {"checkpoint": {"paths": ["state/at.txt"], "every_s": 1}}
    (attempt,) = platform.offer(spec(python(code), **rule))
    platform.until(lambda: len(platform.checkpoints) == 2, 30)
    time.sleep(2.5)
    assert [content_of(platform, one) for one in platform.checkpoints] == [b"one", b"two"]
    assert attempt in platform.live


@pytest.mark.parametrize("executor", ["process", "sandbox"])
def test_the_next_attempt_finds_the_files_where_they_were_and_knows(platform: Platform, join: Join, executor: str) -> None:
    """And may write to them."""
    join().start(executor=executor)
    code = "import os; print(os.environ.get('GRIDFARE_RESUMED'), open('state/at.txt').read()); open('state/at.txt', 'a').write('!')"
    saved = {"path": "state/at.txt", **platform.store(b"half way")}
    (attempt,) = platform.offer(spec(python(code), **RULE), resume=[saved])
    assert platform.report_of(attempt)["outcome"] == "done"
    platform.until(lambda: platform.log_of(attempt) == b"1 half way\n")


def test_what_was_resumed_is_not_stored_again_before_it_changed(platform: Platform, machine: Machine) -> None:
    saved = {"path": "state/at.txt", **platform.store(b"half way")}
    rule = {"checkpoint": {"paths": ["state/at.txt"], "every_s": 1}}
    (attempt,) = platform.offer(spec(python("import time; time.sleep(2.5)"), **rule), resume=[saved])
    assert platform.report_of(attempt)["outcome"] == "done"
    assert platform.checkpoints == []


def test_a_program_that_begins_is_told_that_it_does(platform: Platform, machine: Machine) -> None:
    code = "import os; print(os.environ.get('GRIDFARE_RESUMED'))"
    (attempt,) = platform.offer(spec(python(code), **RULE))
    platform.report_of(attempt)
    platform.until(lambda: platform.log_of(attempt) == b"None\n")


def test_links_out_of_the_folder_are_never_part_of_a_checkpoint(platform: Platform, machine: Machine, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the machine's own")
    code = f"import os, time; os.mkdir('state'); os.symlink({str(secret)!r}, 'state/a.txt'); "
    code += "open('state/b.txt', 'w').write('mine'); time.sleep(30)"
    (attempt,) = platform.offer(spec(python(code), checkpoint={"paths": ["state/*"], "every_s": 1}))
    saved = platform.until(lambda: platform.checkpoints)[0]
    assert [file["path"] for file in saved["files"]] == ["state/b.txt"]
    assert b"the machine's own" not in platform.blobs.values()
    platform.stop(attempt)


@pytest.mark.parametrize("path", ["in/a", "task.json", ".gridfare/x", "progress", "../a", "/a", "checkpoint-please"])
def test_saved_files_in_our_own_places_are_refused(path: str) -> None:
    row = [1, 1, "s", 0, {}, None, [{"path": path, "sha256": "a" * 64, "bytes": 1}]]
    with pytest.raises(SpecError):
        read_lease(row, read_spec(spec(["true"])))


def test_an_owner_takes_the_machine_back_on_the_machine_itself(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(LOOKS, **RULE))
    running(platform, attempt)
    reclaim(machine.home.path, 3.0)
    platform.until(lambda: (said(platform)["reclaim_in_s"] or 0) > 0 and said(platform)["draining"])
    assert content_of(platform, platform.until(lambda: platform.checkpoints)[0]) == b"looked"
    assert platform.report_of(attempt)["code"] == "reclaimed"
    (later,) = platform.offer(spec(["/bin/true"]))
    platform.until(lambda: said(platform)["reclaim_in_s"] == 0)
    give_back(machine.home.path)
    assert platform.report_of(later)["outcome"] == "done"
    assert platform.syncs[-1]["reclaim_in_s"] is None


def test_a_wish_ends_by_itself_after_its_time(tmp_path: Path) -> None:
    write_wish(tmp_path / "reclaim", 0.0, 0.2)
    assert read_wish(tmp_path / "reclaim") == 0.0
    time.sleep(0.25)
    assert read_wish(tmp_path / "reclaim") is None


@pytest.mark.parametrize("text", [b"", b"nonsense", b"{}", b'{"boot": "another", "at": 1, "until": null}', b'{"at": "x"}'])
def test_a_wish_of_another_run_of_the_machine_or_none_at_all_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "reclaim").write_bytes(text)
    assert read_wish(tmp_path / "reclaim") is None


@pytest.mark.parametrize(
    ("platform_s", "wish", "left"), [(None, None, None), (5.0, None, 5.0), (None, 7.0, 7.0), (5.0, 7.0, 5.0), (9.0, 0.0, 0.0)]
)
def test_the_earlier_of_two_notices_counts(platform_s: float | None, wish: float | None, left: float | None) -> None:
    notice = Notice(lambda: wish)
    notice.hear(platform_s)
    found = notice.left_s()
    assert found == left if left is None else found == pytest.approx(left, abs=0.1)


def test_its_watch_ends_although_a_wait_that_ends_in_the_same_moment_keeps_the_cancellation_to_itself() -> None:
    lease: Any = SimpleNamespace(spec=SimpleNamespace(checkpoint=SimpleNamespace(every_s=300)))
    nothing: Any = None

    async def ends() -> bool:
        saver = Saver(lease, "/nowhere", nothing, nothing, dict)
        watch = asyncio.create_task(saver.run())
        await asyncio.sleep(0.001)
        saver.wake.set()
        await asyncio.sleep(0)
        finished, _ = await asyncio.wait({asyncio.create_task(saver.finish(watch, last=False))}, timeout=10)
        return bool(finished)

    assert asyncio.run(ends())
