"""What lists with dynamic rates cost under one round: frozen as a price list of its own, which the round's units are placed with.

A frozen list is an offer like any other to who measures, charges, corrects and exports: its rates are plain prices. It is never in
force (its period is empty), so nobody finds it but by what it priced; `origin` is the list that the pool shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from marketplace.dynamic import FORMULA, MODEL, Signal, parse, price_of
from marketplace.models import Offer, Rate


def freeze_prices(signals: Mapping[int, Signal], number: int, at: datetime) -> dict[int, int]:
    """Freeze what the lists among these with dynamic rates cost in a round: {list: its frozen list}; of others nothing.

    signals   list → what the round says of its pool
    Statements: one where none is dynamic, else five, however many there are. From then on neither list ever changes.
    """
    asked = Offer.objects.filter(pk__in=list(signals), per_period=False, rates__document__model=MODEL)
    lists = list(asked.distinct().order_by("pk").prefetch_related("rates"))
    if not lists:
        return {}
    markets = {one.pk: market_of(one, signals[one.pk], number, at) for one in lists}
    frozen = Offer.objects.bulk_create([_frozen(one, markets[one.pk], number) for one in lists])
    Rate.objects.bulk_create(
        Rate(offer=made, meter=rate.meter, unit_price=prices.get(rate.meter, rate.unit_price), of_round=True)
        for one, made in zip(lists, frozen, strict=True)
        for prices in [{meter: told["price"] for meter, told in markets[one.pk]["rates"].items()}]
        for rate in one.rates.all()
    )
    pairs = {one.pk: made.pk for one, made in zip(lists, frozen, strict=True)}
    Offer.objects.filter(pk__in=[*pairs, *pairs.values()], used=False).update(used=True)
    return pairs


def market_of(offer: Offer, signal: Signal, number: int, at: datetime) -> dict[str, Any]:
    """What a round made of a list's dynamic rates, as JSON: everything that its prices follow from."""
    rates = {}
    for rate in sorted(offer.rates.all(), key=lambda one: one.meter):
        if rate.document is not None:  # of a list by task: a dynamic one
            dynamic = parse(rate.document, rate.meter, rate.meter)
            resource, shadow = signal.shadow(rate.meter)
            price = format(price_of(dynamic, shadow, signal.seconds), "f")
            rates[rate.meter] = dynamic.document() | {"resource": resource, "shadow": format(shadow, "f"), "price": price}
    told = {"seconds": format(signal.seconds, "f"), "formula": FORMULA, "rates": rates}
    return {"round": number, "at": at.isoformat()} | told


def _frozen(offer: Offer, market: dict[str, Any], number: int) -> Offer:
    never = DateTimeTZRange(empty=True)
    said = {"basis": offer.basis, "currency": offer.currency}
    return Offer(pool_id=offer.pool_id, origin=offer, round=number, market=market, valid=never, **said)
