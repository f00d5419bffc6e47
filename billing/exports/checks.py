"""Rules of FOCUS 1.2 on a file's rows. Pure, one pass; memory grows with what must be unique, not with the rows.

The public validator infers types per column and coerces moments, cannot run its rules over sums, and has dead ones for
price x quantity = cost; here they run, from the data in `columns.py`. Each rule is named in RULES and may be asked for alone.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Final

from billing.exports.columns import BY_NAME, COLUMNS, ONE_OF, PARENTS, PRICED, PRODUCTS, TOGETHER, Column

Cells = Mapping[str, str]
_EXACT: Final = Context(prec=80)
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")
_MOMENT: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NOT_CURRENCIES: Final = frozenset({"RMB", "CNH", "NTD", "UKP"})  # in use, but not in ISO 4217


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: its name, the column, the row (1 is the first after the header, 0 the file), and what is wrong."""

    rule: str
    column: str
    row: int
    what: str

    def __str__(self) -> str:
        where = f"row {self.row}" if self.row else "the file"
        return f"{self.rule}: {self.column} in {where}: {self.what}"


def check(header: Iterable[str], rows: Iterable[Cells], totals: Mapping[str, Decimal] | None = None) -> Iterator[Finding]:
    """Every broken rule. Empty cells are null. `totals` are what each InvoiceId must come to, where they are known."""
    names = set(header)
    missing = [column for column in COLUMNS if column.level in {"mandatory", "recommended"} and column.name not in names]
    yield from (Finding("presence", column.name, 0, f"a {column.level} column is missing") for column in missing)
    unknown = sorted(name for name in names if name not in BY_NAME and not name.startswith("x_"))
    yield from (Finding("custom", name, 0, "a column that is not of FOCUS must begin with x_") for name in unknown)
    known, sums = _Known({}), defaultdict[str, Decimal](Decimal)
    columns = [column for column in COLUMNS if column.name in names]
    for number, row in enumerate(rows, 1):
        yield from _of_row(columns, row, number)
        yield from known.met(row, number)
        if _DECIMAL.fullmatch(row.get("BilledCost", "")):
            sums[row.get("InvoiceId", "")] += Decimal(row["BilledCost"])
    for invoice, total in (totals or {}).items():
        if sums[invoice] != total:
            yield Finding("invoice_total", "BilledCost", 0, f"{invoice} comes to {sums[invoice]}, not to {total}")


def _of_row(columns: list[Column], row: Cells, number: int) -> Iterator[Finding]:
    for column in columns:
        for rule, broken in RULES.items():
            if what := broken(column, row.get(column.name, ""), row):
                yield Finding(rule, column.name, number, what)
    for rule, relation in RELATIONS.items():
        yield from (Finding(rule, name, number, what) for name, what in relation(row))


@dataclass(slots=True)
class _Known:
    """What has one value in a whole file, and which it had first."""

    first: dict[tuple[str, str, str], str]

    def met(self, row: Cells, number: int) -> Iterator[Finding]:
        for left, right in ONE_OF:
            if (key := row.get(left, "")) and (value := row.get(right, "")):
                before = self.first.setdefault((left, right, key), value)
                if before != value:
                    yield Finding("one_of", right, number, f"{left} {key} has {before!r} and {value!r}")


def _nullability(column: Column, cell: str, row: Cells) -> str:
    return "must not be null" if not column.nullable and not cell else ""


def _kind(column: Column, cell: str, row: Cells) -> str:
    if not cell:
        return ""
    if column.kind == "json":
        return "" if _is_object(cell) else "is no JSON object"
    if column.kind in {"decimal", "moment"}:
        form = _DECIMAL if column.kind == "decimal" else _MOMENT
        return "" if form.fullmatch(cell) else f"is no {column.kind}: {cell!r}"
    return "" if column.kind != "ascii" or cell.isascii() else f"is not ASCII: {cell!r}"


