"""One `make up` per data folder."""

import fcntl
import json
import os
from pathlib import Path
from typing import IO


class AlreadyRunning(RuntimeError):
    """Another `make up` serves this folder. The message is written for the person at the terminal."""


class StackLock:
    """A lock on a file that the kernel frees with its holder, so that none is left by SIGKILL.

    The file's text only tells a second one whom it met.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: IO[str] | None = None

    def take(self) -> None:
        """Takes the lock, or raises AlreadyRunning."""
        handle = self.path.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise AlreadyRunning(_explain(handle.read(), self.path)) from None
        self._handle = handle
        self.tell("")

    def tell(self, url: str) -> None:
        """Writes down who holds the lock and where it serves."""
        if self._handle is not None:
            self._handle.truncate(0)
            self._handle.write(json.dumps({"pid": os.getpid(), "url": url}))
            self._handle.flush()


def _explain(text: str, path: Path) -> str:
    try:
        found = json.loads(text)
        where = f" at {found['url']}" if found["url"] else ""
        who = f"process {found['pid']}{where}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return (
        f"Gridfare already runs with these data: {who}. Stop it with Ctrl-C there, or run a second one"
        f" with data of its own: make up GRIDFARE_DATA=/another/folder (lock: {path})"
    )
