"""Writing the events of a batch that are new, and finding out about the others.

Nearly always nobody else writes the same events at the same time. So those that are stored are looked up, while the rest of the
batch is still being read, and what is left is copied right into the table. Where somebody did commit one of them in between, the
copy fails whole, by the table's own uniqueness, and is done again by way of a stage and an INSERT that passes over what is there.
Readings of counters always take that way: they are also unique by boot and number, and change what the reading after them counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import UniqueViolation

from marketplace.models import Organization
from metering.events import sql
from metering.events.binary import COLUMNS, HEADER, TRAILER, binary_of_batch
from metering.events.columns import PART, Columns, reading
from metering.events.reading import Amount, Series
from metering.events.seen import Whose
from metering.events.sorting import Batch, Row
from metering.models import UsageBatch

STOPS: Final = 4
_COPY: Final = f"COPY metering_usageevent ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"


def looked_up(provider: int, documents: Sequence[Any]) -> tuple[Columns, dict[bytes, bytes]]:
    """A batch read, and the digests that are stored under its keys.

    In a pipeline, so that PostgreSQL looks up the keys of one quarter while the next is read. Readings are not looked up.
    """
    columns, asked = Columns(), []
    connection.ensure_connection()
    with connection.connection.pipeline():
        for keys in reading(columns, provider, documents, STOPS):
            if keys and not columns.readings:
                asked.append(connection.cursor())
                asked[-1].execute(sql.STORED, {"keys": f"{{{b''.join(keys).hex(',', 16)}}}"})  # as one text: a list is dear to send
        return columns, {bytes(key): bytes(digest) for cursor in asked for key, digest in cursor.fetchall()}


def store(
    provider: Organization, batch: Batch, stored: UsageBatch, pools: Mapping[str, int], customers: Mapping[str, int],
    known: Mapping[bytes, bytes],
) -> dict[bytes, bytes | str]:  # fmt: skip
    """Write what is new. Answers what kept the others out, by key: a stored digest, seq_used or too_old.

    known  what was stored before, as `looked_up`
    """
    numbers = numbers_of(provider, {of.series for of in set(batch.columns.whose)}, pools, customers)
    if not batch.columns.readings:
        with suppress(UniqueViolation), transaction.atomic():
            return _copied(batch, stored, numbers, known)
    others = staged([batch.row(n) for n in batch.first.values()], stored, numbers)
    return {bytes.fromhex(key): other if other in _NO_DIGESTS else bytes.fromhex(other) for key, other in others.items()}


_NO_DIGESTS: Final = frozenset({"seq_used", "too_old"})


def numbers_of(
    provider: Organization, series: Iterable[Series], pools: Mapping[str, int], customers: Mapping[str, int]
) -> dict[Series, int]:
    """The series' rows, made where they are new."""
    wanted = sorted(series)
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


def _copied(
    batch: Batch, stored: UsageBatch, numbers: Mapping[Series, int], known: Mapping[bytes, bytes]
) -> dict[bytes, bytes | str]:
    """Copy what is not known. UniqueViolation when somebody else wrote one of them meanwhile."""
    columns = batch.columns
    others: dict[bytes, bytes | str] = {key: digest for key, digest in known.items() if key in batch.first}
    for n in batch.old.intersection(batch.first.values()):
        others.setdefault(columns.keys[n], "too_old")
    with connection.cursor() as cursor:
        if new := [n for key, n in batch.first.items() if key not in others]:
            _mark(cursor, _copy(cursor, columns, sorted(new, key=columns.keys.__getitem__), stored, numbers), numbers)
    return others


def _copy(
    cursor: CursorWrapper, columns: Columns, new: Sequence[int], stored: UsageBatch, numbers: Mapping[Series, int]
) -> set[tuple[Whose, str]]:
    """In parts, because PostgreSQL writes one while the next is made. Answers the hours that it wrote to, found meanwhile.

    Ordered by key, so that the index is written from left to right and two batches never wait for each other in a circle.
    """
    ends = {of: binary_of_batch(numbers[of.series], stored.pk, stored.received_at) for of in set(columns.whose)}
    with cursor.copy(_COPY) as copy:
        copy.write(HEADER)
        for start in range(0, len(new), PART):
            copy.write(columns.binary(new[start : start + PART], ends))
        copy.write(TRAILER)
        return {(columns.whose[n], columns.ats[n][:13]) for n in new}


def _mark(cursor: CursorWrapper, hours: Collection[tuple[Whose, str]], numbers: Mapping[Series, int]) -> None:
    """Leave these hours dirty."""
    columns: dict[str, Any] = {"series": [numbers[of.series] for of, _ in hours], "hours": [f"{hour}:00Z" for _, hour in hours]}
    cursor.execute(sql.DIRTY_HOURS, columns)


def staged(rows: Sequence[Row], stored: UsageBatch, series: Mapping[Series, int]) -> dict[str, str]:
    """The same by way of the stage, whoever writes the same meanwhile; keys and digests in hex."""
    arguments: dict[str, Any] = {"batch": stored.pk, "now": stored.received_at}
    with connection.cursor() as cursor:
        cursor.execute(sql.STAGE)
        with cursor.copy(sql.COPY) as copy:
            copy.write(text_of(rows, series))
        cursor.execute(sql.INSERT, arguments)
        others: dict[str, str] = {}
        if cursor.rowcount < len(rows):
            cursor.execute(sql.OTHERS, arguments)
            others = {key.replace("-", ""): other.replace("-", "") for key, other in cursor.fetchall()}
        cursor.execute(sql.DIRTY)
        cursor.execute("TRUNCATE usage_stage")  # a later batch of the same transaction begins with an empty stage
    return others


def text_of(rows: Sequence[Row], series: Mapping[Series, int]) -> str:
    """The rows as COPY reads them into the stage."""
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
