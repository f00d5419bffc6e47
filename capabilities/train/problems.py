"""How a unit tells its user what is wrong: one sentence on stderr and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable


class BadInput(Exception):
    """The task's input cannot be used; the message is for the user."""


def exit_code(main: Callable[[], None]) -> int:
    """Run a program's body: 0 when it ends, 2 with a sentence when the input is bad."""
    try:
        main()
    except BadInput as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0
