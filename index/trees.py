"""Definitions of an index: a tree of indicators as data, read, checked and hashed. Pure.

A definition that is published never changes: its hash is of what it means (canonical JSON), not of how it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator

from core.errors import Invalid
from index.expressions import Expression, check, names_in, parse
from index.schema import SCHEMA
from index.units import UNITS, Unit, said

ROOT: Final = "INDEX"


@dataclass(frozen=True, slots=True)
class Variable:
    """What is observed. `profile`: where its observations come from; never of the other."""

    code: str
    profile: str
    unit: Unit
    name: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """An indicator or what blends some. A leaf has formulas by profile, a unit and a direction (+1: more is better, -1: less).

    goalposts  fixed ends of its scale, in its unit
    target     what `target` measures the distance to
    """

    code: str
    parent: str
    name: Mapping[str, str]
    unit: Unit | None = None
    direction: int = 1
    formula: Mapping[str, str] = field(default_factory=dict)
    goalposts: tuple[Decimal, Decimal] | None = None
    target: Decimal | None = None
    winsorise: int | None = None
    flag_above: Decimal | None = None
    aliases: tuple[str, ...] = ()
    printed: str = ""
    note: str = ""

    @property
    def is_leaf(self) -> bool:
        return bool(self.formula)


@dataclass(frozen=True)
class Definition:
    """A tree with its method. `document` is what was read."""

    code: str
    version: int
    name: Mapping[str, str]
    after: str
    method: Mapping[str, Any]
    profiles: tuple[str, ...]
    variables: Mapping[str, Variable]
    nodes: Mapping[str, Node]  # in the order in which they are written
    document: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.code}@{self.version}"

    @cached_property
    def canonical(self) -> bytes:
        """Its one spelling in JSON."""
        return json.dumps(self.document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `canonical`, in hex."""
        return sha256(self.canonical).hexdigest()

    def children(self, code: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.parent == code]

    def leaves(self, profile: str) -> list[Node]:
        """The indicators that a profile has a formula for."""
        return [node for node in self.nodes.values() if profile in node.formula]

    def expressions(self, profile: str) -> dict[str, Expression]:
        """By leaf, in an order in which each comes after those that it names."""
        if profile not in self._read:
            found = {node.code: parse(node.formula[profile]) for node in self.leaves(profile)}
            self._read[profile] = {code: found[code] for code in _ordered(found)}
        return self._read[profile]

    @cached_property
    def _read(self) -> dict[str, dict[str, Expression]]:
        """Formulas that were parsed already, by profile: a page asks for them once per value."""
        return {}

    def tree(self, profile: str) -> dict[str, list[str]]:
        """Children by parent, the lowest parents first, of what the profile has leaves for."""
        leaves = {node.code for node in self.leaves(profile)}
        found: dict[str, list[str]] = {}
        for parent in reversed([ROOT, *self.nodes]):
            below = [node.code for node in self.children(parent) if node.code in leaves or node.code in found]
            if below:
                found[parent] = below
        return found

    def groups(self) -> dict[str, list[str]]:
        """Whose children are compared with each other: all parents of two and more, from the top."""
        found = {parent: [node.code for node in self.children(parent)] for parent in [ROOT, *self.nodes]}
        return {parent: below for parent, below in found.items() if len(below) > 1}


def read_definition(text: str) -> Definition:
    """A definition of YAML. Invalid `definition_invalid`, or what its formulas' own checks say, with the place in `field`."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _wrong(f"it is not YAML: {str(error).splitlines()[0]}", "") from None
    return definition_of(document)


def definition_of(document: Any) -> Definition:
    """The same of what was parsed."""
    for error in sorted(Draft202012Validator(SCHEMA).iter_errors(document), key=lambda one: list(map(str, one.absolute_path))):
        raise _wrong(error.message[:300], ".".join(map(str, error.absolute_path)))
    variables = {code: _variable(code, one) for code, one in document["variables"].items()}
    nodes = {one["code"]: _node(one, number) for number, one in enumerate(document["nodes"])}
    _well_formed(document, variables, nodes)
    found = Definition(
        document["code"], document["version"], document["name"], document["after"], document["method"],
        tuple(document["profiles"]), variables, nodes, document,
    )  # fmt: skip
    for profile in found.profiles:
        _check_formulas(found, profile)
    return found


def differences(before: Definition, after: Definition) -> list[tuple[str, Any, Any]]:
    """(place, before, after) of all that is not the same; what one of them lacks is None."""
    return list(_differences("", _keyed(before.document), _keyed(after.document)))


def _keyed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Nodes by their code, so that one that moved is the same one."""
    return {**document, "nodes": {node["code"]: node for node in document["nodes"]}}


