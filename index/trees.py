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
from typing import Any

from index.expressions import Expression, ordered, parse
from index.faults import ROOT, faults_of, read_document, refuse
from index.units import UNITS, Unit

__all__ = ["ROOT", "Definition", "Node", "Variable", "definition_of", "differences", "read_definition"]


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
            self._read[profile] = {code: found[code] for code in ordered(found)}
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
    """A definition of YAML. Invalid as the first of its faults says, with the place in `field` and all of them in `errors`."""
    document, faults = read_document(text)
    refuse(faults)
    return _built(document)


def definition_of(document: Any) -> Definition:
    """The same of what was parsed."""
    refuse(faults_of(document))
    return _built(document)


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


def _built(document: Mapping[str, Any]) -> Definition:
    """What a document without faults says."""
    return Definition(
        document["code"], document["version"], document["name"], document["after"], document["method"],
        tuple(document["profiles"]), {code: _variable(code, one) for code, one in document["variables"].items()},
        {one["code"]: _node(one) for one in document["nodes"]}, document,
    )  # fmt: skip


def _variable(code: str, one: Mapping[str, Any]) -> Variable:
    return Variable(code, one["profile"], UNITS[one["unit"]], one["name"])


def _node(one: Mapping[str, Any]) -> Node:
    posts = [Decimal(post) for post in one.get("goalposts", [])]
    return Node(
        one["code"], one["parent"], one["name"], UNITS[one["unit"]] if "unit" in one else None,
        -1 if one.get("direction") == "down" else 1, one.get("formula", {}), (posts[0], posts[1]) if posts else None,
        Decimal(one["target"]) if "target" in one else None, one.get("winsorise"),
        Decimal(one["flag_above"]) if "flag_above" in one else None, tuple(one.get("aliases", ())),
        one.get("printed", ""), one.get("note", ""),
    )  # fmt: skip
