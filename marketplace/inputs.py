"""The inputs of a task against the JSON Schema that its capability's publisher wrote. Pure.

Publishers write the schema, users write the inputs, and the platform runs one on the other: references never
leave the document, and one deadline ends schemas, patterns and inputs that would keep a process busy.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final

import orjson
import regex
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, SchemaRegistry

from core.errors import Invalid

MAX_INPUT_BYTES: Final = 4 * 1024 * 1024
SECONDS = 5.0
ARTIFACT_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOTHING_FETCHED: Final[SchemaRegistry] = Registry()  # the library's own default would go to the network
FORMATS: Final = FormatChecker(["date", "email", "ipv4", "ipv6", "uuid"])
MAX_FILE_INPUT_NAME: Final = 40
AnyError = ValidationError | SchemaError
INPUT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


_REFS = "use $ref into $defs"
UNSUPPORTED: Final = dict.fromkeys(
    ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$vocabulary"], _REFS
) | {"patternProperties": "use propertyNames with a pattern, and additionalProperties"}
_until: ContextVar[float] = ContextVar("until", default=0.0)  # when the check that runs now must end


class TooComplex(Exception):
    """The deadline has passed."""


@FORMATS.checks("artifact")
def _is_artifact_id(value: object) -> bool:
    return not isinstance(value, str) or ARTIFACT_ID.fullmatch(value) is not None


def _timed(check: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    def timed(*values: Any) -> Iterator[ValidationError]:
        if time.monotonic() > _until.get():
            raise TooComplex
        yield from check(*values) or ()

    return timed


def _pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """`pattern` by an engine with a time-out: backtracking that explodes is cut off."""
    if not isinstance(instance, str):
        return
    try:
        found = regex.search(wanted, instance, timeout=max(0.001, _until.get() - time.monotonic()))
    except TimeoutError:
        raise TooComplex from None
    if not found:
        yield ValidationError(f"{instance[:100]!r} does not match {wanted!r}")


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """`uniqueItems` by hashing; the library compares every pair."""
    if wanted and isinstance(instance, list) and len({_frozen(item) for item in instance}) < len(instance):
        yield ValidationError("has items that are not unique")


def _frozen(value: Any) -> Any:
    """A hashable value, equal exactly for what JSON Schema calls equal: 1 is 1.0 but not true."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(_frozen(inner) for inner in value)
    return (bool, value) if isinstance(value, bool) else value


_KEYWORDS: Final = dict(Draft202012Validator.VALIDATORS) | {"pattern": _pattern, "uniqueItems": _unique_items}
_InputsValidator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _timed(check) for name, check in _KEYWORDS.items()}
)


def first_error(schema: Mapping[str, Any], value: Any) -> ValidationError | None:
    """The most telling of the first errors, or None. Raises TooComplex after SECONDS."""
    validator = _InputsValidator(schema, format_checker=FORMATS, registry=NOTHING_FETCHED)
    token = _until.set(time.monotonic() + SECONDS)
    try:
        error: ValidationError | None = best_match(islice(validator.iter_errors(value), 20))
    except (RecursionError, Unresolvable):
        raise TooComplex from None
    finally:
        _until.reset(token)
    return error


def path_of(error: AnyError, prefix: str = "") -> str:
    """The dotted path of the value at fault; a missing or surplus property is named itself."""
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        wanted: Any = error.validator_value
        present: Any = error.instance
        path += [name for name in wanted if name not in present][:1]
    elif error.validator in {"additionalProperties", "unevaluatedProperties"}:
        path += _surplus(error)
    return ".".join([prefix, *path] if prefix else path)


def _surplus(error: AnyError) -> list[str]:
    if not isinstance(error.schema, Mapping) or not isinstance(error.instance, Mapping):
        return []
    quoted = re.search(r"\('([^']+)'", error.message)
    return [quoted[1]] if quoted else []


def message_of(error: AnyError) -> str:
    """The library's sentence, shortened where it repeats the whole value."""
    return error.message if len(error.message) <= 300 else f"{error.message[:200]} ..."


