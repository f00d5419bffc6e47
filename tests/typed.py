"""A line as somebody types it. No Django."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from typer import testing

from gridfare.cli import app

# Every call would build all commands anew, an eighth of a second each time; a process of `gridfare` does it once.
setattr(testing, "_get_command", cache(testing._get_command))  # noqa: B010


def typed(words: Sequence[str], given: str | None = None) -> testing.Result:
    """What `gridfare WORDS` leaves behind; `given` is typed into it."""
    return testing.CliRunner().invoke(app, list(words), input=given)
