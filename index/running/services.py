"""Making a run, publishing it as an edition, replaying it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import orjson
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone
from jsonschema import Draft202012Validator

from core.errors import Conflict, Invalid, NotFound
from index.analysis.scales import lent
from index.defining import canonical, experts_of, tree_of, weights_of
from index.models import IndexRun, WeightSet
from index.running.documents import analyse, compute, voices_of
from index.running.observed import Asked, read_seen, see
from index.schema import METHOD
from index.trees import definition_of
from marketplace.models import User

_PARAMETERS: Final = {
    **METHOD,
    "required": [],
    "properties": METHOD["properties"] | {
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**31},
        "draws": {"type": "integer", "minimum": 100, "maximum": 20_000},
        "base": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run to be made.

    parameters  what differs from the definition's method, `seed`, `draws`, and `base`: the run whose goalposts stand
    """

    weights: WeightSet
    profile: str
    period: str
    as_of: date | None = None
    known_at: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def run_index(wanted: Wanted, by: User | None = None) -> IndexRun:
    """Make a run; what was made of the same is given again.

    Invalid `parameters_invalid`, `profile_unknown`, `base_unfit`. Conflict `nothing_observed` where no value is known.
    """
    row = wanted.weights.definition
    definition = tree_of(row)
    if wanted.profile not in definition.profiles:
        raise Invalid("profile_unknown", f"{row.title} has {', '.join(definition.profiles)}", field="profile")
    known_at = wanted.known_at or timezone.now()
    asked = Asked(wanted.profile, wanted.period, wanted.as_of or datetime.now(UTC).date(), known_at)
    parameters = _parameters(wanted)
    seen = see(definition, asked)
    if not seen.values:
        raise Conflict("nothing_observed", f"nothing is known of {wanted.profile} {wanted.period}")
    inputs = canonical(seen.document())
    found = _made(wanted, parameters, inputs)
    if found is not None:
        return found
    weights = weights_of(wanted.weights)
    values = read_seen(orjson.loads(inputs)).values  # as a replay reads them
    result, document = compute(definition, wanted.profile, weights, values, parameters)
    experts = voices_of(experts_of(wanted.weights))
    analysis = canonical(analyse(definition, wanted.profile, weights, values, parameters, result, experts))
    return IndexRun.objects.create(
        definition=row, weights=wanted.weights, profile=wanted.profile, period=wanted.period, as_of=asked.as_of, known_at=known_at,
        parameters=parameters, inputs=inputs, input_digest=_hash(inputs), result=(told := canonical(document)), digest=_hash(told),
        analysis=analysis, analysis_digest=_hash(analysis), synthetic=any(seen.synthetic.values()), created_at=timezone.now(),
        created_by=by,
    )  # fmt: skip


def _made(wanted: Wanted, parameters: Mapping[str, Any], inputs: bytes) -> IndexRun | None:
    same = {"definition": wanted.weights.definition, "weights": wanted.weights, "profile": wanted.profile, "period": wanted.period}
    rows = IndexRun.objects.filter(**same, parameters=parameters, input_digest=_hash(inputs))
    return rows.order_by("pk").first()


def _parameters(wanted: Wanted) -> dict[str, Any]:
    """What was asked for, with the goalposts and the treatment of the base written out."""
    given = dict(wanted.parameters)
    for error in Draft202012Validator(_PARAMETERS).iter_errors(given):
        place = ".".join(map(str, error.absolute_path))
        raise Invalid("parameters_invalid", error.message[:300], field=f"parameters.{place}".rstrip("."))
    base = given.get("base")
    if base is None:
        return given
    row = wanted.weights.definition
    run = IndexRun.objects.filter(pk=base, definition=row, profile=wanted.profile).first()
    if run is None:
        raise Invalid("base_unfit", "goalposts are those of a run of the same definition and profile", field="parameters.base")
    return given | lent(tree_of(row), run.read("result"))


def publish_edition(number: int, note: str) -> IndexRun:
    """Publish a run as the next edition of its definition and profile. Invalid `reason_missing`, Conflict `edition_published`."""
    if not note.strip():
        raise Invalid("reason_missing", "say what changed since the last edition", field="change_note")
    with transaction.atomic():
        run = run_numbered(number)
        with connection.cursor() as cursor:  # one edition of a definition after the other
            cursor.execute("SELECT FROM index_indexdefinition WHERE id = %s FOR UPDATE", [run.definition_id])
        others = IndexRun.objects.filter(definition=run.definition_id, profile=run.profile)
        edition = (others.aggregate(last=Max("edition"))["last"] or 0) + 1
        changes = {"edition": edition, "change_note": note.strip()[:500], "published_at": timezone.now()}
        if not IndexRun.objects.filter(pk=run.pk, edition=None).update(**changes):
            raise Conflict("edition_published", f"it is edition {run.edition} already")
        run.refresh_from_db()
    return run


def run_numbered(number: int) -> IndexRun:
    """NotFound `run_unknown`."""
    found = IndexRun.objects.select_related("definition", "weights").filter(pk=number).first()
    if found is None:
        raise NotFound("run_unknown", "there is no such run")
    return found


def bundle_of(run: IndexRun) -> dict[str, Any]:
    """All that it takes to make the run again anywhere, with what came out. `experts`: where a panel weighed."""
    experts = experts_of(run.weights)
    return ({"experts": experts} if experts else {}) | {
        "definition": orjson.loads(run.definition.document), "weights": run.weights.weights, "profile": run.profile,
        "period": run.period, "as_of": f"{run.as_of}", "known_at": run.known_at.isoformat(), "parameters": run.parameters,
        "inputs": run.read("inputs"), "result": run.read("result"), "analysis": run.read("analysis"),
        "digests": {"inputs": run.input_digest, "result": run.digest, "analysis": run.analysis_digest},
    }  # fmt: skip


def replay(bundle: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Make it again: {part: (digest before, digest now)} of inputs, result and analysis. Needs no database."""
    definition, seen = definition_of(bundle["definition"]), read_seen(bundle["inputs"])
    weights = {code: Decimal(value) for code, value in bundle["weights"].items()}
    result, document = compute(definition, bundle["profile"], weights, seen.values, bundle["parameters"])
    experts = voices_of(bundle.get("experts", []))
    analysis = analyse(definition, bundle["profile"], weights, seen.values, bundle["parameters"], result, experts)
    now = {"inputs": seen.document(), "result": document, "analysis": analysis}
    return {part: (bundle["digests"][part], _hash(canonical(told))) for part, told in now.items()}


def seen_again(run: IndexRun) -> str:
    """The digest of what the run's question finds today: another one, and something was changed that never should be."""
    asked = Asked(run.profile, run.period, run.as_of, run.known_at)
    return _hash(canonical(see(tree_of(run.definition), asked).document()))


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
