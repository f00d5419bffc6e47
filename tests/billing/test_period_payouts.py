"""What a provider gets of charges by month is a payable of its own, and goes out like any other."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing.credit.reversing import reverse_payment
from billing.invoices.closing import close_all
from billing.invoices.payments import Receipt, record_payment
from billing.models import Account, Invoice, Leg, Payment, Payout, PayoutLine, PeriodCharge
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import approve, gather
from billing.settlement.queries import Period, period_line_of, period_shares_of, standings_of
from billing.settlement.sending import send_payouts
from marketplace.models import Contract, User
from metering.models import UsageRecord
from tests import builders as build
from tests.billing.test_invoiced_periods import BEFORE, DAY, THIS
from tests.builders_billing import Market
from tests.builders_periods import amount, corrected, period_market, used

pytestmark = pytest.mark.django_db
HOLD = timedelta(days=7)


@pytest.fixture
def market(db: None) -> Market:
    """Alice's month by its peak at bob's, charged and on a final invoice: 40, of which the platform keeps its part."""
    market = period_market("monthly_peak", {"held_cores": "10"}, start=BEFORE - 400 * DAY)
    terms = {"zone": "UTC", "currency": "CNY", "grace_days": 0, "due_days": 14, "carries_remainder": True}
    Contract.objects.create(organization=market.alice, valid=(BEFORE - 400 * DAY, None), signed_at=BEFORE, **terms)
    market.alice.zone = "UTC"
    market.alice.save()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    return market


@pytest.fixture
def olga(db: None) -> User:
    return build.olga().user


def pay(market: Market) -> datetime:
    """Alice pays; returns when bob's share may go out."""
    invoice = Invoice.objects.get(organization=market.alice, state="finalized")
    receipt = Receipt(f"bank/{invoice.pk}", market.alice.pk, "CNY", invoice.total_micros, "operator", THIS.date(), [invoice.pk])
    record_payment(receipt)
    invoice.refresh_from_db()
    assert invoice.ended_at is not None
    return invoice.ended_at + HOLD


def state_of(charge: PeriodCharge, market: Market, now: datetime) -> str:
    found = period_shares_of(market.bob, "provider").get(pk=charge.pk)
    line = period_line_of(found, now)
    told = standings_of(market.bob, "provider", Period(BEFORE, now + DAY), now)
    assert [(one["state"], one["micros"]) for one in told if one["micros"] == charge.provider_micros] == [
        (line["state"], charge.provider_micros)
    ], "the statement and the sums say the same"
    return str(line["state"])


def test_a_month_waits_for_the_customer_then_is_held_back_then_goes_out(market: Market, olga: User) -> None:
    charge = PeriodCharge.objects.get()
    assert state_of(charge, market, THIS + 90 * DAY) == "unpaid"
    assert gather(THIS + 90 * DAY) is None
    due = pay(market)
    assert state_of(charge, market, due - DAY) == "held_back"
    assert gather(due - timedelta(seconds=1)) is None
    assert state_of(charge, market, due) == "due"
    run = gather(due)
    assert run is not None
    payout = run.payouts.get()
    line = payout.lines.get()
    assert (line.charge_id, line.period_charge, line.share, line.role) == (None, charge, -charge.pk, "provider")
    assert (payout.organization, payout.exact_micros) == (market.bob, charge.provider_micros)
    assert state_of(charge, market, due) == "in_payout"
    approve(payout, olga)
    assert send_payouts(due).paid == 1
    assert state_of(charge, market, due) == "paid"
    owed = Account.objects.get(kind="provider_payable", organization=market.bob)
    balance = sum(leg.credit_micros - leg.debit_micros for leg in Leg.objects.filter(account=owed))
    assert balance == charge.provider_micros - payout.amount_micros
    assert is_balanced(trial_balance())
    assert gather(due) is None


def test_a_payout_of_a_month_is_withdrawn_when_its_payment_is_reversed(market: Market) -> None:
    due = pay(market)
    gather(due)
    reverse_payment(Payment.objects.get(), "bounced", None, due)
    assert (Payout.objects.get().state, state_of(PeriodCharge.objects.get(), market, due)) == ("cancelled", "unpaid")


def test_a_correction_that_takes_back_is_netted_by_the_run_that_pays_the_rest(market: Market) -> None:
    usage = UsageRecord.objects.get()
    corrected(usage, held_core_ms=usage.held_core_ms // 2, core_ms=usage.core_ms // 2)
    close_all()
    base, less = PeriodCharge.objects.order_by("pk")
    assert (less.revision, less.amount_micros) == (1, -amount("20"))
    run = gather(pay(market))
    assert run is not None
    payout = run.payouts.get()
    assert payout.exact_micros == base.provider_micros + less.provider_micros
    assert payout.lines.count() == 2


def test_postgresql_refuses_a_line_that_is_not_what_its_month_says(market: Market) -> None:
    charge, due = PeriodCharge.objects.get(), pay(market)
    run = gather(due)
    assert run is not None
    for change in ("amount_micros = amount_micros + 1", "role = 'publisher'", "share = share - 1", f"charge_id = {charge.pk}"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE billing_payoutline SET {change}")
    assert PayoutLine.objects.get().amount_micros == charge.provider_micros


def test_the_provider_reads_it_by_page_file_and_payout_and_nobody_else_does(market: Market) -> None:
    charge, due = PeriodCharge.objects.get(), pay(market)
    run = gather(due)
    assert run is not None
    provider = build.a_person("boris", market.bob, role="billing")
    client, mallory = build.client_of(provider), build.client_of(build.mallory())
    (line,) = client.get("/api/v1/payables/periods?party=provider").json()["results"]
    assert (line["period_charge"], line["meter"], line["state"]) == (charge.pk, "held_cores", "in_payout")
    assert (line["amount"], line["from"][:10], line["to"][:10]) == ("40.000000", f"{BEFORE:%Y-%m-%d}", f"{THIS:%Y-%m-%d}")
    assert client.get("/api/v1/payables/periods?party=publisher").json()["results"] == []
    assert mallory.get("/api/v1/payables/periods?party=provider").json()["results"] == []
    (paid,) = client.get(f"/api/v1/payouts/{run.payouts.get().pk}/lines").json()["results"]
    assert (paid["charge"], paid["task"], paid["attempt"], paid["period_charge"]) == (None, None, None, charge.pk)
    text = b"".join(client.get("/api/v1/payables.csv?party=provider").streaming_content).decode()
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if row["kind"] == "period"]
    assert (row["period_charge"], row["meter"], row["share"], row["task"]) == (str(charge.pk), "held_cores", line["share"], "")


def test_its_page_shows_the_month_and_its_payout(market: Market) -> None:
    due = pay(market)
    gather(due)
    session = build.session_of(build.a_person("boris", market.bob, role="owner"))
    charge, payout = PeriodCharge.objects.get(), Payout.objects.get()
    page = session.get(f"/payables/?party=provider&month={charge.rated_at:%Y-%m}").content.decode()
    assert f"/payouts/{payout.pk}/" in page
    assert "Held cores" in page
    shown: Any = session.get(f"/payouts/{payout.pk}/").content.decode()
    assert f"no. {charge.pk}" in shown