def validate_inputs(manifest: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
    """The inputs with their defaults filled in, or Invalid `invalid_inputs`, `field` = `inputs.<path>`."""
    schema = manifest["inputs"]
    if not isinstance(inputs, dict):
        raise Invalid("invalid_inputs", "inputs must be an object", field="inputs")
    if len(orjson.dumps(inputs, default=str)) > MAX_INPUT_BYTES:
        detail = f"inputs may have {MAX_INPUT_BYTES} bytes as JSON; upload larger data as an artifact"
        raise Invalid("invalid_inputs", detail, field="inputs")
    filled: dict[str, Any] = with_defaults(schema, inputs)
    try:
        error = first_error(schema, filled)
    except TooComplex:
        raise Invalid("invalid_inputs", "checking these inputs takes too long", field="inputs") from None
    if error is not None:
        raise Invalid("invalid_inputs", message_of(error), field=path_of(error, "inputs"))
    return filled


def with_defaults(schema: Any, value: Any) -> Any:
    """A copy with the defaults of missing properties, through nested objects and lists of them."""
    if not isinstance(schema, dict):
        return value
    if isinstance(value, list):
        return [with_defaults(schema.get("items"), item) for item in value]
    if not isinstance(value, dict):
        return value
    own = schema.get("properties", {})
    filled = {key: with_defaults(own.get(key), inner) for key, inner in value.items()}
    for key, inner in own.items():
        if key not in filled and isinstance(inner, dict) and "default" in inner:
            filled[key] = copy.deepcopy(inner["default"])
    return filled


def artifact_fields(manifest: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """(input's name, is it a list) of every input that takes artifacts, in alphabetical order."""
    own = manifest["inputs"].get("properties", {})
    kinds = ((name, _artifact_kind(schema)) for name, schema in sorted(own.items()))
    return [(name, many) for name, many in kinds if many is not None]


def _artifact_kind(schema: Any) -> bool | None:
    """False: one artifact, True: a list of them, None: neither."""
    if not isinstance(schema, dict):
        return None
    if schema.get("format") == "artifact":
        return False
    items = schema.get("items")
    return True if isinstance(items, dict) and items.get("format") == "artifact" else None


def check_inputs_schema(schema: dict[str, Any]) -> None:
    """Can inputs be checked against it, safely? Raises Invalid, `field` = `inputs.<path>`."""
    if schema.get("type") != "object":
        raise Invalid("invalid_manifest", "the inputs' schema must have type: object", field="inputs.type")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise Invalid("invalid_manifest", message_of(error), field=path_of(error, "inputs")) from None
    except RecursionError:
        raise Invalid("invalid_manifest", "the schema is nested too deeply", field="inputs") from None
    for path, key, value in _keywords(schema, "inputs"):
        _check_keyword(schema, f"{path}.{key}", key, value)
    _check_properties(schema.get("properties", {}))


def _check_properties(own: dict[str, Any]) -> None:
    for name, schema in own.items():
        if not INPUT_NAME.fullmatch(name):
            detail = f"{name[:63]!r} is no input's name: letters, digits and _ only"
            raise Invalid("invalid_manifest", detail, field=f"inputs.properties.{name[:63]}")
        kind = _artifact_kind(schema)
        if kind is not None and (name == "units" or len(name) > MAX_FILE_INPUT_NAME):
            # a merge finds outputs below in/units; and in/<name>/<artifact's name> must stay a short path
            detail = f"an input of artifacts has another name than units, of at most {MAX_FILE_INPUT_NAME} letters"
            raise Invalid("invalid_manifest", detail, field=f"inputs.properties.{name}")
    inner = (schema for schema in own.values() if _artifact_kind(schema) is None)
    for schema in inner:
        if any(key == "format" and value == "artifact" for _, key, value in _keywords(schema, "")):
            detail = "format: artifact stands at an input itself, or at the items of one"
            raise Invalid("invalid_manifest", detail, field="inputs.properties")


def _keywords(schema: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every (path, keyword, value) of a schema and of those inside it; plain data are not entered."""
    waiting = [(path, schema)]
    while waiting:
        at, node = waiting.pop()
        for key, value in node.items() if isinstance(node, dict) else ():
            yield at, key, value
            if key in {"properties", "$defs", "patternProperties", "dependentSchemas"} and isinstance(value, dict):
                waiting += [(f"{at}.{key}.{name}", inner) for name, inner in value.items()]
            elif key not in {"const", "enum", "default", "examples"}:
                items = value if isinstance(value, list) else [value]
                waiting += [(f"{at}.{key}", inner) for inner in items if isinstance(inner, dict)]


def _check_keyword(schema: dict[str, Any], path: str, key: str, value: Any) -> None:
    if key in UNSUPPORTED:
        raise Invalid("invalid_manifest", f"{key} is not supported; {UNSUPPORTED[key]}", field=path)
    if key == "$schema" and "2020-12" not in str(value):
        raise Invalid("invalid_manifest", "the schema must be of JSON Schema 2020-12", field=path)
    if key == "$ref":
        _check_reference(schema, value, path)
    if key == "pattern":
        _check_pattern(value, path)


def _check_reference(schema: dict[str, Any], value: Any, path: str) -> None:
    if not str(value).startswith("#"):
        raise Invalid("invalid_manifest", "$ref may only point into the same document (#/...)", field=path)
    resource = DRAFT202012.create_resource(schema)
    try:
        NOTHING_FETCHED.with_resource("", resource).resolver().lookup(str(value))
    except Unresolvable:
        raise Invalid("invalid_manifest", f"$ref {str(value)[:100]!r} points nowhere", field=path) from None


def _check_pattern(pattern: str, path: str) -> None:
    try:
        if len(pattern) > 500:
            raise Invalid("invalid_manifest", "a pattern may have 500 characters", field=path)
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise Invalid("invalid_manifest", f"is no pattern: {error}", field=path) from None
