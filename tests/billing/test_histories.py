"""Random histories: PostgreSQL charges what the oracle says, the ledger balances, a second run adds nothing."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from billing.models import Charge, JournalEntry, Leg
from billing.pricing import CEILING_MICROS
from billing.services import charge_tasks, refresh_costs
from marketplace.models import Task
from metering.models import UsageRecord
from tests.billing.histories import PHASES
from tests.billing.oracle import Owed, bill
from tests.builders_billing import (
    Market,
    make_attempt,
    make_market,
    make_need,
    make_offer,
    make_pool,
    make_task,
    make_usage,
    table_counts,
)

# all sizes alike: of numbers drawn evenly, most would round to nothing
prices = st.builds(lambda digits, places: str(Decimal(digits).scaleb(-places)), st.integers(0, 999), st.integers(0, 12))
caps = st.builds(lambda digits, places: str(Decimal(digits).scaleb(-places)), st.integers(0, 999), st.integers(-3, 7))
meters = st.sampled_from(
    ["core_second", "accelerator_second", "fp32_tflop", "gb_moved", "occupancy_second", "result"]
)
offers = st.lists(
    st.tuples(
        st.sampled_from(["consumption", "occupancy", "result"]),
        st.dictionaries(meters, prices, max_size=6),
        st.sampled_from(["CNY", "CNY", "CNY", "USD"]),
    ),
    min_size=1,
    max_size=3,
)
counters = st.one_of(st.integers(0, 5000), st.integers(10**6, 10**10))
records = st.lists(
    st.fixed_dictionaries(
        {
            "outcome": st.sampled_from(["valid", "valid", "valid", "failed", "lost", "cancelled", "superseded", "invalid"]),
            "reason_class": st.sampled_from(
                ["", "capability_error", "limit_exceeded", "node_fault", "reclaimed", "platform_fault", "valid", "?"]
            ),
            "offer": st.integers(0, 3),
            "stage": st.sampled_from([0, 0, 0, 1]),
            "core_ms": counters,
            "held_core_ms": counters,
            "accelerator_ms": counters,
            "fp32_gflop": st.decimals(0, 10**6, places=6),
            "bytes_in": st.integers(0, 10**12),
            "bytes_out": st.integers(0, 10**12),
        }
    ),
    max_size=9,
)
tasks = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["delivered", "delivered", "cancelled", "failed", "expired"]),
        "reason_class": st.sampled_from(["", "capability_error", "limit_exceeded", "node_fault"]),
        "kind": st.sampled_from(["user", "user", "user", "test"]),
        "terms": st.fixed_dictionaries(
            {
                "platform_basis_points": st.integers(0, 10_000),
                "fee_per_unit": prices,
                "fee_per_task": st.one_of(st.just("0"), prices),
            }
        ),
    },
    optional={"max_price": caps},
)


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


@hypothesis_settings(max_examples=40, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(st.tuples(tasks, records), min_size=1, max_size=3), price_lists=offers, chunk=st.integers(1, 8))
def test_postgresql_charges_what_the_oracle_says(
    market: Market, settings: Any, drawn: list[Any], price_lists: list[Any], chunk: int
) -> None:
    settings.CHUNK = chunk
    known = {}
    ids: list[int | None] = []
    for basis, rates, currency in price_lists:
        offer = make_offer(make_pool(market.bob), basis, rates, currency)
        known[offer.pk] = (basis, currency, rates)
        ids.append(offer.pk)
    histories = [_write(market, dict(fields), rows, ids) for fields, rows in drawn]
    settled = charge_tasks([task.pk for task in histories])
    assert sorted(settled) == sorted(task.pk for task in histories)
    for task in histories:
        _compare(task, known)
    _the_ledger_is_right()
    before = table_counts()
    assert charge_tasks([task.pk for task in histories]) == []
    assert table_counts() == before


def _write(market: Market, fields: dict[str, Any], rows: list[Any], offer_ids: list[int | None]) -> Task:
    task = make_task(market, **fields)
    need = make_need()
    for row in rows:
        row = dict(row)
        index = row.pop("offer")
        offer_id = offer_ids[index] if index < len(offer_ids) else None
        attempt = make_attempt(market, task, need, state=row["outcome"], reason_class=row["reason_class"], offer=None)
        make_usage(market, task, attempt, offer=None, **{"offer_id": offer_id} if offer_id else {}, **row)
    return task


def _compare(task: Task, known: dict[int, Any]) -> None:
    task.refresh_from_db()
    usage = list(UsageRecord.objects.filter(task=task).order_by("pk"))
    want, fee = bill(task, usage, known)
    charges = Charge.objects.filter(task=task).order_by("pk")
    assert [_owed(charge) for charge in charges if charge.kind == "usage"] == want
    assert [_owed(charge) for charge in charges if charge.kind == "fee"] == ([fee] if fee else [])
    paid = [charge for charge in [*want, *([fee] if fee else [])] if charge.payer == "user"]
    assert (task.cost_micros, task.cost_final) == (sum(charge.amount for charge in paid), True)
    for charge in charges:
        told = _sum_of_lines(charge) * 10**6
        assert abs(told - charge.amount_micros) <= 1 or told > CEILING_MICROS


def _owed(charge: Charge) -> Owed:
    return Owed(
        charge.payer, charge.reason, charge.provider_micros, charge.publisher_micros, charge.platform_micros
    )


def _sum_of_lines(charge: Charge) -> Decimal:
    return sum((Decimal(line["amount"]) for line in charge.lines), Decimal(0))


def _the_ledger_is_right() -> None:
    """Every entry's legs are the sums of its charges, by account, and PostgreSQL agrees that they balance."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    want: dict[tuple[Any, ...], int] = defaultdict(int)
    for charge in Charge.objects.filter(amount_micros__gt=0):
        payer = ("user_receivable", charge.organization_id) if charge.payer == "user" else ("platform_cost", None)
        want[charge.entry_id, *payer] += charge.amount_micros
        want[charge.entry_id, "provider_payable", charge.provider_id] -= charge.provider_micros
        want[charge.entry_id, "publisher_payable", charge.publisher_id] -= charge.publisher_micros
        want[charge.entry_id, "platform_revenue", None] -= charge.platform_micros
    legs = Leg.objects.select_related("account")
    have = {
        (leg.entry_id, leg.account.kind, leg.account.organization_id): leg.debit_micros - leg.credit_micros
        for leg in legs
    }
    assert have == {key: micros for key, micros in want.items() if micros}
    assert JournalEntry.objects.filter(legs=None).count() == 0
    totals = legs.aggregate(debit=Sum("debit_micros"), credit=Sum("credit_micros"))
    assert totals["debit"] == totals["credit"]