def _is_object(cell: str) -> bool:
    try:
        return isinstance(json.loads(cell), dict)
    except ValueError:
        return False


def _allowed(column: Column, cell: str, row: Cells) -> str:
    return f"{cell!r} is not allowed" if cell and column.allowed and cell not in column.allowed else ""


def _range(column: Column, cell: str, row: Cells) -> str:
    number = _number(cell)
    return f"{cell} is below {column.at_least}" if column.at_least is not None and number is not None and number < 0 else ""


def _category(column: Column, cell: str, row: Cells) -> str:
    """Null or not by the charge's category and class, `Column.rule`."""
    category, correction = row.get("ChargeCategory", ""), row.get("ChargeClass", "") == "Correction"
    if column.rule in {"priced", "unpriced_tax"} and category == "Tax" and cell:
        return "must be null for Tax"
    if column.rule == "priced" and category in PRICED and not correction and not cell:
        return f"must not be null for {category}"
    return "must be null but for Usage" if column.rule == "usage_only" and category != "Usage" and cell else ""


def _currency(column: Column, cell: str, row: Cells) -> str:
    if not cell or column.name not in {"BillingCurrency", "PricingCurrency"}:
        return ""
    return "" if _CURRENCY.fullmatch(cell) and cell not in _NOT_CURRENCIES else f"{cell!r} is no code of ISO 4217"


RULES: Final[Mapping[str, Callable[[Column, str, Cells], str]]] = {
    "nullability": _nullability, "kind": _kind, "allowed": _allowed, "range": _range, "category": _category, "currency": _currency,
}  # fmt: skip


def _number(cell: str) -> Decimal | None:
    try:
        return Decimal(cell) if cell else None
    except InvalidOperation:
        return None


def _together(row: Cells) -> Iterator[tuple[str, str]]:
    for left, right in TOGETHER:
        if left in row and right in row and bool(row[left]) != bool(row[right]):
            yield right, f"is null where {left} is not, or the other way round"


def _products(row: Cells) -> Iterator[tuple[str, str]]:
    for price_name, cost_name in PRODUCTS:
        price, quantity, cost = (_number(row.get(name, "")) for name in (price_name, "PricingQuantity", cost_name))
        if price is None or quantity is None or cost is None or row.get("ChargeClass") == "Correction":
            continue
        if _EXACT.multiply(price, quantity) != cost:
            yield cost_name, f"{price_name} {price} x PricingQuantity {quantity} is not {cost}"


def _periods(row: Cells) -> Iterator[tuple[str, str]]:
    for start, end in (("BillingPeriodStart", "BillingPeriodEnd"), ("ChargePeriodStart", "ChargePeriodEnd")):
        if row.get(start) and row.get(end) and not row[start] < row[end]:
            yield end, f"is not after {start}"


def _frequency(row: Cells) -> Iterator[tuple[str, str]]:
    if row.get("ChargeCategory") == "Purchase" and row.get("ChargeFrequency") == "Usage-Based":
        yield "ChargeFrequency", "must not be Usage-Based for Purchase"


def _parent(row: Cells) -> Iterator[tuple[str, str]]:
    parent = PARENTS.get(row.get("ServiceSubcategory", ""))
    if parent is not None and row.get("ServiceCategory") != parent:
        yield "ServiceSubcategory", f"is one of {parent}"


def _consumed(row: Cells) -> Iterator[tuple[str, str]]:
    wanted = row.get("ChargeCategory") == "Usage" and row.get("ChargeClass") != "Correction" and "ConsumedQuantity" in row
    if wanted and (not (quantity := _number(row["ConsumedQuantity"])) or quantity < 0):
        yield "ConsumedQuantity", "must be positive for Usage"


RELATIONS: Final[Mapping[str, Callable[[Cells], Iterator[tuple[str, str]]]]] = {
    "together": _together, "product": _products, "periods": _periods, "frequency": _frequency, "consumed": _consumed,
    "parent": _parent,
}  # fmt: skip
