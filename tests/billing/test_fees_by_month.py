"""A publisher's fees may be rated by the month: its share is frozen, split, corrected, disputed and paid out as a provider's is."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from billing.credit.budgets import Wanted, open_budget
from billing.credit.proving import prove_credit
from billing.credit.reversing import reverse_payment
from billing.disputes.bundle import bundle_of
from billing.disputes.deciding import Decision, decide
from billing.disputes.opening import Opening, open_disputes
from billing.exports.focus import focus_rows
from billing.exports.sources import SOURCES, Question, rows_of
from billing.invoices.closing import close_all
from billing.models import BillingPeriod, Charge, CreditNote, Invoice, Payment, Payout, PeriodCharge, PeriodPreview
from billing.periods.evidence import evidence_of_period
from billing.periods.posting import points_of
from billing.periods.reading import Payee
from billing.periods.runs import preview_open_month
from billing.periods.unbilled import unbilled_of
from billing.queries import Statement, flow_of, is_balanced, lines_of, total_of, trial_balance
from billing.rating import share_change, shares_of
from billing.services import charge_task
from billing.settlement.payouts import approve, gather
from billing.settlement.queries import Period, period_line_of, period_shares_of, standings_of
from billing.settlement.sending import send_payouts
from gridfare.evidence import check
from marketplace.budgets import Threshold
from marketplace.models import Contract
from metering.services import measure
from tests import builders as build
from tests.billing.test_invoiced_periods import BEFORE, DAY, THIS
from tests.billing.test_period_payouts import pay
from tests.builders_billing import Market, make_market
from tests.builders_invoices import balance
from tests.builders_periods import amount, priced_by_month, used
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

pytestmark = pytest.mark.django_db
TIERS = {"model": "graduated", "tiers": [{"up_to": "2", "price": "10"}, {"price": "4"}]}
TOLD = (Threshold(80, "notify"),)
PACKS = {"model": "package", "size": "2", "price": "3"}


@pytest.fixture
def market(db: None) -> Market:
    """Alice's months are those of UTC; carol asks 10 for the first two units of a month, then 4, and 3 for each two tasks."""
    market = make_market("consumption", {"core_second": "0"})
    signed(market)
    priced_by_month(market, per_unit=TIERS, per_task=PACKS)
    return market


def signed(market: Market) -> None:
    """Alice's contract: her months are those of UTC, and the platform keeps 5 %."""
    terms = {"zone": "UTC", "currency": "CNY", "grace_days": 0, "due_days": 14, "platform_basis_points": 500}
    times: dict[str, Any] = {"valid": (BEFORE - 400 * DAY, None), "signed_at": BEFORE, "carries_remainder": True}
    Contract.objects.create(organization=market.alice, **terms, **times)
    market.alice.zone = "UTC"
    market.alice.save()


def delivered(market: Market, at: datetime = BEFORE + DAY, state: str = "delivered", **fields: Any) -> None:
    """A task with one result, charged. Fields of the task begin with `task_`."""
    task = {name.removeprefix("task_"): fields.pop(name) for name in list(fields) if name.startswith("task_")}
    used(market, at, 10, 1, state=state, task={"ended_at": at + timedelta(seconds=10)} | task, **fields)


def fees() -> dict[str, tuple[int, ...]]:
    """What stands of each meter: total, and what publisher and platform got of all its revisions."""
    found: dict[str, tuple[int, ...]] = {}
    for one in PeriodCharge.objects.order_by("pk"):
        before = found.get(one.meter, (0, 0, 0))
        found[one.meter] = (one.total_micros, before[1] + one.publisher_micros, before[2] + one.platform_micros)
    return found


def test_a_fee_by_the_month_costs_nothing_with_its_task_and_is_charged_by_tiers_over_all_of_them(market: Market) -> None:
    for _ in range(3):
        delivered(market)
    assert set(Charge.objects.values_list("kind", "publisher_micros")) == {("usage", 0)}
    close_all()
    assert fees() == {
        "fee_per_unit": (amount("24"), amount("22.8"), amount("1.2")),
        "fee_per_task": (amount("6"), amount("5.7"), amount("0.3")),
    }
    charge = PeriodCharge.objects.get(meter="fee_per_unit")
    assert (charge.provider, charge.offer, charge.publisher, charge.version) == (None, None, market.carol, market.version)
    assert charge.raw == charge.billed == 3
    assert balance("publisher_payable", market.carol, "CNY") == -amount("28.5")
    assert is_balanced(trial_balance())


