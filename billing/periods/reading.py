"""From rows to what is rated: months, facts, price lists. A constant number of statements for any number of customers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection

from billing.periods.events import Place, Reported, reported_of
from billing.periods.prices import Price, parse_price
from billing.periods.rating import Month, Rated, Usage, rate_usage
from billing.periods.sql import FACTS, IMAGINED
from billing.rating.currencies import rounded
from core.money import MICROS
from marketplace.models import Offer
from marketplace.services.contracts import Terms, terms_of
from metering.peaks import Interval, day_start
from metering.peaks.grid import moment_of

PLAIN = ("core_second", "accelerator_second", "fp32_tflop", "gb_moved", "occupancy_second", "held_second", "result")


class Key(NamedTuple):
    """What one line is of: subject and month. Of an offer, or of a capability's version; the other is 0."""

    organization: int
    offer: int
    payer: str
    start: datetime
    meter: str
    version: int = 0


class Payee(NamedTuple):
    """Who gets what the platform does not keep: a provider or a publisher; and in which currency."""

    provider: int | None
    publisher: int | None
    currency: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The usage of one customer and month under one price list, by who pays.

    digest  SHA-256 of the records' numbers; where the pool reported anything, of this and the digests of that (`digest_with`)
    """

    organization: int
    offer: int
    payer: str
    start: datetime
    count: int
    digest: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Listed:
    """An offer as a price: whose pool, in which currency, for which time."""

    provider: int
    currency: str
    price: Price
    start: datetime | None
    end: datetime | None

    def active(self, zone: ZoneInfo) -> tuple[date | None, date | None]:
        """The local days [from, to) on which it was in force."""
        first = self.start and self.start.astimezone(zone).date()
        return first, self.end and (self.end - timedelta(microseconds=1)).astimezone(zone).date() + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One meter of one customer and month, rated."""

    key: Key
    month: Month
    payee: Payee
    rated: Rated
    facts: int
    digest: str
    is_measured: bool = True  # the platform measured what it counts; False: the pool reports that meter itself


def total_micros(rated: Rated) -> int:
    """The cumulative amount, rounded once, half up."""
    return rounded(Fraction(rated.amount) * MICROS)


def months_of(organizations: Iterable[int], month: date) -> tuple[dict[int, Month], dict[int, Terms]]:
    """The calendar month of each organization, and the terms it began under.

    A month begins where its first day begins in the zone of the contract then in force, and ends where the next one
    begins: so months never overlap and leave no gap, whatever becomes of the zone.
    """
    first = month.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    now, then = (terms_of(organizations, datetime(day.year, day.month, 1, tzinfo=UTC)) for day in (first, following))
    months = {
        one: Month(first, terms.zone, moment_of(day_start(first, terms.zone)), moment_of(day_start(following, then[one].zone)))
        for one, terms in now.items()
    }
    return months, now


def facts_of(months: Mapping[int, Month], cutoff: datetime) -> list[Facts]:
    """What was handed over to be charged by period, and what pools reported, before the cutoff.

    Two statements, and a few more where somebody subscribed to what pools report.
    """
    measured = [_facts(row) for row in rows(FACTS, {**windows(months), "cutoff": cutoff})]
    return _together(measured, reported_of(months, cutoff))


def _together(measured: Sequence[Facts], reported: dict[Place, Reported]) -> list[Facts]:
    found = [_with(one, reported.pop((one.organization, one.offer, one.start), None)) for one in measured if one.payer == "user"]
    alone = [_with(Facts(*place[:2], "user", place[2], 0, "", Usage({})), one) for place, one in reported.items()]
    others = [one for one in measured if one.payer != "user"]
    return sorted([*found, *alone, *others], key=lambda one: (one.organization, one.offer, one.payer, one.start))


def _with(facts: Facts, reported: Reported | None) -> Facts:
    """What was measured and what was reported, as one usage: tiers count both."""
    if reported is None:
        return facts
    added = {meter: facts.usage.quantities.get(meter, Fraction(0)) + more for meter, more in reported.usage.quantities.items()}
    usage = Usage({**facts.usage.quantities, **added}, facts.usage.intervals, reported.usage.days)
    count, digest = facts.count + reported.count, digest_with(facts.digest, reported.digests)
    return replace(facts, usage=usage, count=count, digest=digest)


def digest_with(records: str, reported: Mapping[str, Sequence[str]]) -> str:
    """SHA-256, in hexadecimal, of the records' digest and of each meter's: a line of words each."""
    lines = [f"records {records}", *(" ".join([meter, *reported[meter]]) for meter in sorted(reported))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def imagined_of(months: Mapping[int, Month], cutoff: datetime, price: Price) -> list[Facts]:
    """Everything that users paid for in these months, in whatever way, as `price` counts it: by pool, in the offer's place.

    Of what pools reported that which `price` names, where the user had agreed to pay for reports.
    """
    counting = {"quantum": price.time.quantum, "minimum": price.time.minimum, "is_peak": price.policy is not None}
    measured = [_facts(row) for row in rows(IMAGINED, {**windows(months), "cutoff": cutoff, **counting})]
    return _together(measured, reported_of(months, cutoff, price))


def windows(months: Mapping[int, Month]) -> dict[str, list[Any]]:
    """The months as columns."""
    starts, ends = ([getattr(month, end) for month in months.values()] for end in ("start", "end"))
    return {"organizations": list(months), "starts": starts, "ends": ends}


def _facts(row: Sequence[Any]) -> Facts:
    organization, offer, payer, start, count, digest, *rest = row
    quantities = {meter: Fraction(value) for meter, value in zip(PLAIN, rest[:7], strict=True)}
    begins, ends, cores, devices = (values or [] for values in rest[7:])
    held = {"held_cores": cores, "held_accelerators": devices}
    intervals = {meter: [Interval(*each) for each in zip(begins, ends, held[meter], strict=True)] for meter in held}
    return Facts(organization, offer, payer, start, count, digest, Usage(quantities, intervals))


def listed_of(offers: Iterable[int]) -> dict[int, Listed]:
    """The price lists of these offers. Two statements."""
    found = Offer.objects.filter(pk__in=set(offers)).select_related("pool").prefetch_related("rates")
    return {offer.pk: listed(offer) for offer in found}


def listed(offer: Offer) -> Listed:
    """A price list by its rows; a flat one is read like any other."""
    rates = {rate.meter: rate.document or format(rate.unit_price, "f") for rate in offer.rates.all()}
    price = parse_price(offer.basis, rates, offer.rules)
    return Listed(offer.pool.organization_id, offer.currency, price, offer.valid.lower, offer.valid.upper)


def lines_of(months: Mapping[int, Month], cutoff: datetime, *, final: bool) -> list[Line]:
    """Every line of pools' price lists of these months; publishers' fees are in fees.py."""
    facts = facts_of(months, cutoff)
    prices = listed_of(one.offer for one in facts)
    return [line for one in facts for line in rated_of(one, prices[one.offer], months[one.organization], final=final)]


def rated_of(facts: Facts, listed: Listed, month: Month, *, final: bool) -> list[Line]:
    """The lines of one price list's facts."""
    found = rate_usage(listed.price, facts.usage, month, listed.active(month.zone), final=final)
    whose, payee = (facts.organization, facts.offer, facts.payer, facts.start), Payee(listed.provider, None, listed.currency)
    return [
        Line(Key(*whose, rated.meter), month, payee, rated, facts.count, facts.digest, rated.meter not in listed.price.events)
        for rated in found
    ]


def rows(statement: str, arguments: Mapping[str, Any]) -> list[Any]:
    """The answer of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())
