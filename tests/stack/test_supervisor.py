"""What keeps the processes of `make up` alive, and what ends them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.embedded.process import gone, wait_until
from core.stack.child import Child, end_leftover
from core.stack.lock import AlreadyRunning, StackLock
from core.stack.logs import rotate
from core.stack.ports import PortError, choose_port, is_free
from core.stack.show import Show
from core.stack.supervisor import Step, StepFailed, Stopped, Supervisor

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(Show(), tmp_path)
    yield made
    made.stop()


def test_a_child_that_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    supervisor.add(child)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    supervisor.wait_until(lambda: child.restarts == 1, 5, "no restart", child.log)
    assert child.pid != first
    assert child.pid_file.read_text() == f"{child.pid}\n"


def test_a_child_that_keeps_dying_is_given_longer_and_longer_pauses(tmp_path: Path) -> None:
    child = sleeper(tmp_path, command=["false"])
    child.start()
    pauses = [pause_of(child), pause_of(child)]
    child.ask_to_stop()
    child.stop()
    assert pauses[1] > pauses[0]


def test_a_server_that_others_started_is_adopted_and_left_running(tmp_path: Path) -> None:
    other = subprocess.Popen(SLEEP)
    try:
        child = sleeper(tmp_path)
        child.running = lambda: other.pid
        child.start()
        assert child.process is None
        child.ask_to_stop()
        child.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_a_child_leaves_in_its_session_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    child = sleeper(tmp_path, command=["sh", "-c", f"sleep 60 & echo $! > {note}; wait"])
    supervisor.add(child)
    supervisor.wait_until(lambda: note.exists() and note.read_text().strip() != "", 5, "no grandchild", child.log)
    supervisor.stop()
    assert wait_until(lambda: ended(int(note.read_text())), 5)


def test_children_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:0] = [sys.argv[2]]; from pathlib import Path; import time\n"
        "from core.stack.child import Child\n"
        "base = Path(sys.argv[1])\n"
        "Child('c', lambda: ['sleep', '60'], base / 'c.log', base / 'c.pid', {}, base).start()\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(ROOT)])
    pid_file = tmp_path / "c.pid"
    assert wait_until(lambda: pid_file.exists() and named(int(pid_file.read_text()), "sleep"), 10)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: ended(int(pid_file.read_text())), 5)


def test_what_a_killed_supervisor_left_is_ended_by_the_next(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEP)
    (tmp_path / "web.pid").write_text(str(left.pid))
    assert end_leftover(tmp_path / "web.pid") == left.pid
    assert left.wait(5) == -signal.SIGTERM


def test_a_stranger_with_the_number_of_a_leftover_is_spared(tmp_path: Path) -> None:
    pid_file = tmp_path / "web.pid"
    stranger = subprocess.Popen(SLEEP)
    try:
        pid_file.write_text(str(stranger.pid))
        os.utime(pid_file, (time.time() - 3600, time.time() - 3600))
        assert end_leftover(pid_file) is None
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_supervisor_is_told_who_runs_already(tmp_path: Path) -> None:
    first = StackLock(tmp_path / "up.lock")
    first.take()
    first.tell("http://127.0.0.1:8000")
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()} at http://127.0.0.1:8000"):
        StackLock(tmp_path / "up.lock").take()


def test_the_lock_of_a_killed_supervisor_is_free(tmp_path: Path) -> None:
    path = tmp_path / "up.lock"
    program = (
        "import sys; sys.path[:0] = [sys.argv[2]]; from pathlib import Path; import time\n"
        "from core.stack.lock import StackLock\n"
        "lock = StackLock(Path(sys.argv[1])); lock.take(); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(path), str(ROOT)])
    assert wait_until(lambda: path.exists() and path.read_text() != "", 10)
    with pytest.raises(AlreadyRunning):
        StackLock(path).take()
    holder.kill()
    holder.wait()
    StackLock(path).take()


def test_a_port_that_was_asked_for_must_be_free(tmp_path: Path) -> None:
    taken = choose_port("")
    assert is_free(taken)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", taken))
        stranger.listen()
        with pytest.raises(PortError, match=rf"Port {taken} is in use.*make up PORT=\d+"):
            choose_port(str(taken))
        assert choose_port("") != taken


@pytest.mark.parametrize("asked", ["0", "65536", "http", "-1", "80 80"])
def test_a_port_that_is_no_port_is_refused(asked: str) -> None:
    with pytest.raises(PortError, match="PORT must be a number"):
        choose_port(asked)


def test_a_log_that_grew_large_is_emptied_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    with path.open("ab") as writer:
        writer.write(b"x" * 2000)
        writer.flush()
        assert rotate(tmp_path, largest=1000) == [path]
        writer.write(b"after\n")
    assert path.read_text() == "after\n"
    assert (tmp_path / "web.log.1").stat().st_size == 2000


def test_a_step_that_never_comes_true_ends_with_the_end_of_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("the reason\n")
    with pytest.raises(StepFailed, match=r"web is not ready(?s:.)*the reason"):
        supervisor.wait_until(lambda: False, 0.1, "web is not ready", log)


def test_a_step_returns_its_exit_code_and_splits_its_output(supervisor: Supervisor, tmp_path: Path) -> None:
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    step = Step([sys.executable, "-c", program], {}, tmp_path, tmp_path / "log", tmp_path / "out")
    assert supervisor.run(step) == 3
    assert (tmp_path / "out").read_text() == "out\n"
    assert (tmp_path / "log").read_text() == "err\n"


def test_a_signal_ends_a_step_that_is_under_way(supervisor: Supervisor, tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    supervisor.listen()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            supervisor.run(Step(SLEEP, {}, tmp_path, tmp_path / "log"))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_program_that_ctrl_c_ended_before_we_looked_is_no_failure(supervisor: Supervisor, tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    supervisor.listen()
    try:
        with pytest.raises(Stopped):
            supervisor.run(Step(["sh", "-c", f"kill -INT {os.getpid()}; exit 130"], {}, tmp_path, tmp_path / "log"))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sleeper(folder: Path, command: list[str] | None = None) -> Child:
    """A supervised process that sleeps, or runs the command."""
    return Child(
        name="sleeper",
        command=lambda: command or SLEEP,
        log=folder / "sleeper.log",
        pid_file=folder / "sleeper.pid",
        environment=os.environ,
        folder=folder,
    )


def pause_of(child: Child) -> float:
    """Seconds between the news that the child ended and its next start."""
    assert wait_until(lambda: child.tick().startswith("sleeper ended"), 5)
    start = time.monotonic()
    assert wait_until(lambda: child.tick().endswith("started again"), 5)
    return time.monotonic() - start


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or gone(psutil.Process(pid))


def named(pid: int, name: str) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).name() == name
