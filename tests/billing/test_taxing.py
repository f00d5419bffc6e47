"""Taxes are dated, never overlap, and invoices take what is in force at the end of their month."""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test import Client
from django.utils import timezone

from billing.invoices.closing import close_all
from billing.invoices.taxing import AssignmentDraft, RateDraft, add_tax, assign_taxes, set_rates, stop_assignments
from billing.models import Invoice, TaxAssignment, TaxRate
from core.errors import Conflict, DomainError, Invalid
from marketplace.models import Contract, Organization
from tests import builders as build
from tests.billing.test_closing import CENT, DAY, LATER
from tests.builders_billing import make_market
from tests.builders_invoices import APRIL, MARCH, make_charge

pytestmark = pytest.mark.django_db
BEFORE = MARCH - 400 * DAY


def a_rate(tax: int, percent: str, category: str = "standard", region: int | None = None) -> TaxRate:
    """A rate that was in force long before the invoices of these stories."""
    valid = DateTimeTZRange(BEFORE, None)
    return TaxRate.objects.create(tax_id=tax, percent=Decimal(percent), category=category, region_id=region, valid=valid)


def asked_for(tax: int, organization: Organization, category: str = "standard") -> TaxAssignment:
    valid = DateTimeTZRange(BEFORE, None)
    return TaxAssignment.objects.create(tax_id=tax, organization=organization, category=category, valid=valid)


def an_invoice(organization: Organization, market: Any) -> Invoice:
    terms = {"zone": "Asia/Shanghai", "currency": "CNY", "grace_days": 0, "due_days": 14, "carries_remainder": True}
    Contract.objects.create(organization=organization, valid=(BEFORE, None), signed_at=MARCH, **terms)
    make_charge(market, 1000 * CENT, MARCH + DAY, organization=organization)
    close_all(LATER, [organization.pk])
    return Invoice.objects.get(organization=organization, number__isnull=False)


def test_a_region_s_own_rate_comes_before_the_one_of_everywhere_and_categories_differ() -> None:
    market, tax = make_market(), add_tax("vat", "VAT 增值税").pk
    hainan = build.a_region("hainan")
    a_rate(tax, "6")
    a_rate(tax, "3", region=hainan.pk)
    a_rate(tax, "1", category="small")
    expected = {"everywhere": 60 * CENT, "hainan": 30 * CENT, "small": 10 * CENT, "exempt": 0}
    got = {}
    for name in expected:
        customer = build.an_organization(f"in-{name}", region=hainan if name == "hainan" else None)
        asked_for(tax, customer, name if name in {"small", "exempt"} else "standard")
        got[name] = an_invoice(customer, market).tax_micros
    assert got == expected


def test_a_new_rate_ends_the_one_before_and_leaves_other_categories() -> None:
    tax, start = add_tax("vat", "VAT").pk, timezone.now() + DAY
    old, other = a_rate(tax, "6"), a_rate(tax, "1", category="small")
    (new,) = set_rates([RateDraft(tax, Decimal(9), start=start)])
    old.refresh_from_db()
    other.refresh_from_db()
    assert (old.valid.upper, new.valid.lower, new.valid.upper, other.valid.upper) == (start, start, None, None)


def test_a_rate_before_one_that_is_set_already_is_refused_and_nothing_is_written() -> None:
    tax, now = add_tax("vat", "VAT").pk, timezone.now()
    set_rates([RateDraft(tax, Decimal(6), start=now + 9 * DAY)])
    with pytest.raises(Conflict, match="later rate"):
        set_rates([RateDraft(tax, Decimal(1), category="small"), RateDraft(tax, Decimal(7), start=now + DAY)])
    assert TaxRate.objects.count() == 1


def test_nothing_changes_what_is_past() -> None:
    tax, yesterday = add_tax("vat", "VAT").pk, timezone.now() - DAY
    alice = build.alice().organization
    held = asked_for(tax, alice)
    for forbidden in (
        lambda: set_rates([RateDraft(tax, Decimal(6), start=yesterday)]),
        lambda: assign_taxes([AssignmentDraft(tax, alice.pk, start=yesterday)]),
        lambda: stop_assignments([held.pk], yesterday),
        lambda: set_rates([RateDraft(tax, Decimal(101))]),
    ):
        with pytest.raises(Invalid):
            forbidden()
    assert (TaxRate.objects.count(), TaxAssignment.objects.get().valid.upper) == (0, None)


def test_an_assignment_of_another_category_ends_the_one_before_and_stops_once() -> None:
    tax, alice = add_tax("vat", "VAT").pk, build.alice().organization
    before = asked_for(tax, alice)
    (after,) = assign_taxes([AssignmentDraft(tax, alice.pk, "small")])
    before.refresh_from_db()
    assert before.valid.upper == after.valid.lower
    later = timezone.now() + DAY
    assert (stop_assignments([after.pk], later), stop_assignments([after.pk], later)) == ([after.pk], [])


