"""The language of formulas: + - * /, sum, min, max, brackets, numbers and names. Its own parser reads it; nothing runs. Pure.

    formula    = term { ("+" | "-") term }
    term       = factor { ("*" | "/") factor }
    factor     = "-" factor | number | name | ("sum" | "min" | "max") "(" formula { "," formula } ")" | "(" formula ")"

Units are checked before anything is computed: what is added or compared must measure the same. A plain number is only a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Final

from core.errors import Invalid
from index.units import NUMBER, Dimension, dimension_of, said

MOST_TOKENS: Final = 200
DEEPEST: Final = 40
_TOKEN: Final = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>[-+*/(),]))", re.ASCII)
_CALLS: Final = ("sum", "min", "max")


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: Decimal


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, or another indicator by its code."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """+, -, *, / of two, or sum, min, max of any."""

    sign: str
    parts: tuple[Expression, ...]


Expression = Number | Name | Call


def parse(text: str) -> Expression:
    """Read a formula. Invalid `formula_invalid` with the place."""
    reader = _Reader(list(islice(_tokens(text), MOST_TOKENS + 1)))
    if len(reader.tokens) > MOST_TOKENS:
        raise _wrong(f"it has more than {MOST_TOKENS} parts")
    found = reader.formula(0)
    if reader.at < len(reader.tokens):
        raise _wrong(f"{reader.tokens[reader.at]!r} does not belong here")
    return found


def names_in(expression: Expression) -> frozenset[str]:
    """Every name that is used."""
    match expression:
        case Name(name):
            return frozenset({name})
        case Call(_, parts):
            return frozenset().union(*map(names_in, parts))
    return frozenset()


def check(expression: Expression, units: Mapping[str, Dimension]) -> Dimension:
    """What the formula measures. Invalid `name_unknown`, `formula_units`."""
    match expression:
        case Number():
            return NUMBER
        case Name(name):
            if name not in units:
                raise Invalid("name_unknown", f"the formula names {name!r}, which is neither a variable nor an indicator")
            return units[name]
        case Call(sign, parts):
            found = [check(part, units) for part in parts]
            return _of_sign(sign, found)


def evaluate(expression: Expression, values: Mapping[str, Decimal]) -> Decimal | None:
    """The value, of values in base units. None if one of the names has none, or a divisor is 0."""
    match expression:
        case Number(value):
            return value
        case Name(name):
            return values.get(name)
        case Call(sign, parts):
            found = [evaluate(part, values) for part in parts]
            return None if any(one is None for one in found) else _computed(sign, [one for one in found if one is not None])


def ordered(expressions: Mapping[str, Expression]) -> list[str]:
    """Names in an order in which each comes after those that it needs. Invalid `formula_cycle`."""
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


def _of_sign(sign: str, found: list[Dimension]) -> Dimension:
    if sign in {"*", "/"}:
        powers = dict(found[0])
        for kind, power in found[1]:
            powers[kind] = powers.get(kind, 0) + (power if sign == "*" else -power)
        return dimension_of(powers)
    for one in found[1:]:
        if one != found[0]:
            raise Invalid("formula_units", f"{sign} takes what measures the same, not {said(found[0])} and {said(one)}")
    return found[0]


def _computed(sign: str, values: list[Decimal]) -> Decimal | None:
    match sign:
        case "+":
            return values[0] + values[1]
        case "-":
            return values[0] - values[1]
        case "*":
            return values[0] * values[1]
        case "/":
            return values[0] / values[1] if values[1] else None
        case "sum":
            return sum(values, Decimal(0))
    return (min if sign == "min" else max)(values)


def _tokens(text: str) -> Iterator[str]:
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise _wrong(f"{text[at:].strip()[0]!r} at place {at + 1} belongs to no formula")
        yield found.group().strip()
        at = found.end()


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    def formula(self, depth: int) -> Expression:
        return self._chain("+-", self.term, depth)

    def term(self, depth: int) -> Expression:
        return self._chain("*/", self.factor, depth)

    def _chain(self, signs: str, read: Callable[[int], Expression], depth: int) -> Expression:
        found = read(depth)
        while (sign := self._peek()) and sign in signs:
            self.at += 1
            found = Call(sign, (found, read(depth)))
        return found

    def factor(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise _wrong(f"nested deeper than {DEEPEST}")
        word = self._next()
        if word == "-":
            return Call("*", (Number(Decimal(-1)), self.factor(depth + 1)))
        if word == "(":
            return self._closed(depth)
        if word in _CALLS and self._peek() == "(":
            return self._call(word, depth)
        if word[0].isdigit():
            return Number(Decimal(word))
        if word[0].isalpha() or word[0] == "_":
            return Name(word)
        raise _wrong(f"{word!r} where a number, a name or a bracket should be")

    def _closed(self, depth: int) -> Expression:
        found = self.formula(depth + 1)
        self._take(")")
        return found

    def _call(self, name: str, depth: int) -> Expression:
        self._take("(")
        parts = [self.formula(depth + 1)]
        while self._peek() == ",":
            self.at += 1
            parts.append(self.formula(depth + 1))
        self._take(")")
        return Call(name, tuple(parts))

    def _peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _next(self) -> str:
        token = self._peek()
        if token is None:
            raise _wrong("it ends where a number, a name or a bracket should be")
        self.at += 1
        return token

    def _take(self, sign: str) -> None:
        if self._next() != sign:
            raise _wrong(f"{sign!r} is missing")


def _wrong(why: str) -> Invalid:
    return Invalid("formula_invalid", f"the formula cannot be read: {why}", field="formula")