@hypothesis_settings(max_examples=25, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(price_lists=offers, rows=records, more=records, fee=prices, cap=st.one_of(st.none(), caps), alike=st.booleans())
def test_the_cost_so_far_is_what_delivery_would_cost(
    market: Market, price_lists: list[Any], rows: list[Any], more: list[Any], fee: str, cap: str | None, alike: bool
) -> None:
    fields = {"state": "running", "max_price": cap, "terms": {"fee_per_unit": fee, "fee_per_task": "0"}}
    ids = [
        make_offer(make_pool(market.bob), basis, rates, "CNY" if alike else currency).pk
        for basis, rates, currency in price_lists
    ]
    offer = make_offer(make_pool(market.bob), rates={"core_second": "0.07", "gb_moved": "0.003"})
    task = _write(market, fields, rows, ids)
    refresh_costs()
    for row in more:
        row = dict(row) | {"offer": offer}
        attempt = make_attempt(market, task, make_need(), state=row["outcome"], reason_class=row["reason_class"])
        make_usage(market, task, attempt, **row)
    refresh_costs()
    task.refresh_from_db()
    so_far = task.cost_micros
    assert refresh_costs() == 0
    Task.objects.filter(pk=task.pk).update(state="delivered", units_done=1, ended_at=task.created_at)
    charge_tasks([task.pk])
    task.refresh_from_db()
    assert (task.cost_micros, task.cost_final) == (so_far, True)
