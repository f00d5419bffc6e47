"""A program that knows nothing of us reads the ledger, and it balances for it: beancount, with its own arithmetic."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from beancount import loader
from beancount.core.data import Balance, Open, Transaction

from billing.models import JournalEntry
from tests.billing.test_journals import market, proved_sums, written  # noqa: F401  the market is a fixture
from tests.builders_billing import Market

pytestmark = pytest.mark.django_db


def read_by_beancount(text: str) -> tuple[list[Any], list[Any]]:
    entries, errors, _ = loader.load_string(text)
    return entries, errors


def test_beancount_balances_the_whole_ledger(market: Market) -> None:  # noqa: F811
    entries, errors = read_by_beancount(written("beancount"))
    assert errors == []
    transactions = [entry for entry in entries if isinstance(entry, Transaction)]
    assert sorted(entry.meta["place"] for entry in transactions) == [1, 2, 3, 4, 5]
    assert len(transactions) == JournalEntry.objects.count() == 5
    sums: dict[tuple[str, str], Decimal] = {}
    for posting in (posting for entry in transactions for posting in entry.postings):
        assert isinstance(posting.units.number, Decimal)
        place = (posting.account, posting.units.currency)
        sums[place] = sums.get(place, Decimal(0)) + posting.units.number
    assert sums == proved_sums()
    checked = {(entry.account, entry.amount.currency) for entry in entries if isinstance(entry, Balance)}
    assert checked == sums.keys()


@pytest.mark.parametrize("who", ["alice", "bob", "carol"])
def test_beancount_balances_an_organizations_own_part(market: Market, who: str) -> None:  # noqa: F811
    organization = getattr(market, who)
    entries, errors = read_by_beancount(written("beancount", organization))
    assert errors == []
    assert len([entry for entry in entries if isinstance(entry, Transaction)]) == 2
    accounts = {entry.account for entry in entries if isinstance(entry, Open)}
    slug = organization.slug.capitalize()
    assert all(account.endswith((f":{slug}", "Equity:Counterparties")) for account in accounts)


def test_beancount_finds_a_micro_that_is_missing(market: Market) -> None:  # noqa: F811
    text = written("beancount")
    assert "1000000000.000001 CNY" in text
    _, errors = read_by_beancount(text.replace(" 1000000000.000001 CNY", " 1000000000.000002 CNY", 1))
    assert any("does not balance" in error.message for error in errors)
    _, errors = read_by_beancount(re.sub(r"(balance Expenses:PlatformCost  \d+\.\d{5})\d", r"\g<1>9", text, count=1))
    assert any("Balance failed" in error.message for error in errors)


def test_beancount_reads_an_empty_ledger(db: None) -> None:
    assert read_by_beancount(written("beancount"))[1] == []
