"""Taxes: which there are, how much each is from when on, and who is asked for them. Doors for operators only.

An invoice takes, for each tax that its customer is assigned to at the end of its month, the rate of the assignment's category that
is in force then: the one of the customer's region if there is one, otherwise the one that names no region (sql.TAX).
Rates and assignments are dated: a new one ends the one that would run into it, and nothing changes what is past.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from billing.models import Tax, TaxAssignment, TaxRate
from core.errors import Conflict, Invalid, NotFound

Row = TypeVar("Row", TaxRate, TaxAssignment)
STANDARD: Final = "standard"
EARLY: Final = timedelta(minutes=5)  # a beginning this long ago still means "now": forms take time

_END_RATES: Final = """
UPDATE billing_taxrate rate SET valid = tstzrange(lower(valid), begun.at)
  FROM unnest(%(taxes)s::bigint[], %(regions)s::bigint[], %(categories)s::text[], %(starts)s::timestamptz[])
    AS begun (tax, region, category, at)
 WHERE rate.tax_id = begun.tax AND rate.region_id IS NOT DISTINCT FROM begun.region AND rate.category = begun.category
   AND valid @> begun.at AND lower(valid) < begun.at
"""
_END_ASSIGNMENTS: Final = """
UPDATE billing_taxassignment assigned SET valid = tstzrange(lower(valid), begun.at)
  FROM unnest(%(taxes)s::bigint[], %(organizations)s::bigint[], %(starts)s::timestamptz[]) AS begun (tax, organization, at)
 WHERE assigned.tax_id = begun.tax AND assigned.organization_id = begun.organization
   AND valid @> begun.at AND lower(valid) < begun.at
"""
_STOP: Final = """
UPDATE billing_taxassignment SET valid = tstzrange(lower(valid), %(at)s)
 WHERE id = ANY(%(numbers)s) AND valid @> %(at)s AND lower(valid) < %(at)s AND upper(valid) IS DISTINCT FROM %(at)s
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class RateDraft:
    """A rate that is to be in force from `start` (None: now): of a category, in a region or (None) everywhere."""

    tax: int
    percent: Decimal
    category: str = STANDARD
    region: int | None = None
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class AssignmentDraft:
    """An organization that is to be asked for a tax of a category from `start` (None: now) on."""

    tax: int
    organization: int
    category: str = STANDARD
    start: datetime | None = None


def add_tax(code: str, name: str) -> Tax:
    """A new kind of tax. Raises Conflict `tax_taken`."""
    try:
        with transaction.atomic():
            return Tax.objects.create(code=code, name=name)
    except IntegrityError:
        raise Conflict("tax_taken", "there is a tax of this code already", field="code") from None


def tax_named(code: str) -> Tax:
    """Raises NotFound `tax_unknown`."""
    tax = Tax.objects.filter(code=code).first()
    if tax is None:
        raise NotFound("tax_unknown", "no such tax", field="tax")
    return tax


def set_rates(drafts: Sequence[RateDraft]) -> list[TaxRate]:
    """Put rates in force; each ends the one of its tax, category and region that would run into it. All of them or none.

    Raises Invalid `tax_invalid`, Conflict `tax_rate_overlaps`.
    """
    now = timezone.now()
    starts = [_start(draft.start, now) for draft in drafts]
    for draft in drafts:
        if not 0 <= draft.percent <= 100:
            raise Invalid("tax_invalid", "per cent, from 0 to 100", field="percent")
    made = [
        TaxRate(tax_id=one.tax, percent=one.percent, category=one.category, region_id=one.region, valid=DateTimeTZRange(at, None))
        for one, at in zip(drafts, starts, strict=True)
    ]
    columns: dict[str, Any] = {"taxes": [one.tax for one in drafts], "regions": [one.region for one in drafts], "starts": starts}

    def write() -> list[TaxRate]:
        _run(_END_RATES, columns | {"categories": [one.category for one in drafts]})
        return TaxRate.objects.bulk_create(made)

    detail = "a later rate of this tax, category and region is set already"
    return _unless(write, "tax_rates_do_not_overlap", "tax_rate_overlaps", detail)


def assign_taxes(drafts: Sequence[AssignmentDraft]) -> list[TaxAssignment]:
    """Ask organizations for taxes; each ends the assignment to the same tax that would run into it. All of them or none.

    Raises Invalid `tax_invalid`, Conflict `tax_assignment_overlaps`.
    """
    now = timezone.now()
    starts = [_start(draft.start, now) for draft in drafts]
    made = [
        TaxAssignment(tax_id=one.tax, organization_id=one.organization, category=one.category, valid=DateTimeTZRange(at, None))
        for one, at in zip(drafts, starts, strict=True)
    ]
    organizations = [one.organization for one in drafts]
    columns: dict[str, Any] = {"taxes": [one.tax for one in drafts], "organizations": organizations, "starts": starts}

    def write() -> list[TaxAssignment]:
        _run(_END_ASSIGNMENTS, columns)
        return TaxAssignment.objects.bulk_create(made)

    detail = "a later assignment of this organization to the tax is set already"
    return _unless(write, "tax_assignments_do_not_overlap", "tax_assignment_overlaps", detail)


def stop_assignments(numbers: Sequence[int], at: datetime | None = None) -> list[int]:
    """Ask no more from a moment (None: now) on. Returns which assignments ended by this; those that are over stay as they are.

    Raises Invalid `tax_invalid`.
    """
    with connection.cursor() as cursor:
        cursor.execute(_STOP, {"numbers": list(numbers), "at": _start(at, timezone.now())})
        return sorted(number for (number,) in cursor.fetchall())


def _start(wanted: datetime | None, now: datetime) -> datetime:
    if wanted is not None and wanted < now - EARLY:
        raise Invalid("tax_invalid", "a tax does not change what is past", field="start")
    return wanted or now


def _unless(write: Callable[[], list[Row]], constraint: str, code: str, detail: str) -> list[Row]:
    """What was written, or Conflict where a constraint refuses it."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        if constraint not in str(error):
            raise
        raise Conflict(code, detail, field="start") from None


def _run(statement: str, columns: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, columns)
