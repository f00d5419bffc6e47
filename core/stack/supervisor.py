"""Keeps a set of processes running, and waits for things while doing so."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from core.embedded.process import tail, tied
from core.stack.child import Child
from core.stack.logs import rotate
from core.stack.show import Show

TICK = 0.1
ROTATE_EVERY = 5.0


class Stopped(Exception):
    """Somebody asked us to end: Ctrl-C, SIGTERM, or a terminal that closed."""


class StepFailed(RuntimeError):
    """A step of the start did not work. The message is written for the person at the terminal."""


@dataclass(frozen=True)
class Step:
    """A program that runs to its end.

    Without a log it has our terminal. With output, what it prints goes to that file and the log has the rest.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path | None = None
    output: Path | None = None

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts it, tied to our life."""
        with _appending(self.log) as errors, _appending(self.output or self.log) as prints:
            return subprocess.Popen(
                tied(self.command, signal.SIGTERM),
                env=dict(self.environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=prints,
                stderr=errors,
            )


class Supervisor:
    """Starts children in order and ends them in reverse. All waiting is done here, so none is unwatched."""

    def __init__(self, show: Show, logs: Path) -> None:
        self.show = show
        self.logs = logs
        self.children: list[Child] = []
        self._asked_to_stop = False
        self._rotated = 0.0

    def listen(self) -> None:
        """Takes the signals that end us. While ending, they are ignored: the end has its own time limits."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def add(self, child: Child) -> None:
        """Starts a process and watches it from now on."""
        self.children.append(child)
        child.start()

    def tick(self) -> None:
        """One look at everything. Raises Stopped when somebody asked for it."""
        if self._asked_to_stop:
            raise Stopped
        for child in self.children:
            if news := child.tick():
                self.show.warning(news)
        if time.monotonic() - self._rotated > ROTATE_EVERY:
            self._rotated = time.monotonic()
            rotate(self.logs)

    def wait_until(self, ready: Callable[[], bool], seconds: float, what: str, log: Path) -> None:
        """Waits for something that comes true, looking after the children meanwhile. Raises StepFailed."""
        end_time = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end_time:
                raise StepFailed(f"{what} after {seconds:.0f} s. The log, {log}, ends:\n{tail(log)}")
            self.tick()
            time.sleep(TICK)

    def run(self, step: Step) -> int:
        """Runs a program to its end, looking after the children meanwhile, and returns its exit code."""
        process = step.start()
        try:
            while process.poll() is None:
                self.tick()
                time.sleep(TICK)
        finally:
            _finish(process)
        if self._asked_to_stop:  # Ctrl-C reaches the program as well, which may be gone before we look
            raise Stopped
        return int(process.returncode)

    def serve(self) -> None:
        """Looks after the children until somebody asks to stop. Only ends by raising Stopped."""
        while True:
            self.tick()
            time.sleep(TICK)

    def stop(self) -> None:
        """Ends the children wave by wave: each still finds what it depends on."""
        for wave in sorted({child.wave for child in self.children}, reverse=True):
            ending = [child for child in self.children if child.wave == wave]
            for child in ending:
                child.ask_to_stop()
            for child in ending:
                child.stop()
        self.children.clear()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = True


@contextmanager
def _appending(path: Path | None) -> Iterator[IO[bytes] | None]:
    """The file, opened to append to; None, which means our terminal, without a path."""
    if path is None:
        yield None
        return
    with path.open("ab") as handle:
        yield handle


def _finish(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
