"""A form made from the JSON Schema of a capability's inputs, and the inputs made from what was filled in. Pure.

One field per property: a line of text, a number, a tick, a choice, files; lists of texts as lines, and what no form
can draw as JSON. Nothing is judged here: the service does that, and its word is shown at the field it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.errors import Invalid, Malformed
from core.http import parse_json

WIDE: Final = {"file", "files", "lines", "json"}  # kinds that take a whole row
MOST_DIGITS: Final = 400  # more is no number that anybody types
_INTEGER: Final = re.compile(r"[+-]?\d+")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


@dataclass
class Field:
    """One input as a form draws it.

    kind      text, integer, number, boolean, choice, file, files, lines, json
    value     what stands in it, as text; for a boolean "on" or ""
    choices   of a choice: the values as JSON, and how they read
    kept      files that are with us already: (artifact's id, its name)
    """

    name: str
    kind: str
    schema: Mapping[str, Any]
    required: bool = False
    value: str = ""
    error: str = ""
    choices: list[tuple[str, str]] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        return self.kind in WIDE

    @property
    def key(self) -> str:
        """Its name in the form, the same path that the service's errors give."""
        return f"inputs.{self.name}"


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """The fields of an inputs' schema, filled with the defaults: what is required first, small ones before large ones.

    PostgreSQL's jsonb keeps no order of properties, so there is no publisher's order to follow.
    """
    required = schema.get("required", [])
    own = schema.get("properties", {}).items()
    fields = [_field(name, one, required) for name, one in own if isinstance(one, Mapping)]
    return sorted(fields, key=lambda one: (not one.required, one.kind in WIDE, one.name))


def _field(name: str, schema: Mapping[str, Any], required: Collection[str]) -> Field:
    kind = kind_of(schema)
    default = schema.get("default")
    made = Field(name, kind, schema, required=name in required, value="" if default is None else _text_of(kind, default))
    if kind == "choice":
        empty = [] if made.required or default is not None else [("", "-")]
        made.choices = empty + [(json.dumps(one), one if isinstance(one, str) else json.dumps(one)) for one in schema["enum"]]
    return made


def kind_of(schema: Mapping[str, Any]) -> str:
    """How an input is drawn."""
    items = schema.get("items")
    if schema.get("format") == "artifact":
        return "file"
    if isinstance(items, Mapping) and items.get("format") == "artifact":
        return "files"
    if isinstance(schema.get("enum"), list):
        return "choice"
    if schema.get("type") == "array" and isinstance(items, Mapping) and items.get("type") == "string":
        return "lines"
    kind = schema.get("type")
    return {"string": "text"}.get(kind, kind) if kind in ("string", "integer", "number", "boolean") else "json"


def _text_of(kind: str, value: Any) -> str:
    if kind == "boolean":
        return "on" if value else ""
    if kind == "lines" and isinstance(value, list):
        return "\n".join(map(str, value))
    return value if kind == "text" and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def inputs_of(fields: Sequence[Field], artifacts: Mapping[str, list[str]]) -> dict[str, Any]:
    """The inputs that the filled-in fields stand for. What was left empty is left out, so that defaults hold.

    `artifacts` has the ids of a field's files. What cannot be read as the field's kind stays text: the schema will
    say so. Raises Invalid for JSON that is none.
    """
    inputs: dict[str, Any] = {}
    for one in fields:
        if one.kind in ("file", "files"):
            ids = artifacts.get(one.name, [])
            if ids:
                inputs[one.name] = ids if one.kind == "files" else ids[-1]
        elif one.kind == "boolean":
            inputs[one.name] = bool(one.value)
        elif one.value.strip():
            inputs[one.name] = _value_of(one)
    return inputs


def _value_of(one: Field) -> Any:
    text = one.value.strip()
    if one.kind == "integer" and _INTEGER.fullmatch(text) and len(text) <= MOST_DIGITS:
        return int(text)
    if one.kind == "number" and _NUMBER.fullmatch(text) and len(text) <= MOST_DIGITS:
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    if one.kind == "lines":
        return [line.rstrip("\r") for line in one.value.split("\n") if line.strip()]
    if one.kind in ("choice", "json"):
        return _json(one, text)
    return one.value if one.kind == "text" else text


def _json(one: Field, text: str) -> Any:
    try:
        return parse_json(text.encode())
    except Malformed:
        raise Invalid("invalid_inputs", "this is not JSON", field=one.key) from None
