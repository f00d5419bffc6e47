"""The kinds of exports: their columns, who may ask for them as what, how they may be written, and their rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

from billing.exports.columns import Column
from billing.exports.everybody import count_for_everybody, lines_of_everybody
from billing.exports.focus import focus_rows, periods_in
from billing.exports.rows import in_ascii
from billing.exports.sources import SOURCES, Question, Row, count_of, rows_of
from billing.exports.tables import ACCELERATORS, APEL, CHARGES, FOCUS, LEDGER, STATEMENTS, USAGE, Table
from billing.exports.writers import TABULAR
from billing.models import InvoicedCharge
from billing.queries import GROUPS, PARTIES, Statement, count_tasks, flow_of

EVERYBODY: Final = "all"
_RENAMED: Final = {"organization": "customer"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    parties  as whom one may ask, the first by default; `all` is for operators
    formats  of writers.FORMATS, the first by default
    rows     all of them, in constant memory
    count    how many there are, exactly up to `most`; None: nobody knows without writing them
    money    has a currency that may be asked for
    groups   what rows may be grouped by, the first by default
    sites    a site's name may be given, by which a computing centre is known elsewhere
    """

    table: Table
    parties: tuple[str, ...]
    rows: Callable[[Question], Iterator[Row]]
    count: Callable[[Question, int], int | None]
    money: bool = True
    groups: tuple[str, ...] = ()
    formats: tuple[str, ...] = TABULAR
    sites: bool = False


def _statement(question: Question) -> Statement:
    window = question.start, question.end
    return Statement(question.party, question.account(), question.currency, *window, question.group_by)


def _statement_rows(question: Question) -> Iterator[Row]:
    if question.organization is None:
        yield from _everybodys_rows(question)
        return
    statement = _statement(question)
    head = {"party": statement.party, "organization": statement.organization.slug, "currency": statement.currency}
    for line in flow_of(statement):
        yield {_RENAMED.get(name, name): _number(name, value) for name, value in line.items()} | head


def _everybodys_rows(question: Question) -> Iterator[Row]:
    for line in lines_of_everybody(question):
        head = {"organization": line.pop("owner"), "currency": question.currency}
        yield {_RENAMED.get(name, name): _number(name, value) for name, value in line.items()} | head


def _number(name: str, value: Any) -> Any:
    return Decimal(value) if name in _NUMBERS else value


_NUMBERS: Final = frozenset(column.name for column in STATEMENTS.columns if column.kind == "number")


def _statement_count(question: Question, most: int) -> int | None:
    """At least as many as tasks; few tasks make few lines."""
    if question.organization is None:
        return count_for_everybody(question, most)
    tasks = count_tasks(_statement(question), most)
    return tasks if tasks <= most else None


def _focus_rows(question: Question) -> Iterator[Row]:
    for period in _periods(question):
        yield from focus_rows(period)


def _focus_count(question: Question, most: int) -> int | None:
    found = InvoicedCharge.objects.filter(line__invoice__period__in=_periods(question))[: most + 1].count()
    return found if found <= most else None


def _periods(question: Question) -> Any:
    return periods_in(question.account(), question.currency, question.start, question.end)


def _of(kind: str) -> tuple[Callable[[Question], Iterator[Row]], Callable[[Question, int], int | None]]:
    return partial(rows_of, SOURCES[kind]), partial(count_of, SOURCES[kind])


KINDS: Final = {
    "usage": Kind(USAGE, ("user", "provider", EVERYBODY), *_of("usage"), money=False),
    "charges": Kind(CHARGES, ("user", EVERYBODY), *_of("charges")),
    "statements": Kind(STATEMENTS, (*PARTIES, EVERYBODY), _statement_rows, _statement_count, groups=tuple(GROUPS)),
    "ledger": Kind(LEDGER, ("own", EVERYBODY), *_of("ledger")),
    "apel": Kind(APEL, ("provider", EVERYBODY), *_of("apel"), money=False, formats=("messages",), sites=True),
    "accelerators": Kind(
        ACCELERATORS, ("provider", EVERYBODY), *_of("accelerators"), money=False, formats=("json",), sites=True
    ),
    "focus": Kind(FOCUS, ("own",), _focus_rows, _focus_count),
}


def ascii_rows(columns: Sequence[Column], rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows in ASCII: a name becomes its own without accents or else the identifier beside it, other text is escaped."""
    texts = [column for column in columns if column.kind in {"text", "json"}]
    for row in rows:
        yield row | {column.name: _ascii(column, row) for column in texts if not _is_plain(row.get(column.name))}


def _is_plain(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.isascii())


def _ascii(column: Column, row: Row) -> str:
    value, stem = row[column.name], column.name.removesuffix("_name")
    if stem != column.name and row.get(stem):
        return in_ascii(value, row[stem])
    if column.kind == "json":
        return json.dumps(json.loads(value) if isinstance(value, str) else value)
    return str(value).encode("ascii", "backslashreplace").decode()
