"""Months that were parked are let go on, once somebody has mended what was impossible.

    open --> closed
      |  ^
      v  |      parked: a run met something that PostgreSQL refuses; freed by an operator who says why, it is open again and
    parked      the next run closes it - or parks it anew, if it is still impossible

A trigger (migrations/sql/0025_freed_months.sql) keeps to the same moves, and lets none be freed without the row that says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from billing.models import BillingPeriod, FreedPeriod
from core.errors import Conflict, NotFound
from marketplace.models import User

MOVES: Final[Mapping[str, frozenset[str]]] = {
    "open": frozenset({"closed", "parked"}),
    "parked": frozenset({"open"}),
    "closed": frozenset(),
}

# One statement: the months that are parked, with what they were parked for, are open again.
_FREE: Final = """
WITH mine AS (
  SELECT id, parked_code, parked_detail, freed_count FROM billing_billingperiod
   WHERE id = ANY(%(numbers)s) AND state = 'parked' ORDER BY id FOR UPDATE
), kept AS (
  INSERT INTO billing_freedperiod (period_id, number, parked_code, parked_detail, reason, freed_by_id, freed_at)
  SELECT id, freed_count + 1, parked_code, parked_detail, %(reason)s, %(by)s, %(now)s FROM mine
  RETURNING period_id
)
SELECT period_id FROM kept
"""
_OPEN: Final = """
UPDATE billing_billingperiod SET state = 'open', parked_code = '', parked_detail = '', freed_count = freed_count + 1
 WHERE id = ANY(%(numbers)s) AND state = 'parked'
"""


def free_months(numbers: Sequence[int], reason: str, by: User | None) -> list[FreedPeriod]:
    """Let parked months go on; the next run closes them. All of them or none; a constant number of statements.

    Raises NotFound `not_found`, Conflict `period_not_parked`.
    """
    wanted = sorted(set(numbers))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FREE, {"numbers": wanted, "reason": reason, "by": None if by is None else by.pk, "now": timezone.now()})
        freed = [number for (number,) in cursor.fetchall()]
        if len(freed) < len(wanted):
            _refuse(set(wanted) - set(freed))
        cursor.execute(_OPEN, {"numbers": freed})
    rows = FreedPeriod.objects.filter(period__in=freed, number=F("period__freed_count"))
    return list(rows.select_related("period__organization").order_by("period"))


def _refuse(numbers: set[int]) -> None:
    known = set(BillingPeriod.objects.filter(pk__in=numbers).values_list("pk", flat=True))
    if numbers - known:
        raise NotFound("not_found", "no such month")
    raise Conflict("period_not_parked", "this month is not parked: there is nothing to free")
