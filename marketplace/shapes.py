"""JSON Schemas of what agents say about their machines, and the check that names the field at fault."""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from core.errors import Invalid

MAX_INT32: Final = 2**31 - 1


def _text(length: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": length}


def _whole(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


ACCELERATOR: Final = {
    "type": "object",
    "required": ["model", "count"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 100},
        "count": _whole(1, 100_000),
        "memory_mib": _whole(0, MAX_INT32),
    },
}
ENROLMENT: Final = {
    "type": "object",
    "properties": {
        "token": {"type": "string", "minLength": 1, "maxLength": 200},
        "public_key": {"type": "string", "pattern": "^[A-Za-z0-9+/]{43}=$"},
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "string", "minLength": 1, "maxLength": 40},
    },
}
FACTS: Final = {
    "type": "object",
    "required": ["instruction_set", "cores", "memory_mib", "disk_mib", "executors"],
    "properties": {
        "instruction_set": {"enum": ["x86_64", "aarch64", "riscv64", "loongarch64"]},
        "cores": _whole(1, 10_000_000),
        "memory_mib": _whole(1, MAX_INT32),
        "disk_mib": _whole(0, MAX_INT32),
        "accelerators": {"type": "array", "maxItems": 64, "items": ACCELERATOR},
        "os": _text(200),
        "hostname": _text(255),
        "python": _text(40),
        "executors": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10,
            "items": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{1,19}$"},
        },
    },
}
RESULTS: Final = {
    "type": "array",
    "minItems": 1,
    "maxItems": 200,
    "items": {
        "type": "object",
        "required": ["code", "status"],
        "properties": {
            "code": {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,59}$"},
            "status": {"enum": ["pass", "warn", "fail"]},
            "measured": _text(200),
            "needed": _text(200),
            "hint": _text(500),
        },
    },
}
BENCHMARK: Final = {
    "type": "object",
    "required": ["fp32_mflops", "memory_mbps", "disk_mbps"],
    "properties": {
        "fp32_mflops": _whole(0, 10**15),
        "memory_mbps": _whole(0, MAX_INT32),
        "disk_mbps": _whole(0, MAX_INT32),
    },
}


def checked(data: Any, schema: dict[str, Any], *, code: str, field: str = "") -> Any:
    """The data with only the schema's own keys, or Invalid `code` that names the field at fault."""
    error = best_match(Draft202012Validator(schema).iter_errors(data))
    if error is not None:
        steps = [*filter(None, [field]), *map(str, error.absolute_path)]
        raise Invalid(code, _sentence(error), field=".".join(steps) or None)
    return _trimmed(data, schema)


def _sentence(error: ValidationError) -> str:
    return error.message if len(error.message) <= 300 else f"{error.message[:297]}..."


def _trimmed(data: Any, schema: dict[str, Any]) -> Any:
    """Later agents may say more than this version knows; what it does not know is not kept."""
    if isinstance(data, dict):
        return {key: _trimmed(data[key], part) for key, part in schema["properties"].items() if key in data}
    if isinstance(data, list):
        return [_trimmed(item, schema["items"]) for item in data]
    return int(data) if isinstance(data, float) else data
