"""What a program can and cannot do in the sandbox; where bubblewrap does not work, that it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridfare.agent import checks
from gridfare.agent.executors.sandbox import find_sandbox

from .conftest import Join, Machine
from .platform import Json, Platform, spec
from .programs import marked, package, python


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether bubblewrap really works on this machine."""
    return find_sandbox(tmp_path_factory.mktemp("probe"), "probe")[0] is not None


@pytest.fixture
def sandboxed(join: Join) -> Machine:
    """A machine that chooses by itself."""
    return join().start(executor=None)


def outcome(platform: Platform, works: bool, document: Json) -> Json | None:
    """The report of an untrusted unit; None where the machine has no sandbox and rightly gave the unit back."""
    (attempt,) = platform.offer({**document, "trusted": False})
    report = platform.report_of(attempt, 60)
    if works:
        return report
    assert (report["outcome"], report["code"]) == ("released", "executor_missing")
    return None


def test_an_untrusted_program_runs_in_the_sandbox_or_not_at_all(platform: Platform, sandboxed: Machine, works: bool) -> None:
    program = platform.store(package({"main.py": "import helper, os; print(os.getcwd())", "helper.py": ""}))
    file = {"path": "in/a/b", **platform.store(b"hello")}
    document = spec(["python", "main.py"], program=program, files=[file])
    report = outcome(platform, works, document)
    assert report is None or report["outcome"] == "done", report
    assert report is None or "/task\n" in [log.decode() for log in platform.logs.values()]


def test_the_self_test_says_whether_there_is_a_sandbox(tmp_path: Path, works: bool) -> None:
    result = checks.check_sandbox(tmp_path)
    assert result.status == ("pass" if works else "warn")


def test_the_sandbox_has_a_writable_task_folder_and_nothing_else_to_write(
    platform: Platform, sandboxed: Machine, works: bool
) -> None:
    code = """
import os, pathlib as p
assert p.Path('in/a').read_text() == 'hello'
for f in ('out.txt', 'in/new', '/tmp/x', os.environ['HOME'] + '/y', '/dev/shm/z'):
    p.Path(f).write_text('x')
for f in ('/x', '/usr/x', '/etc/x', '/program/x', '/dev/x', '/proc/x', '/usr/bin/env'):
    try:
        p.Path(f).write_text('x')
    except OSError:
        continue
    raise SystemExit(f'wrote {f}')
"""
    file = {"path": "in/a", **platform.store(b"hello")}
    program = platform.store(package({"x.py": ""}))
    outputs = [{"path": "*.txt", "required": True}]
    document = spec(python(code), files=[file], program=program, outputs=outputs)
    report = outcome(platform, works, document)
    assert report is None or report["outcome"] == "done", report
    assert not Path("/x").exists()


def test_the_sandbox_hides_the_agents_home_other_attempts_and_host_files(
    platform: Platform, sandboxed: Machine, works: bool
) -> None:
    secret = sandboxed.home.path.parent / "secret"
    secret.write_text("secret")
    (sandboxed.home.work / "other").mkdir()
    code = f"""
import os
for f in ({str(sandboxed.home.key)!r}, {str(sandboxed.home.path)!r}, {str(secret)!r}, {str(Path.home() / ".ssh")!r}, '/etc/shadow',
          '/etc/hostname', {str(sandboxed.home.work / "other")!r}, '/home', '/var'):
    assert not os.path.exists(f), f
pids = [int(p) for p in os.listdir('/proc') if p.isdigit()]
assert max(pids) < 20, pids
assert 'GRIDFARE_AGENT' not in os.environ
print(sorted(os.listdir('/')))
"""
    report = outcome(platform, works, spec(python(code)))
    assert report is None or report["outcome"] == "done", report


def test_the_sandbox_has_no_network_and_no_privilege(platform: Platform, sandboxed: Machine, works: bool) -> None:
    port = platform.server.server_address[1]
    code = f"""
import os, socket, subprocess
try:
    socket.create_connection(('127.0.0.1', {port}), timeout=2)
except OSError:
    pass
else:
    raise SystemExit('connected')
assert [name for _, name in socket.if_nameindex()] == ['lo']
status = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())
assert int(status['CapEff'], 16) == 0 and int(status['CapBnd'], 16) == 0, status
assert status['NoNewPrivs'].strip() == '1' and os.getuid() != 0
assert status['Seccomp'].strip() == '2'
assert subprocess.run(['unshare', '-U', 'true'], stderr=subprocess.DEVNULL).returncode != 0
import threading; t = threading.Thread(target=print, args=('threads work',)); t.start(); t.join()
"""
    report = outcome(platform, works, spec(python(code)))
    assert report is None or report["outcome"] == "done", report


