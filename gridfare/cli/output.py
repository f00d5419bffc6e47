"""What a command says: text for a person, or exactly one JSON document (JSON lines for streams) for a program.

Answers go to stdout, everything about the way there (progress, warnings, errors) to stderr. rich obeys NO_COLOR.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
STYLES = {
    "delivered": "green", "published": "green", "active": "green", "done": "green", "valid": "green", "pass": "green",
    "running": "cyan", "testing": "cyan", "leased": "cyan", "placed": "cyan", "verified": "cyan",
    "queued": "yellow", "waiting": "yellow", "draining": "yellow", "deprecated": "yellow", "warn": "yellow",
    "failed": "red", "expired": "red", "suspended": "red", "fail": "red", "lost": "red", "invalid": "red",
    "cancelled": "bright_black", "retired": "bright_black", "withdrawn": "bright_black", "draft": "bright_black",
}  # fmt: skip


def clean(value: Any) -> str:
    """Text of others, safe for a terminal: no control characters but tab and line feed."""
    text = "-" if value is None or value == "" else str(value)
    return "".join(char if char in "\n\t" or unicodedata.category(char) != "Cc" else "\ufffd" for char in text)


def state_text(state: Any) -> Text:
    return Text(clean(state), STYLES.get(str(state), ""))


def console_on(stream: Any) -> Console:
    """A console that never cuts text when nobody looks at it."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 10_000
    return console


class Output:
    """stdout and stderr of one command."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = console_on(sys.stdout)
        self.err = console_on(sys.stderr)

    def show(self, document: Any, *view: RenderableType) -> None:
        """The command's answer: the document for a program, the view for a person."""
        if self.as_json:
            indent = 2 if self.console.is_terminal else None
            self._write(json.dumps(document, ensure_ascii=False, indent=indent))
        else:
            self.say(*view)

    def line(self, document: Any, view: RenderableType) -> None:
        """One item of a stream, at once."""
        if self.as_json:
            self._write(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
        else:
            self.console.print(view, soft_wrap=True)
        sys.stdout.flush()

    def say(self, *view: RenderableType) -> None:
        """Text for a person only."""
        for each in view if not self.as_json else ():
            wraps = isinstance(each, str | Text)
            self.console.print(Text(each) if isinstance(each, str) else each, soft_wrap=wraps)

    def note(self, text: str, style: str = "") -> None:
        """A remark beside the answer; a program does not get it."""
        if not self.as_json:
            self.err.print(Text(clean(text), style), soft_wrap=True)

    def _write(self, text: str) -> None:
        # a name may hold what the terminal's encoding cannot write; JSON stays whole by escaping
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = json.dumps(json.loads(text))
        sys.stdout.write(text + "\n")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A plain table. `right` columns hold numbers; `whole` ones (ids) are never cut."""
    made = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for name in columns:
        side = "right" if name in right else "left"
        made.add_column(name, justify=side, no_wrap=name in right or name in whole, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text | Table) else Text(clean(cell)) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and values below each other, without those that are empty."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="bright_black", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None and value != "":
            made.add_row(Text(name), value if isinstance(value, Text | Table) else Text(clean(value)))
    return made