def test_who_pays_no_fee_by_the_task_pays_none_by_the_month(market: Market) -> None:
    delivered(market)
    delivered(market, state="failed")
    delivered(market, outcome="lost")
    delivered(market, task_kind="test")
    close_all()
    assert (fees()["fee_per_unit"][0], fees()["fee_per_task"][0]) == (amount("10"), amount("3"))


def test_a_second_run_adds_nothing_and_late_tasks_only_the_difference(market: Market) -> None:
    delivered(market)
    close_all()
    assert close_all() == (0, 0, 0, 0)
    delivered(market)
    delivered(market)
    close_all()
    base, more = PeriodCharge.objects.filter(meter="fee_per_unit").order_by("revision")
    assert (more.revision, more.base, more.amount_micros, more.total_micros) == (1, base, amount("14"), amount("24"))
    assert fees()["fee_per_unit"][1:] == (amount("22.8"), amount("1.2"))
    close_all(THIS + 35 * DAY)
    _, again = Invoice.objects.order_by("pk")
    assert again.lines.filter(kind="period", is_correction=True, capability=market.version.capability).count() == 2


def test_the_month_stands_on_the_invoice_by_its_capability(market: Market) -> None:
    delivered(market)
    close_all()
    line = Invoice.objects.get().lines.get(basis="fee_per_unit")
    assert (line.kind, line.pool, line.capability, line.amount_micros) == ("period", None, market.version.capability, amount("10"))
    assert (line.service_from, line.service_to) == (BEFORE, THIS)


def test_the_publishers_share_waits_for_the_customer_then_goes_out_once(market: Market) -> None:
    delivered(market)
    close_all()
    charge = PeriodCharge.objects.get(meter="fee_per_unit")

    def stands(now: datetime) -> str:
        line = period_line_of(period_shares_of(market.carol, "publisher").get(pk=charge.pk), now)
        told = standings_of(market.carol, "publisher", Period(BEFORE, now + DAY), now)
        assert (line["state"], amount("12.35")) in {(one["state"], one["micros"]) for one in told}
        assert (line["capability"], line["pool"], line["share"]) == (str(market.version), None, "9.500000")
        return str(line["state"])

    assert stands(THIS + 90 * DAY) == "unpaid"
    due = pay(market)
    assert stands(due) == "due"
    run = gather(due)
    assert run is not None
    payout = run.payouts.get(organization=market.carol)
    assert {(line.role, line.share, line.amount_micros) for line in payout.lines.all()} == {
        ("publisher", -one.pk, one.publisher_micros) for one in PeriodCharge.objects.all()
    }
    approve(payout, build.olga().user)
    assert send_payouts(due).paid == 1
    assert stands(due) == "paid"
    assert balance("publisher_payable", market.carol, "CNY") == payout.amount_micros - amount("12.35")
    assert gather(due) is None


def test_a_payout_of_it_is_withdrawn_when_the_customers_payment_is_reversed(market: Market) -> None:
    delivered(market)
    close_all()
    due = pay(market)
    gather(due)
    payout = Payout.objects.get(organization=market.carol)
    reverse_payment(Payment.objects.get(), "bounced", None, due)
    payout.refresh_from_db()
    assert payout.state == "cancelled"
    (told,) = standings_of(market.carol, "publisher", Period(BEFORE, due + DAY), due)
    assert (told["state"], told["micros"]) == ("unpaid", amount("12.35"))


def test_a_dispute_is_the_publishers_to_answer_and_its_refund_takes_each_share_back(market: Market) -> None:
    delivered(market)
    close_all()
    charge = PeriodCharge.objects.get(meter="fee_per_unit")
    (dispute,) = open_disputes(Opening(market.alice, "wrong_result", "not what was asked"), (), months=[charge.pk])
    assert (dispute.provider, dispute.publisher, dispute.respondent) == (None, market.carol, market.carol)
    run = gather(pay(market))
    assert run is None or not run.payouts.filter(lines__period_charge=charge).exists()
    decide([Decision(dispute.pk, "partly", "half of it", amount("5"))], None)
    refund = PeriodCharge.objects.get(refunds=charge)
    assert (refund.publisher, refund.publisher_micros, refund.platform_micros) == (market.carol, -amount("4.75"), -amount("0.25"))
    assert CreditNote.objects.get().net_micros == amount("5")
    dispute.refresh_from_db()
    assert check(bundle_of(dispute)).awarded == 5
    delivered(market)
    close_all()
    assert fees()["fee_per_unit"] == (amount("15"), amount("14.25"), amount("0.75"))
    assert is_balanced(trial_balance())


