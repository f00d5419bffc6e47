"""Units from lease to report, against a platform over HTTP."""

from __future__ import annotations

import json
import time

from .conftest import Join, Machine
from .platform import Platform, spec
from .programs import alive, marked, package, python


def test_a_unit_that_exits_zero_is_reported_done(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(["/bin/true"]))
    report = platform.report_of(attempt)
    assert report["outcome"] == "done"
    assert report["fence"] == 1
    assert report["usage"]["wall_ms"] >= 1


def test_a_program_finds_its_task_inputs_and_folders(platform: Platform, machine: Machine) -> None:
    code = (
        "import json, os, pathlib as p; t = json.load(open('task.json')); "
        "assert p.Path('in/a/b.txt').read_text() == 'hello'; assert p.Path('in/own.txt').read_text() == 'mine'; "
        "assert os.environ['HOME'].startswith(os.getcwd()) and os.environ['TMPDIR'].startswith(os.getcwd()); "
        "assert os.environ['COLOUR'] == 'red'; p.Path('out').mkdir(); json.dump(t, open('out/seen.json', 'w'))"
    )
    shared = {"path": "in/a/b.txt", **platform.store(b"hello")}
    own = [{"path": "in/own.txt", **platform.store(b"mine")}]
    outputs = [{"path": "out/*.json", "required": True}]
    document = spec(python(code), files=[shared], outputs=outputs, env={"COLOUR": "red"}, inputs={"n": 3})
    (attempt,) = platform.offer(document, files=own, params={"value": 7})
    report = platform.report_of(attempt)
    assert report["outcome"] == "done", report
    (output,) = report["outputs"]
    assert (output["path"], output["media_type"]) == ("out/seen.json", "application/json")
    seen = json.loads(platform.blobs[output["sha256"]])
    assert seen["params"] == {"value": 7}
    assert seen["inputs"] == {"n": 3}
    assert seen["files"] == ["in/a/b.txt", "in/own.txt"]
    assert report["usage"]["bytes_in"] == 9
    assert report["usage"]["bytes_out"] == output["bytes"]


def test_a_program_package_is_unpacked_once_and_runs_by_its_file_name(platform: Platform, machine: Machine) -> None:
    program = platform.store(package({"main.py": "import helper; print(helper.word)", "helper.py": "word = 'found'"}))
    attempts = platform.offer(spec(["python", "main.py"], program=program), count=3)
    for attempt in attempts:
        assert platform.report_of(attempt)["outcome"] == "done"
        assert platform.log_of(attempt) == b"found\n"
    gets = [path for method, path in platform.requests if method == "GET"]
    assert len(gets) == 1


def test_input_files_are_downloaded_once_and_a_program_cannot_change_the_cached_copy(platform: Platform, machine: Machine) -> None:
    file = {"path": "in/data", **platform.store(b"original")}
    code = "import pathlib as p; f = p.Path('in/data'); assert f.read_text() == 'original'; f.write_text('spoilt')"
    for attempt in platform.offer(spec(python(code), files=[file]), count=4):
        assert platform.report_of(attempt)["outcome"] == "done"
    assert len([1 for method, _ in platform.requests if method == "GET"]) == 1


def test_a_failing_program_is_the_capabilitys_fault_and_its_last_line_is_told(platform: Platform, machine: Machine) -> None:
    code = "import sys; print('working'); print('no such scene', file=sys.stderr); sys.exit(3)"
    (attempt,) = platform.offer(spec(python(code)))
    report = platform.report_of(attempt)
    assert (report["outcome"], report["reason_class"]) == ("failed", "capability_error")
    assert (report["code"], report["exit_code"]) == ("exit_nonzero", 3)
    assert report["detail"] == "no such scene"
    assert platform.log_of(attempt, "stderr") == b"no such scene\n"
    assert report["logs"] == {"stdout": 8, "stderr": 14}


