"""Definitions as YAML: read with the line of every place, and written so that people can go on with them. Pure.

YAML can say more than a definition needs. Anchors, names that stand twice and deep nesting are refused before anything is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, Event, MappingStartEvent, NodeEvent, ScalarEvent, SequenceStartEvent

from index.schema import SCHEMA

DEEPEST: Final = 20
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it is there: ten times as quick


class Unreadable(Exception):
    """line: from 1, where it is known."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


def parse_yaml(text: str) -> tuple[Any, dict[str, int]]:
    """What it says, and the line of every place in it. Unreadable."""
    try:
        lines = _lines(text)
        return yaml.load(text, Loader=_LOADER), lines  # noqa: S506  (both are the safe one)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(f"it is not YAML: {error.problem}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Unreadable(f"it is not YAML: {str(error).splitlines()[0][:200]}") from None


@dataclass(slots=True)
class _Open:
    """A list or a mapping that is being read. `name`: of the value that comes next; None: a name comes next."""

    place: str
    mapping: bool
    count: int = 0
    name: str | None = None
    seen: set[str] = field(default_factory=set)

    def next(self, event: Event) -> str:
        if not self.mapping:
            self.count += 1
            return f"{self.place}.{self.count - 1}".lstrip(".")
        if self.name is None:
            self.name = event.value if isinstance(event, ScalarEvent) else "?"
            if self.name in self.seen:
                raise Unreadable(f"{self.name} stands twice", _line(event))
            self.seen.add(self.name)
            return f"{self.place}.{self.name}".lstrip(".")
        name, self.name = self.name, None
        return f"{self.place}.{name}".lstrip(".")


def _lines(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    opened: list[_Open] = []
    for event in yaml.parse(text, Loader=_LOADER):
        line = _line(event)
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
            raise Unreadable("anchors and references to them have no place in a definition", line)
        if isinstance(event, CollectionEndEvent):
            opened.pop()
        elif isinstance(event, NodeEvent):
            place = opened[-1].next(event) if opened else ""
            found.setdefault(place, line)
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                opened.append(_Open(place, isinstance(event, MappingStartEvent)))
        if len(opened) > DEEPEST:
            raise Unreadable(f"nested deeper than {DEEPEST}", line)
    return found


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def as_yaml(document: Mapping[str, Any]) -> str:
    """A definition's document for people, its parts in the schema's order."""
    return yaml.dump(_arranged(document, SCHEMA), Dumper=yaml.SafeDumper, allow_unicode=True, sort_keys=False, width=160)


def _arranged(value: Any, schema: Mapping[str, Any]) -> Any:
    """The same with its names in the order of the schema; what a schema does not name stays as it was."""
    if isinstance(value, list):
        return [_arranged(one, schema.get("items", {})) for one in value]
    if not isinstance(value, dict):
        return value
    known, other = schema.get("properties", {}), schema.get("additionalProperties")
    names = [*(name for name in known if name in value), *(name for name in value if name not in known)]
    return {name: _arranged(value[name], known.get(name) or (other if isinstance(other, dict) else {})) for name in names}