def test_postgresql_keeps_the_parties_and_the_shares_of_a_month(market: Market) -> None:
    delivered(market)
    close_all()
    base = PeriodCharge.objects.get(meter="fee_per_unit")
    copied = {field.attname: getattr(base, field.attname) for field in PeriodCharge._meta.concrete_fields if field.attname != "id"}
    wrong: list[dict[str, Any]] = [
        {"provider_id": market.bob.pk},
        {"publisher_id": None},
        {"publisher_micros": base.publisher_micros - 1},
        {"provider_micros": 1, "publisher_micros": base.publisher_micros - 1},
        {"version_id": None},
        {"offer_id": market.offer.pk},
    ]
    for change in wrong:
        with (
            pytest.raises(IntegrityError, match=r"period_(split_adds_up|charge_has_one_list|share_has_its_payee)"),
            transaction.atomic(),
        ):
            PeriodCharge.objects.create(**copied | change)
    copied |= {"revision": 1, "base_id": base.pk, "amount_micros": 0, "publisher_micros": 0, "platform_micros": 0}
    for change in ({"publisher_id": market.bob.pk}, {"basis_points": 400}, {"currency": "EUR"}):
        with pytest.raises(DatabaseError, match="does not go on"), transaction.atomic():
            PeriodCharge.objects.create(**copied | change)


def test_statements_of_the_three_parties_say_the_same_as_the_ledger(market: Market) -> None:
    delivered(market)
    close_all()
    charge = PeriodCharge.objects.earliest("pk")
    window = {"start": charge.rated_at - DAY, "end": charge.rated_at + DAY}
    for party, organization in (("user", market.alice), ("publisher", market.carol), ("provider", market.bob)):
        for group in ("task", "capability", "pool", "day", "month"):
            statement = Statement(party, organization, "CNY", group=group, **window)
            lines, _ = lines_of(statement)
            assert sum(amount(line["share"]) for line in lines) == total_of(statement), (party, group)
            assert sum(amount(line["share"]) for line in flow_of(statement)) == total_of(statement)
    lines, _ = lines_of(Statement("publisher", market.carol, "CNY", group="capability", **window))
    assert [(line["capability"], line["kind"], line["share"]) for line in lines] == [(str(market.version), "period", "12.350000")]


def test_its_evidence_lists_what_was_counted_and_finds_it_again(market: Market) -> None:
    delivered(market)
    delivered(market)
    close_all()
    for charge in PeriodCharge.objects.all():
        told = evidence_of_period(charge)
        assert told["facts"]["matches"]
        assert (told["facts"]["count"], len(told["facts"]["records"])) == (2, 2)
        assert (told["provider"], told["publisher"], told["pool"], told["capability"]) == (
            None,
            market.carol.slug,
            None,
            str(market.version),
        )
        assert told["split"]["provider"] == "0.000000"
        assert told["price"]["rates"][charge.meter]["model"] in {"graduated", "package"}
        assert {one["attempt"] is None for one in told["facts"]["records"]} == {charge.meter == "fee_per_task"}


def test_focus_and_payables_name_the_capability(market: Market) -> None:
    delivered(market)
    close_all()
    pay(market)
    rows = [
        row for row in focus_rows(BillingPeriod.objects.get(starts_at=BEFORE)) if str(row.get("x_ChargeId")).startswith("period/")
    ]
    assert {row["SkuMeter"] for row in rows} == {"Publisher Fee", "Publisher Task Fee"}
    assert sum(row["BilledCost"] for row in rows) == 13
    capability = f"{market.carol.slug}/{market.version.capability.name}"
    assert {(row["ServiceName"], row.get("ResourceId")) for row in rows} == {(capability, None)}
    client = build.client_of(build.a_person("cleo", market.carol, role="billing"))
    assert len(client.get("/api/v1/payables/periods?party=publisher").json()["results"]) == 2
    text = b"".join(client.get("/api/v1/payables.csv?party=publisher").streaming_content).decode()
    shown = [
        (row["capability"], row["meter"], row["share"]) for row in csv.DictReader(io.StringIO(text)) if row["kind"] == "period"
    ]
    assert sorted(shown) == [(str(market.version), "fee_per_task", "2.850000"), (str(market.version), "fee_per_unit", "9.500000")]
    (charge, _) = client.get("/api/v1/period-charges").json()["results"]
    assert (charge["publisher"], charge["provider"], charge["capability"]) == (market.carol.slug, None, str(market.version))
    stranger = build.client_of(build.mallory())
    assert stranger.get(f"/api/v1/period-charges/{charge['id']}/evidence").status_code == 404


