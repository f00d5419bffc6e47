"""What is wrong with a document that should define an index: everything that can be told at once, each with its place. Pure.

What a step needs to be right is looked at before it: text, then the schema, then the tree, then formulas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from core.errors import Invalid
from index.expressions import Expression, check, names_in, ordered, parse
from index.schema import SCHEMA
from index.units import UNITS, Dimension, said
from index.written import Unreadable, parse_yaml

ROOT: Final = "INDEX"
MOST: Final = 100  # faults that are told
_LARGEST: Final = 10**9
_SHOWN: Final = 40
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_KINDS: Final = {
    "object": "names with values", "array": "a list", "string": "text", "integer": "a whole number", "boolean": "true or false",
}  # fmt: skip
# 1.0 is no whole number here: it would be hashed as another one than 1
_whole = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, one: isinstance(one, int) and not isinstance(one, bool))
_VALIDATOR: Final = extend(Draft202012Validator, type_checker=_whole)(SCHEMA)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Fault:
    """place: a dotted path, empty for the whole; line: of the text, from 1, where there is one."""

    code: str
    detail: str
    place: str
    line: int | None = None

    @property
    def told(self) -> dict[str, Any]:
        return {"code": self.code, "field": self.place, "detail": self.detail, "line": self.line}


def read_document(text: str) -> tuple[Any, list[Fault]]:
    """A document of YAML with its faults, each with its line."""
    try:
        document, lines = parse_yaml(text)
    except Unreadable as error:
        return None, [_wrong(str(error), "", error.line)]
    return document, [replace(one, line=_line(lines, one.place)) for one in faults_of(document)]


def _line(lines: Mapping[str, int], place: str) -> int | None:
    """Where the place stands, or what is nearest above it."""
    while place and place not in lines:
        place = place.rpartition(".")[0]
    return lines.get(place)


def faults_of(document: Any) -> list[Fault]:
    """The first MOST of what can be told."""
    for step in (_of_values, _of_schema, _of_parts, _of_formulas):
        if found := list(step(document)):
            return found[:MOST]
    return []


def refuse(faults: list[Fault]) -> None:
    """Invalid as the first says, with all of them in `errors`."""
    if faults:
        first = faults[0]
        why = f"the definition cannot be used: {first.detail}" if first.code == "definition_invalid" else first.detail
        raise Invalid(first.code, why, field=first.place or None, errors=[one.told for one in faults])


def place_said(document: Any, place: str) -> str:
    """A place for people: indicators by their code instead of a number."""
    parts = place.split(".")
    try:
        if parts[0] == "nodes" and len(parts) > 1:
            parts[:2] = [f"indicator {document['nodes'][int(parts[1])]['code']}"]
    except (LookupError, TypeError, ValueError):
        parts[:2] = [f"indicator number {int(parts[1]) + 1}"]
    if parts[0] == "variables" and len(parts) > 1:
        parts[:2] = [f"variable {parts[1]}"]
    return ", ".join(parts) if place else "the definition"


def _of_values(document: Any) -> Iterator[Fault]:
    """What no row can hold, and what no message could print."""
    left: list[tuple[str, Any]] = [("", document)]
    while left:
        place, one = left.pop()
        if isinstance(one, dict):
            left += [(_at(place, name), below) for name, below in one.items()]
            left += [(place, name) for name in one]
        elif isinstance(one, list):
            left += [(_at(place, number), below) for number, below in enumerate(one)]
        elif isinstance(one, str) and _UNPRINTABLE.search(one):
            yield _wrong("there is a character in it that cannot be printed", place)
        elif isinstance(one, int) and abs(one) > _LARGEST:
            yield _wrong("the number is too large", place)


def _at(place: str, name: Any) -> str:
    return f"{place}.{name}".lstrip(".")


def _of_schema(document: Any) -> Iterator[Fault]:
    for error in sorted(_VALIDATOR.iter_errors(document), key=_position):
        yield _wrong(_in_words(error), ".".join(map(str, error.absolute_path)))


def _position(error: ValidationError) -> list[tuple[bool, int, str]]:
    return [(isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in error.absolute_path]


def _in_words(error: ValidationError) -> str:
    one, rule, schema = (cast("Any", part) for part in (error.instance, error.validator_value, error.schema))
    told = _told(one)
    match error.validator:
        case "required":
            return f"{error.message.removesuffix(' is a required property')} is missing"
        case "additionalProperties":
            more = sorted(str(name) for name in one if name not in schema["properties"])
            return f"{', '.join(more)[:200]} does not belong here; what may stand here is {', '.join(schema['properties'])}"
        case "enum" | "const":
            return f"{told} is none of {', '.join(map(str, rule if error.validator == 'enum' else [rule]))}"
        case "type" | "pattern" | "minimum" | "maximum" | "minLength" | "maxLength":
            return f"{told} is not {schema.get('description') or _KINDS.get(rule, rule)}"
    return str(error.message)[:300]


def _told(value: Any) -> str:
    if isinstance(value, dict | list | set | tuple):
        return "a list" if isinstance(value, list) else "what stands here"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float | None) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _of_parts(document: Mapping[str, Any]) -> Iterator[Fault]:
    """One root, no code twice, parents that exist and stand before their children, leaves at the ends alone, units that exist."""
    for code, one in document["variables"].items():
        yield from _of_unit(one, f"variables.{code}")
        if one["profile"] not in document["profiles"]:
            yield _wrong(f"there is no profile {one['profile']!r}", f"variables.{code}.profile")
    leaves = {one["code"] for one in document["nodes"] if "formula" in one}
    parents = {one["parent"] for one in document["nodes"]}
    seen = {ROOT}
    for number, one in enumerate(document["nodes"]):
        yield from _of_place(document, one, f"nodes.{number}", seen, leaves)
        yield from _of_node(document, one, f"nodes.{number}")
        if one["code"] not in leaves | parents:
            yield _wrong(f"{one['code']} has neither a formula nor anything below it", f"nodes.{number}")
        seen.add(one["code"])


def _of_place(document: Mapping[str, Any], one: Mapping[str, Any], place: str, seen: set[str], leaves: set[str]) -> Iterator[Fault]:
    if one["code"] in seen or one["code"] in document["variables"]:
        yield _wrong(f"{one['code']} stands twice", f"{place}.code")
    if one["parent"] not in seen or one["parent"] in leaves:
        yield _wrong(f"{one['parent']} does not stand before it, or is an indicator itself", f"{place}.parent")


def _of_node(document: Mapping[str, Any], one: Mapping[str, Any], place: str) -> Iterator[Fault]:
    yield from _of_unit(one, place)
    if ("formula" in one) != ("unit" in one and "direction" in one):
        yield _wrong("a formula, a unit and a direction come together", place)
    if unknown := sorted(set(one.get("formula", {})) - set(document["profiles"])):
        yield _wrong(f"there is no such profile: {', '.join(unknown)}", f"{place}.formula")
    posts = one.get("goalposts")
    if posts and Decimal(posts[0]) >= Decimal(posts[1]):
        yield _wrong("the lower goalpost comes first", f"{place}.goalposts")


def _of_unit(one: Mapping[str, Any], place: str) -> Iterator[Fault]:
    if "unit" in one and one["unit"] not in UNITS:
        yield _wrong(f"there is no unit {one['unit']!r}", f"{place}.unit")


def _of_formulas(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Every name is known, nothing names itself, and each formula measures what its indicator is in."""
    for profile in document["profiles"]:
        nodes = [(number, one) for number, one in enumerate(document["nodes"]) if profile in one.get("formula", {})]
        units = {code: _measure(one) for code, one in document["variables"].items() if one["profile"] == profile}
        units |= {one["code"]: _measure(one) for _, one in nodes}
        read: dict[str, Expression] = {}
        for number, one in nodes:
            yield from _of_formula(one, profile, f"nodes.{number}.formula.{profile}", units, read)
        yield from _of_order(read)


def _of_formula(
    one: Mapping[str, Any], profile: str, place: str, units: Mapping[str, Dimension], read: dict[str, Expression]
) -> Iterator[Fault]:
    """A formula that can be read is put into `read`."""
    try:
        formula = read[one["code"]] = parse(one["formula"][profile])
        unknown = sorted(names_in(formula) - units.keys())
        for name in unknown:
            yield Fault("name_unknown", f"{one['code']}: {name!r} is neither a variable nor an indicator", place)
        if unknown:
            return
        found = check(formula, units)
    except Invalid as error:
        yield Fault(error.code, f"{one['code']}: {error.detail}", place)
        return
    if found != _measure(one):
        detail = f"{one['code']}: the formula measures {said(found)}, its unit {said(_measure(one))}"
        yield Fault("formula_units", detail, place)


def _measure(one: Mapping[str, Any]) -> Dimension:
    return UNITS[one["unit"]].dimension


def _of_order(read: Mapping[str, Expression]) -> Iterator[Fault]:
    try:
        ordered(read)
    except Invalid as error:
        yield Fault(error.code, error.detail, "formula")


def _wrong(why: str, place: str, line: int | None = None) -> Fault:
    return Fault("definition_invalid", why, place, line)
