"""What both embedded servers share: folder locks, the pid of a server, starting and ending a process."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

LAUNCHER = Path(__file__).with_name("launch.py")


class EmbeddedError(RuntimeError):
    """An embedded server cannot be had. The message is written for the person at the terminal."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lets one process at a time start or stop servers in the folder. Free again when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "embedded.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def running_pid(pid_file: Path, marks: Sequence[str]) -> int | None:
    """The pid in the first line of the file, when that process lives and every mark is in its command line.

    After SIGKILL the file stays and its number may belong to a stranger; the marks tell them apart.
    """
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if alive and all(mark in command for mark in marks) else None


def lives(pid_file: Path) -> bool:
    """Whether the number in the file's first line is that of any process, dead but unburied ones included."""
    try:
        return psutil.pid_exists(int(pid_file.read_text().split("\n", 1)[0]))
    except (OSError, ValueError):
        return False


def spawn(command: Sequence[str], log: Path, *, die_with_parent: int = 0) -> "subprocess.Popen[bytes]":
    """Starts a program in its own session, its output appended to the log file.

    With die_with_parent, a signal number, the kernel sends that signal to the program when this process dies.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = tied(command, die_with_parent) if die_with_parent else list(command)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def tied(command: Sequence[str], number: int) -> list[str]:
    """The command line that runs the program tied to this process's life.

    A program that is launched as another user is tied by the same launcher: changing the user unties.
    """
    launcher = launched()
    options = ["--die-with", f"{os.getpid()}:{int(number)}"]
    if list(command[: len(launcher)]) == launcher:
        return [*launcher, *options, *command[len(launcher) :]]
    return [*launcher, *options, "--", *command]


def launched() -> list[str]:
    """How launch.py is run, without its options."""
    return [sys.executable, "-I", "-S", str(LAUNCHER)]


def end(pid: int, number: int, seconds: float = 20.0) -> None:
    """Sends the signal, 0 for none, and waits until the process is gone; after the given time it is killed."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(number)
        if not wait_until(lambda: gone(process), seconds):
            process.send_signal(signal.SIGKILL)
            wait_until(lambda: gone(process), 5)


def gone(process: psutil.Process) -> bool:
    """Whether the process has ended, buried by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(ready: Callable[[], bool], seconds: float) -> bool:
    """Polls until ready() is true or the time is over; tells which."""
    end_time = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end_time:
            return False
        time.sleep(0.05)
    return True


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message; empty when there is none."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - 16_384))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
