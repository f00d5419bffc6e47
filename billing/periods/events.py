"""What pools reported, as usage under the price lists then in force. A constant number of statements for any number of customers.

Every event belongs to the list that was in force when it happened; of samples, to that of the moment at which its slot begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from billing.periods.events_sql import AMOUNTS, IMAGINED_SPANS, KEYED, LISTED, SPAN, SPANS
from billing.periods.prices import ONE_MS, Price
from billing.periods.rating import Month, Usage
from metering.peaks import Calendar, Day, calendar_of, digest_of
from metering.peaks.grid import edges_of, micros_of
from metering.periods import Subject, days_of_all


class Span(NamedTuple):
    """A series of events that one price list charges to a customer in [since, until) of a month.

    quantum, minimum  of occupancy, in seconds; quantum 0: none
    """

    organization: int
    month: datetime
    offer: int
    pool: int
    meter: str
    unit: str
    series: int
    since: datetime
    until: datetime
    is_peak: bool
    stat: str
    quantum: Fraction
    minimum: Fraction

    @property
    def subject(self) -> Subject:
        return Subject(self.organization, self.pool, self.meter, self.unit)


Place = tuple[int, int, datetime]  # organization, offer, beginning of the month


@dataclass(slots=True)
class Reported:
    """What was reported under one price list in a month: `digests` are of the events and of the slots, by meter."""

    usage: Usage
    count: int
    digests: dict[str, list[str]]


def reported_of(months: Mapping[int, Month], cutoff: datetime, price: Price | None = None) -> dict[Place, Reported]:
    """What was reported in these months and accepted before the cutoff. One statement where nobody subscribed.

    price  a list that is only imagined, as if it were every pool's: places then name pools where offers stand
    """
    spans = spans_of(months) if price is None else imagined_spans(months, price)
    if not spans:
        return {}
    found: dict[Place, Reported] = {}
    quantities: dict[Place, dict[str, Fraction]] = defaultdict(dict)
    days = _days(spans, months, cutoff)
    for organization, month, offer, meter, raw, billed, count, digest in _of(spans, AMOUNTS, cutoff):
        place = (organization, offer, month)
        one = found.setdefault(place, Reported(Usage(quantities[place], days=days.get(place, {})), 0, {}))
        one.count += count
        one.digests[meter] = [digest, *_slots_digest(one.usage.days.get(meter))]
        if meter not in one.usage.days:
            quantities[place] |= {meter: Fraction(billed)} | ({"held_second": Fraction(raw)} if meter == "occupancy_second" else {})
    return found


def _slots_digest(days: Sequence[Day] | None) -> list[str]:
    return [] if days is None else [digest_of(days)]


def spans_of(months: Mapping[int, Month]) -> list[Span]:
    """What is charged to whom in these months. One statement."""
    starts, ends = ([getattr(month, end) for month in months.values()] for end in ("start", "end"))
    return [Span(*row) for row in _rows(SPANS, {"organizations": list(months), "starts": starts, "ends": ends})]


def imagined_spans(months: Mapping[int, Month], price: Price) -> list[Span]:
    """What a list would charge of what pools reported, to who agreed to pay for it. At most one statement."""
    if not price.events:
        return []
    starts, ends = ([getattr(month, end) for month in months.values()] for end in ("start", "end"))
    counted = [0, 0] if price.time == ONE_MS else [Fraction(part, 1000) for part in (price.time.quantum, price.time.minimum)]
    given = {"is_peak": price.policy is not None, "stat": price.policy.slot_stat if price.policy else "avg"}
    given |= {"quantum": Decimal(int(counted[0])), "minimum": Decimal(int(counted[1]))}
    given |= {"meters": list(price.events), "units": list(price.events.values())}
    windows = {"organizations": list(months), "starts": starts, "ends": ends}
    return [Span(*row) for row in _rows(IMAGINED_SPANS, windows | given)]


def events_of(spans: Sequence[Span], cutoff: datetime, limit: int) -> list[dict[str, Any]]:
    """The first events of these spans, in the order in which they happened."""
    return [dict(zip(EVENT, row, strict=True)) for row in (_of(spans, LISTED, cutoff, limit=limit) if spans else [])]


EVENT: Final = ("key", "source", "id", "meter", "unit", "time", "accepted_at", "quantity", "value", "gauge", "corrections")


def _of(spans: Sequence[Span], statement: str, cutoff: datetime, **more: Any) -> list[Any]:
    times = {"first": min(span.since for span in spans), "last": max(span.until for span in spans)}
    with transaction.atomic(savepoint=False):
        _rows(KEYED, {"on": "off"})
        found = _rows(statement, _columns(spans) | times | {"cutoff": cutoff} | more)
        _rows(KEYED, {"on": "on"})
    return found


def _columns(spans: Iterable[Span]) -> dict[str, Any]:
    return {name: list(column) for name, column in zip(SPAN, zip(*spans, strict=True), strict=True)}


def _days(
    spans: Sequence[Span], months: Mapping[int, Month], cutoff: datetime
) -> dict[Place, dict[str, list[Day]]]:
    """The days of what is charged by its peak, by price list and meter. A few statements for each way of filling slots."""
    parts: dict[tuple[Place, Subject, str], list[Span]] = defaultdict(list)
    for span in spans:
        if span.is_peak:
            parts[(span.organization, span.offer, span.month), span.subject, span.stat].append(span)
    asked: dict[str, dict[tuple[Subject, str], Calendar]] = defaultdict(dict)
    for (organization, _, _), subject, stat in parts:
        month = months[organization]
        asked[stat][subject, month.zone.key] = calendar_of(month.first, month.zone)
    days = {stat: days_of_all(wanted, stat, cutoff) for stat, wanted in sorted(asked.items())}
    found: dict[Place, dict[str, list[Day]]] = defaultdict(dict)
    for (place, subject, stat), each in parts.items():
        zone = months[place[0]].zone
        found[place][subject.meter] = within(days[stat][subject, zone.key], each, zone)
    return found


def within(days: Iterable[Day], spans: Sequence[Span], zone: ZoneInfo) -> list[Day]:
    """The days with 0 in every slot that begins outside of the spans; those wholly outside are left out."""
    bounds = [(micros_of(span.since), micros_of(span.until)) for span in spans]
    found = []
    for day in days:
        inside = [any(since <= at < until for since, until in bounds) for at in edges_of(day.local_day, zone)[:-1]]
        if any(inside):
            slots = zip(day.slots, inside, strict=True)
            found.append(Day(day.local_day, tuple(slot if counts else 0 for slot, counts in slots)))
    return found


def _rows(statement: str, arguments: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())
