"""Inputs of a task as they are typed: `-i frames=24 -i scene=@cube.obj -i files[]=@one.txt -i files=task:<id>:<glob>`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

_TASK = re.compile(r"task:(?P<task>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?::(?P<path>.+))?")


def pairs(given: Iterable[str], option: str) -> list[tuple[str, str]]:
    """[("name", "value")] of "name=value" texts."""
    found = []
    for each in given:
        name, separator, value = each.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{each!r} is not name=value", param_hint=option)
        found.append((name, value))
    return found


def value_of(text: str) -> Any:
    """JSON when it parses, a file or folder after @ (@@ is a plain @), another task's result after task:, text otherwise."""
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        return existing(text[1:])
    if referred := _TASK.fullmatch(text):
        return {"task": referred["task"], "path": referred["path"] or "**"}
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise typer.BadParameter(f"there is no file or folder {text!r}")
    return path


def inputs_of(given: Iterable[str], document: str | None = None) -> dict[str, Any]:
    """The inputs: those of a JSON document first, then name by name.

    A name given twice becomes a list, and so does one that is written with [] behind it, given once or more often.
    """
    collected: dict[str, list[Any]] = {}
    lists: set[str] = set()
    for written, text in pairs(given, "-i"):
        name = written.removesuffix("[]")
        if not name:
            raise typer.BadParameter(f"{written!r} names no input", param_hint="-i")
        lists |= {name} if name != written else set()
        collected.setdefault(name, []).append(value_of(text))
    single = {name: values if len(values) > 1 or name in lists else values[0] for name, values in collected.items()}
    return _document(document) | single


def _document(place: str | None) -> dict[str, Any]:
    if place is None:
        return {}
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=_no_constant)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{place}: {error}", param_hint="--inputs") from None
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{place} does not hold a JSON object", param_hint="--inputs")
    return document


def _no_constant(name: str) -> Any:
    """NaN and Infinity are not JSON; the platform would refuse them."""
    raise ValueError(name)
