"""Invoices down to their charges, and what proves a charge, in the console."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.invoices import credit_notes, payments
from billing.invoices.closing import void_invoice
from billing.models import Charge, InvoicedPeriod, PeriodCharge
from marketplace.models import Membership
from tests import builders as build
from tests.billing.test_closing import CENT, DAY, LATER
from tests.billing.test_invoice_doors import billed
from tests.builders_billing import Market, make_market
from tests.builders_invoices import MARCH, make_charge, make_invoice, make_line, make_period
from tests.builders_periods import at, close, period_market, used
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
PEAK = {"peak": {"kind": "month_mean_day_peak", "day": "day_kth", "day_k": 2}}


def of(market: Market) -> Client:
    """A browser of somebody who may read the bills of a market's customer."""
    person = build.a_user("ann")
    Membership.objects.get_or_create(organization=market.alice, user=person, defaults={"role": "billing"})
    return browser_of(build.Person(person, market.alice, "billing"))


def test_a_customer_reads_an_invoice_down_to_what_proves_a_charge() -> None:
    invoice = billed()
    client = browser_of(build.alice())
    assert f"/invoices/{invoice.pk}/" in client.get("/invoices/").content.decode()
    page = client.get(f"/invoices/{invoice.pk}/")
    shown = text_of(page)
    months = ("2026-03-01 to 2026-03-31", "late usage of an earlier month")
    for text in (f"Invoice {invoice.number}", "1.55 CNY", "VAT 增值税 6 %", *months):
        assert text in shown
    line = re.search(rf"/invoices/{invoice.pk}/lines/\d+/", page.content.decode())
    assert line is not None
    charge = re.search(r"/charges/(\d+)/", client.get(line[0]).content.decode())
    assert charge is not None
    proof = text_of(client.get(charge[0]))
    assert "Why" in proof
    assert f"Charge no. {charge[1]}" in proof


def test_the_files_of_an_invoice_are_the_api_s() -> None:
    invoice, client = billed(), browser_of(build.alice())
    links = re.findall(rf'href="(/api/v1/invoices/{invoice.pk}[^"]*)"', client.get(f"/invoices/{invoice.pk}/").content.decode())
    answers = [client.get(link.replace("&amp;", "&")) for link in links]
    kinds = [answer["Content-Type"].partition(";")[0] for answer in answers]
    assert kinds == ["application/pdf", "application/pdf", "text/csv", "application/json"]


def test_payments_and_credit_notes_stand_on_the_invoice() -> None:
    invoice = billed()
    credit_notes.issue_credit_note(invoice, {1: 10 * CENT}, "退款 <late>", "x")
    paid = {"key": "test/1", "organization": invoice.organization_id, "currency": "CNY", "micros": 20 * CENT, "method": "bank"}
    payments.record_payment(payments.Receipt(**paid, received_on=LATER.date(), invoices=[invoice.pk]))
    page = browser_of(build.alice()).get(f"/invoices/{invoice.pk}/")
    assert "退款 &lt;late&gt;" in page.content.decode()
    assert "bank transfer 0.20 CNY" in text_of(page)


def test_a_void_invoice_names_the_one_in_its_place() -> None:
    invoice = billed()
    instead = void_invoice(invoice, "another name")
    client = browser_of(build.alice())
    assert f'href="/invoices/{instead.pk}/"' in client.get(f"/invoices/{invoice.pk}/").content.decode()
    assert f'href="/invoices/{invoice.pk}/"' in client.get(f"/invoices/{instead.pk}/").content.decode()


def test_a_stranger_finds_no_invoice_line_or_charge_and_an_operator_finds_all() -> None:
    invoice, charge = billed(), Charge.objects.order_by("pk").first()
    assert charge is not None
    stranger, operator = browser_of(build.mallory()), browser_of(build.olga())
    assert str(invoice.number) not in text_of(stranger.get("/invoices/"))
    hidden = (f"/invoices/{invoice.pk}/", f"/invoices/{invoice.pk}/lines/1/", f"/charges/{charge.pk}/")
    for url in (*hidden, "/invoices/999999999999999999999/"):
        assert stranger.get(url).status_code == 404
    assert str(invoice.number) in text_of(operator.get("/invoices/"))
    assert operator.get(f"/invoices/{invoice.pk}/").status_code == 200
    assert operator.get(f"/invoices/{invoice.pk}/lines/99/").status_code == 404


