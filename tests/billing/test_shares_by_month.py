"""A publisher's percentage of what resources cost in a month: in proportion, corrected with them, proved by its parts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.correcting import correct_usage
from billing.credit.budgets import Wanted, open_budget
from billing.credit.proving import prove_credit
from billing.disputes.bundle import bundle_of
from billing.disputes.deciding import Decision, decide
from billing.disputes.opening import Opening, open_disputes
from billing.exports.checks import check as check_focus
from billing.exports.columns import BY_NAME
from billing.exports.writers import cell
from billing.invoices.closing import close_all
from billing.models import Charge, Invoice, PeriodCharge
from billing.periods.evidence import evidence_of_period
from billing.periods.imagining import Candidate, compare
from billing.periods.prices import parse_price
from billing.queries import is_balanced, trial_balance
from core.money import from_micros
from gridfare.evidence import Refuted, canonical, check
from tests import builders as build
from tests.billing.test_fees_by_month import PACKS, TIERS, TOLD, fees, signed
from tests.billing.test_focus_reconciliation import NAMES, rows_of, sums
from tests.billing.test_invoiced_periods import BEFORE, DAY, THIS
from tests.builders_billing import Market, make_agent, make_offer, make_pool, make_version
from tests.builders_invoices import balance
from tests.builders_periods import amount, corrected, period_market, period_offer, priced_by_month, used

pytestmark = pytest.mark.django_db


@pytest.fixture
def shared(db: None) -> Market:
    """Carol asks 10 % of what her tasks' resources cost at bob's: a core costs 10 by the month's peak, or 0.01 a second."""
    market = period_market("monthly_peak", {"held_cores": "10"}, start=BEFORE - 400 * DAY)
    signed(market)
    priced_by_month(market, share={"model": "percentage", "percent": "10"})
    return market


def test_a_share_of_a_pools_month_is_in_proportion_to_the_core_time_of_the_tasks(shared: Market) -> None:
    plain = replace(shared, version=make_version(shared.carol))
    used(shared, BEFORE + DAY, 600, 3)
    used(plain, BEFORE + DAY, 600, 1)
    close_all()
    peak, share = PeriodCharge.objects.order_by("pk")
    assert (peak.meter, peak.total_micros, share.meter) == ("held_cores", amount("40"), "fee_share")
    assert (share.raw, share.total_micros) == (Decimal(30), amount("3"))  # of 40, by 1,800 of 2,400 core-seconds
    assert (share.publisher_micros, share.platform_micros) == (amount("2.85"), amount("0.15"))
    assert is_balanced(trial_balance())


