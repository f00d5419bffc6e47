"""Expressions compute, and nothing else."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace import expressions
from marketplace.expressions import check_expression, decimal_text, evaluate, names_in

NAMES: dict[str, Any] = {
    "width": 640,
    "height": 360,
    "rate": 0.5,
    "tags": ["a", "b"],
    "sizes": [3, 9],
    "model": "svm",
    "on": True,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("width * height // 1000", 230),
        ("-2 ** 2", -4),
        ("7 % 4 + 7 / 2", 6.5),
        ("ceil(rate) + floor(1.9) + round(2.6) + abs(-1)", 6),
        ("min(width, height) + max(1, 2)", 362),
        ("max(sizes) - min(sizes)", 6),
        ("len(tags) + len(model)", 5),
        ("8 if model == 'svm' else 1", 8),
        ("1 if on and not width < 10 else 0", 1),
        ("2 if 1 < width <= 640 else 3", 2),
        (5, 5),
        (0.25, 0.25),
    ],
)
def test_expressions_of_the_inputs_give_numbers(text: str | float, value: float) -> None:
    assert evaluate(text, NAMES) == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1 +", "width.real", "tags[0]", "[1, 2]", "{1: 2}", "(1, 2)", "lambda: 1", "__import__('os')",
        "open('x')", "width()", "f'{width}'", "'a' * 100000000", "tags * 10", "model + model", "9 ** 9 ** 9",
        "10.0 ** 400", "1e308 * 10", "1 / 0", "(-8) ** 0.5", "1 << 100", "1 if 1 else missing.x", "nothing", "model",
        "on", "1 < 2", "round(5, -10 ** 9)", "min()", "max(a=1)", "ceil(1e400)", "width := 3", "x for x in tags",
        "None", "1j", "b'a'", "len(width)", "min(1, model)", "(" * 300 + "1" + ")" * 300, "-" * 600 + "1",
        "1" * 501, "min(*sizes)", "1; 2", "~1", "1 in tags",
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_a_code(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        evaluate(text, NAMES, field="demand.tflop")
    assert caught.value.code == "invalid_expression"
    assert caught.value.field == "demand.tflop"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_makes_an_evaluation_fail_otherwise(text: str) -> None:
    try:
        value = evaluate(text, NAMES)
    except Invalid:
        return
    assert isinstance(value, int | float)


TOWERS = st.recursive(
    st.sampled_from(["2", "9", "1e308", "0.1", "7", "2000", "width", "n", "9" * 60]),
    lambda inner: st.tuples(inner, st.sampled_from(["**", "*", "/", "//", "%", "+", "-"]), inner).map(
        lambda parts: f"({''.join(parts)})"
    ),
    max_leaves=40,
)


@settings(deadline=2_000, max_examples=300)  # ms: none may take long, however high the tower
@given(TOWERS)
def test_towers_of_powers_end_at_once_with_a_finite_number_or_an_error(text: str) -> None:
    try:
        value = evaluate(text, NAMES | {"n": 10**300})
    except Invalid:
        return
    assert math.isfinite(value) if isinstance(value, float) else value.bit_length() <= 4096


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9**9", "2**1024*2**1024*2**1024*2**1024", "(2**1000)**(2**1000)", "(" * 240 + "1" + ")" * 240,
        "-" * 498 + "1", "abs(" * 100 + "1" + ")" * 100, "1 if " * 90 + "1", "10**400+0.5", "ceil(1e308)**2", "0.0**-1",
        "7//1e-308", "width**width**width",
    ],
)  # fmt: skip
def test_what_would_never_end_or_overflow_is_refused_within_a_second(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(Invalid):
        evaluate(text, NAMES)
    assert time.perf_counter() - began < 1


def test_looking_through_long_lists_again_and_again_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "SECONDS", 0.05)
    names = {"l": list(range(500_000))}
    assert evaluate("max(l) - min(l)", {"l": [1, 2.5, True]}) == 1.5
    with pytest.raises(Invalid, match="takes too long"):
        evaluate("+".join(["max(l)"] * 60), names)


def test_a_name_that_is_no_input_is_found_without_evaluating() -> None:
    with pytest.raises(Invalid, match="no input"):
        check_expression("1 if 0 else colour", frozenset(NAMES))
    check_expression("1 if 0 else width", frozenset(NAMES))


def test_functions_are_no_names() -> None:
    assert names_in("max(width, len(tags))") == {"width", "tags"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.5e-6, "0.0000025"), (3, "3"), (1e12, "1000000000000"), (0.1, "0.1"), (1e-15, "0"), (0.0, "0"), (100, "100")],
)
def test_numbers_become_plain_decimal_text(value: float, text: str) -> None:
    assert decimal_text(value) == text


@settings(deadline=None)
@given(st.floats(min_value=0, max_value=1e12))
def test_decimal_text_is_within_half_of_the_last_place(value: float) -> None:
    assert abs(Decimal(decimal_text(value)) - Decimal(repr(value))) <= Decimal("0.5e-12")
