"""Who pays for what, story by story. docs/billing.md prints the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from billing.models import Charge
from billing.pricing import ENDINGS, VERDICTS, ending_of, verdict_of, work_of
from billing.services import charge_task
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage

RATES = {"core_second": "0.1"}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "billing.md"
CORE_SECONDS = {"core_ms": 1000}  # so 0.1 CNY of resources each


@pytest.fixture
def market(db: None) -> Market:
    return make_market(rates=RATES)


def charges(market: Market, state: str, attempts: list[tuple[str, str]], **fields: Any) -> list[Charge]:
    """Charge a task that ended in `state` with attempts of these (outcome, reason class)."""
    fields.setdefault("terms", {"fee_per_unit": "0.02", "platform_basis_points": 1000})
    task = make_task(market, state, **fields)
    need = make_need()
    for outcome, reason in attempts:
        attempt = make_attempt(market, task, need, state=outcome, reason_class=reason)
        make_usage(market, task, attempt, **CORE_SECONDS)
    assert charge_task(task.pk)
    return list(Charge.objects.filter(task=task).order_by("pk"))


def shares(charge: Charge) -> tuple[str, int, int, int]:
    return charge.payer, charge.provider_micros, charge.publisher_micros, charge.platform_micros


def test_a_delivered_unit_pays_all_three(market: Market) -> None:
    [charge] = charges(market, "delivered", [("valid", "")])
    assert charge.amount_micros == 120_000
    assert shares(charge) == ("user", 90_000, 18_000, 12_000)
    assert [line["meter"] for line in charge.lines] == ["core_second", "publisher_fee"]


def test_a_failed_result_costs_nothing(market: Market) -> None:
    found = charges(
        market, "failed", [("valid", ""), ("failed", "capability_error")], reason_class="capability_error"
    )
    assert [shares(charge) for charge in found] == [("nobody", 0, 0, 0)] * 2


def test_a_cancelled_task_pays_what_was_metered_and_fees_of_valid_units_only(market: Market) -> None:
    found = charges(market, "cancelled", [("valid", ""), ("cancelled", "user_cancel")])
    assert [shares(charge) for charge in found] == [("user", 90_000, 18_000, 12_000), ("user", 90_000, 0, 10_000)]


def test_hitting_a_limit_is_metered_without_a_fee(market: Market) -> None:
    found = charges(
        market, "failed", [("valid", ""), ("failed", "limit_exceeded")], reason_class="limit_exceeded"
    )
    assert [shares(charge) for charge in found] == [("user", 90_000, 0, 10_000)] * 2


@pytest.mark.parametrize(
    "ended", [("failed", "node_fault"), ("failed", "reclaimed"), ("failed", "capability_error"), ("lost", ""), ("invalid", "")]
)
def test_what_went_wrong_on_the_way_to_a_result_is_nobodys(market: Market, ended: tuple[str, str]) -> None:
    valid, wrong = charges(market, "delivered", [("valid", ""), ended])
    assert shares(wrong) == ("nobody", 0, 0, 0)
    assert valid.payer == "user"


@pytest.mark.parametrize("ended", [("superseded", ""), ("failed", "platform_fault")])
@pytest.mark.parametrize("state", ["delivered", "failed", "expired"])
def test_what_the_platform_caused_it_pays(market: Market, ended: tuple[str, str], state: str) -> None:
    [charge] = charges(market, state, [ended], reason_class="capability_error" if state == "failed" else "")
    assert shares(charge) == ("platform", 90_000, 0, 10_000)


@pytest.mark.parametrize(("state", "reason"), [("failed", "node_fault"), ("failed", ""), ("expired", "")])
def test_honest_work_for_a_task_that_did_not_end_well_is_the_platforms(
    market: Market, state: str, reason: str
) -> None:
    found = charges(market, state, [("valid", ""), ("cancelled", "user_cancel")], reason_class=reason)
    assert [shares(charge) for charge in found] == [("platform", 90_000, 0, 10_000)] * 2


def test_a_test_of_a_capability_is_the_platforms_and_earns_no_fee(market: Market) -> None:
    terms = {"fee_per_unit": "0.02", "fee_per_task": "5", "platform_basis_points": 1000}
    [charge] = charges(market, "delivered", [("valid", "")], kind="test", terms=terms)
    assert shares(charge) == ("platform", 90_000, 0, 10_000)


def test_the_tasks_fee_is_charged_once_delivered_and_shared(market: Market) -> None:
    terms = {"fee_per_unit": "0", "fee_per_task": "5", "platform_basis_points": 1000}
    _, fee = charges(market, "delivered", [("valid", "")], terms=terms)
    assert (fee.kind, *shares(fee)) == ("fee", "user", 0, 4_500_000, 500_000)
    [only] = charges(market, "cancelled", [("valid", "")], terms=terms)
    assert only.kind == "usage"


def test_a_merge_is_paid_as_work_and_is_no_unit_of_the_publishers(market: Market) -> None:
    task = make_task(market, terms={"fee_per_unit": "0.02", "platform_basis_points": 1000})
    attempt = make_attempt(market, task, make_need(stage=1))
    make_usage(market, task, attempt, stage=1, **CORE_SECONDS)
    charge_task(task.pk)
    assert shares(Charge.objects.get()) == ("user", 90_000, 0, 10_000)


def test_charges_stop_at_the_price_cap_in_the_order_of_usage(market: Market) -> None:
    found = charges(market, "delivered", [("valid", "")] * 3, max_price="0.15")
    assert [charge.amount_micros for charge in found] == [120_000, 30_000, 0]
    assert found[1].lines[-1] == {
        "meter": "price_cap", "quantity": "1", "unit_price": "-0.09", "amount": "-0.09"
    }  # fmt: skip
    assert shares(found[1]) == ("user", 22_500, 4_500, 3_000)


def test_an_attempt_without_a_price_in_the_tasks_currency_says_so(market: Market) -> None:
    [charge] = charges(market, "delivered", [("valid", "")], terms={"currency": "USD", "fee_per_unit": "0"})
    assert (charge.reason, charge.amount_micros) == ("unpriced", 0)


def test_every_kind_of_work_has_a_verdict_for_every_ending() -> None:
    for work in {work for work, _ in VERDICTS}:
        for ending in ENDINGS:
            assert verdict_of(work, ending, "test").payer != "user"


@pytest.mark.parametrize("reason", ["valid", "", "nonsense", "node_fault"])
def test_an_agent_cannot_call_a_failure_valid(reason: str) -> None:
    assert work_of("failed", reason) == "node_fault"


def test_a_tasks_ending_is_one_of_the_columns() -> None:
    assert {ending_of(state, "limit_exceeded") for state in ("delivered", "cancelled", "failed", "expired")} == {
        "delivered", "cancelled", "limit_exceeded", "failed"
    }  # fmt: skip


def test_the_documentation_prints_the_same_table() -> None:
    rows = [line.strip().strip("|").split("|") for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    printed = {
        (cells[0].strip().strip("`"), ending): cell.strip()
        for cells in rows
        if len(cells) == 1 + len(ENDINGS)
        for ending, cell in zip(ENDINGS, cells[1:], strict=True)
    }
    assert printed == {key: v.payer + (" + fee" if v.fee else "") for key, v in VERDICTS.items()}
