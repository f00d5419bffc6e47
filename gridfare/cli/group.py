"""The door of the command line: every error becomes a message and an exit code that scripts can trust.

0  done; for --wait: delivered          5  no answer from the platform, or its own fault
1  the task failed or expired           6  still going when the waiting time was over
2  wrong input or use                   7  the task was cancelled
3  not logged in, or not allowed        130  Ctrl-C
4  no such thing
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from gridfare.cli.output import clean, console_on
from gridfare.sdk import errors

# What typer raises for wrong words on the line. It has no public name, but is what its BadParameter is a kind of.
_WrongUse: Any = typer.BadParameter.__mro__[1]

FAILED, USAGE, FORBIDDEN, MISSING, AWAY, LATE, CANCELLED, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 130
_CODES: list[tuple[type[Exception], int]] = [
    (errors.NotLoggedIn, FORBIDDEN),
    (errors.NotAllowed, FORBIDDEN),
    (errors.NotFound, MISSING),
    (errors.Refused, USAGE),
    (errors.BadFile, USAGE),
    (errors.WaitTimeout, LATE),
    (errors.TestsFailed, FAILED),
    (errors.GridfareError, AWAY),
]


class Interrupted(errors.GridfareError):
    """Ctrl-C while something goes on without us."""

    def __init__(self, detail: str, task: str | None = None) -> None:
        super().__init__("interrupted", detail, document={"task": task} if task else {})


def exit_code_of(error: Exception) -> int:
    if isinstance(error, Interrupted):
        return INTERRUPTED
    return next((code for kind, code in _CODES if isinstance(error, kind)), AWAY)


def code_of_state(state: str) -> int:
    """The exit code of an ended task."""
    return {"delivered": 0, "cancelled": CANCELLED}.get(state, FAILED)


def wants_json(args: list[str]) -> bool:
    return "--json" in (args[: args.index("--")] if "--" in args else args)


class Doors(TyperGroup):
    """The root group. Catches what a command could not do and says it once, in the shape that was asked for."""

    json_asked = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        self.json_asked = wants_json(list(args))
        with self._said_once():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with self._said_once():
            return super().invoke(ctx)

    @contextmanager
    def _said_once(self) -> Iterator[None]:
        try:
            yield
        except _WrongUse as wrong:
            if not self.json_asked:
                raise  # typer shows people how it is used
            raise self._exit(errors.Refused("usage", wrong.format_message())) from None
        except typer.Abort:
            raise self._exit(_no_answer()) from None
        except errors.GridfareError as error:
            raise self._exit(error) from None
        except KeyboardInterrupt:
            raise self._exit(Interrupted("stopped")) from None
        except BrokenPipeError:
            raise
        except (ValueError, OSError) as error:
            # local trouble: a configuration that cannot be read, a folder that cannot be written
            raise self._exit(errors.BadFile("local_fault", str(error))) from None

    def _exit(self, error: errors.GridfareError) -> typer.Exit:
        if self.json_asked:
            sys.stdout.write(json.dumps({"error": _document(error)}, ensure_ascii=False) + "\n")
        else:
            err = console_on(sys.stderr)
            for line in _lines(error):
                err.print(line, soft_wrap=True)
        return typer.Exit(exit_code_of(error))


def _no_answer() -> errors.GridfareError:
    """A question was not answered: Ctrl-C at a terminal, or the end of an input that is none."""
    if sys.stdin.isatty():
        return Interrupted("stopped")
    return errors.Refused("usage", "something was asked for and the input ended; give it as an option")


def _document(error: errors.GridfareError) -> dict[str, Any]:
    own = {"code": error.code, "detail": error.detail, "field": error.field, "status": error.status}
    return error.document | {name: value for name, value in own.items() if value is not None}


def _lines(error: errors.GridfareError) -> list[Text]:
    if isinstance(error, Interrupted):
        return [Text(clean(error.detail), "yellow")]
    place = f" ({error.field})" if error.field else ""
    lines = [Text.assemble(("error: ", "bold red"), clean(error.detail), place, (f"  [{error.code}]", "bright_black"))]
    more = error.document.get("errors", [])[1:]
    lines += [Text(clean(f"       {other.get('field') or ''}: {other.get('detail')}")) for other in more]
    if isinstance(error, errors.TestsFailed):
        lines += [
            Text(clean(f"       {t.get('name')}: {t.get('state')} {t.get('detail') or ''}")) for t in error.report
        ]
    if isinstance(error, errors.NotLoggedIn) and error.status == 401:
        lines.append(Text("the key may have expired or been revoked; run: gridfare login URL", "bright_black"))
    return lines
