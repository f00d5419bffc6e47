"""Taking a batch: read, sorted, copied into a stage, and one INSERT that knows what is already there.

All in one transaction: whoever reads sees all of a batch or nothing of it, and a request that was cut off can be sent
again whole. How many statements it takes does not depend on how many events there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from django.db import connection, transaction
from django.utils import timezone

from core.wake import wake
from marketplace.models import ApiKey, Organization, Pool
from metering.cutoffs import accepted_now
from metering.events import sql
from metering.events.collector import without_collector
from metering.events.reading import Amount, Event, Refused, Series
from metering.events.sorting import Answer, Batch, Row, named, read_all, sort
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
    if not sorted_.rows:
        return Taken([answer for answer in sorted_.answers if answer is not None])
    with transaction.atomic():
        now = given or accepted_now()
        batch = UsageBatch.objects.create(provider=provider, api_key=api_key, received_at=now, rows=len(events))
        verdicts = list(sorted_.verdicts(store(provider, list(sorted_.rows.values()), batch, pools, customers)))
        quarantine(provider, verdicts, now)
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


def store(
    provider: Organization, rows: list[Row], stored: UsageBatch, pools: dict[str, int], customers: dict[str, int]
) -> dict[str, str]:
    """Write the rows that are new. Answers what kept the others out, by key: a stored digest, seq_used or too_old."""
    series = _series(provider, rows, pools, customers)
    arguments: dict[str, Any] = {"batch": stored.pk, "now": stored.received_at}
    with connection.cursor() as cursor:
        cursor.execute(sql.STAGE)
        with cursor.copy(sql.COPY) as copy:
            copy.write(_text(rows, series))
        cursor.execute(sql.INSERT, arguments)
        others: dict[str, str] = {}
        if cursor.rowcount < len(rows):
            cursor.execute(sql.OTHERS, arguments)
            others = {key.replace("-", ""): other.replace("-", "") for key, other in cursor.fetchall()}
        cursor.execute(sql.DIRTY)
        cursor.execute("TRUNCATE usage_stage")  # a later batch of the same transaction begins with an empty stage
    return others


def _series(
    provider: Organization, rows: list[Row], pools: dict[str, int], customers: dict[str, int]
) -> dict[Series, int]:
    wanted = sorted({row.event.series for row in rows})
    source, pool, customer, meter, unit = zip(*wanted, strict=True)
    arguments: dict[str, Any] = {"provider": provider.pk, "source": list(source), "meter": list(meter), "unit": list(unit)}
    arguments |= {"pool": [pools[one] for one in pool], "customer": [customers[one] for one in customer]}
    with connection.cursor() as cursor:
        cursor.execute(sql.SERIES, arguments)
        found = cursor.fetchall()
        if len(found) < len(wanted):
            cursor.execute(sql.NEW_SERIES, arguments)
            cursor.execute(sql.SERIES, arguments)
            found = cursor.fetchall()
    return {wanted[place - 1]: number for place, number in found}


def _text(rows: list[Row], series: Mapping[Series, int]) -> str:
    """The rows as COPY reads them."""
    lines = []
    amounts: dict[Amount, tuple[str, str]] = {}
    for row in rows:
        event = row.event
        amount = event.amount
        if amount not in amounts:
            first, *others = map(_cell, amount)
            amounts[amount] = first, "\t".join(others)
        quantity, counter = amounts[amount]
        labels = _NULL if event.labels is None else _cell(event.labels)
        lines.append(
            f"{row.key}\t{row.digest}\t{series[event.series]}\t{_cell(event.id)}\t{event.at}\t{quantity}\t{labels}\t{counter}\t{row.old}\n"
        )
    return "".join(lines)


_NULL: Final = "\\N"


def _cell(value: str | int | None) -> str:
    """Texts hold no control characters, so only the backslash is to be escaped."""
    if value is None:
        return _NULL
    return value.replace("\\", "\\\\") if isinstance(value, str) else str(value)


def quarantine(provider: Organization, verdicts: Iterable[tuple[Row, str]], now: datetime) -> None:
    """Keep what was not counted and is no repetition, once per payload."""
    kept = [(row, _SAID[verdict].reason) for row, verdict in verdicts if _SAID[verdict].reason]
    if not kept:
        return
    arguments: dict[str, Any] = {"provider": provider.pk, "now": now, "reason": [reason for _, reason in kept]}
    arguments |= {"key": [row.key for row, _ in kept], "digest": [row.digest for row, _ in kept]}
    arguments |= {"document": [orjson.dumps(row.event.document).decode() for row, _ in kept]}
    arguments |= {"occurred": [row.event.time for row, _ in kept]}
    with connection.cursor() as cursor:
        cursor.execute(sql.QUARANTINE, arguments)


def _answered(batch: Batch, verdicts: Iterable[tuple[Row, str]]) -> list[Answer]:
    answers = batch.answers
    for row, verdict in verdicts:
        first, *again = row.places
        answers[first] = _answer(row.event, verdict)
        for place in again:
            answers[place] = _answer(row.event, "duplicate" if verdict == "accepted" else verdict)
    return [answer for answer in answers if answer is not None]


def _answer(event: Event, verdict: str) -> Answer:
    said = _SAID[verdict]
    return Answer(said.status, said.code, said.field, said.detail, event.id, event.series.source)


@dataclass(frozen=True, slots=True)
class _Said:
    """A verdict as it is answered, and the reason to keep the event apart, if there is one."""

    status: str
    code: str = ""
    field: str | None = None
    detail: str = ""
    reason: str = ""


_SAID: Final = {
    "accepted": _Said("accepted"),
    "duplicate": _Said("duplicate"),
    "key_taken": _Said("conflict", "key_taken", "id", "another event has this source and id; the first stands", "conflict"),
    "seq_used": _Said(
        "conflict", "seq_used", "data.seq", "another event has this reading's boot_id and seq; the first stands", "conflict"
    ),
    "too_old": _Said(
        "quarantined", "too_old", "time", "more than 35 days old; an operator decides whether it counts", "too_old"
    ),
}
