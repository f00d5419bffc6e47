"""Price lists of pools. An offer that has priced an attempt never changes (a trigger sees to it)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import F, Func, QuerySet, Value
from django.utils import timezone

from core.errors import Conflict, Invalid
from core.wake import wake
from marketplace import tariffs
from marketplace.dynamic import is_dynamic
from marketplace.dynamic import parse as parse_dynamic
from marketplace.models import Offer, Organization, Pool, Rate
from marketplace.services.providers import activate_by_policy
from marketplace.tariffs import Tariff

MAX_PRICE: Final = Decimal(10**9)
MAX_PLACES: Final = 12
EARLY: Final = timedelta(minutes=1)  # a client's clock may be this much behind
# An offer without one of these would give the pool's time away.
_MAIN_METERS: Final = {
    "consumption": {"core_second", "accelerator_second", "fp32_tflop"},
    "occupancy": {"occupancy_second"},
    "result": {"result"},
    "daily_peak": {"held_cores", "held_accelerators"},
    "monthly_peak": {"held_cores", "held_accelerators"},
}


@dataclass(frozen=True)
class Terms:
    """What an offer says: basis, per meter a price as text or a rate as JSON, [valid_from, valid_to), currency, rules.

    customer   whose own price it is; None: the list price
    """

    basis: str
    rates: Mapping[str, Any]
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    currency: str = ""
    customer: Organization | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)


def publish_offer(pool: Pool, terms: Terms) -> Offer:
    """A new price list. An open-ended one ends the offer before it at its start.

    Raises Invalid `rates_invalid | rate_invalid | peak_policy_invalid | offer_in_the_past | offer_period_empty |
    currency_unsupported`, Conflict `offer_overlaps | pool_state`.
    """
    if pool.state == Pool.State.RETIRED:
        raise Conflict("pool_state", "a retired pool takes no offers", state=pool.state)
    tariff = read_terms(terms.basis, terms.rates, terms.rules, own=terms.customer is not None)
    currency = _supported(terms.currency or settings.CURRENCY)
    start, end = _period(terms, timezone.now())
    with transaction.atomic():
        Pool.objects.select_for_update().get(pk=pool.pk)  # offers of one pool come one after the other
        if end is None:
            _end_at(Offer.objects.filter(pool=pool, origin=None, customer=terms.customer, valid__contains=start), start)
        offer = _insert(pool, terms, currency, DateTimeTZRange(start, end), tariff)
        add_rates(offer, tariff)
        if terms.customer is not None or "events" in tariff.rules:  # nothing marks it later: attempts name the list they see
            Offer.objects.filter(pk=offer.pk).update(used=True)
        activate_by_policy(pool.pk)
    wake("scheduler.match")
    return Offer.objects.prefetch_related("rates").get(pk=offer.pk)


def read_terms(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any], *, own: bool = False) -> Tariff:
    """A price list: flat and dynamic ones are read here, those by period and customers' own by billing."""
    if own or tariffs.is_per_period(basis, rates, rules):
        if dynamic := sorted(meter for meter, rate in rates.items() if is_dynamic(rate)):
            detail = "a dynamic rate is charged task by task: not in a list by month, nor as a customer's own price"
            raise _wrong(dynamic[0], detail)
        return tariffs.read_tariff(basis, rates, rules)
    found = {meter: parse_dynamic(rate, f"rates.{meter}", meter) for meter, rate in rates.items() if is_dynamic(rate)}
    prices = parse_rates(basis, {meter: str(found[meter].ceiling) if meter in found else rate for meter, rate in rates.items()})
    documents = {meter: found[meter].document() if meter in found else None for meter in rates}
    return Tariff(documents, prices, {}, per_period=False)


def add_rates(offer: Offer, tariff: Tariff) -> None:
    """The rates of an offer that was just made."""
    Rate.objects.bulk_create(
        Rate(offer=offer, meter=meter, unit_price=price, document=tariff.documents[meter])
        for meter, price in sorted(tariff.prices.items())
    )


def _insert(pool: Pool, terms: Terms, currency: str, valid: DateTimeTZRange, tariff: Tariff) -> Offer:
    said = {"basis": terms.basis, "customer": terms.customer, "per_period": tariff.per_period, "rules": dict(tariff.rules)}
    try:
        with transaction.atomic():
            return Offer.objects.create(pool=pool, currency=currency, valid=valid, **said)
    except IntegrityError as error:
        if "offer_periods_do_not_overlap" not in str(error):
            raise
        detail = "another offer of this pool covers part of this period"
        raise Conflict("offer_overlaps", detail, field="valid_from") from None


def _end_at(offers: QuerySet[Offer], moment: datetime) -> None:
    """Shorten the offer that covers the moment; one that begins at it is left, and then overlaps."""
    lower = Func(F("valid"), function="lower")
    range_to = Func(lower, Value(moment), function="tstzrange", output_field=Offer._meta.get_field("valid"))
    offers.filter(valid__startswith__lt=moment).update(valid=range_to)


def _period(terms: Terms, now: datetime) -> tuple[datetime, datetime | None]:
    start = terms.valid_from or now
    if start < now - EARLY:
        raise Invalid("offer_in_the_past", "prices cannot change for the past", field="valid_from")
    start = max(start, now)
    if terms.valid_to is not None and terms.valid_to <= start:
        raise Invalid("offer_period_empty", "the offer would end before it begins", field="valid_to")
    return start, terms.valid_to


def _supported(currency: str) -> str:
    if currency != settings.CURRENCY:
        raise Invalid("currency_unsupported", f"this market counts in {settings.CURRENCY}", field="currency")
    return currency


def parse_rates(basis: str, rates: Mapping[str, str]) -> dict[str, Decimal]:
    """Unit prices from decimal text, in the currency per unit of the meter. Or Invalid `rates_invalid`."""
    check_meters(basis, rates)
    return {meter: _price(meter, text) for meter, text in rates.items()}


def check_meters(basis: str, rates: Mapping[str, Any], events: Collection[str] = ()) -> None:
    """Only meters that the basis knows, and one without which the pool's time would be free. Or Invalid `rates_invalid`.

    events  further meters, which the pool itself reports
    """
    if over := sorted(set(rates) - Rate.METERS_OF[basis] - set(events)):
        raise _wrong(over[0], f"a price by {basis} does not know the meter {over[0]}")
    if not _MAIN_METERS[basis] & set(rates):
        raise Invalid("rates_invalid", f"a price by {basis} needs {_either(basis)}", field="rates")


def _either(basis: str) -> str:
    return " or ".join(sorted(_MAIN_METERS[basis]))


def _price(meter: str, text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise _wrong(meter, "a price is decimal text, for example 0.0001") from None
    if not price.is_finite() or price < 0:
        raise _wrong(meter, "a price is not negative")
    if price > MAX_PRICE or -int(price.normalize().as_tuple().exponent) > MAX_PLACES:
        raise _wrong(meter, f"a price has at most {MAX_PLACES} places and is at most {MAX_PRICE}")
    return abs(price)


def _wrong(meter: str, detail: str) -> Invalid:
    return Invalid("rates_invalid", detail, field=f"rates.{meter}")
