"""The JSON Schema of definitions. Numbers that are computed with are decimal text. Descriptions are what errors say to people."""

from __future__ import annotations

from typing import Any, Final

NORMALISERS: Final = ("minmax", "efficacy", "zscore", "rank", "prank", "target", "goalposts")
AGGREGATORS: Final = ("arithmetic", "geometric", "harmonic", "copeland")
IMPUTERS: Final = ("none", "mean", "median", "group_mean")
_CODE: Final = {
    "type": "string",
    "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,39}$",
    "description": "a name of letters, digits and _, at most 40, no digit first",
}
_DECIMAL: Final = {
    "type": "string",
    "pattern": "^-?[0-9]{1,18}(\\.[0-9]{1,9})?$",
    "description": 'a number in quotes, such as "0.5"',
}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 500, "description": "text of 1 to 500 characters"}
_NAME: Final = {
    "type": "object",
    "required": ["zh", "en"],
    "properties": {"zh": _TEXT, "en": _TEXT},
    "additionalProperties": False,
}
_MOST_POINTS: Final = {"type": "integer", "minimum": 0, "maximum": 10, "description": "a whole number from 0 to 10"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


METHOD: Final = _object(
    ["normalise", "aggregate", "min_coverage", "winsorise", "restandardise"],
    normalise={"enum": list(NORMALISERS)},
    aggregate={"enum": list(AGGREGATORS)},
    min_coverage={
        "type": "string", "pattern": "^(0(\\.[0-9]{1,4})?|1)$", "description": 'a share from "0" to "1" in quotes, such as "0.65"',
    },
    winsorise=_MOST_POINTS,
    restandardise={"type": "boolean"},
    impute={"enum": list(IMPUTERS)},
)  # fmt: skip
_VARIABLE: Final = _object(["profile", "unit", "name"], profile=_CODE, unit=_TEXT, name=_NAME)
_NODE: Final = _object(
    ["code", "parent", "name"],
    code=_CODE,
    parent=_CODE,
    name=_NAME,
    aliases={"type": "array", "items": _TEXT, "maxItems": 10},
    unit=_TEXT,
    direction={"enum": ["up", "down"]},
    formula={"type": "object", "minProperties": 1, "additionalProperties": _TEXT},
    goalposts={"type": "array", "items": _DECIMAL, "minItems": 2, "maxItems": 2},
    target=_DECIMAL,
    winsorise=_MOST_POINTS,
    flag_above=_DECIMAL,
    printed=_TEXT,
    note=_TEXT,
)
SCHEMA: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        ["code", "version", "name", "after", "regions", "method", "profiles", "variables", "nodes"],
        code={
            "type": "string",
            "pattern": "^[a-z][a-z0-9-]{0,39}$",
            "description": "a name of small letters, digits and -, at most 40, a letter first",
        },
        version={"type": "integer", "minimum": 1, "maximum": 9999, "description": "a whole number from 1 to 9999"},
        name=_NAME,
        after=_TEXT,
        regions={"const": "gbt2260-provinces"},
        method=METHOD,
        profiles={"type": "array", "items": {"enum": ["national", "platform"]}, "minItems": 1, "uniqueItems": True},
        variables={"type": "object", "propertyNames": _CODE, "additionalProperties": _VARIABLE, "maxProperties": 1000},
        nodes={"type": "array", "items": _NODE, "minItems": 1, "maxItems": 1000},
    ),
}
