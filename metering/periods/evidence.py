"""What makes a subject's peak provable, from the same days as of the same cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from metering.peaks.evidence import evidence_of
from metering.peaks.policy import Policy
from metering.periods.peaks import SCALE, SubjectPeak, days_of


def evidence_of_peak(
    found: SubjectPeak, policy: Policy, caps: Sequence[int] = (), *, cutoff: datetime | None = None
) -> dict[str, Any]:
    """A JSON document from which anyone can find the peak again: slots' digest, rank, winning and removed slots, formula.

    caps    what the customer may use at most, in thousandths, one per active day
    cutoff  the one that the peak was asked for with
    """
    days = days_of(found.subject, found.calendar, found.zone, found.stat, cutoff)
    documents = evidence_of(policy, days, found.calendar, ZoneInfo(found.zone), caps)
    [document] = [one for one in documents if found.local_day is None or _is_of(one, found)]
    return document | {"scale": SCALE, "stat": found.stat, "meter": found.subject.meter, "unit": found.subject.unit}


def _is_of(document: dict[str, Any], found: SubjectPeak) -> bool:
    return bool(document["winners"][0]["local_day"] == str(found.local_day))
