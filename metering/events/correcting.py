"""Corrections of events by who sent them: sets in, a constant number of statements, an answer for each.

An event never changes; what stands in its place is a row of its own, counted from the moment at which it was accepted. Of one
event many may come: the last counts. `POST /usage/corrections`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from core.wake import wake
from marketplace.models import ApiKey, Organization
from metering.cutoffs import accepted_now
from metering.events.reading import amount_of, hashed, is_text, key_of
from metering.events.sorting import Answer
from metering.models import UsageCorrection

MOST: Final = 10_000  # corrections of one request
MOST_REASON: Final = 300
_MEMBERS: Final = frozenset({"source", "id", "name", "quantity", "gauge", "reason"})

# Locked in one order, so that corrections of one event come one after the other and two requests never wait in a circle.
_EVENTS: Final = """
SELECT event.key::text, event.gauge IS NOT NULL
  FROM metering_usageevent event WHERE event.key = ANY(%s::uuid[]) ORDER BY event.key FOR NO KEY UPDATE
"""
_BEFORE: Final = "SELECT event_id::text, name, digest::text FROM metering_usagecorrection WHERE event_id = ANY(%s::uuid[])"
_DIRTY: Final = """
INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
SELECT DISTINCT series.customer_id, series.pool_id, series.meter, series.unit, date_trunc('hour', event.occurred_at, 'UTC')
  FROM metering_usageevent event JOIN metering_usageseries series ON series.id = event.series_id
 WHERE event.key = ANY(%s::uuid[]) AND series.meter <> 'heartbeat'
"""


@dataclass(frozen=True, slots=True)
class Correction:
    """What is right: `quantity` or `gauge` as decimal text. `event` is the key, 16 bytes in hex."""

    event: str
    name: str
    quantity: str | None
    gauge: str | None
    reason: str

    def digest(self) -> str:
        return hashed(f"{self.event}\x1f{self.name}\x1f{self.quantity}\x1f{self.gauge}")


@dataclass(slots=True)
class _Known:
    """What is stored of the events at hand: whether each is a sample, and the digests of its corrections by name."""

    gauges: dict[str, bool]
    names: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


def correct_events(provider: Organization, documents: Sequence[Any], *, api_key: ApiKey | None = None) -> list[Answer]:
    """Put these in the place of what events said. Never raises for what a correction says: that is in its answer."""
    given = [read_correction(provider.pk, document) for document in documents]
    keys = sorted({one.event for one in given if isinstance(one, Correction)})
    with transaction.atomic():
        now = accepted_now()
        answers, new = _sort(given, _known(keys))
        _write(new, now, api_key)
    return [_named(answer, document) for document, answer in zip(documents, answers, strict=True)]


def _named(answer: Answer, document: Any) -> Answer:
    if not isinstance(document, dict):
        return answer
    name, source = (document.get(one) if is_text(document.get(one)) else None for one in ("id", "source"))
    return answer._replace(id=name, source=source)


def read_correction(provider: int, document: Any) -> Correction | Answer:
    """A correction, or the first thing that is wrong with it. Pure."""
    if not isinstance(document, dict):
        return Answer("invalid", "not_an_event", None, "a correction is a JSON object")
    if unknown := sorted(map(str, set(document) - _MEMBERS)):
        return Answer("invalid", "unknown_field", unknown[0], "there is no such field")
    for name in ("source", "id", "name"):
        if not is_text(document.get(name)):
            return Answer("invalid", "invalid", name, "text of 1 to 200 characters, none of them a control character")
    kinds = [name for name in ("quantity", "gauge") if name in document]
    if len(kinds) != 1 or (amount := amount_of(document[kinds[0]])) is None:
        return Answer("invalid", "quantity_or_value", "quantity", "a quantity or a gauge's sample, decimal text, not negative")
    reason = document.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MOST_REASON or "\x00" in reason:
        return Answer("invalid", "invalid", "reason", f"text, at most {MOST_REASON} characters")
    right = {"quantity": None, "gauge": None} | {kinds[0]: amount}
    return Correction(key_of(provider, document["source"], document["id"]), document["name"], **right, reason=reason)


def _known(keys: Sequence[str]) -> _Known:
    if not keys:
        return _Known({})
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, [list(keys)])
        known = _Known({key.replace("-", ""): gauge for key, gauge in cursor.fetchall()})
        cursor.execute(_BEFORE, [list(keys)])
        for key, name, digest in cursor.fetchall():
            known.names[key.replace("-", "")][name] = digest.replace("-", "")
    return known


def _sort(
    given: Sequence[Correction | Answer], known: _Known
) -> tuple[list[Answer], list[tuple[Correction, int]]]:
    """An answer to each, and those that are new with their revisions: one after the other, as they were sent."""
    answers, new = [], []
    for one in given:
        answers.append(one if isinstance(one, Answer) else _answer(one, known))
        if isinstance(one, Correction) and answers[-1].status == "accepted":
            known.names[one.event][one.name] = one.digest()
            new.append((one, len(known.names[one.event])))
    return answers, new


def _answer(one: Correction, known: _Known) -> Answer:
    if one.event not in known.gauges:
        return Answer("invalid", "event_unknown", "id", "no event of yours has this source and id")
    before = known.names[one.event].get(one.name)
    if before is not None:
        same = before == one.digest()
        return Answer("duplicate") if same else Answer("conflict", "name_taken", "name", "another correction has this name")
    if known.gauges[one.event] != (one.gauge is not None):
        wanted = "gauge" if known.gauges[one.event] else "quantity"
        return Answer("invalid", "quantity_or_value", wanted, f"this event is put right by a {wanted}")
    return Answer("accepted")


def _write(new: Sequence[tuple[Correction, int]], now: Any, api_key: ApiKey | None) -> None:
    if not new:
        return
    UsageCorrection.objects.bulk_create(
        UsageCorrection(
            event_id=UUID(one.event), revision=revision, name=one.name, quantity=one.quantity, gauge=one.gauge, reason=one.reason,
            digest=UUID(one.digest()), api_key=api_key, accepted_at=now,
        )
        for one, revision in new
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_DIRTY, [[one.event for one, _ in new]])
    wake("metering.rollup")