def test_invoices_are_found_by_state_and_come_in_pages() -> None:
    alice, start = build.alice().organization, MARCH
    for number in range(42):
        make_invoice(make_period(alice, start, start + DAY), "overdue" if number == 0 else "finalized")
        start += DAY
    client: Any = browser_of(build.alice())
    page = client.get("/invoices/")
    older = client.get(f"/invoices/?before={page.context['before']}")
    assert (len(page.context["invoices"]), len(older.context["invoices"])) == (40, 2)
    assert [one["state"] for one in client.get("/invoices/?state=overdue").context["invoices"]] == ["overdue"]


def test_an_invoice_costs_the_same_however_many_lines_it_has() -> None:
    client, counts = browser_of(build.alice()), []
    for lines in (1, 6):
        period = make_period(build.alice().organization, MARCH - lines * 31 * DAY, MARCH - (lines - 1) * 31 * DAY)
        invoice = make_invoice(period, "grace")
        for _ in range(lines):
            make_line(invoice, CENT)
        with CaptureQueriesContext(connection) as asked:
            assert client.get(f"/invoices/{invoice.pk}/").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 12


def test_the_proof_of_a_peak_shows_slots_ranks_and_what_was_removed() -> None:
    market = period_market("monthly_peak", {"held_cores": "10"}, PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    used(market, at("2026-03-03 10:05"), 300, 2)
    close(market)
    charge, client = PeriodCharge.objects.get(), of(market)
    assert f"/period-charges/{charge.pk}/" in client.get("/charges/").content.decode()
    page: Any = client.get(f"/period-charges/{charge.pk}/")
    peaks, shown = page.context["peaks"], text_of(page)
    assert [(one.day, one.time, one.value, one.rank) for one in peaks.winners] == [("2026-03-03", "10:00", "4", 2)]
    assert [(one.day, one.time, one.value) for one in peaks.removed] == [("2026-03-03", "10:05", "6")]
    assert [bar.tone for bar in peaks.slots[0][1]] == ["won", "removed"]
    assert (charge.digest in shown, "the same facts" in shown, "40.00 CNY" in shown) == (True, True, True)
    assert browser_of(build.mallory()).get(f"/period-charges/{charge.pk}/").status_code == 404


def test_a_price_without_peaks_is_proved_too_and_stands_on_its_line() -> None:
    tiers = {"core_second": {"model": "graduated", "tiers": [{"up_to": "100", "price": "1"}, {"price": "2"}]}}
    market = period_market("consumption", tiers)
    used(market, at("2026-03-03 10:00"), 150)
    close(market)
    charge, client = PeriodCharge.objects.get(), of(market)
    assert "200.00 CNY" in text_of(client.get(f"/period-charges/{charge.pk}/"))
    invoice = make_invoice(make_period(market.alice), "grace")
    InvoicedPeriod.objects.create(charge=charge, line=invoice.lines.get())
    assert f"/period-charges/{charge.pk}/" in client.get(f"/invoices/{invoice.pk}/lines/1/").content.decode()


def test_what_is_not_charged_yet_says_why() -> None:
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, at("2026-03-03 10:00"), 600, 4)
    shown = text_of(of(market).get("/charges/"))
    assert "its price needs a whole month" in shown
    assert "Nothing was charged by the month" in shown


def test_who_earned_by_a_charge_sees_its_proof_but_not_the_task() -> None:
    market = make_market()
    charge = make_charge(market, 1_000_000, MARCH + DAY, organization=build.alice().organization)
    Membership.objects.create(organization=market.bob, user=build.a_user("ben"), role="billing")
    page = browser_of(build.Person(build.a_user("ben"), market.bob, "billing")).get(f"/charges/{charge.pk}/")
    assert page.status_code == 200
    assert f'href="/tasks/{charge.task_id}/"' not in page.content.decode()


def test_an_owner_says_what_stands_on_invoices() -> None:
    client = browser_of(build.alice())
    assert client.post("/billing-profile/", {"billing_address": "Main St 1", "tax_number": "<b>"}).status_code == 422
    assert client.post("/billing-profile/", {"billing_address": "Main St 1", "tax_number": "9111"}).status_code == 302
    assert 'value="Main St 1"' in client.get("/billing-profile/").content.decode()
