"""Parked amounts: an operator looks at the facts, and posts or refuses exactly these."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from django.db import transaction
from django.utils import timezone

from billing.models import ParkedPeriod
from billing.periods.posting import LARGEST
from billing.periods.runs import rate_periods, safe_cutoff
from core.errors import Conflict, NotFound
from marketplace.models import User


def approve(numbers: Sequence[int], user: User, note: str = "") -> list[ParkedPeriod]:
    """Post what was parked. Facts that have changed since are parked anew instead.

    Raises NotFound `parked_unknown`, Conflict `parked_decided | parked_impossible`.
    """
    with transaction.atomic():
        decided = _decide(numbers, user, ParkedPeriod.State.APPROVED, note)
        if any(not 0 <= one.total_micros <= LARGEST for one in decided):
            raise Conflict("parked_impossible", "no ledger can hold this amount: correct its usage or its price")
        for month, late, organizations in _months(decided):
            rate_periods(organizations, month, safe_cutoff(), final=True, late=late)
    return decided


def refuse(numbers: Sequence[int], user: User, note: str = "") -> list[ParkedPeriod]:
    """Never post these facts. Raises NotFound `parked_unknown`, Conflict `parked_decided`."""
    with transaction.atomic():
        return _decide(numbers, user, ParkedPeriod.State.REFUSED, note)


def _decide(numbers: Sequence[int], user: User, state: str, note: str) -> list[ParkedPeriod]:
    found = list(ParkedPeriod.objects.filter(pk__in=numbers).select_related("organization", "subject__offer__pool", "decided_by"))
    if len(found) < len(set(numbers)):
        raise NotFound("parked_unknown", "nothing of this number is parked")
    values = {"state": state, "decided_at": timezone.now(), "decided_by": user, "note": note}
    changed = ParkedPeriod.objects.filter(pk__in=numbers, state=ParkedPeriod.State.OPEN).update(**values)
    if changed < len(found):
        raise Conflict("parked_decided", "this was decided already")
    for one in found:
        for name, value in values.items():
            setattr(one, name, value)
    return found


def _months(decided: Sequence[ParkedPeriod]) -> list[tuple[date, bool, list[int]]]:
    """(month, whether it is corrected only by word, organizations)."""
    found: dict[tuple[date, bool], set[int]] = {}
    for one in decided:
        month = (one.period.lower + timedelta(days=15)).date().replace(day=1)
        found.setdefault((month, one.reason == ParkedPeriod.Reason.LATE), set()).add(one.organization_id)
    return [(month, late, sorted(organizations)) for (month, late), organizations in sorted(found.items())]
