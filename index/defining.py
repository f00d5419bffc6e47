"""Definitions and their weights as rows: kept as drafts, published once, with equal weights until somebody judges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from index.comparing import Comparison, compare
from index.models import IndexDefinition, WeightSet
from index.trees import ROOT, Definition, definition_of, read_definition
from marketplace.models import User

FOLDER: Final = Path(__file__).parent / "definitions"
PLACEHOLDER: Final = "equal"
MOST_CHARACTERS: Final = 400_000


def ensure_shipped() -> list[IndexDefinition]:
    """Publish what is shipped and not there yet, each with equal weights. May run as often as one likes."""
    found = [read_definition(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))]
    there = {(row.code, row.version): row for row in IndexDefinition.objects.all()}
    return [there.get((one.code, one.version)) or publish(draft(one)) for one in found]


def read_draft(text: str) -> IndexDefinition:
    """A draft of YAML. Invalid as `read_definition`, Conflict `definition_exists`."""
    if len(text) > MOST_CHARACTERS:
        raise Invalid("definition_invalid", f"longer than {MOST_CHARACTERS} characters", field="definition")
    return draft(read_definition(text))


def draft(definition: Definition) -> IndexDefinition:
    """Keep a draft; an earlier draft of the same version is replaced."""
    values = {"name_zh": definition.name["zh"][:100], "name_en": definition.name["en"][:100]}
    values |= {"document": definition.canonical.decode(), "digest": definition.digest}
    with transaction.atomic():
        mine = {"code": definition.code, "version": definition.version}
        if IndexDefinition.objects.filter(**mine, state="draft").update(**values):
            return IndexDefinition.objects.get(**mine)
        try:
            with transaction.atomic():
                return IndexDefinition.objects.create(**mine, **values, created_at=timezone.now())
        except IntegrityError:
            raise Conflict("definition_exists", f"{definition.title} is published: make it a new version") from None


def publish(row: IndexDefinition) -> IndexDefinition:
    """From now on it stays as it is, with a set of equal weights. Conflict `definition_exists` for one that is published."""
    with transaction.atomic():
        changes = {"state": "published", "published_at": timezone.now()}
        if not IndexDefinition.objects.filter(pk=row.pk, state="draft", digest=row.digest).update(**changes):
            raise Conflict("definition_exists", f"{row.title} is published already, or was written anew meanwhile")
        row.refresh_from_db()
        equal = dict.fromkeys(tree_of(row).nodes, Decimal(1))
        record_weights(row, PLACEHOLDER, WeightSet.Kind.PLACEHOLDER, equal, {"note": "no judgement: the report prints no weights"})
    return row


def publish_meant(title: str, digest: str) -> IndexDefinition:
    """Publish a draft as somebody has read it. Invalid `confirmation_missing` without its digest, Conflict `draft_changed`."""
    row = definition_named(title, drafts=True)
    if not digest:
        raise Invalid("confirmation_missing", "tick that you mean this text: it cannot be changed afterwards", field="confirm")
    if row.state == "draft" and row.digest != digest:
        raise Conflict("draft_changed", f"{row.title} was written anew since you read it: read it again")
    return publish(row)


def tree_of(row: IndexDefinition) -> Definition:
    """The definition that a row holds."""
    return _parsed(row.document)


@lru_cache(maxsize=32)
def _parsed(document: str) -> Definition:
    return definition_of(orjson.loads(document))


def definition_named(title: str, *, drafts: bool = False) -> IndexDefinition:
    """By `code@version`, or by `code`: the newest that is published, or with `drafts` of all. NotFound `definition_unknown`."""
    code, _, version = title.partition("@")
    rows = IndexDefinition.objects.filter(code=code).order_by("-version")
    rows = rows if drafts else rows.filter(state="published")
    if version:
        rows = rows.filter(version=int(version)) if version.isascii() and version.isdigit() and len(version) < 6 else rows.none()
    found = rows.first()
    if found is None:
        raise NotFound("definition_unknown", "there is no such definition", field="definition")
    return found


@dataclass(frozen=True, slots=True)
class Compared:
    """Two versions; `left_behind`: weights that were judged or imported for the first, and that the second has none like."""

    before: IndexDefinition
    after: IndexDefinition
    comparison: Comparison
    left_behind: list[str]


def compared(before: str, after: str, *, drafts: bool) -> Compared:
    """By titles as `definition_named` takes them."""
    rows = definition_named(before, drafts=drafts), definition_named(after, drafts=drafts)
    there = set(WeightSet.objects.exclude(kind="placeholder").filter(definition__in=rows).values_list("definition", "name"))
    left = sorted(name for row, name in there if row == rows[0].pk and (rows[1].pk, name) not in there)
    return Compared(*rows, compare(*map(tree_of, rows)), left)


def record_weights(
    row: IndexDefinition, name: str, kind: str, weights: Mapping[str, Decimal], evidence: Mapping[str, Any], by: User | None = None
) -> WeightSet:
    """Keep weights of all nodes for ever. Invalid `weights_invalid`, Conflict `weights_exist`."""
    told = {code: format(weights[code].normalize(), "f") for code in _whole(tree_of(row), weights)}
    digest = sha256(canonical({"definition": row.digest, "weights": told})).hexdigest()
    try:
        with transaction.atomic():
            return WeightSet.objects.create(
                definition=row, name=name[:80], kind=kind, weights=told, evidence=dict(evidence), digest=digest,
                recorded_at=timezone.now(), recorded_by=by,
            )  # fmt: skip
    except IntegrityError:
        raise Conflict("weights_exist", f"{row.title} has weights of this name: they never change") from None


def read_weights(row: IndexDefinition, given: Mapping[str, Any]) -> dict[str, Decimal]:
    """Weights from decimal text by node. What is left out weighs nothing if a sibling is there. Invalid `weights_invalid`."""
    tree = tree_of(row)
    if unknown := sorted(set(given) - tree.nodes.keys()):
        raise Invalid("weights_invalid", f"{unknown[0]} is no node of {row.title}", field=f"weights.{unknown[0]}"[:100])
    return {code: _weight(code, given.get(code, "0")) for code in tree.nodes}


def _weight(code: str, text: Any) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or not 0 <= value <= 10**6 or value.normalize().as_tuple().exponent < -30:  # type: ignore[operator]
        raise Invalid("weights_invalid", "a weight is decimal text from 0 on", field=f"weights.{code}")
    return value


def _whole(tree: Definition, weights: Mapping[str, Decimal]) -> list[str]:
    """All nodes; of every group of siblings one at least weighs something."""
    for parent in [ROOT, *tree.nodes]:
        below = [node.code for node in tree.children(parent)]
        if below and not any(weights.get(code, 0) > 0 for code in below):
            raise Invalid("weights_invalid", f"nothing below {parent} weighs anything", field=f"weights.{below[0]}")
    return list(tree.nodes)


def weights_of(row: WeightSet) -> dict[str, Decimal]:
    return {code: Decimal(value) for code, value in row.weights.items()}


def experts_of(row: WeightSet) -> list[dict[str, Any]]:
    """Each expert's own weights and voice, of a panel's set: [{voice, weights: {node: decimal text}}].

    None of other sets, nor of panels that were recorded before these were kept: their runs stay as they are.
    """
    found = row.evidence.get("experts", []) if row.kind == WeightSet.Kind.PANEL else []
    return [{"voice": one["voice"], "weights": one["weights"]} for one in found]


def canonical(document: Any) -> bytes:
    """The one spelling of a document."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
