"""Preview, commit and roll back. A batch is kept whole or not at all; a file is imported once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from index.defining import tree_of
from index.importing.checking import Finding, Observed, check_lines
from index.importing.reading import read_file
from index.models import IndexDefinition, Observation, ObservationBatch
from index.units import UNITS, Unit
from marketplace.models import User

SHOWN: Final = 500  # findings that are kept of a file
PORTION: Final = 5_000


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file is from, as its rows' own words do not say."""

    title: str = ""
    publisher: str = ""
    url: str = ""
    licence: str = ""
    published: date | None = None

    def document(self) -> dict[str, Any]:
        told = {"title": self.title, "publisher": self.publisher, "url": self.url, "licence": self.licence}
        return {name: value for name, value in told.items() if value} | ({"date": f"{self.published}"} if self.published else {})


@dataclass(frozen=True, slots=True)
class File:
    """What is to be imported; `origin` imported or synthetic."""

    name: str
    content: bytes
    source: Source = field(default_factory=Source)
    profile: str = "national"
    origin: str = "imported"


def preview(file: File, by: User | None = None) -> ObservationBatch:
    """Read a file and say what is found, keeping nothing of it but itself.

    Invalid as `reading`, Conflict `file_imported` for one that was imported or is being looked at.
    """
    kept, found = _checked(file)
    report = [one.document() for one in sorted(found, key=lambda one: (one.severity, one.row))[:SHOWN]]
    try:
        with transaction.atomic():
            return ObservationBatch.objects.create(**_head(file), report=report, rows=len(kept), created_by=by)
    except IntegrityError:
        raise Conflict("file_imported", "this file was imported already, or waits to be") from None


def _head(file: File) -> dict[str, Any]:
    told = {"profile": file.profile, "origin": file.origin, "name": file.name[:200], "source": file.source.document()}
    return told | {"digest": sha256(file.content).hexdigest(), "content": file.content, "created_at": timezone.now()}


def looked_at(batch: ObservationBatch, most: int) -> list[Observed]:
    """The first rows that a preview would keep; none of a batch that is no preview any more."""
    if batch.state != ObservationBatch.State.PREVIEW:
        return []
    return _checked(_file_of(batch))[0][:most]


def _file_of(batch: ObservationBatch) -> File:
    published = date.fromisoformat(batch.source["date"]) if "date" in batch.source else None
    return File(batch.name, bytes(batch.content or b""), Source(published=published), batch.profile, batch.origin)


def commit(number: int, by: User | None = None) -> ObservationBatch:
    """Keep all rows of a batch that has no errors. Conflict `batch_has_errors | batch_not_open`, NotFound `batch_unknown`."""
    with transaction.atomic():
        batch = _locked(number)
        if batch.state != ObservationBatch.State.PREVIEW:
            raise Conflict("batch_not_open", f"it is {batch.state.replace('_', ' ')} already", state=batch.state)
        kept, found = _checked(_file_of(batch))
        errors = sum(one.severity == "error" for one in found)
        if errors:
            raise Conflict("batch_has_errors", f"{errors} rows cannot be kept: nothing was imported", errors=errors)
        keep(batch, kept)
        _move(batch, "preview", state="committed", committed_at=timezone.now(), content=None, rows=len(kept))
    return batch


def keep(batch: ObservationBatch, kept: Sequence[Observed]) -> None:
    """Write rows of a batch."""
    rows = [
        Observation(
            batch=batch, region=one.region, variable=one.variable, period=one.period, value=one.value, unit=one.unit.code,
            vintage=one.vintage, precision=one.cells.get("precision", "")[:40], source=one.cells.get("source", "")[:500],
            url=one.cells.get("url", "")[:500], note=one.cells.get("row_note", "")[:500], row=one.row,
            evidence=dict(one.evidence),
        )
        for one in kept
    ]  # fmt: skip
    Observation.objects.bulk_create(rows, batch_size=PORTION)


def drop(number: int) -> ObservationBatch:
    """Forget a preview. Conflict `batch_not_open`, NotFound `batch_unknown`."""
    with transaction.atomic():
        batch = _locked(number)
        _move(batch, "preview", state="dropped", content=None)
    return batch


def roll_back(number: int, reason: str) -> ObservationBatch:
    """No later run sees the batch; runs that did stay as they are. Invalid `reason_missing`, Conflict `batch_not_committed`."""
    if not reason.strip():
        raise Invalid("reason_missing", "say why: it stands beside the batch for ever", field="reason")
    with transaction.atomic():
        batch = _locked(number)
        _move(batch, "committed", state="rolled_back", rolled_back_at=timezone.now(), reason=reason.strip()[:300])
    return batch


def counts(batch: ObservationBatch) -> dict[str, int]:
    """How many findings there are by severity."""
    found = Counter(one["severity"] for one in batch.report)
    return {severity: found[severity] for severity in ("error", "warning")}


def _checked(file: File) -> tuple[list[Observed], list[Finding]]:
    lines = read_file(file.content, file.name)
    published = file.source.published or datetime.now(UTC).date()
    return check_lines(lines, known_variables(file.profile), _before(file.profile), published)


def known_variables(profile: str) -> dict[str, Unit]:
    """The variables of all definitions, with their units."""
    found: dict[str, Unit] = {}
    for row in IndexDefinition.objects.order_by("pk"):
        definition = tree_of(row)
        found |= {code: one.unit for code, one in definition.variables.items() if one.profile == profile}
    return found


def _before(profile: str) -> Mapping[tuple[str, str], Decimal]:
    """Of each variable and region the value of the last period there is, in base units."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST, {"profile": profile})
        return {
            (variable, region): value * UNITS[unit].factor for variable, region, value, unit in cursor.fetchall() if unit in UNITS
        }


_LAST: Final = """
SELECT DISTINCT ON (seen.variable, seen.region) seen.variable, seen.region, seen.value, seen.unit
  FROM index_observation seen JOIN index_observationbatch batch ON batch.id = seen.batch_id
 WHERE batch.profile = %(profile)s AND batch.state = 'committed'
 ORDER BY seen.variable, seen.region, seen.period DESC, seen.vintage DESC, seen.id DESC
"""


def _locked(number: int) -> ObservationBatch:
    found = ObservationBatch.objects.select_for_update().filter(pk=number).first()
    if found is None:
        raise NotFound("batch_unknown", "there is no such batch")
    return found


def _move(batch: ObservationBatch, before: str, **changes: Any) -> None:
    """A guarded step; the object is changed as the row is."""
    if not ObservationBatch.objects.filter(pk=batch.pk, state=before).update(**changes):
        code = "batch_not_open" if before == "preview" else "batch_not_committed"
        raise Conflict(code, f"it is {batch.state.replace('_', ' ')}", state=batch.state)
    for name, value in changes.items():
        setattr(batch, name, value)