def test_a_correction_of_usage_changes_the_share_by_what_it_changes_of_the_cost(shared: Market) -> None:
    usage = used(shared, BEFORE + DAY, 600, 4)
    close_all()
    corrected(usage, held_core_ms=usage.held_core_ms // 2, core_ms=usage.core_ms // 2)
    close_all()
    base, less = PeriodCharge.objects.filter(meter="fee_share").order_by("revision")
    assert (base.total_micros, less.total_micros, less.publisher_micros) == (amount("4"), amount("2"), -amount("1.9"))


def test_a_share_of_nothing_that_is_left_is_taken_back_whole_and_proved(shared: Market) -> None:
    usage = used(shared, BEFORE + DAY, 600, 4)
    close_all()
    corrected(usage, held_core_ms=0, core_ms=0)
    close_all()
    last = PeriodCharge.objects.filter(meter="fee_share").latest("revision")
    assert (last.total_micros, last.amount_micros, last.publisher_micros) == (0, -amount("4"), -amount("3.8"))
    assert evidence_of_period(last)["facts"]["matches"]
    assert balance("publisher_payable", shared.carol, "CNY") == 0


def test_a_share_is_of_what_tasks_were_charged_for_their_resources_too_and_never_of_fees(shared: Market) -> None:
    market = replace(shared, pool=make_pool(shared.bob))
    market.agent, market.offer = make_agent(market.pool), make_offer(market.pool, "consumption", {"core_second": "0.01"})
    usage = used(market, BEFORE + DAY, 100, 2, task_terms={"fee_per_unit": "5"})
    close_all()
    assert Charge.objects.get().amount_micros == amount("7")
    assert fees() == {"fee_share": (amount("0.2"), amount("0.19"), amount("0.01"))}
    correct_usage(usage.pk, {"core_ms": usage.core_ms * 2, "held_core_ms": usage.core_ms * 2})
    close_all()
    assert fees() == {"fee_share": (amount("0.4"), amount("0.38"), amount("0.02"))}


def test_what_a_pool_reports_itself_is_in_no_publishers_share(shared: Market) -> None:
    listed = replace(shared, pool=make_pool(shared.bob))
    listed.agent = make_agent(listed.pool)
    rates, rules = {"held_cores": "10", "gb_moved": "1"}, {"events": {"gb_moved": "gb"}}
    listed.offer = period_offer(listed.pool, "monthly_peak", rates, rules, start=BEFORE - 400 * DAY)
    used(listed, BEFORE + DAY, 600, 4, bytes_in=3 * 10**9)
    close_all()
    assert {one.meter: one.total_micros for one in PeriodCharge.objects.all()} == {
        "held_cores": amount("40"), "gb_moved": amount("3"), "fee_share": amount("4"),
    }  # fmt: skip


def test_the_evidence_of_a_share_says_of_what_and_a_bundle_of_it_is_checked_without_the_platform(shared: Market) -> None:
    used(shared, BEFORE + DAY, 600, 4)
    close_all()
    share = PeriodCharge.objects.get(meter="fee_share")
    told = evidence_of_period(share)
    (of,) = told["of"]
    assert told["facts"]["matches"]
    assert (of["meter"], of["amount"], of["held_core_seconds"], of["of_core_seconds"]) == (
        "held_cores", "40.000000", "2400.000000", "2400.000000",
    )  # fmt: skip
    (dispute,) = open_disputes(Opening(shared.alice, "wrong_price", "too much"), (), months=[share.pk])
    decide([Decision(dispute.pk, "upheld", "so it is")], None)
    dispute.refresh_from_db()
    assert check(bundle_of(dispute)).awarded == 4
    forged = json.loads(bundle_of(dispute))
    forged["bundle"]["charges"][0]["evidence"]["of"][0]["held_core_seconds"] = "1200"
    forged["digest"] = hashlib.sha256(canonical(forged["bundle"])).hexdigest()
    with pytest.raises(Refuted, match="does not come to 40"):
        check(json.dumps(forged).encode())
    page = build.session_of(build.a_person("cleo", shared.carol, role="owner")).get(f"/period-charges/{share.pk}/").content.decode()
    assert "What it is a share of" in page


def test_a_what_if_leaves_fees_by_month_out_as_all_others(shared: Market) -> None:
    used(shared, BEFORE + DAY, 600, 4, task={"ended_at": BEFORE + DAY + timedelta(minutes=10)})
    close_all()
    found = compare(shared.alice, BEFORE.date(), [Candidate("the same", parse_price("monthly_peak", {"held_cores": "10"}, {}))])
    assert (found["actual"]["total"], found["candidates"][0]["total"]) == ("40.000000", "40.000000")


def test_focus_rows_of_all_fees_keep_the_rules_and_come_to_the_invoices(shared: Market) -> None:
    percent = {"model": "percentage", "percent": "7.3", "fixed": "0.05"}
    priced_by_month(shared, per_unit=TIERS, per_task=PACKS | {"minimum": "5"}, share=percent)
    usage = used(shared, BEFORE + DAY, 600, 4, task={"ended_at": BEFORE + DAY + timedelta(minutes=10)})
    close_all()
    used(shared, BEFORE + 2 * DAY, 600, 1)
    corrected(usage, held_core_ms=usage.held_core_ms * 3 // 2, core_ms=usage.core_ms * 3 // 2)
    close_all()
    close_all(THIS + 40 * DAY)
    rows = rows_of(shared)
    assert list(check_focus(NAMES, ({name: cell(BY_NAME[name], row.get(name)) for name in NAMES} for row in rows))) == []
    assert {row.get("SkuMeter") for row in rows} >= {"Publisher Fee", "Publisher Task Fee", "Publisher Share"}
    assert sum(row.get("x_PublisherShare", 0) for row in rows) * 10**6 == -balance("publisher_payable", shared.carol, "CNY")
    totals = {(one.number,): from_micros(one.total_micros) for one in Invoice.objects.filter(number__isnull=False)}
    assert sums(rows, "InvoiceId") == totals


def test_a_budget_counts_the_part_of_a_share_by_the_core_time_of_its_tasks(shared: Market) -> None:
    used(shared, BEFORE + DAY, 600, 3, task={"labels": {"project": "film"}})
    used(shared, BEFORE + DAY, 600, 1, task={"labels": {"project": "other"}})
    close_all()
    film, other = (
        open_budget(shared.alice, Wanted(name, "project", name, "CNY", "month", 10**9, TOLD)) for name in ("film", "other")
    )
    assert [int(film.spent_micros), int(other.spent_micros)] == [amount("33"), amount("11")]  # of 40 and of a tenth of it
    assert prove_credit() == 0
