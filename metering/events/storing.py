"""Taking a batch: read, sorted, compared with what is already there, and the rest of it copied.

All in one transaction: whoever reads sees all of a batch or nothing of it, and a request that was cut off can be sent
again whole. How many statements it takes does not depend on how many events there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any, Final, NamedTuple

import orjson
from django.db import connection, transaction
from django.utils import timezone

from core.wake import wake
from marketplace.models import ApiKey, Organization, Pool
from metering.cutoffs import accepted_now
from metering.events import sql
from metering.events.collector import without_collector
from metering.events.columns import Columns
from metering.events.sorting import Answer, Batch, sort
from metering.events.writing import looked_up, store
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
    provider: Organization, documents: Sequence[Any], *, api_key: ApiKey | None = None, now: datetime | None = None
) -> Taken:
    """Count each event once. Never raises for what an event says: that is in its answer.

    documents  parsed JSON, or `Refused` for what could not be parsed
    """
    given, now = now, now or timezone.now()
    columns, known = looked_up(provider.pk, documents)
    pools, customers, shut = _known(provider, columns)
    batch = sort(columns, documents, pools, customers, now, shut)
    if not columns.ids:
        return Taken(_answered(batch, {}))
    with transaction.atomic():
        now = given or accepted_now()
        stored = UsageBatch.objects.create(provider=provider, api_key=api_key, received_at=now, rows=len(documents))
        verdicts = batch.verdicts(store(provider, batch, stored, pools, customers, known))
        quarantine(provider, batch, verdicts, now)
        wake("metering.rollup")
    return Taken(_answered(batch, verdicts), stored.pk)


def _known(provider: Organization, columns: Columns) -> tuple[dict[str, int], dict[str, int], set[tuple[str, str]]]:
    """The provider's pools and the customers that the events name, and which of these the pools do not admit."""
    series = [of.series for of in set(columns.whose)]
    pools, customers = {one.pool for one in series}, {one.subject for one in series}
    own = list(Pool.objects.filter(organization=provider, identifier__in=pools).only(*_LISTS))
    known = dict(Organization.objects.filter(slug__in=customers).values_list("slug", "pk"))
    shut = {(pool.identifier, slug) for pool in own for slug in known if not _admits(pool, slug)}
    return {pool.identifier: pool.pk for pool in own}, known, shut


_LISTS: Final = ("identifier", "allow_organizations", "deny_organizations")


def _admits(pool: Pool, slug: str) -> bool:
    return (not pool.allow_organizations or slug in pool.allow_organizations) and slug not in pool.deny_organizations


def quarantine(provider: Organization, batch: Batch, verdicts: Mapping[int, str], now: datetime) -> None:
    """Keep what was not counted and is no repetition, once per payload."""
    kept = [(batch.row(n), reason) for n, verdict in batch.payloads(verdicts) if (reason := _SAID[verdict].reason)]
    if not kept:
        return
    members = ("key", "digest", "reason", "document", "occurred_at")
    payloads = [
        dict(zip(members, (row.key, row.digest, reason, kept_of(row.event.document), row.event.time), strict=True))
        for row, reason in kept
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql.QUARANTINE, {"provider": provider.pk, "now": now, "kept": orjson.dumps(payloads).decode()})


def kept_of(document: dict[str, Any]) -> dict[str, Any]:
    """The document, but for attributes beside the known ones if PostgreSQL cannot hold them: NUL, or a hundred levels."""
    try:
        if b"\\u0000" not in orjson.dumps([{"document": document}]):
            return document
    except orjson.JSONEncodeError:
        pass
    return {name: document[name] for name in _KNOWN_ATTRIBUTES}


_KNOWN_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time", "data")


def _answered(batch: Batch, verdicts: Mapping[int, str]) -> list[Answer]:
    """An answer to each event, in the order in which they were sent."""
    columns = batch.columns
    sources = [of.series.source for of in columns.whose]
    accepted = zip(*map(repeat, ("accepted", "", None, "")), columns.ids, sources, strict=False)
    answers = list(map(tuple.__new__, repeat(Answer), accepted))  # its own constructor takes three times as long
    for n, verdict in verdicts.items():
        said = _SAID[verdict]
        answers[n] = Answer(said.status, said.code, said.field, said.detail, columns.ids[n], sources[n])
    if not batch.refused:
        return answers
    every = batch.refused | dict(zip(columns.places, answers, strict=True))
    return [every[place] for place in range(len(every))]


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
