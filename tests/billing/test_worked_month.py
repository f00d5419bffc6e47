"""The worked month of docs/billing.md: its figures are recomputed by the services that bill, and every cell is compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from django.utils import timezone

from billing.invoices import pages, payments
from billing.invoices.closing import close_all
from billing.models import Charge, Invoice, Payout, PeriodCharge
from billing.periods import rate_periods, safe_cutoff
from billing.queries import is_balanced, trial_balance
from billing.services import charge_tasks
from billing.settlement.payouts import approve, gather
from billing.settlement.sending import send_payouts
from core.money import from_micros
from marketplace.models import Contract, Task
from tests import builders as build
from tests.builders_billing import (
    Market,
    make_agent,
    make_attempt,
    make_market,
    make_need,
    make_offer,
    make_pool,
    make_task,
    make_usage,
)
from tests.builders_invoices import MARCH, make_tax
from tests.builders_periods import at, period_offer

pytestmark = pytest.mark.django_db
DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "billing.md"
Rows = list[list[str]]


def tables() -> dict[str, Rows]:
    """The tables of the section, by the bold word that stands above each; without their heads."""
    section = DOCUMENT.read_text().partition("\n## A worked month\n")[2].partition("\n## ")[0]
    found: dict[str, Rows] = {}
    for title, body in re.findall(r"\*\*([^*\n]+)\*\*[^\n]*\n\n((?:\|[^\n]*\n)+)", section):
        found[title] = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in body.strip().splitlines()[2:]]
    return found


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", "").removesuffix(" %"))


def plain(value: Decimal) -> str:
    """As the document writes amounts: thousands apart, cents at least, no zeros beyond them."""
    short = f"{value.normalize():,f}"
    return f"{value:,.2f}" if len(short.partition(".")[2]) < 2 else short


def money(micros: int) -> str:
    return plain(from_micros(micros))


class Month:
    """What the document says was agreed and used, made into rows and billed by the services."""

    def __init__(self, said: dict[str, Rows]) -> None:
        self.agreed = dict(said["Agreed"])
        self.pools: dict[str, tuple[Any, ...]] = {}
        self.numbers: dict[str, str] = {}
        self.market = make_market()
        self._sign()
        for pool, basis, meter, price in said["Price lists"]:
            self._list(pool, basis, meter, price)
        self._use(said["Usage"])

    def _sign(self) -> None:
        began = MARCH - timedelta(days=400)
        terms = {"zone": self.agreed["time zone"], "currency": "CNY", "grace_days": 3, "due_days": 14, "carries_remainder": True}
        Contract.objects.create(organization=self.market.alice, valid=(began, None), signed_at=began, **terms)
        make_tax(self.market.alice, percent=str(number(self.agreed["VAT 增值税"])), code="vat", start=began)

    def _list(self, name: str, basis: str, meter: str, price: str) -> None:
        """A pool with its prices; a second line of the same pool adds a rate."""
        if name in self.pools:
            offer = self.pools[name][1]
            offer.rates.create(meter=meter, unit_price=Decimal(price))
            return
        pool = make_pool(self.market.bob)
        monthly = basis == "monthly_peak"
        offer = period_offer(pool, basis, {meter: price}) if monthly else make_offer(pool, basis, {meter: price})
        self.pools[name] = (pool, offer, make_agent(pool))

    def _use(self, lines: Rows) -> None:
        tasks: dict[str, Task] = {}
        fees = {"fee_per_unit": self.agreed["fee per unit"], "fee_per_task": self.agreed["fee per task"]}
        terms = fees | {"platform_basis_points": int(number(self.agreed["platform's share"]) * 100)}
        for attempt, task, name, cores, begun, held, core_seconds, moved, outcome in lines:
            pool, offer, agent = self.pools[name]
            market: Market = replace(self.market, pool=pool, offer=offer, agent=agent)
            if task not in tasks:
                tasks[task] = make_task(market, terms=terms, units=2)
            of = tasks[task]
            begin = at(f"2026-{begun}")
            end, wall = begin + timedelta(seconds=float(number(held))), int(number(held) * 1000)
            failed = {"reason_class": outcome} if outcome != "valid" else {}
            state = "valid" if outcome == "valid" else "failed"
            row = make_attempt(market, of, make_need(), unit="done", state=state, leased_at=begin, ended_at=end, **failed)
            numbers = {"wall_ms": wall, "held_core_ms": wall * int(cores), "core_ms": int(number(core_seconds) * 1000)}
            numbers |= {"bytes_in": int(number(moved) * 10**9), "bytes_out": 0}
            usage = make_usage(market, of, row, measured_at=end, outcome=state, **failed, **numbers)
            self.numbers[str(usage.pk)] = attempt
            Task.objects.filter(pk=of.pk).update(ended_at=end)
        for name, of in tasks.items():
            charge_tasks([of.pk])
            self.numbers[str(of.pk)] = name
        rate_periods([self.market.alice.pk], date(2026, 3, 1), safe_cutoff(), final=True)

    def charges(self) -> Rows:
        """Every charge of a task: for what, who pays, the amount and its shares."""
        rows = []
        for one in Charge.objects.order_by("pk"):
            what = f"attempt {self.numbers[str(one.usage_id)]}" if one.usage_id else f"fee of {self.numbers[str(one.task_id)]}"
            shares = (one.amount_micros, one.provider_micros, one.publisher_micros, one.platform_micros)
            rows.append([what, one.payer, *map(money, shares)])
        return rows

    def peak(self) -> Rows:
        (one,) = PeriodCharge.objects.all()
        (line,) = one.lines
        shares = (one.total_micros, one.provider_micros, one.platform_micros)
        return [[one.meter, f"{one.billed.normalize():f}", plain(Decimal(line["unit_price"])), *map(money, shares)]]


def billed(month: Month) -> Invoice:
    close_all(organizations=[month.market.alice.pk])
    return Invoice.objects.get(organization=month.market.alice, number__isnull=False)


def lines_of(month: Month, invoice: Invoice) -> Rows:
    names = {pool.identifier: name for name, (pool, *_) in month.pools.items()}
    told = pages.document(invoice)["lines"]
    amounts = [[plain(Decimal(one[name])) for name in ("exact", "amount", "tax")] for one in told]
    return [
        [str(one["number"]), one["kind"], names.get(one["pool"], ""), *sums] for one, sums in zip(told, amounts, strict=True)
    ]


def sums_of(invoice: Invoice) -> Rows:
    names = ("exact", "carried_in", "carried_out", "net", "tax", "total")
    return [[name.replace("_", " "), money(getattr(invoice, f"{name}_micros"))] for name in names]


def paid(month: Month, invoice: Invoice) -> None:
    receipt = payments.Receipt(
        key="bank/1", organization=month.market.alice.pk, currency="CNY", micros=invoice.total_micros, method="bank",
        received_on=timezone.now().date(), invoices=[invoice.pk],
    )  # fmt: skip
    payments.record_payment(receipt)
    invoice.refresh_from_db()


def payouts(month: Month, invoice: Invoice) -> Rows:
    """Gathered when the hold-back days are over, approved and sent."""
    assert invoice.ended_at is not None
    assert gather(invoice.ended_at + timedelta(days=7) - timedelta(seconds=1)) is None
    gather(invoice.ended_at + timedelta(days=7))
    rows = []
    for payout in Payout.objects.order_by("pk"):
        approve(payout, build.olga().user)
        who = "bob" if payout.organization == month.market.bob else "carol"
        rows.append([who, str(payout.lines_count), money(payout.exact_micros), money(payout.amount_micros)])
    send_payouts()
    assert set(Payout.objects.values_list("state", flat=True)) == {"paid"}
    return rows


def journal(month: Month) -> Rows:
    names = {month.market.alice.slug: "acme", month.market.bob.slug: "bob", month.market.carol.slug: "carol", None: "the platform"}
    rows = [(one["kind"], names[one["organization"]], one["debit"] - one["credit"]) for one in trial_balance()]
    return [[kind, who, money(balance)] for kind, who, balance in sorted(rows)]


def test_every_figure_of_the_worked_month_is_what_the_services_come_to() -> None:
    said = tables()
    month = Month(said)
    got = {"Charges": month.charges(), "The peak": month.peak()}
    invoice = billed(month)
    got |= {"Lines": lines_of(month, invoice), "Invoice": sums_of(invoice)}
    paid(month, invoice)
    assert invoice.state == "paid"
    got |= {"Payouts": payouts(month, invoice), "Journal": journal(month)}
    assert is_balanced(trial_balance())
    assert {name: rows for name, rows in got.items() if rows != said[name]} == {}


def test_the_worked_month_says_all_that_it_compares() -> None:
    assert set(tables()) == {"Agreed", "Price lists", "Usage", "Charges", "The peak", "Lines", "Invoice", "Payouts", "Journal"}
    assert all(rows for rows in tables().values())


def total(rows: Sequence[Sequence[str]], column: int) -> Decimal:
    return sum((number(row[column]) for row in rows), Decimal(0))


def test_its_figures_add_up_by_hand_too() -> None:
    said = tables()
    sums = {name: number(value) for name, value in said["Invoice"]}
    assert total(said["Charges"], 2) + total(said["The peak"], 3) == sums["exact"] == total(said["Lines"], 3)
    assert total(said["Lines"], 4) == sums["net"] == sums["exact"] + sums["carried in"] - sums["carried out"]
    assert total(said["Lines"], 5) == sums["tax"]
    assert sums["net"] + sums["tax"] == sums["total"]
    assert total(said["Journal"], 2) == 0
