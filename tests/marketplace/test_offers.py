"""Offers: effective-dated, never overlapping, exact, and immutable once used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.models import Offer, Pool, Rate
from marketplace.services.offers import parse_rates
from tests import builders as build

pytestmark = pytest.mark.django_db
CHEAP = {"basis": "consumption", "rates": {"core_second": "0.0001", "gb_moved": "0"}}


def post(pool: Pool, **terms: Any) -> Any:
    return build.client_of(build.bob()).post(f"/api/v1/pools/{pool.identifier}/offers", {**CHEAP, **terms})


def an_unpriced_pool() -> Pool:
    return build.a_pool(state="verified")


def test_prices_are_kept_to_the_last_digit() -> None:
    answer = post(an_unpriced_pool(), rates={"core_second": "0.000000000001", "gb_moved": "12.50"})
    assert answer.status_code == 201
    assert answer.json()["rates"] == {"core_second": "0.000000000001", "gb_moved": "12.5"}
    assert Rate.objects.get(meter="core_second").unit_price == Decimal("0.000000000001")


def test_a_new_open_offer_ends_the_one_before_it_where_it_begins() -> None:
    pool = an_unpriced_pool()
    post(pool)
    later = timezone.now() + timedelta(days=2)
    assert post(pool, valid_from=later.isoformat(), rates={"core_second": "0.2"}).status_code == 201
    old, new = Offer.objects.order_by("pk")
    assert (old.valid.upper, new.valid.lower, new.valid.upper) == (later, later, None)


def test_a_bounded_offer_does_not_cut_another() -> None:
    pool = an_unpriced_pool()
    post(pool)
    until = (timezone.now() + timedelta(days=1)).isoformat()
    answer = post(pool, valid_to=until)
    assert (answer.status_code, answer.json()["code"]) == (409, "offer_overlaps")
    assert Offer.objects.get().valid.upper is None


def test_an_offer_over_a_planned_one_is_refused_and_changes_nothing() -> None:
    pool = an_unpriced_pool()
    later = timezone.now() + timedelta(days=2)
    post(pool, valid_to=later.isoformat())
    assert post(pool, valid_from=later.isoformat()).status_code == 201
    before = [(row.pk, row.valid) for row in Offer.objects.order_by("pk")]
    assert post(pool).json()["code"] == "offer_overlaps"
    assert [(row.pk, row.valid) for row in Offer.objects.order_by("pk")] == before


@pytest.mark.parametrize(
    ("terms", "code", "field"),
    [
        ({"rates": {"core_second": "-1"}}, "invalid_input", "rates.core_second"),
        ({"rates": {"core_second": 0.1}}, "invalid_input", "rates.core_second"),
        ({"rates": {"core_second": "1e-3"}}, "invalid_input", "rates.core_second"),
        ({"rates": {"core_second": "NaN"}}, "invalid_input", "rates.core_second"),
        ({"rates": {"core_second": "0.0000000000001"}}, "invalid_input", "rates.core_second"),
        ({"rates": {"core_second": "99999999999"}}, "rates_invalid", "rates.core_second"),
        ({"rates": {"moon_second": "1"}}, "rates_invalid", "rates.moon_second"),
        ({"rates": {"result": "1"}}, "rates_invalid", "rates.result"),
        ({"rates": {"gb_moved": "1"}}, "rates_invalid", "rates"),
        ({"rates": {}}, "invalid_input", "rates"),
        ({"basis": "moonlight"}, "invalid_input", "basis"),
        ({"currency": "EUR"}, "currency_unsupported", "currency"),
        ({"valid_from": "2020-01-01T00:00:00Z"}, "offer_in_the_past", "valid_from"),
        ({"valid_to": "2020-01-01T00:00:00Z"}, "offer_period_empty", "valid_to"),
        ({"valid_from": "tomorrow"}, "invalid_input", "valid_from"),
    ],
)
def test_a_wrong_offer_names_the_field_and_writes_nothing(terms: Any, code: str, field: str) -> None:
    answer = post(an_unpriced_pool(), **terms)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)
    assert Offer.objects.count() == 0


def test_a_retired_pool_takes_no_offers() -> None:
    assert post(build.a_pool(state="retired", agent=False)).json()["code"] == "pool_state"


def refused(act: Callable[[], object]) -> None:
    with pytest.raises(DatabaseError, match="priced an attempt"), transaction.atomic():
        act()


def test_a_used_offer_never_changes_whoever_asks() -> None:
    pool = build.a_pool()
    offers = Offer.objects.filter(pool=pool)
    offers.update(used=True)
    start = offers.get().valid.lower
    refused(lambda: offers.update(used=False))
    refused(lambda: offers.update(currency="EUR"))
    refused(lambda: offers.update(valid=DateTimeTZRange(start - timedelta(days=1), None)))
    refused(lambda: offers.update(valid=DateTimeTZRange(start, start)))
    refused(lambda: offers.delete())
    refused(lambda: Rate.objects.filter(offer__pool=pool).update(unit_price=0))
    refused(lambda: Rate.objects.filter(offer__pool=pool).delete())
    refused(lambda: Rate.objects.create(offer=offers.get(), meter="gb_moved", unit_price=0))
    assert offers.update(used=True) == 1  # the same again changes nothing


def test_a_used_offer_may_end_and_never_lengthens_again() -> None:
    pool = build.a_pool()
    offers = Offer.objects.filter(pool=pool)
    offers.update(used=True)
    assert post(pool).status_code == 201
    old = offers.order_by("pk")[0]
    assert old.valid.upper is not None
    longer = DateTimeTZRange(old.valid.lower, old.valid.upper + timedelta(days=1))
    refused(lambda: offers.filter(pk=old.pk).update(valid=longer))


def test_an_unused_offer_may_still_be_taken_back() -> None:
    pool = build.a_pool()
    Offer.objects.filter(pool=pool).delete()
    assert not Rate.objects.filter(offer__pool=pool).exists()


def test_the_database_alone_keeps_periods_apart() -> None:
    pool = build.a_pool()
    with pytest.raises(IntegrityError, match="offer_periods_do_not_overlap"), transaction.atomic():
        build.an_offer(pool)


prices = st.decimals(min_value=0, max_value=10**9, places=12)


@given(prices)
def test_every_price_within_bounds_is_read_back_exactly(price: Decimal) -> None:
    assert parse_rates("result", {"result": f"{price:f}"}) == {"result": price}


@given(st.text(max_size=40))
def test_any_other_text_is_refused_or_a_fitting_price(text: str) -> None:
    with suppress(Invalid):
        price = parse_rates("result", {"result": text})["result"]
        assert 0 <= price <= 10**9
        assert price == price.quantize(Decimal("1e-12"))
