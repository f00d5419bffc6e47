"""Plain JSON values: what every store and every language keeps exactly. YAML and Python hold much more."""

from __future__ import annotations

import math
from typing import Any

from core.errors import Invalid


def check_plain(value: Any, code: str, *, field: str = "", depth: int = 40) -> None:
    """Raises Invalid `code`, `field` = dotted path, for dates, NaN, huge integers, NUL, deep nesting."""
    if depth < 0:
        raise Invalid(code, "is nested too deeply", field=field or None)
    if isinstance(value, dict):
        for key, inner in value.items():
            check_plain(_checked_key(key, code, field), code, field=field, depth=0)
            check_plain(inner, code, field=f"{field}.{key}".lstrip("."), depth=depth - 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check_plain(inner, code, field=f"{field}.{index}".lstrip("."), depth=depth - 1)
    elif (why := _why_not_plain(value)) is not None:
        raise Invalid(code, why, field=field or None)


def _checked_key(key: Any, code: str, field: str) -> str:
    if not isinstance(key, str):
        raise Invalid(code, f"the key {key!r} must be text: write it in quotes", field=field or None)
    return key


def _why_not_plain(value: Any) -> str | None:
    if isinstance(value, str):
        broken = "\0" in value or any(0xD800 <= ord(char) <= 0xDFFF for char in value)
        return "holds characters that cannot be stored" if broken else None
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if abs(value) < 2**63 else "the number is too large"
    if isinstance(value, float):
        return None if math.isfinite(value) else "must be a finite number"
    return f"is a {type(value).__name__}, not JSON: write it in quotes"
