"""Taking a batch: read, sorted, compared with what is already there, and the rest of it copied.

All in one transaction: whoever reads sees all of a batch or nothing of it, and a request that was cut off can be sent
again whole. How many statements it takes does not depend on how many events there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from django.db import connection, transaction
from django.utils import timezone

from core.wake import wake
from marketplace.models import ApiKey, Organization, Pool
from metering.cutoffs import accepted_now
from metering.events import sql
from metering.events.collector import without_collector
from metering.events.reading import Event, Refused
from metering.events.sorting import Answer, Batch, Row, named, sort
from metering.events.usual import read_all
from metering.events.writing import store
from metering.models import UsageBatch


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: an answer per event, in the order in which they were sent."""

    answers: list[Answer]
    batch: int | None = None

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(answer.status for answer in self.answers)
        return {status: found[status] for status in ("accepted", "duplicate", "conflict", "quarantined", "invalid")}


@without_collector()
def take(
    provider: Organization, documents: Iterable[Any], *, api_key: ApiKey | None = None, now: datetime | None = None
) -> Taken:
    """Count each event once. Never raises for what an event says: that is in its answer.

    documents  parsed JSON, or `Refused` for what could not be parsed
    """
    events, given, now = read_all(documents), now, now or timezone.now()
    pools, customers, shut = _known(provider, events)
    sorted_ = sort(provider.pk, events, pools, customers, now, shut)
    if not sorted_.events:
        return Taken(_answered(sorted_, {}))
    with transaction.atomic():
        now = given or accepted_now()
        batch = UsageBatch.objects.create(provider=provider, api_key=api_key, received_at=now, rows=len(events))
        verdicts = sorted_.verdicts(store(provider, sorted_.rows(), batch, pools, customers))
        quarantine(provider, sorted_.payloads(verdicts), now)
        wake("metering.rollup")
    return Taken(_answered(sorted_, verdicts), batch.pk)


def _known(
    provider: Organization, events: Sequence[Event | Refused]
) -> tuple[dict[str, int], dict[str, int], set[tuple[str, str]]]:
    """The provider's pools and the customers that the events name, and which of these the pools do not admit."""
    pools, customers = named(events)
    own = list(Pool.objects.filter(organization=provider, identifier__in=pools).only(*_LISTS))
    known = dict(Organization.objects.filter(slug__in=customers).values_list("slug", "pk"))
    shut = {(pool.identifier, slug) for pool in own for slug in known if not _admits(pool, slug)}
    return {pool.identifier: pool.pk for pool in own}, known, shut


_LISTS: Final = ("identifier", "allow_organizations", "deny_organizations")


def _admits(pool: Pool, slug: str) -> bool:
    return (not pool.allow_organizations or slug in pool.allow_organizations) and slug not in pool.deny_organizations


def quarantine(provider: Organization, payloads: Iterable[tuple[Row, str]], now: datetime) -> None:
    """Keep what was not counted and is no repetition, once per payload."""
    kept = [(row, reason) for row, verdict in payloads if (reason := _SAID[verdict].reason)]
    if not kept:
        return
    arguments: dict[str, Any] = {"provider": provider.pk, "now": now, "reason": [reason for _, reason in kept]}
    arguments |= {"key": [row.key for row, _ in kept], "digest": [row.digest for row, _ in kept]}
    arguments |= {"document": [orjson.dumps(row.event.document).decode() for row, _ in kept]}
    arguments |= {"occurred": [row.event.time for row, _ in kept]}
    with connection.cursor() as cursor:
        cursor.execute(sql.QUARANTINE, arguments)


def _answered(batch: Batch, verdicts: Mapping[int, str]) -> list[Answer]:
    """An answer to each event, in the order in which they were sent."""
    answers = [_new(Answer, ("accepted", "", None, "", event.id, event.series.source)) for event in batch.events]
    for n, verdict in verdicts.items():
        answers[n] = Answer(*_SAID[verdict][:4], *answers[n][4:])
    if not batch.refused:
        return answers
    every = batch.refused | dict(zip(batch.places, answers, strict=True))
    return [every[place] for place in range(len(every))]


_new: Final = tuple.__new__  # a named tuple's own constructor takes three times as long


class _Said(NamedTuple):
    """A verdict as it is answered, and the reason to keep the event apart, if there is one."""

    status: str
    code: str = ""
    field: str | None = None
    detail: str = ""
    reason: str = ""


_SAID: Final = {
    "duplicate": _Said("duplicate"),
    "key_taken": _Said("conflict", "key_taken", "id", "another event has this source and id; the first stands", "conflict"),
    "seq_used": _Said(
        "conflict", "seq_used", "data.seq", "another event has this reading's boot_id and seq; the first stands", "conflict"
    ),
    "too_old": _Said(
        "quarantined", "too_old", "time", "more than 35 days old; an operator decides whether it counts", "too_old"
    ),
}