def test_a_program_that_is_killed_by_a_signal_says_so(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import os; os.kill(os.getpid(), 11)")))
    assert platform.report_of(attempt)["code"] == "killed_by_signal"


def test_a_program_that_does_not_exist_fails_without_hurting_the_agent(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(["/no/such/program"]))
    report = platform.report_of(attempt)
    assert (report["code"], report["exit_code"]) == ("exit_nonzero", 127)
    (after,) = platform.offer(spec(["/bin/true"]))
    assert platform.report_of(after)["outcome"] == "done"


def test_a_required_glob_that_matches_nothing_is_outputs_missing(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(["/bin/true"], outputs=[{"path": "frames/*.png", "required": True}]))
    report = platform.report_of(attempt)
    assert (report["reason_class"], report["code"]) == ("capability_error", "outputs_missing")
    (attempt,) = platform.offer(spec(["/bin/true"], outputs=[{"path": "frames/*.png", "required": False}]))
    assert platform.report_of(attempt)["outcome"] == "done"


def test_links_that_point_outside_are_never_delivered(platform: Platform, machine: Machine) -> None:
    code = (
        "import os; os.mkdir('out'); open('out/real.txt', 'w').write('mine'); "
        f"os.symlink({str(machine.home.key)!r}, 'out/key.txt'); os.symlink({str(machine.home.path)!r}, 'out/home'); "
        "os.symlink('real.txt', 'out/inside.txt'); os.mkfifo('out/pipe.txt')"
    )
    (attempt,) = platform.offer(spec(python(code), outputs=[{"path": "out/**", "required": True}]))
    report = platform.report_of(attempt)
    assert [item["path"] for item in report["outputs"]] == ["out/real.txt"]
    assert b"PRIVATE KEY" not in b"".join(platform.blobs.values())


def test_the_time_limit_ends_a_program_that_ignores_sigterm(platform: Platform, machine: Machine) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    (attempt,) = platform.offer(spec(python(code), limits={"run_s": 1, "grace_s": 1}))
    report = platform.report_of(attempt)
    assert (report["reason_class"], report["code"]) == ("limit_exceeded", "time_limit")
    assert 1900 < report["usage"]["wall_ms"] < 10_000


def test_the_memory_limit_ends_a_hog_and_its_children(platform: Platform, machine: Machine) -> None:
    code = (
        "import os, time; "
        "pids = [os.fork() for _ in range(2)]; keep = bytearray(70 << 20); "
        "keep[::4096] = b'x' * len(keep[::4096]); time.sleep(60)"
    )
    (attempt,) = platform.offer(spec(python(code), limits={"memory_mib": 128}))
    report = platform.report_of(attempt)
    assert report["code"] == "memory_limit"
    assert report["usage"]["peak_memory_mib"] > 128


def test_the_process_limit_ends_a_fork_bomb(platform: Platform, machine: Machine) -> None:
    code = "import os, time\nwhile True:\n    os.fork()\n    time.sleep(0.05)"
    (attempt,) = platform.offer(spec(python(code), limits={"processes": 20}))
    assert platform.report_of(attempt)["code"] == "process_limit"


def test_the_disk_limit_ends_a_program_that_fills_its_folder(platform: Platform, machine: Machine) -> None:
    code = "import time\nfor n in range(40):\n    open(f'f{n}', 'wb').write(bytes(1 << 20))\n    time.sleep(0.05)"
    (attempt,) = platform.offer(spec(python(code), limits={"disk_mib": 8}))
    assert platform.report_of(attempt)["code"] == "disk_limit"
    platform.until(lambda: not machine.folders())


def test_the_file_limit_ends_a_program_whose_file_grows_too_large(platform: Platform, machine: Machine) -> None:
    code = "import time\nf = open('f', 'wb')\nwhile True:\n    f.write(bytes(1 << 16))"
    (attempt,) = platform.offer(spec(python(code), limits={"file_mib": 2}))
    assert platform.report_of(attempt)["code"] == "file_limit"


def test_results_beyond_the_output_limit_are_not_uploaded(platform: Platform, machine: Machine) -> None:
    code = "open('big.bin', 'wb').write(bytes(3 << 20))"
    outputs = [{"path": "*.bin", "required": True}]
    (attempt,) = platform.offer(spec(python(code), outputs=outputs, limits={"output_mib": 2}))
    assert platform.report_of(attempt)["code"] == "output_limit"
    assert not platform.blobs


def test_a_torrent_of_output_is_kept_to_head_and_tail(platform: Platform, machine: Machine) -> None:
    code = "import sys\nfor n in range(60000): sys.stdout.write(f'{n:09d}' + 'x' * 90 + '\\n')"
    (attempt,) = platform.offer(spec(python(code), limits={"log_kib": 16, "run_s": 60}))
    report = platform.report_of(attempt, 60)
    assert report["outcome"] == "done", report
    text = platform.log_of(attempt)
    head, _, tail = text.partition(b"\n[gridfare: ")
    assert (len(head), head[:9]) == (8192, b"000000000")
    assert tail.startswith(b"%d bytes left out]\n" % (6_000_000 - 16384))
    assert text.endswith(b"000059999" + b"x" * 90 + b"\n")
    assert report["logs"]["stdout"] == len(text)


def test_output_is_streamed_while_the_program_runs(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("import time; print('begun', flush=True); time.sleep(30)")))
    platform.until(lambda: platform.log_of(attempt) == b"begun\n")
    assert attempt not in platform.reports
    platform.stop(attempt)
    assert platform.report_of(attempt)["outcome"] == "cancelled"


def test_progress_is_told_while_the_program_runs(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(python("open('progress', 'w').write('0.25'); import time; time.sleep(30)")))
    platform.until(lambda: any([attempt, 1, "running", 250_000] in sync["held"] for sync in platform.syncs))
    platform.stop(attempt)
    platform.report_of(attempt)


