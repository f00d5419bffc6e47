"""What is charged by period is rated at the close, stands on the month's invoice once, and is corrected on a later one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from billing.exports.focus import focus_rows
from billing.invoices.closing import close_all, void_invoice
from billing.models import Invoice, InvoicedPeriod, InvoiceLine, PeriodCharge
from billing.periods import rate_periods, safe_cutoff
from billing.queries import is_balanced, trial_balance
from marketplace.models import Contract
from tests.builders_billing import Market, make_market
from tests.builders_periods import amount, corrected, period_market, period_offer, used

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def months() -> tuple[datetime, datetime]:
    """The beginnings of the last month and of this one, in UTC."""
    this = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (this - DAY).replace(day=1), this


BEFORE, THIS = months()


def a_market(grace_days: int = 0) -> Market:
    """A pool whose held cores are priced by the month's peak; alice's months are those of UTC."""
    market = period_market("monthly_peak", {"held_cores": "10"}, start=BEFORE - 400 * DAY)
    terms = {"zone": "UTC", "currency": "CNY", "grace_days": grace_days, "due_days": 14, "carries_remainder": True}
    Contract.objects.create(organization=market.alice, valid=(BEFORE - 400 * DAY, None), signed_at=BEFORE, **terms)
    market.alice.zone = "UTC"
    market.alice.save()
    return market


def test_a_month_by_peak_is_rated_and_invoiced_by_one_run() -> None:
    market = a_market()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    invoice = Invoice.objects.get()
    line = invoice.lines.get()
    assert (invoice.state, invoice.total_micros) == ("finalized", amount("40"))
    assert (line.kind, line.basis, line.quantities, line.is_correction) == ("period", "held_cores", {"held_cores": "4"}, False)
    assert (line.service_from, line.service_to) == (BEFORE, THIS)
    assert is_balanced(trial_balance())


def test_a_second_run_adds_nothing() -> None:
    market = a_market()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    counts = (PeriodCharge.objects.count(), InvoiceLine.objects.count(), InvoicedPeriod.objects.count())
    assert close_all() == (0, 0, 0, 0)
    assert (PeriodCharge.objects.count(), InvoiceLine.objects.count(), InvoicedPeriod.objects.count()) == counts == (1, 1, 1)


def test_an_earlier_month_that_was_rated_by_hand_leaves_the_last_one_to_the_close() -> None:
    market = a_market()
    used(market, BEFORE - 3 * DAY, 600, 2)
    used(market, BEFORE + DAY, 600, 4)
    rate_periods([market.alice.pk], (BEFORE - DAY).date(), safe_cutoff(), final=True)
    close_all()
    totals = Invoice.objects.filter(number__isnull=False).order_by("period__starts_at").values_list("total_micros", flat=True)
    assert list(totals) == [amount("20"), amount("40")]


def test_usage_that_comes_in_the_grace_is_on_the_same_invoice() -> None:
    market = a_market(grace_days=3)
    used(market, BEFORE + DAY, 600, 4)
    close_all(THIS + DAY)
    used(market, BEFORE + 2 * DAY, 600, 6)
    close_all(THIS + DAY)
    close_all(THIS + 4 * DAY)
    invoice = Invoice.objects.get(number__isnull=False)
    assert invoice.total_micros == amount("60")
    assert [(line.is_correction, line.amount_micros) for line in invoice.lines.order_by("number")] == [
        (False, amount("40")),
        (True, amount("20")),
    ]


def test_what_is_corrected_after_the_invoice_stands_on_the_next_one() -> None:
    market = a_market()
    usage = used(market, BEFORE + DAY, 600, 4)
    close_all()
    used(market, BEFORE + 3 * DAY, 600, 3)
    corrected(usage, held_core_ms=7 * usage.wall_ms)
    close_all()
    close_all(THIS + 32 * DAY)
    first, second = Invoice.objects.filter(number__isnull=False).order_by("period__starts_at")
    line = second.lines.get()
    assert (first.total_micros, second.total_micros) == (amount("40"), amount("30"))
    assert (line.is_correction, line.service_from, line.service_to) == (True, BEFORE, THIS)
    assert is_balanced(trial_balance())


def test_what_is_corrected_under_a_customers_own_list_is_rated_again_where_the_pools_list_is_by_task() -> None:
    market, begin = make_market(rates={"core_second": "1"}), BEFORE - 400 * DAY
    own = period_offer(market.pool, "consumption", {"core_second": "2"}, start=begin, customer=market.alice)
    usage = used(market, BEFORE + DAY, 600)
    assert own.valid.lower < usage.task.priced_at
    close_all(THIS + DAY)
    corrected(usage, core_ms=900_000)
    close_all(THIS + 2 * DAY)
    assert list(PeriodCharge.objects.order_by("pk").values_list("total_micros", flat=True)) == [amount("1200"), amount("1800")]


def test_a_void_invoice_gives_its_months_to_the_one_that_takes_its_place() -> None:
    market = a_market()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    instead = void_invoice(Invoice.objects.get(), "wrong address")
    assert InvoicedPeriod.objects.get().line.invoice_id == instead.pk
    assert instead.net_micros == amount("40")


def test_the_months_of_a_final_invoice_stay_where_they_are() -> None:
    market = a_market()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    with pytest.raises(DatabaseError, match="is final"), transaction.atomic():
        InvoicedPeriod.objects.all().delete()


def test_a_month_charge_is_a_row_of_the_months_focus_export() -> None:
    market = a_market()
    used(market, BEFORE + DAY, 600, 4)
    close_all()
    rows = list(focus_rows(Invoice.objects.get().period))
    assert sum(row["BilledCost"] for row in rows) == 40
    assert [(row["ChargeCategory"], row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in rows] == [("Usage", BEFORE, THIS)]