def test_postgresql_lets_no_two_rates_of_one_kind_hold_at_once() -> None:
    tax, region = add_tax("vat", "VAT").pk, build.a_region("hainan").pk
    for category, place in itertools.product(("standard", "small"), (None, region)):
        a_rate(tax, "6", category, place)
    for category, place in itertools.product(("standard", "small"), (None, region)):
        with pytest.raises(IntegrityError, match="tax_rates_do_not_overlap"), transaction.atomic():
            TaxRate.objects.create(
                tax_id=tax, percent=7, category=category, region_id=place, valid=DateTimeTZRange(APRIL, APRIL + timedelta(days=1))
            )


@pytest.mark.django_db(transaction=True)
def test_of_two_who_set_a_rate_at_once_one_wins() -> None:
    tax, start, barrier = add_tax("vat", "VAT").pk, timezone.now() + DAY, Barrier(2)
    told: list[str] = []

    def one(percent: int) -> None:
        barrier.wait()
        try:
            set_rates([RateDraft(tax, Decimal(percent), start=start)])
            told.append("set")
        except DomainError as refusal:
            told.append(refusal.code)
        finally:
            connections.close_all()

    threads = [Thread(target=one, args=(percent,)) for percent in (6, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(told), TaxRate.objects.count()) == (["set", "tax_rate_overlaps"], 1)


def test_operators_set_taxes_through_the_door_and_are_told_why_not() -> None:
    olga = build.client_of(build.olga())
    build.alice()
    assert olga.post("/api/v1/taxes", {"code": "vat", "name": "VAT 增值税"}, format="json").status_code == 201
    rate = olga.post("/api/v1/tax-rates", {"tax": "vat", "percent": "6.50"}, format="json")
    assert (rate.status_code, rate.json()["percent"], rate.json()["region"]) == (201, "6.5", None)
    held = olga.post("/api/v1/tax-assignments", {"tax": "vat", "organization": "acme"}, format="json")
    assert (held.status_code, held.json()["category"]) == (201, "standard")
    stop = f"/api/v1/tax-assignments/{held.json()['number']}/stop"
    for url, body, code, field in (
        ("/api/v1/taxes", {"code": "vat", "name": "again"}, "tax_taken", "code"),
        ("/api/v1/tax-rates", {"tax": "none", "percent": "6"}, "tax_unknown", "tax"),
        ("/api/v1/tax-rates", {"tax": "vat", "percent": "101"}, "invalid_input", "percent"),
        ("/api/v1/tax-rates", {"tax": "vat", "percent": "6", "region": "atlantis"}, "region_unknown", "region"),
        ("/api/v1/tax-rates", {"tax": "vat", "percent": "6", "start": "2020-01-01T00:00:00Z"}, "tax_invalid", "start"),
        ("/api/v1/tax-assignments", {"tax": "vat", "organization": "nobody"}, "organization_unknown", "organization"),
        ("/api/v1/tax-assignments/99999999999999999999/stop", {}, "not_found", None),
    ):
        answer = olga.post(url, body, format="json").json()
        assert (answer["code"], answer.get("field")) == (code, field)
    later = (timezone.now() + DAY).isoformat()
    assert olga.post(stop, {"at": later}, format="json").status_code == 200
    assert olga.post(stop, {"at": later}, format="json").json()["code"] == "tax_assignment_over"
    assert [one["number"] for one in olga.get("/api/v1/tax-assignments").json()["results"]] == [held.json()["number"]]


def test_an_operator_sets_a_rate_in_the_admin() -> None:
    tax, client = add_tax("vat", "VAT"), Client()
    client.force_login(build.olga().user)
    start = timezone.now() + DAY
    times = {"start_0": f"{start:%Y-%m-%d}", "start_1": "00:00:00"}
    form = {"tax": tax.pk, "percent": "6", "category": "standard", "region": "", **times}
    assert client.post("/admin/billing/taxrate/add/", form).status_code == 302
    rate = TaxRate.objects.get()
    assert (str(rate.percent), rate.valid.upper) == ("6.0000", None)
    wrong = client.post("/admin/billing/taxrate/add/", form | {"percent": "600"})
    assert (wrong.status_code, b"less than or equal to 100" in wrong.content) == (200, True)
    again = client.post("/admin/billing/taxrate/add/", form, follow=True)
    assert b"a later rate of this tax, category and region is set already" in again.content
    held = {"tax": tax.pk, "organization": build.alice().organization.pk, "category": "standard", "start_0": "", "start_1": ""}
    assert client.post("/admin/billing/taxassignment/add/", held).status_code == 302
    assignment = TaxAssignment.objects.get()
    stop = {"action": "stop", "_selected_action": [assignment.pk]}
    client.post("/admin/billing/taxassignment/", stop)
    assignment.refresh_from_db()
    assert assignment.valid.upper is not None
    assert client.post("/admin/billing/tax/add/", {"code": "gst", "name": "GST"}).status_code == 302
