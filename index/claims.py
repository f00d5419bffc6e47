"""The ledger of public statements: read once from data, held beside a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator

from index.analysis.claims import KINDS, Facts, Finding, judge
from index.defining import tree_of
from index.models import IndexRun
from index.regions import PROVINCES

LEDGER: Final = Path(__file__).parent / "data" / "claims_2023.yaml"
_REGIONS: Final = {
    "type": "array",
    "items": {"enum": [one.short for one in PROVINCES.values()]},
    "minItems": 1,
    "uniqueItems": True,
}
_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 500}
_NUMBER: Final = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_NUMBERS: Final = {"type": "array", "items": _NUMBER}
_NEEDS: Final = {
    "structure": ["of", "number"], "ranks": ["regions", "low", "high"], "scores": ["node", "regions", "least"],
    "values": ["regions", "least"], "first": ["regions"], "mostly_below": ["variable", "group", "most"],
    "above_mean": ["regions"], "below_mean": ["regions"], "share": ["leaf", "regions", "least"], "groups": ["group", "below"],
    "correlation": ["variable"], "type": ["type", "regions"], "arithmetic": ["factors", "divisors", "times", "printed", "unit"],
}  # fmt: skip
_CLAIM: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "place", "kind", "quote", "en"],
    "properties": {
        **dict.fromkeys(("id", "place", "quote", "en", "doubt", "node", "leaf", "variable", "group", "below", "unit"), _TEXT),
        **dict.fromkeys(("number", "least", "most", "times", "printed"), _NUMBER),
        **{name: {"type": "integer", "minimum": 1} for name in ("low", "high")},
        "kind": {"enum": list(KINDS)},
        "of": {"enum": ["level_1", "level_2", "level_3", "regions", "fp32_scales"]},
        "type": {"enum": ["balanced", "supply_driven", "demand_pulled"]},
        "regions": _REGIONS, "factors": _NUMBERS, "divisors": _NUMBERS,
    },
    "allOf": [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"required": needs}} for kind, needs in _NEEDS.items()
    ],
}  # fmt: skip
SCHEMA: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["code", "source", "groups", "claims"],
    "properties": {
        "code": _TEXT,
        "source": _TEXT,
        "groups": {"type": "object", "additionalProperties": _REGIONS},
        "claims": {"type": "array", "items": _CLAIM},
    },
}


@cache
def ledger() -> Mapping[str, Any]:
    """The statements of the report, checked. jsonschema.ValidationError where the file is not as it should be."""
    document: dict[str, Any] = yaml.safe_load(LEDGER.read_text("utf-8"))
    Draft202012Validator(SCHEMA).validate(document)
    return document


def findings(run: IndexRun) -> list[Finding]:
    """Every statement beside what the run gives."""
    facts = facts_of(run)
    return [judge(claim, facts) for claim in ledger()["claims"]]


def facts_of(run: IndexRun) -> Facts:
    """What a run gives to compare with; floats, for nothing is computed further with them."""
    result, inputs = run.read("result"), run.read("inputs")
    variables = {code: {region: float(value[0]) for region, value in row.items()} for code, row in inputs.items()}
    return Facts(
        tree_of(run.definition), run.profile, run.period, run.synthetic, _floats(result["scores"]), _floats(result["raw"]),
        variables, ledger()["groups"],
    )  # fmt: skip


def _floats(table: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, float]]:
    return {code: {region: float(value) for region, value in row.items()} for code, row in table.items()}
