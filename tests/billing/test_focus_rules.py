"""FOCUS 1.2's rules as data: a good row keeps them all, and every way to break one is found under its name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from billing.exports.checks import check
from billing.exports.columns import BY_NAME, COLUMNS
from billing.exports.rows import Charged, Document, Part, Taken, in_ascii, row_of_tax, rows_of_credit, rows_of_line
from billing.exports.writers import cell, write
from tests.billing.test_focus_export import an_invoiced_month, asked, market  # noqa: F401
from tests.builders_billing import START, Market
from tests.builders_invoices import APRIL, MARCH

DOCUMENT = Document("GF-1", None, "alice", "Alice", "CNY", MARCH, APRIL, "Gridfare")
NAMES = [column.name for column in COLUMNS]
LINES = [{"meter": "core_second", "quantity": "1.234", "unit_price": "0.1", "amount": "0.1234"}]


def charge(*lines: dict[str, str]) -> Charged:
    parties = ("bob", "Bob", "carol", "卡罗尔", "carol/render")
    return Charged(1, START, START, list(lines), *parties, "task", 1, 1, "TEST-1", "ningxia", "宁夏", 1, 1, 1)


def cells(row: dict[str, object]) -> dict[str, str]:
    return {name: cell(BY_NAME[name], row.get(name)) for name in NAMES}


def a_usage(**changes: str) -> dict[str, str]:
    part = Part(1, "usage", False, MARCH, APRIL, 123_400, 123_400)
    return cells(next(iter(rows_of_line(DOCUMENT, part, [charge(*LINES)])))) | changes


def broken(row: dict[str, str]) -> set[tuple[str, str]]:
    return {(finding.rule, finding.column) for finding in check(list(row), [row])}


BREAKS = [
    ({"BilledCost": ""}, "nullability", "BilledCost"),
    ({"ServiceSubcategory": ""}, "nullability", "ServiceSubcategory"),
    ({"BilledCost": "1"}, "kind", "BilledCost"),
    ({"BilledCost": "1,5"}, "kind", "BilledCost"),
    ({"BillingPeriodStart": "2026-03-01T00:00:00+08:00"}, "kind", "BillingPeriodStart"),
    ({"BillingPeriodStart": "2026-03-01 00:00:00Z"}, "kind", "BillingPeriodStart"),
    ({"ChargePeriodEnd": "2026-03-01T12:00:01.5Z"}, "kind", "ChargePeriodEnd"),
    ({"BillingAccountName": "爱丽丝"}, "kind", "BillingAccountName"),
    ({"Tags": "[]"}, "kind", "Tags"),
    ({"Tags": "{"}, "kind", "Tags"),
    ({"ChargeCategory": "usage"}, "allowed", "ChargeCategory"),
    ({"ChargeClass": "Refund"}, "allowed", "ChargeClass"),
    ({"ServiceCategory": "Computing"}, "allowed", "ServiceCategory"),
    ({"ListUnitPrice": "-0.1"}, "range", "ListUnitPrice"),
    ({"BillingCurrency": "RMB"}, "currency", "BillingCurrency"),
    ({"PricingCurrency": "yuan"}, "currency", "PricingCurrency"),
    ({"SkuId": ""}, "category", "SkuId"),
    ({"PricingCategory": ""}, "category", "PricingCategory"),
    ({"ChargeCategory": "Tax"}, "category", "PricingQuantity"),
    ({"ChargeCategory": "Tax"}, "category", "SkuMeter"),
    ({"ChargeCategory": "Credit"}, "category", "ConsumedQuantity"),
    ({"PricingUnit": ""}, "together", "PricingUnit"),
    ({"RegionName": ""}, "together", "RegionName"),
    ({"ListCost": "1.0"}, "product", "ListCost"),
    ({"ContractedCost": "0.1235"}, "product", "ContractedCost"),
    ({"ChargePeriodEnd": "2026-03-01T11:00:00Z"}, "periods", "ChargePeriodEnd"),
    ({"ChargeCategory": "Purchase"}, "frequency", "ChargeFrequency"),
    ({"ConsumedQuantity": "0.0"}, "consumed", "ConsumedQuantity"),
    ({"ServiceSubcategory": "Containers", "ServiceCategory": "Storage"}, "parent", "ServiceSubcategory"),
    ({"ServiceSubcategory": "Other (Storage)"}, "parent", "ServiceSubcategory"),
    ({"Extra": "1"}, "custom", "Extra"),
]


def test_a_row_of_every_kind_breaks_no_rule() -> None:
    cap = {"meter": "price_cap", "quantity": "1", "unit_price": "-0.1", "amount": "-0.1"}
    usage = Part(1, "usage", False, MARCH, APRIL, 23_400, 20_000)
    month = Part(2, "period", False, MARCH, APRIL, 105, 0, "peak")
    late = Part(3, "usage", True, MARCH, APRIL, 123_400, 120_000)
    rows = [
        *rows_of_line(DOCUMENT, usage, [charge(*LINES, cap)]),
        *rows_of_line(DOCUMENT, month, ()),
        *rows_of_line(DOCUMENT, late, [charge(*LINES)]),
        row_of_tax(DOCUMENT, Decimal(6), 10_000),
        *rows_of_credit(DOCUMENT, [Taken(1, 10_000, 600, 9_000, 0, 1_000)]),
    ]
    assert list(check(NAMES, map(cells, rows))) == []


@pytest.mark.parametrize(("change", "rule", "column"), BREAKS)
def test_what_breaks_a_rule_is_found_under_its_name(change: dict[str, str], rule: str, column: str) -> None:
    assert (rule, column) in broken(a_usage(**change))


@pytest.mark.parametrize("column", [column.name for column in COLUMNS if column.level in {"mandatory", "recommended"}])
def test_a_column_that_is_asked_for_is_missed(column: str) -> None:
    row = {name: value for name, value in a_usage().items() if name != column}
    assert ("presence", column) in broken(row)


@pytest.mark.parametrize("column", [column.name for column in COLUMNS if not column.nullable])
def test_a_column_that_must_have_a_value_is_missed_without_one(column: str) -> None:
    assert ("nullability", column) in broken(a_usage(**{column: ""}))


@pytest.mark.parametrize(("left", "right"), [("SkuPriceId", "SkuId"), ("ServiceName", "ServiceCategory")])
def test_one_thing_has_one_parent_in_a_file(left: str, right: str) -> None:
    other = "Storage" if right == "ServiceCategory" else "other"
    assert "one_of" in {one.rule for one in check(NAMES, [a_usage(), a_usage(**{right: other})])}
    changed = {right: other, left: "another"} | ({"ServiceSubcategory": "Other (Storage)"} if other == "Storage" else {})
    assert list(check(NAMES, [a_usage(), a_usage(**changed)])) == []


def test_an_invoice_that_does_not_come_to_its_total_is_found() -> None:
    wrong = check(NAMES, [a_usage()], {"GF-1": Decimal("0.12")})
    assert [(finding.rule, finding.row) for finding in wrong] == [("invoice_total", 0)]
    assert list(check(NAMES, [a_usage()], {"GF-1": Decimal("0.1234")})) == []


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), max_size=8),
    st.integers(0, 10**6),
)
def test_rows_of_any_line_keep_the_rules_and_come_to_its_amount(used: list[tuple[int, int]], cents: int) -> None:
    lines = [
        {"meter": "core_second", "quantity": f"{ms / 1000:.3f}", "unit_price": f"{Decimal(price).scaleb(-12):f}", "amount": "0"}
        for ms, price in used
    ]
    part = Part(1, "usage", False, MARCH, APRIL, 0, cents * 10_000)
    found = [cells(row) for row in rows_of_line(DOCUMENT, part, [charge(line) for line in lines])]
    total = {"GF-1": Decimal(cents) / 100}
    assert [one for one in check(NAMES, found, total) if one.rule not in {"one_of", "consumed"}] == []


@pytest.mark.parametrize(("name", "shown"), [("Café", "Cafe"), ("宁夏", "id"), ("宁夏 1", "id"), ("", "id"), ("Bob", "Bob")])
def test_a_name_is_shown_in_ascii_or_by_its_identifier(name: str, shown: str) -> None:
    assert in_ascii(name, "id") == shown


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-a", "@a", "\ta", "\ra"])
def test_text_that_a_spreadsheet_would_run_is_quoted_and_numbers_stay(text: str) -> None:
    assert cell(BY_NAME["x_ServiceProviderName"], text) == f"'{text}"
    assert cell(BY_NAME["BilledCost"], Decimal(-1)) == "-1.0"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_command_checks_what_the_platform_exports(market: Market, tmp_path: Path, form: str) -> None:  # noqa: F811
    an_invoiced_month(market)
    file = tmp_path / f"march.{form}"
    file.write_bytes(b"".join(asked(form).streaming_content))
    call_command("check_focus", str(file), "--totals")


def test_the_command_fails_for_a_broken_file_and_for_none(tmp_path: Path) -> None:
    file = tmp_path / "broken.csv"
    with file.open("wb") as target:
        write("csv", COLUMNS[:-1], [{"BilledCost": Decimal(1)}], target)
    with pytest.raises(CommandError, match="rules are broken"):
        call_command("check_focus", str(file))
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("check_focus", str(tmp_path / "none.csv"))
