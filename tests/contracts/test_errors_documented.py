"""docs/errors.md names every stable code that the platform answers with, with its HTTP status, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ("config", "console", "index", "billing", "metering", "scheduler", "marketplace", "core")
STATUS_OF = {
    "Malformed": 400,
    "AuthenticationFailed": 401,
    "Unauthorized": 401,
    "PaymentRequired": 402,
    "NotAllowed": 403,
    "OverLimit": 403,
    "NotFound": 404,
    "Conflict": 409,
    "TooLarge": 413,
    "RangeRefused": 416,
    "Invalid": 422,
}
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| (\d{3}(?:, \d{3})*) \| \S", re.MULTILINE)
BY_LIBRARIES = {
    "authentication_failed",
    "method_not_allowed",
    "not_acceptable",
    "not_authenticated",
    "parse_error",
    "permission_denied",
    "throttled",
    "unsupported_media_type",
}


def sources() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for app in APPS for path in sorted((ROOT / app).rglob("*.py"))]


def raised_in(source: ast.Module) -> Iterator[tuple[str, int]]:
    """(code, status) of every domain error whose code stands in plain text."""
    for node in ast.walk(source):
        name = getattr(getattr(node, "func", None), "id", "")
        if not isinstance(node, ast.Call) or name not in STATUS_OF:
            continue
        given = {word.arg: word.value for word in node.keywords}
        code = given.get("code") if name == "AuthenticationFailed" else next(iter(node.args), None)
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            yield code.value, STATUS_OF[name]


def documented() -> dict[str, set[int]]:
    rows = ROW.findall((ROOT / "docs" / "errors.md").read_text())
    assert len(rows) == len(dict(rows)), "a code stands in docs/errors.md twice"
    return {code: {int(part) for part in statuses.split(", ")} for code, statuses in rows}


def test_every_code_that_is_raised_is_documented_with_its_status() -> None:
    known = documented()
    raised = {pair for source in sources() for pair in raised_in(source)}
    assert sorted((code, status) for code, status in raised if status not in known.get(code, ())) == []


def test_no_code_is_documented_that_nobody_uses() -> None:
    nodes = (node for source in sources() for node in ast.walk(source))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert sorted(set(documented()) - texts - BY_LIBRARIES) == []