def test_a_fork_bomb_in_the_sandbox_is_ended_with_all_its_children(platform: Platform, sandboxed: Machine, works: bool) -> None:
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    report = outcome(platform, works, spec(python(code), limits={"processes": 20}))
    assert report is None or report["code"] == "process_limit", report
    assert not marked("GRIDFARE_ATTEMPT", str(platform.next_attempt - 1))


def test_a_memory_hog_in_the_sandbox_is_ended(platform: Platform, sandboxed: Machine, works: bool) -> None:
    code = "import time\nkeep = []\nwhile True: keep.append(b'x' * (1 << 22)); time.sleep(0.01)"
    report = outcome(platform, works, spec(python(code), limits={"memory_mib": 96}))
    assert report is None or report["code"] == "memory_limit", report


def test_shared_memory_in_the_sandbox_is_bounded(platform: Platform, sandboxed: Machine, works: bool) -> None:
    code = """
try:
    with open('/dev/shm/fill', 'wb') as f:
        for _ in range(400): f.write(bytes(1 << 20))
except OSError as problem:
    print(problem)
else:
    raise SystemExit('no bound')
"""
    report = outcome(platform, works, spec(python(code), limits={"file_mib": 1000}))
    assert report is None or report["outcome"] == "done", report


def test_a_disk_filler_in_the_sandbox_is_ended(platform: Platform, sandboxed: Machine, works: bool) -> None:
    code = "import time\nn = 0\nwhile True:\n    n += 1; open(f'/tmp/f{n}', 'wb').write(bytes(1 << 20)); time.sleep(0.03)"
    report = outcome(platform, works, spec(python(code), limits={"disk_mib": 8}))
    assert report is None or report["code"] == "disk_limit", report
    platform.until(lambda: not sandboxed.folders())


def test_sigterm_reaches_the_program_in_the_sandbox_and_its_grace_is_kept(
    platform: Platform, sandboxed: Machine, works: bool
) -> None:
    code = """
import signal, time
def end(*_):
    print('tidied up', flush=True)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
time.sleep(60)
"""
    report = outcome(platform, works, spec(python(code), limits={"run_s": 1}))
    assert report is None or report["code"] == "time_limit"
    assert report is None or platform.log_of(report["attempt"]) == b"tidied up\n"
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    report = outcome(platform, works, spec(python(stubborn), limits={"run_s": 1, "grace_s": 1}))
    assert report is None or (report["code"] == "time_limit" and report["usage"]["wall_ms"] > 1900)


def test_gigabytes_of_output_in_the_sandbox_do_not_reach_the_disk(platform: Platform, sandboxed: Machine, works: bool) -> None:
    code = "import os\nwhile True: os.write(1, b'y' * 65536)"
    report = outcome(platform, works, spec(python(code), limits={"run_s": 2, "log_kib": 16}))
    assert report is None or report["code"] == "time_limit"
    assert report is None or len(platform.log_of(report["attempt"])) < 17_000


def test_counters_of_a_sandboxed_program_include_its_processor_time(platform: Platform, sandboxed: Machine, works: bool) -> None:
    code = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    report = outcome(platform, works, spec(python(code)))
    assert report is None or 550 <= report["usage"]["core_ms"] <= 3000, report
    assert report is None or report["usage"]["peak_memory_mib"] >= 4, report


def test_exit_codes_and_signals_come_out_of_the_sandbox(platform: Platform, sandboxed: Machine, works: bool) -> None:
    report = outcome(platform, works, spec(["sh", "-c", "exit 7"]))
    assert report is None or report["exit_code"] == 7
    report = outcome(platform, works, spec(["sh", "-c", "kill -SEGV $$"]))
    assert report is None or report["code"] == "killed_by_signal"
    report = outcome(platform, works, spec(["no-such-command"]))
    assert report is None or (report["code"], report["exit_code"]) == ("exit_nonzero", 127)


def test_the_capabilitys_environment_never_reaches_what_runs_before_the_program(
    platform: Platform, sandboxed: Machine, works: bool
) -> None:
    env = {"LD_PRELOAD": "/task/in/evil.so", "PATH": "/task/in:/usr/bin:/bin", "BASH_ENV": "/task/in/evil"}
    file = {"path": "in/setpriv", **platform.store(b"#!/bin/sh\necho hijacked\n")}
    report = outcome(platform, works, spec(["/usr/bin/env"], env=env, files=[file]))
    assert report is None or report["outcome"] == "done", report
    assert report is None or b"LD_PRELOAD=/task/in/evil.so" in platform.log_of(report["attempt"])
    assert report is None or b"hijacked" not in platform.log_of(report["attempt"])


def test_a_report_of_a_sandboxed_unit_is_plain_json(platform: Platform, sandboxed: Machine, works: bool) -> None:
    report = outcome(platform, works, spec(python("print('\\udcff'.encode(errors='surrogateescape'))")))
    assert report is None or json.dumps(report)