def test_cancelling_ends_the_whole_tree_even_what_left_its_session(platform: Platform, machine: Machine) -> None:
    escape = "import os, time; os.setsid(); os.environ.clear(); open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        f"import subprocess, sys, time, os; subprocess.Popen([sys.executable, '-c', {escape!r}], env={{}}); "
        "p = os.getcwd() + '/pid'\nwhile not os.path.exists(p) or not open(p).read(): time.sleep(0.02)\n"
        "print(open(p).read(), flush=True); time.sleep(60)"
    )
    (attempt,) = platform.offer(spec(python(code)))
    platform.until(lambda: platform.log_of(attempt).strip())
    stray = int(platform.log_of(attempt))
    assert alive(stray)
    platform.stop(attempt)
    report = platform.report_of(attempt)
    assert (report["outcome"], report["reason_class"], report["code"]) == ("cancelled", "user_cancel", "cancelled")
    assert not alive(stray)


def test_what_a_program_leaves_running_in_the_background_is_ended_with_it(platform: Platform, machine: Machine) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)\n"
        "time.sleep(0.3)"
    )
    (attempt,) = platform.offer(spec(python(code)))
    assert platform.report_of(attempt)["outcome"] == "done"
    assert not marked("GRIDFARE_ATTEMPT", str(attempt))


def test_a_unit_that_needs_more_than_the_machine_is_given_back(platform: Platform, machine: Machine) -> None:
    need = {"cores": 64, "memory_mib": 1, "disk_mib": 1}
    (attempt,) = platform.offer(spec(["/bin/true"], need=need))
    report = platform.report_of(attempt)
    assert report["outcome"] == "released"
    assert "reason_class" not in report


def test_running_units_stay_within_the_cores_and_memory_that_were_declared(platform: Platform, join: Join) -> None:
    join(cores=4, memory_mib=300).start()
    attempts = platform.offer(spec(python("import time; time.sleep(0.4)"), need={"cores": 1, "memory_mib": 100}), 8)
    for attempt in attempts:
        platform.report_of(attempt)
    running = [sum(row[2] == "running" for row in sync["held"]) for sync in platform.syncs]
    assert max(running) == 3


def test_an_untrusted_program_is_refused_without_a_sandbox(platform: Platform, join: Join) -> None:
    join(executors=("process",)).start(executor=None)
    (attempt,) = platform.offer(spec(["/bin/true"], trusted=False))
    report = platform.report_of(attempt)
    assert (report["outcome"], report["code"]) == ("released", "executor_missing")
    (trusted,) = platform.offer(spec(["/bin/true"]))
    assert platform.report_of(trusted)["outcome"] == "done"


def test_a_forced_process_executor_needs_the_operators_word_for_untrusted_programs(platform: Platform, join: Join) -> None:
    machine = join().start(executor="process")
    (refused,) = platform.offer(spec(["/bin/true"], trusted=False))
    assert platform.report_of(refused)["code"] == "executor_missing"
    machine.stop()
    machine.start(executor="process", allow_untrusted=True)
    (taken,) = platform.offer(spec(["/bin/true"], trusted=False))
    assert platform.report_of(taken)["outcome"] == "done"


def test_the_null_executor_reports_twenty_thousand_leases_in_one_batch(platform: Platform, join: Join) -> None:
    attempts = platform.offer(spec(["/bin/true"]), count=20_000)
    began = time.monotonic()
    join().start(executor="null")
    platform.until(lambda: len(platform.reports) == len(attempts), 60)
    assert max(len(batch["items"]) for batch in platform.batches) == 20_000
    assert time.monotonic() - began < 60


def test_a_file_path_that_leaves_the_folder_is_refused_before_anything_is_fetched(platform: Platform, machine: Machine) -> None:
    blob = platform.store(b"evil")
    for path in ("in/../../evil", "/etc/evil", "evil", "in//evil", "in/..", "in/a\\b\n"):
        (attempt,) = platform.offer(spec(["/bin/true"], files=[{"path": path, **blob}]))
        report = platform.report_of(attempt)
        assert (report["outcome"], report["reason_class"]) == ("failed", "capability_error")
        (own,) = platform.offer(spec(["/bin/true"]), files=[{"path": path, **blob}])
        assert platform.report_of(own)["outcome"] == "failed"
    assert not [path for method, path in platform.requests if method == "GET"]


def test_a_package_that_leaves_its_folder_is_refused(platform: Platform, machine: Machine) -> None:
    for number, name in enumerate(("../evil.py", "/tmp/evil.py", "a/../../evil.py")):
        program = platform.store(package({"main.py": f"print({number})", name: "print('evil')"}))
        (attempt,) = platform.offer(spec(["python", "main.py"], program=program))
        report = platform.report_of(attempt)
        assert (report["reason_class"], report["code"]) == ("capability_error", "download_failed")
    assert not list(machine.home.path.rglob("evil.py"))
    assert not list(machine.home.programs.iterdir())


def test_a_second_signal_leaves_at_once_and_kills_what_runs(platform: Platform, join: Join) -> None:
    machine = join().start(stop_s=60.0)
    (attempt,) = platform.offer(spec(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)")))
    platform.until(lambda: platform.log_of(attempt).strip())
    pid = int(platform.log_of(attempt))
    machine.events.call_soon_threadsafe(machine.loop.stop)
    time.sleep(0.2)
    machine.stop()
    assert not alive(pid)
    assert platform.report_of(attempt)["code"] == "agent_stopping"