def _differences(place: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys(), key=str):
            yield from _differences(f"{place}.{name}".lstrip("."), before.get(name), after.get(name))
    elif before != after:
        yield place, before, after


def _variable(code: str, one: Mapping[str, Any]) -> Variable:
    return Variable(code, one["profile"], _unit(one["unit"], f"variables.{code}.unit"), one["name"])


def _node(one: Mapping[str, Any], number: int) -> Node:
    posts = [Decimal(post) for post in one.get("goalposts", [])]
    if posts and posts[0] >= posts[1]:
        raise _wrong("the lower goalpost comes first", f"nodes.{number}.goalposts")
    if ("formula" in one) != ("unit" in one and "direction" in one):
        raise _wrong("a formula, a unit and a direction come together", f"nodes.{number}")
    return Node(
        one["code"], one["parent"], one["name"], _unit(one["unit"], f"nodes.{number}.unit") if "unit" in one else None,
        -1 if one.get("direction") == "down" else 1, one.get("formula", {}), (posts[0], posts[1]) if posts else None,
        Decimal(one["target"]) if "target" in one else None, one.get("winsorise"),
        Decimal(one["flag_above"]) if "flag_above" in one else None, tuple(one.get("aliases", ())),
        one.get("printed", ""), one.get("note", ""),
    )  # fmt: skip


def _unit(code: str, place: str) -> Unit:
    if code not in UNITS:
        raise _wrong(f"there is no unit {code!r}", place)
    return UNITS[code]


def _well_formed(document: Mapping[str, Any], variables: Mapping[str, Variable], nodes: Mapping[str, Node]) -> None:
    """One root, no code twice, parents that exist and stand before their children, leaves at the ends alone."""
    seen = {ROOT}
    for number, one in enumerate(document["nodes"]):
        code, place = one["code"], f"nodes.{number}"
        if code in seen or code in variables:
            raise _wrong(f"{code} stands twice", f"{place}.code")
        if one["parent"] not in seen or (one["parent"] != ROOT and nodes[one["parent"]].is_leaf):
            raise _wrong(f"{one['parent']} does not stand before it, or is an indicator itself", f"{place}.parent")
        if not set(one.get("formula", {})) <= set(document["profiles"]):
            raise _wrong("there is no such profile", f"{place}.formula")
        seen.add(code)
    parents = {node.parent for node in nodes.values()}
    for number, node in enumerate(nodes.values()):
        if not node.is_leaf and node.code not in parents:
            raise _wrong(f"{node.code} has neither a formula nor anything below it", f"nodes.{number}")


def _check_formulas(definition: Definition, profile: str) -> None:
    """Every name is known, nothing names itself, and each formula measures what its indicator is in."""
    units = {one.code: one.unit.dimension for one in definition.variables.values() if one.profile == profile}
    units |= {node.code: node.unit.dimension for node in definition.leaves(profile) if node.unit}
    for number, node in enumerate(definition.nodes.values()):
        if profile not in node.formula or not node.unit:
            continue
        place = f"nodes.{number}.formula.{profile}"
        try:
            found = check(parse(node.formula[profile]), units)
        except Invalid as error:
            raise Invalid(error.code, f"{node.code}: {error.detail}", field=place) from None
        if found != node.unit.dimension:
            detail = f"{node.code}: the formula measures {said(found)}, its unit {said(node.unit.dimension)}"
            raise Invalid("formula_units", detail, field=place)
    definition.expressions(profile)


def _ordered(expressions: Mapping[str, Expression]) -> list[str]:
    """Invalid `formula_cycle`."""
    done: dict[str, None] = {}
    begun: list[str] = []

    def visit(code: str) -> None:
        if code in begun:
            raise Invalid("formula_cycle", f"{' needs '.join([*begun[begun.index(code) :], code])}", field="formula")
        if code not in done:
            begun.append(code)
            for name in sorted(names_in(expressions[code]) & expressions.keys()):
                visit(name)
            begun.pop()
            done[code] = None

    for code in expressions:
        visit(code)
    return list(done)


def _wrong(why: str, place: str) -> Invalid:
    return Invalid("definition_invalid", f"the definition cannot be used: {why}", field=place or None)
