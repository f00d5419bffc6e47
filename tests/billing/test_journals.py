"""The ledger in the words of plain-text accounting: hledger's journal, read line by line, and by hledger where it is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from billing.ledger.export import stream
from billing.ledger.journals import account_name
from billing.ledger.sealing import seal_all
from billing.models import Account, AccountBalance, JournalEntry, Leg
from billing.services import charge_task
from marketplace.models import Organization
from tests.billing.test_seals import post
from tests.builders_billing import START, Market, make_attempt, make_market, make_need, make_task, make_usage

pytestmark = pytest.mark.django_db
HLEDGER_POSTING = re.compile(r"^    (\S+)  (-?\d+\.\d{6}) ([A-Z]{3})(?: = (-?\d+\.\d{6}) ([A-Z]{3}))?$")


@pytest.fixture
def market(db: None) -> Market:
    """Two blocks of business, an entry in two currencies, and a memo that would end a line, a text or a comment."""
    market = make_market()
    for number in range(2):
        task = make_task(market)
        make_usage(market, task, make_attempt(market, task, make_need()))
        assert charge_task(task.pk)
        post(f"own/{number}", 10**15 + number)
        seal_all()
    odd = JournalEntry.objects.create(key="odd", kind="test", memo='"quoted\\" ; 备注\n2026-01-01 open', posted_at=START)
    for currency, micros in (("CNY", 7_100_000), ("USD", 1_000_000)):
        for kind, debit in ((Account.Kind.PLATFORM_COST, micros), (Account.Kind.PLATFORM_REVENUE, 0)):
            account, _ = Account.objects.get_or_create(kind=kind, currency=currency)
            Leg.objects.create(entry=odd, account=account, debit_micros=debit, credit_micros=micros - debit)
    seal_all()
    return market


def written(form: str, reader: Organization | None = None) -> str:
    return b"".join(stream(form, reader)).decode()


def proved_sums() -> dict[tuple[str, str], Decimal]:
    """What every account comes to, by the name that journals give it."""
    rows = AccountBalance.objects.order_by("account_id", "-seal_id").distinct("account_id").select_related("account__organization")
    return {
        (account_name(row.account.kind, row.account.organization and row.account.organization.slug), row.account.currency):
            (row.debit_micros - row.credit_micros) / 10**6
        for row in rows
    }  # fmt: skip


def test_an_empty_ledger_is_a_journal_too(db: None) -> None:
    assert written("hledger").startswith("; Gridfare's ledger up to seal 0\n")
    assert written("beancount").startswith('option "title" "Gridfare ledger up to seal 0"\n')


@pytest.mark.parametrize("who", [None, "alice", "bob"])
def test_hledgers_journal_balances_line_by_line(market: Market, who: str | None) -> None:
    sums: dict[tuple[str, str], Decimal] = {}
    asserted: dict[tuple[str, str], Decimal] = {}
    for transaction in written("hledger", getattr(market, who) if who else None).split("\n\n")[1:]:
        found = [match for line in transaction.splitlines()[1:] if (match := HLEDGER_POSTING.match(line))]
        assert len(found) == len([line for line in transaction.splitlines()[1:] if not line.startswith("    ;")])
        off: dict[str, Decimal] = {}
        for account, amount, currency, total, _ in (match.groups() for match in found):
            sums[account, currency] = sums.get((account, currency), Decimal(0)) + Decimal(amount)
            off[currency] = off.get(currency, Decimal(0)) + Decimal(amount)
            if total is not None:
                asserted[account, currency] = Decimal(total)
        assert not any(off.values())
    sums = {place: amount for place, amount in sums.items() if place[0] != "Equity:Counterparties"}
    assert asserted == sums
    assert sums == {place: amount for place, amount in proved_sums().items() if who is None or place in sums}


@pytest.mark.parametrize("who", [None, "alice", "bob"])
def test_hledger_checks_it_where_it_is_installed(market: Market, who: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ledger.journal"
    file.write_text(written("hledger", getattr(market, who) if who else None))
    assert file.read_text().count(" = ") >= 1
    if hledger := shutil.which("hledger"):
        subprocess.run([hledger, "-f", str(file), "check", "accounts"], env={"LANG": "C.UTF-8"}, check=True)
        file.write_text(re.sub(r"(  -?\d+\.\d{5})\d", r"\g<1>9", file.read_text(), count=1))
        assert subprocess.run([hledger, "-f", str(file), "check"], env={"LANG": "C.UTF-8"}, check=False).returncode != 0


@pytest.mark.parametrize(
    ("kind", "slug", "name"),
    [
        ("user_receivable", "acme", "Assets:UserReceivable:Acme"),
        ("publisher_payable", "carols-programs", "Liabilities:PublisherPayable:Carols-programs"),
        ("platform_revenue", None, "Income:PlatformRevenue"),
        ("platform_cost", None, "Expenses:PlatformCost"),
        ("something_new", "a1", "Equity:SomethingNew:A1"),
    ],
)
def test_accounts_have_names_that_both_programs_take(kind: str, slug: str | None, name: str) -> None:
    assert account_name(kind, slug) == name
