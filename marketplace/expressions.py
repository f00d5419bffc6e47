"""Expressions of a task's inputs, as publishers write them in manifests: `400 + ceil(width * height / 2500)`.

Strangers write these and the platform evaluates them: the grammar is a short list of allowed nodes, checked
before anything runs, and every operation is bounded: 500 characters, integers of 4096 bits, finite results, half a second.
"""

from __future__ import annotations

import ast
import math
import operator
import time
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, Final

from simpleeval import InvalidExpression, SimpleEval

from core.errors import Invalid

MAX_CHARACTERS: Final = 500
MAX_BITS: Final = 4096
MAX_EXPONENT: Final = 1024
SECONDS = 0.5  # of one evaluation; lists of a million numbers, looked through sixty times, would take longer
SYNTAX: Final = (
    ast.Expression, ast.Expr, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.BinOp, ast.BoolOp,
    ast.Compare, ast.IfExp, ast.Call, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
CODE: Final = "invalid_expression"
_until: ContextVar[float] = ContextVar("until", default=math.inf)  # when the evaluation that runs now must end


def _number(value: Any) -> int | float:
    """Arithmetic is for numbers: text times a million is refused here, and so is an integer without end."""
    if not isinstance(value, int | float):
        raise InvalidExpression(f"{type(value).__name__} is not a number")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise InvalidExpression("the number is too large")
    return value


def _on_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: _number(function(*map(_number, values)))


def _power(base: int | float, exponent: int | float) -> int | float:
    bits = base.bit_length() if isinstance(base, int) else 1
    if abs(exponent) > MAX_EXPONENT or bits * abs(exponent) > MAX_BITS:
        raise InvalidExpression("the power is too large")
    result: int | float = base**exponent  # a complex result is refused by _number
    return result


def _round(value: int | float) -> int:
    """To whole numbers only: rounding to -10**9 digits would compute for hours."""
    return round(value)


def _length(value: Any) -> int:
    if not isinstance(value, str | list | dict):
        raise InvalidExpression("len is for text, lists and objects")
    return len(value)


def _extreme(function: Callable[..., Any]) -> Callable[..., Any]:
    """min and max, of several numbers or of one list of numbers."""

    def extreme(*values: Any) -> int | float:
        if time.monotonic() > _until.get():
            raise InvalidExpression("takes too long")
        items = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        if not set(map(type, items)) <= {int, float, bool}:
            raise InvalidExpression("min and max are for numbers")
        return _number(function(items))

    return extreme


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "min": _extreme(min),
    "max": _extreme(max),
    "len": _length,
    "ceil": _on_numbers(math.ceil),
    "floor": _on_numbers(math.floor),
    "round": _on_numbers(_round),
    "abs": _on_numbers(abs),
}
OPERATORS: Final[dict[type, Callable[..., Any]]] = {
    ast.Add: _on_numbers(operator.add),
    ast.Sub: _on_numbers(operator.sub),
    ast.Mult: _on_numbers(operator.mul),
    ast.Div: _on_numbers(operator.truediv),
    ast.FloorDiv: _on_numbers(operator.floordiv),
    ast.Mod: _on_numbers(operator.mod),
    ast.Pow: _on_numbers(_power),
    ast.USub: _on_numbers(operator.neg),
    ast.UAdd: _on_numbers(operator.pos),
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[ast.expr, frozenset[str]]:
    """The syntax tree, of allowed nodes only, and the names it reads. Raises InvalidExpression."""
    if not text.strip() or len(text) > MAX_CHARACTERS:
        raise InvalidExpression(f"must have 1 to {MAX_CHARACTERS} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidExpression("is not an expression") from None
    nodes = list(ast.walk(tree))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        _check_node(node)
    names = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called}
    return tree.body, frozenset(names - {"True", "False"})


def _check_node(node: ast.AST) -> None:
    if not isinstance(node, SYNTAX):
        raise InvalidExpression(f"{type(node).__name__.lower()} is not allowed")
    if isinstance(node, ast.operator | ast.unaryop | ast.cmpop) and type(node) not in OPERATORS:
        raise InvalidExpression(f"the operator {type(node).__name__.lower()} is not allowed")
    if isinstance(node, ast.Constant) and not isinstance(node.value, bool | int | float | str):
        raise InvalidExpression("only numbers and text are constants")
    if isinstance(node, ast.Call):
        _check_call(node)


def _check_call(call: ast.Call) -> None:
    if not isinstance(call.func, ast.Name) or call.func.id not in FUNCTIONS:
        raise InvalidExpression(f"only {', '.join(FUNCTIONS)} can be called")
    if call.keywords or not call.args:
        raise InvalidExpression("functions take plain values")


def names_in(text: str | int | float) -> frozenset[str]:
    """The names that an expression reads. Raises Invalid `invalid_expression`."""
    if not isinstance(text, str):
        return frozenset()
    try:
        return _parsed(text)[1]
    except InvalidExpression as error:
        raise Invalid(CODE, f"{text[:100]!r} {error}") from None


def check_expression(text: str | int | float, known: frozenset[str], *, field: str | None = None) -> None:
    """Parse without evaluating: allowed nodes and known names only, or Invalid `invalid_expression`."""
    try:
        unknown = names_in(text) - known
    except Invalid as error:
        raise Invalid(error.code, error.detail, field=field) from None
    if unknown:
        raise Invalid(CODE, f"{text!r} reads {min(unknown)!r}, which is no input", field=field)


def evaluate(text: str | int | float, names: Mapping[str, Any], *, field: str | None = None) -> int | float:
    """The value of an expression over `names`: a finite number. Raises Invalid `invalid_expression`.

    A number stands for itself.

    >>> evaluate("ceil(frames / 7) if frames else 1", {"frames": 15})
    3
    """
    try:
        value = text if not isinstance(text, str) else _evaluated(text, names)
        return _finite(value)
    except InvalidExpression as error:
        detail = str(error)
    except ZeroDivisionError:
        detail = "divides by zero"
    except (ArithmeticError, ValueError, TypeError, KeyError, RecursionError) as error:
        detail = f"cannot be computed ({type(error).__name__})"
    raise Invalid(CODE, f"{str(text)[:100]!r} {detail[:200]}", field=field)


def _evaluated(text: str, names: Mapping[str, Any]) -> Any:
    tree, read = _parsed(text)
    known = {name: names[name] for name in read if name in names}
    if missing := read - known.keys():
        raise InvalidExpression(f"reads {min(missing)!r}, which has no value")
    constants = {"True": True, "False": False}
    token = _until.set(time.monotonic() + SECONDS)
    try:
        return SimpleEval(operators=OPERATORS, functions=FUNCTIONS, names=constants | known).eval(text, previously_parsed=tree)
    finally:
        _until.reset(token)


def _finite(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidExpression(f"gives {type(value).__name__}, not a number")
    if not math.isfinite(value):
        raise InvalidExpression("is not finite")
    return _number(value)


def decimal_text(value: int | float, places: int = 12) -> str:
    """A number as plain decimal text, rounded half up, without an exponent or trailing zeros.

    >>> decimal_text(2.5e-6)
    '0.0000025'
    """
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    text = format(exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
