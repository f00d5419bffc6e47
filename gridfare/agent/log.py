"""Structured lines on stderr: ``time LEVEL event key=value ...``.

Never pass a token, a key or a signed URL as a value: whatever is given here is printed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from datetime import UTC, datetime

logger = logging.getLogger("gridfare.agent")


class LineFormatter(logging.Formatter):
    """One event per line, values quoted only where they need it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = f"{moment} {record.levelname:<7} {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line; a closed stderr loses it."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()


def configure(level: str = "INFO") -> None:
    """Send the agent's events to stderr; calling it twice changes the level only."""
    if not logger.handlers:
        handler = StderrHandler()
        handler.setFormatter(LineFormatter())
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level.upper())


def quoted(value: object) -> str:
    """A value as it stands in a line: bare when it is one word, otherwise as a JSON string."""
    text = str(value)
    plain = text and all(c.isprintable() and c not in ' "=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)


def say(level: int, event: str, **fields: object) -> None:
    """Log one event with its fields; costs one comparison when the level is off."""
    if logger.isEnabledFor(level):
        words = [f"{key}={quoted(value)}" for key, value in fields.items() if value is not None]
        logger.log(level, "%s", " ".join([event, *words]))


def debug(event: str, **fields: object) -> None:
    """An event of a single unit."""
    say(logging.DEBUG, event, **fields)


def info(event: str, **fields: object) -> None:
    """An event of the agent's life, or a unit that did not end well."""
    say(logging.INFO, event, **fields)


def warning(event: str, **fields: object) -> None:
    """Something the operator of this machine may want to look at."""
    say(logging.WARNING, event, **fields)


def error(event: str, **fields: object) -> None:
    """Something that stops work until somebody acts."""
    say(logging.ERROR, event, **fields)