def test_the_open_month_is_previewed(market: Market) -> None:
    delivered(market, THIS + timedelta(seconds=1))
    preview_open_month(THIS + DAY)
    found = PeriodPreview.objects.get(meter="fee_per_unit")
    (told,) = [one for one in unbilled_of(market.alice) if one["reason"] == "fees_by_month"]
    assert (told["count"], told["amount"]) == (1, "13.000000")
    assert (found.offer, found.capability, int(found.total_micros)) == (None, str(market.version), amount("10"))


def test_budgets_count_the_part_of_their_own_tasks(market: Market) -> None:
    for units in (1, 3):
        for _ in range(units):
            delivered(market, task_labels={"project": f"of-{units}"})
    whole = open_budget(market.alice, Wanted("all", "organization", "", "CNY", "month", 10**9, TOLD))
    part = open_budget(market.alice, Wanted("one", "project", "of-3", "CNY", "month", 10**9, TOLD))
    before = open_budget(market.alice, Wanted("no", "project", "of-2", "CNY", "month", 10**9, TOLD))
    close_all()
    for budget, amounts in ((whole, ("28", "6")), (part, ("21", "4.5")), (before, ("0", "0"))):
        budget.refresh_from_db()
        assert budget.spent_micros == sum(amount(one) for one in amounts)
    late = open_budget(market.alice, Wanted("late", "project", "of-1", "CNY", "month", 10**9, TOLD))
    assert late.spent_micros == amount("8.5")
    assert prove_credit() == 0


def test_an_export_of_charges_names_publisher_and_capability_and_comes_to_the_ledger(market: Market) -> None:
    delivered(market)
    close_all()
    question = Question("user", market.alice, BEFORE - 400 * DAY, THIS + 400 * DAY)
    rows = [row for row in rows_of(SOURCES["charges"], question) if row["kind"] == "period"]
    assert {(row["publisher"], row["capability"], row["provider"], row["pool"]) for row in rows} == {
        (market.carol.slug, str(market.version), None, None)
    }
    assert sum(row["publisher_share"] for row in rows) == Decimal("12.35")
    legs = rows_of(SOURCES["ledger"], question)
    owed = sum(leg["debit"] - leg["credit"] for leg in legs if leg["account_kind"] == "user_receivable")
    assert sum(row["amount"] for row in rows) == owed == 13


def test_a_task_of_a_capability_with_such_a_fee_is_previewed_with_its_month_once_it_has_run(db: None) -> None:
    pool = build.a_pool(build.bob())
    task = a_task(version=a_version(fee={"per_unit": TIERS}), inputs={"count": 3})
    assert (task.terms["fee_per_unit"], task.terms["fees_by_month"]) == ("10", {"per_unit": TIERS})
    run_to_end(task, FakeAgent.of(pool))
    measure()
    assert charge_task(task.pk)
    assert not Charge.objects.exclude(publisher_micros=0).exists()
    preview_open_month(timezone.now())
    assert PeriodPreview.objects.get().total_micros == amount("24")


amounts = st.integers(0, 10**15)


@given(totals=st.lists(amounts, min_size=1, max_size=12), points=st.integers(0, 10_000), published=st.booleans())
def test_shares_of_a_month_add_up_over_any_revisions_and_end_where_its_last_amount_says(
    totals: list[int], points: int, published: bool
) -> None:
    parts = points_of(Payee(None, 1, "CNY") if published else Payee(1, None, "CNY"), points)
    shares, before = (0, 0, 0), 0
    for total in totals:
        change = share_change(before, total, parts)
        assert sum(change) == total - before
        shares, before = tuple(old + new for old, new in zip(shares, change, strict=True)), total
    assert shares == shares_of(totals[-1], parts)
    assert min(shares) >= 0
    assert shares[0 if published else 1] == 0
