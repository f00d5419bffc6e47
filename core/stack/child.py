"""One supervised process: started, watched, started again with back-off, ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from core.embedded.process import end, tied

FIRST_PAUSE = 0.3
LONGEST_PAUSE = 15.0
HEALTHY_AFTER = 30.0


@dataclass
class Child:
    """A process that shall run.

    command is asked anew at every start; running tells the number of one that another program started.
    """

    name: str
    command: Callable[[], Sequence[str]]
    log: Path
    pid_file: Path
    environment: Mapping[str, str]
    folder: Path
    stop_signal: int = signal.SIGTERM
    wave: int = 0  # a higher one is ended first
    grace: float = 8.0  # seconds between being asked to end and being made to
    running: Callable[[], int | None] = lambda: None
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    restarts: int = field(default=0, init=False)
    _adopted: int | None = field(default=None, init=False)
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _started: float = field(default=0.0, init=False)
    _due: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Starts the process, or adopts the one that runs already. The kernel ends ours when we die."""
        self._started = time.monotonic()
        self._adopted = self.running()
        if self._adopted is None:
            self.process = self._spawn()
        self.pid_file.write_text(f"{self.pid}\n")

    @property
    def pid(self) -> int | None:
        """The number of the process, when it was started."""
        return self.process.pid if self.process else self._adopted

    def ended(self) -> bool:
        """Whether a process that was started is gone."""
        if self.process is not None:
            return self.process.poll() is not None
        return self._adopted is not None and self.running() != self._adopted

    def tick(self) -> str:
        """Starts the process again when it died and its pause is over. Returns the news in words, or ""."""
        if self._due:
            return self._restart() if time.monotonic() >= self._due else ""
        if not self.ended():
            return ""
        self._bury()
        if time.monotonic() - self._started > HEALTHY_AFTER:
            self._pause = FIRST_PAUSE
        self._due = time.monotonic() + self._pause
        return f"{self.name} ended ({self._verdict()}); starting it again in {self._pause:.1f} s"

    def ask_to_stop(self) -> None:
        """Sends the stop signal without waiting, so that several end at the same time."""
        self._due = 0.0
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def stop(self) -> None:
        """Waits for the process that was asked to end, then makes it. One that others started is left alone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            end(self.process.pid, 0, self.grace)
        self._bury()
        self.pid_file.unlink(missing_ok=True)

    def _restart(self) -> str:
        self._due, self._pause = 0.0, min(self._pause * 2, LONGEST_PAUSE)
        self.restarts += 1
        self.start()
        return f"{self.name} is started again"

    def _verdict(self) -> str:
        code = self.process.returncode if self.process else None
        if code is None:
            return "it belonged to another program"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _bury(self) -> None:
        """Reaps the process and ends what it left in its session: a worker's children do not outlive it."""
        if self.process is not None:
            self.process.wait()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            return subprocess.Popen(
                tied(self.command(), self.stop_signal),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
            )


def end_leftover(pid_file: Path, seconds: float = 5.0) -> int | None:
    """Ends the process that a killed supervisor left, and returns its number; None when there is none.

    The file names it. A stranger that got the same number since is younger than the file.
    """
    try:
        pid = int(pid_file.read_text())
        created = psutil.Process(pid).create_time()
        ours = created <= pid_file.stat().st_mtime + 0.5
    except (OSError, ValueError, psutil.Error):
        ours = False
    if ours:
        end(pid, signal.SIGTERM, seconds)
    pid_file.unlink(missing_ok=True)
    return pid if ours else None
