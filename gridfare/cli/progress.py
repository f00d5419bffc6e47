"""Watching: bars where somebody looks, a line per step where nobody does. Always on stderr."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from gridfare.cli.output import Output, clean
from gridfare.cli.words import between, money, size
from gridfare.sdk.answers import ENDED, Task
from gridfare.sdk.artifacts import Progress as OnBytes
from gridfare.sdk.artifacts import no_progress


@contextmanager
def bytes_moving(out: Output, verb: str) -> Iterator[OnBytes]:
    """A callback for uploads and downloads. `verb`: "uploading", "downloading"."""
    if out.as_json:
        yield no_progress
    elif out.err.is_terminal:
        with _byte_bars(out.err) as bars:
            yield _Bars(bars, verb)
    else:
        yield _Lines(out, verb)


def _byte_bars(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(30),
        DownloadColumn(True),
        TransferSpeedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


class _Bars:
    """One bar for all files together: many small files must not fill the screen. Called from several threads."""

    def __init__(self, bars: Progress, verb: str) -> None:
        self.bars, self.verb = bars, verb
        self.known: dict[str, tuple[int, int]] = {}
        self.bar: TaskID | None = None
        self.lock = threading.Lock()

    def __call__(self, name: str, done: int, total: int) -> None:
        with self.lock:
            self.known[name] = (done, total)
            if self.bar is None:
                self.bar = self.bars.add_task("")
            open_names = [each for each, (have, of) in self.known.items() if have < of]
            shown = clean(open_names[0] if open_names else name)
            files = f" ({len(self.known)} files)" if len(self.known) > 1 else ""
            done_all, total_all = (sum(column) for column in zip(*self.known.values(), strict=True))
            self.bars.update(
                self.bar, description=f"{self.verb} {shown[-40:]}{files}", completed=done_all, total=total_all
            )


class _Lines:
    """One line per finished file."""

    def __init__(self, out: Output, verb: str) -> None:
        self.out, self.verb, self.said = out, verb, set[str]()

    def __call__(self, name: str, done: int, total: int) -> None:
        if done >= total and name not in self.said:
            self.said.add(name)
            self.out.note(f"{self.verb} {name}: {size(total)}")


@contextmanager
def task_moving(out: Output) -> Iterator[TaskWatch]:
    """A callback for `Client.wait`."""
    if out.as_json or not out.err.is_terminal:
        yield TaskWatch(out, None)
        return
    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        BarColumn(30),
        TextColumn("{task.fields[more]}", markup=False),
    )
    with Progress(*columns, console=out.err, transient=True) as bars:
        yield TaskWatch(out, bars)


class TaskWatch:
    """Shows a task at every look; without a terminal one line per change of state and per tenth of the work."""

    def __init__(self, out: Output, bars: Progress | None) -> None:
        self.out, self.bars = out, bars
        self.bar = bars.add_task("waiting", total=1.0, more="") if bars else None
        self.last: tuple[str, int] | None = None

    def __call__(self, task: Task) -> None:
        fraction = float(task["progress"]["fraction"] or 0)
        if self.bars is not None and self.bar is not None:
            self.bars.update(self.bar, description=task["state"], completed=fraction, more=_line(task))
        elif (step := (task["state"], int(fraction * 10))) != self.last:
            self.last = step
            self.out.note(f"{task['state']}: {_line(task)}")


def _line(task: Task) -> str:
    units = task["progress"]
    counts = f"{units['units_done']}/{units['units_total']} units"
    running = f", {units['units_running']} running" if units.get("units_running") and task["state"] not in ENDED else ""
    cost = money(task["cost"]["amount"], task["cost"]["currency"])
    return f"{counts}{running}  {between(task['created_at'], task['ended_at'])}  {cost}"


def plain(text: str) -> Text:
    return Text(clean(text))
