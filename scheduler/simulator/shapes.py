"""What the simulator's JSON files may say, as JSON Schema, and the check that names the field at fault."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from scheduler.matching.goals import MOST, NAMES, OBJECTIVES
from scheduler.simulator.values import BadFile

LARGEST: Final = 10**15
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 100}
_TEXTS: Final = {"type": "array", "items": _TEXT, "uniqueItems": True}
_MUCH: Final = {"type": "number", "exclusiveMinimum": 0, "maximum": LARGEST}
_SOME: Final = {"type": "number", "minimum": 0, "maximum": LARGEST}
_COUNT: Final = {"type": "integer", "minimum": 1, "maximum": 10**7}
_WHOLE: Final = {"type": "integer", "minimum": 0, "maximum": LARGEST}


def _object(required: dict[str, Any], more: dict[str, Any] | None = None) -> dict[str, Any]:
    every = required | (more or {})
    return {"type": "object", "required": list(required), "properties": every, "additionalProperties": False}


_ACCELERATORS: Final = {"type": "array", "items": _object({"model": _TEXT, "count": _COUNT})}
_NEED: Final = _object({"cores": _COUNT}, {"memory_mib": _WHOLE, "disk_mib": _WHOLE, "accelerators": _ACCELERATORS})
_SECONDS: Final = {"oneOf": [_MUCH, _object({"median": _MUCH, "spread": {"type": "number", "minimum": 0, "maximum": 5}})]}
_EVENTS: Final = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "array", "prefixItems": [_SOME, _COUNT], "items": False, "minItems": 2},
}
_POISSON: Final = _object({"per_hour": _MUCH, "until_s": _MUCH}, {"from_s": _SOME, "units": _COUNT})
_CLASS: Final = _object(
    {"name": _TEXT, "organization": _TEXT, "need": _NEED, "run_s": _SECONDS, "arrivals": {"oneOf": [_EVENTS, _POISSON]}},
    {
        "asked_s": _MUCH,
        "objective": {"enum": sorted(OBJECTIVES)},
        "weights": {"type": "object", "propertyNames": {"enum": list(NAMES)}, "additionalProperties": _SOME | {"maximum": MOST}},
        "instruction_set": {"enum": ["any", "x86_64", "aarch64"]},
        "regions": _TEXTS,
        "providers": _TEXTS,
        "exclude_providers": _TEXTS,
        "trusted": {"type": "boolean"},
        "bytes_in": _WHOLE,
        "bytes_out": _WHOLE,
        "max_unit_price": _MUCH,
        "deadline_s": _MUCH,
        "gang": {"type": "integer", "minimum": 2, "maximum": 10_000},
    },
)
TRACE: Final = _object(
    {"format": {"const": "gridfare-trace-1"}, "classes": {"type": "array", "items": _CLASS, "minItems": 1}},
    {"name": _TEXT, "core_gflops": _MUCH, "begins_at": {"type": "string", "maxLength": 40}},
)
_REGION: Final = _object(
    {"carbon_g_per_kwh": _SOME}, {"by_hour": {"type": "array", "items": _SOME, "minItems": 24, "maxItems": 24}}
)
_METERS: Final = ("core_second", "occupancy_second", "accelerator_second", "fp32_tflop", "gb_moved", "result")
_POOL: Final = _object(
    {
        "identifier": _TEXT,
        "region": _TEXT,
        "cores": _COUNT,
        "memory_mib": _COUNT | {"maximum": LARGEST},
        "core_gflops": _MUCH,
        "prices": {"type": "object", "propertyNames": {"enum": list(_METERS)}, "additionalProperties": _SOME, "minProperties": 1},
    },
    {
        "count": _COUNT | {"maximum": 10_000},
        "provider": _TEXT,
        "instruction_set": {"enum": ["x86_64", "aarch64"]},
        "disk_mib": _WHOLE,
        "accelerators": _ACCELERATORS,
        "executors": _TEXTS,
        "bandwidth_mbps": _COUNT,
        "watts_per_core": _SOME,
        "allow": _TEXTS,
        "deny": _TEXTS,
    },
)
POOLS: Final = _object(
    {"format": {"const": "gridfare-pools-1"}, "pools": {"type": "array", "items": _POOL, "minItems": 1}},
    {"regions": {"type": "object", "additionalProperties": _REGION}},
)


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, `.gz` or plain. Raises BadFile."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError) as error:
        raise BadFile(f"{path}: {error.strerror if isinstance(error, OSError) and error.strerror else error}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: line {data[: error.start].count(10) + 1}: not UTF-8 text") from error
    return text.splitlines()


class _NoNumberError(Exception):
    """NaN or Infinity, which Python would read and JSON does not know."""


def _no_number(text: str) -> float:
    raise _NoNumberError(text)


def checked(path: Path, shape: dict[str, Any]) -> dict[str, Any]:
    """A JSON file that has a shape. Raises BadFile naming the line, or the field."""
    try:
        document = json.loads("\n".join(lines_of(path)), parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise BadFile(f"{path}: line {error.lineno}: {error.msg}") from error
    except _NoNumberError as error:
        raise BadFile(f"{path}: {error} is no number") from error
    except RecursionError as error:
        raise BadFile(f"{path}: nested too deeply") from error
    fault = best_match(Draft202012Validator(shape).iter_errors(document))
    if fault is not None:
        raise BadFile(f"{path}: {fault.json_path.removeprefix('$.')}: {fault.message[:200]}")
    result: dict[str, Any] = document
    return result
