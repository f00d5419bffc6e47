"""What the person at the terminal sees: a line per step, with a spinner where there is a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.text import Text


class Show:
    """Prints progress. A terminal that has gone away is no reason to stop."""

    def __init__(self) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self._start = time.monotonic()

    def line(self, text: str, style: str = "") -> None:
        """One line, with the seconds since the start."""
        with suppress(OSError):
            stamp = Text(f"{time.monotonic() - self._start:6.1f} s  ", style="dim")
            self._console.print(stamp + Text(text, style=style))

    def error(self, text: str) -> None:
        """A message about something that went wrong."""
        self.line(text, style="bold red")

    def warning(self, text: str) -> None:
        """A message about something that was mended."""
        self.line(text, style="yellow")

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Shows what is being done, and when the block ends without an error, that it is done."""
        if self._console.is_terminal:
            with self._console.status(doing):
                yield
        else:
            yield
        self.line(done)
