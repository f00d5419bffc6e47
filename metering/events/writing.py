"""Writing the events of a batch that are new, and finding out about the others.

Nearly always nobody else writes the same events at the same time. So those that are stored are looked up, and what is left is
copied right into the table. Where somebody did commit one of them in between, the copy fails whole, by the table's own uniqueness,
and is done again by way of a stage and an INSERT that passes over what is there. Readings of counters always take that way: they
are also unique by boot and number, and change what the reading after them counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import UniqueViolation

from marketplace.models import Organization
from metering.events import sql
from metering.events.binary import COLUMNS, binary_of
from metering.events.reading import Amount, Series
from metering.events.sorting import Row
from metering.models import UsageBatch

_COPY: Final = f"COPY metering_usageevent ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)"


def store(
    provider: Organization, rows: Sequence[Row], stored: UsageBatch, pools: Mapping[str, int], customers: Mapping[str, int]
) -> dict[str, str]:
    """Write the rows that are new. Answers what kept the others out, by key: a stored digest, seq_used or too_old."""
    series = _series(provider, rows, pools, customers)
    if any(row.event.amount.value is not None for row in rows):
        return _staged(rows, stored, series)
    try:
        with transaction.atomic():
            return _copied(rows, stored, series)
    except UniqueViolation:
        return _staged(rows, stored, series)


def _series(
    provider: Organization, rows: Sequence[Row], pools: Mapping[str, int], customers: Mapping[str, int]
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


def _copied(rows: Sequence[Row], stored: UsageBatch, series: Mapping[Series, int]) -> dict[str, str]:
    """Look up what is there, copy the rest. UniqueViolation when somebody else wrote one of them meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(sql.STORED, {"keys": f"{{{','.join([row.key for row in rows])}}}"})  # as one text: a list is dear to send
        others: dict[str, str] = dict(cursor.fetchall())
        for row in rows:
            if row.old:
                others.setdefault(row.key, "too_old")
        new = [row for row in rows if row.key not in others]
        if new:
            with cursor.copy(_COPY) as copy:
                copy.write(binary_of(new, series, stored.pk, stored.received_at))
            _mark(cursor, new, series)
    return others


def _mark(cursor: CursorWrapper, rows: Sequence[Row], series: Mapping[Series, int]) -> None:
    """Leave the rows' hours dirty."""
    hours = {(event.series, event.at[:13]) for _, _, event, _ in rows}
    columns: dict[str, Any] = {"series": [series[one] for one, _ in hours], "hours": [f"{hour}:00Z" for _, hour in hours]}
    cursor.execute(sql.DIRTY_HOURS, columns)


def _staged(rows: Sequence[Row], stored: UsageBatch, series: Mapping[Series, int]) -> dict[str, str]:
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
