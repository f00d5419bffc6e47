"""Random months of several customers: the engine's invoices and balances are what an oracle says that knows no SQL.

Prices of every basis, model and peak policy, publishers' fees by month, lists that change within a month, customers' own lists,
currencies of none, two and three decimals, zones with and without clock changes, runs over the ends of months, failures, late
usage, corrections, two closes, payments in part and credit notes. MONTH_EXAMPLES=2000 runs longer, HISTORIES_SHRINK=1 looks for the
smallest history that fails: a minute or more, since each has some hundred statements.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from billing.correcting import correct_usage
from billing.invoices.closing import close_all
from billing.invoices.credit_notes import issue_credit_note
from billing.invoices.payments import Receipt, record_payment
from billing.models import Invoice, InvoiceLine
from billing.queries import is_balanced, trial_balance
from billing.services import charge_tasks
from core.errors import Invalid
from marketplace.models import Contract, Offer, Organization, Pool
from tests.billing.histories import PHASES
from tests.billing.month_oracle import Account, Bill, Books, Run, month_of
from tests.builders_billing import (
    Market,
    make_agent,
    make_attempt,
    make_need,
    make_offer,
    make_organization,
    make_pool,
    make_task,
    make_usage,
    make_version,
)
from tests.builders_invoices import balance, make_tax
from tests.builders_periods import period_offer, terms_of

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("MONTH_EXAMPLES", "28"))
PRICES = ("task", "tiers", "quanta", "daily", "monthly")  # a pool each
LISTS = (*PRICES, "newer", "own")
ZONES = [ZoneInfo(name) for name in ("Asia/Shanghai", "Europe/Berlin", "America/New_York")]
CURRENCIES = [("JPY", 10**6), ("CNY", 10**4), ("KWD", 10**3)]
DAY = timedelta(days=1)

price = st.integers(1, 99_999).map(lambda digits: Fraction(digits, 10_000))
DAYS = [{"kind": "day_max"}, {"kind": "day_kth", "k": 3}, {"kind": "day_p95"}]
MONTHS = [
    {"kind": "month_max"}, {"kind": "month_mean_day_peak"}, {"kind": "month_topk_mean", "k": 2}, {"kind": "month_p95"},
]  # fmt: skip
SHAPES = list(zip(["graduated", "volume", "package", "percentage"], [*DAYS, DAYS[0]], MONTHS, strict=True))  # each is tried
day_rules: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {"day": "day_kth", "day_k": 2}, {"day": "day_p95"}])
factors: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"valid_days": "active"}, {"day_factor": True}, {"valid_days": "active", "day_factor": True}]
)
drawn_fees = st.fixed_dictionaries(
    {"price": price, "task": price, "bound": st.integers(1, 3), "minimum": st.integers(0, 2), "maximum": st.integers(2, 9),
     "percent": st.integers(1, 30)}
)  # fmt: skip


@st.composite
def drawn_accounts(draw: st.DrawFn, shape: tuple[str, dict[str, Any], dict[str, Any]]) -> Account:
    model, daily, monthly = shape
    zone, (currency, minor) = draw(st.sampled_from(ZONES)), draw(st.sampled_from(CURRENCIES))
    days = draw(day_rules) if monthly["kind"] != "month_p95" else {}
    return Account(
        zone, currency, minor, draw(st.integers(0, 10_000)), draw(st.sampled_from([0, 6, 13])), draw(st.booleans()),
        draw(st.fixed_dictionaries(dict.fromkeys(LISTS, price))), model, daily, monthly | days | draw(factors),
        draw(st.integers(0, 60)), draw(st.booleans()), draw(drawn_fees),
    )  # fmt: skip


runs = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(PRICES), st.integers(0, 59 * 288), st.integers(1, 30), st.integers(1, 9),
        st.sampled_from(["valid", "valid", "valid", "lost"]),
    ),
    max_size=7,
)  # fmt: skip
corrections = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 9)), max_size=3)
drawn_usage = st.tuples(runs, corrections)
parts = st.integers(0, 120)  # of a hundred


class World:
    """One customer's rows beside the oracle's books of it."""

    def __init__(self, account: Account, months: list[tuple[datetime, datetime]]) -> None:
        self.books, self.months, self.usages = Books(account), months, list[Any]()
        self.alice, self.bob = make_organization("alice", zone=account.zone.key), make_organization("bob", is_provider=True)
        self.carol = make_organization("carol", is_publisher=True)
        first = make_version(self.carol, {"fee": fees_of(account)})
        self.versions = [first, make_version(self.carol, capability=first.capability, version="1.1.0")]
        self.settled: set[int] = set()
        self.paid = self.credited = self.prepaid = self.tax_back = 0
        begin = months[0][0] - 90 * DAY
        self.turn = months[0][0] + account.turn * DAY
        terms = {"zone": account.zone.key, "currency": account.currency, "grace_days": 0, "due_days": 14}
        terms |= {"platform_basis_points": account.points, "carries_remainder": account.carries}
        Contract.objects.create(organization=self.alice, valid=(begin, None), signed_at=begin, **terms)
        if account.percent:
            make_tax(self.alice, percent=str(account.percent), start=begin)
        self.pools = {name: make_pool(self.bob) for name in PRICES}
        self.agents = {name: make_agent(pool) for name, pool in self.pools.items()}
        self.offers = {name: self._offer(name, begin) for name in PRICES}

    def _offer(self, name: str, begin: datetime) -> list[Offer]:
        """The pool's list; of tiers another from a day on; and the customer's own where tasks are charged, which comes first."""
        account, pool = self.books.account, self.pools[name]
        if name == "task":
            own = [self._period("own", pool, self.turn, customer=self.alice)] if account.own else []
            return [make_offer(pool, "consumption", {"core_second": f"{float(account.prices[name]):.4f}"}, account.currency), *own]
        if name == "tiers":
            return [self._period(name, pool, begin, self.turn), self._period("newer", pool, self.turn)]
        return [self._period(name, pool, begin)]

    def _period(self, name: str, pool: Pool, start: datetime, end: datetime | None = None, **whose: Organization) -> Offer:
        account = self.books.account
        text = f"{float(account.prices[name]):.4f}"
        basis, rates, rules = {
            "tiers": ("consumption", tiers_of(account, name), {}),
            "newer": ("consumption", tiers_of(account, name), {}),
            "own": ("consumption", {"core_second": text}, {}),
            "quanta": ("occupancy", {"occupancy_second": text}, {"quantum_s": account.quantum, "minimum_s": account.minimum}),
            "daily": ("daily_peak", {"held_cores": text}, {"peak": account.daily}),
            "monthly": ("monthly_peak", {"held_cores": text}, {"peak": account.monthly}),
        }[name]
        return period_offer(pool, basis, rates, rules, start=start, end=end, currency=account.currency, **whose)

    def run(self, name: str, slot: int, length: int, cores: int, outcome: str) -> None:
        """A task of one attempt; `slot` and `length` in five minutes, but quanta are not even."""
        begin = self.months[0][0] + slot * timedelta(minutes=5)
        seconds = 300 * length - (17 if name in {"quanta", "task"} else 0)
        end = begin + timedelta(seconds=seconds)
        if end >= self.months[-1][1]:
            return
        account, newer = self.books.account, begin >= self.turn
        listed = {"task": "own" if account.own else "task", "tiers": "newer"}.get(name, name) if newer else name
        offer = self.offers[name][name == "tiers" and newer]
        version = self.versions[slot % 3 == 0]
        market = Market(self.alice, self.bob, self.carol, self.pools[name], self.agents[name], offer, version)
        terms = {"fee_per_unit": "0", "currency": account.currency, "platform_basis_points": account.points}
        task = make_task(market, terms=terms | terms_of(version), priced_at=begin, ended_at=end)
        attempt = make_attempt(market, task, make_need(), state=outcome, leased_at=begin, ended_at=end)
        numbers = {"wall_ms": seconds * 1000, "core_ms": seconds * cores * 1000, "held_core_ms": seconds * cores * 1000}
        self.usages.append(make_usage(market, task, attempt, measured_at=timezone.now(), **numbers))
        charge_tasks([task.pk])
        self.books.runs.append(Run(name, listed, begin, seconds, cores, outcome == "valid", fees=version == self.versions[0]))
        self.books.charge_runs()

    def correct(self, which: int, cores: int) -> None:
        if not self.usages:
            return
        which %= len(self.usages)
        core_ms = self.usages[which].wall_ms * cores
        correct_usage(self.usages[which].pk, {"core_ms": core_ms, "held_core_ms": core_ms})
        self.books.runs[which].cores = cores
        self.books.charge_runs()

    def invoices(self) -> list[Invoice]:
        return list(Invoice.objects.filter(organization=self.alice, number__isnull=False).order_by("period__starts_at"))

    def settle(self, pay: int, back: int) -> None:
        """Something of each invoice is paid, and something of its first line taken back."""
        for invoice in self.invoices():
            if invoice.state == "finalized" and invoice.pk not in self.settled:
                self.settled.add(invoice.pk)
                self._pay(invoice, invoice.total_micros * pay // 100)
                self._credit(invoice, back)

    def _pay(self, invoice: Invoice, micros: int) -> None:
        if micros:
            mine = {"organization": self.alice.pk, "currency": invoice.currency, "invoices": [invoice.pk]}
            record_payment(Receipt(f"pay/{invoice.pk}", micros=micros, method="bank", received_on=timezone.localdate(), **mine))
            self.paid += min(micros, invoice.total_micros)
            self.prepaid += max(micros - invoice.total_micros, 0)

    def _credit(self, invoice: Invoice, back: int) -> None:
        line = InvoiceLine.objects.filter(invoice=invoice, amount_micros__gt=0).order_by("number").first()
        if line is None:
            return
        minor = invoice.minor_micros
        net = line.amount_micros // minor * min(back, 100) // 100 * minor
        if not net:
            return
        invoice.refresh_from_db()
        left = invoice.total_micros - invoice.paid_micros
        tax = int(Fraction(line.tax_micros * net, line.amount_micros * minor) + Fraction(1, 2)) * minor
        if net + tax > invoice.total_micros:  # other lines are below zero
            with pytest.raises(Invalid, match="than the invoice asks for"):
                issue_credit_note(invoice, {line.number: net}, "goodwill", f"note/{invoice.pk}")
            return
        note = issue_credit_note(invoice, {line.number: net}, "goodwill", f"note/{invoice.pk}")
        assert (note.net_micros, note.tax_micros) == (net, tax)
        over = max(net + tax - left, 0)
        self.credited += net + tax - over
        self.prepaid += over
        self.tax_back += tax

    def check(self) -> None:
        books, account = self.books, self.books.account
        found = self.invoices()
        assert [self.told(one) for one in found] == [said(bill) for bill in books.bills]
        owed = sum(bill.total for bill in books.bills) - self.paid - self.credited + sum(one.micros for one in books.waiting)
        assert balance("user_receivable", self.alice, account.currency) == owed
        assert balance("user_prepaid", self.alice, account.currency) == -self.prepaid
        assert balance("user_remainder", self.alice, account.currency) == (books.carried if account.carries else 0)
        assert balance("provider_payable", self.bob, account.currency) == -books.provider
        assert balance("publisher_payable", self.carol, account.currency) == -books.publisher
        parked = Invoice.objects.filter(organization=self.alice, period__state="parked").exists()
        assert parked == books.parked

    def told(self, invoice: Invoice) -> Any:
        names = {pool.pk: name for name, pool in self.pools.items()}
        lines = sorted(
            (one.kind, one.is_correction, names.get(one.pool_id or 0, ""), one.basis if one.kind == "period" else "",
             one.service_from, one.exact_micros, one.amount_micros)
            for one in invoice.lines.all()
        )
        return (
            invoice.period.starts_at, invoice.period.ends_at, lines, invoice.exact_micros, invoice.carried_out_micros,
            invoice.net_micros, invoice.tax_micros, invoice.total_micros,
        )  # fmt: skip


def said(bill: Bill) -> Any:
    return (bill.start, bill.end, sorted(bill.lines), bill.exact, bill.carried_out, bill.net, bill.tax, bill.total)


def tiers_of(account: Account, name: str) -> dict[str, Any]:
    """The rates of a list that is priced by the account's model."""
    text, half = f"{float(account.prices[name]):.4f}", f"{float(account.prices[name]) / 2:.5f}"
    first: dict[str, Any] = {"up_to": str(account.bound), "price": text}
    rates: dict[str, dict[str, Any]] = {
        "graduated": {"core_second": {"model": "graduated", "tiers": [first, {"price": half}]}},
        "volume": {"core_second": {"model": "volume", "tiers": [first, {"price": half, "flat": str(account.fixed)}]}},
        "package": {"core_second": {"model": "package", "size": str(account.bound), "price": text}},
        "percentage": {
            "core_second": text, "surcharge": {"model": "percentage", "percent": "7", "fixed": str(account.fixed)},
        },
    }
    return rates[account.model]


def fees_of(account: Account) -> dict[str, Any]:
    """The fees by month of the capability, as its manifest has them."""
    fee = account.fee
    text, half = f"{float(fee['price']):.4f}", f"{float(fee['price']) / 2:.5f}"
    first: dict[str, Any] = {"up_to": str(fee["bound"]), "price": text}
    rates: dict[str, dict[str, Any]] = {
        "graduated": {"model": "graduated", "tiers": [first, {"price": half}]},
        "volume": {"model": "volume", "tiers": [first, {"price": half, "flat": str(account.fixed)}]},
        "package": {"model": "package", "size": str(fee["bound"]), "price": text},
        "percentage": {"model": "per_result", "price": text, "minimum": str(fee["minimum"]), "maximum": str(fee["maximum"])},
    }
    tasks = {"model": "package", "size": "2", "price": f"{float(fee['task']):.4f}"}
    share = {"model": "percentage", "percent": str(fee["percent"])}
    return {"per_unit": rates[account.model], "per_task": tasks, "share": share}


def months_before(now: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The two months before this one, in their order."""
    this, _ = month_of(now, zone)
    last = month_of(this - DAY, zone)
    return [month_of(last[0] - DAY, zone), last]


Drawn = tuple[list[Any], list[Any]]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}-{shape[1]['kind']}-{shape[2]['kind']}")
def test_months_come_to_what_the_oracle_says(shape: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    account = drawn_accounts(shape)

    @limits(max_examples=EXAMPLES // len(SHAPES), deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
    @given(pair=st.tuples(account, account), before=drawn_usage, late=drawn_usage, pay=parts, back=parts)
    def lived(pair: tuple[Account, Account], before: Drawn, late: Drawn, pay: int, back: int) -> None:
        with transaction.atomic():
            live(pair, before, late, pay, back)
            transaction.set_rollback(True)

    lived()


def live(pair: tuple[Account, Account], before: Drawn, late: Drawn, pay: int, back: int) -> None:
    """Two customers use, are corrected, invoiced and pay; and once more, late."""
    now = timezone.now()
    worlds = [World(account, months_before(now, account.zone)) for account in pair]
    ids = [world.alice.pk for world in worlds]
    for (drawn, corrected), moment in ((before, now), (late, month_of(now, ZONES[0])[1] + 2 * DAY)):
        for who, *run in drawn:
            worlds[who].run(*run)
        for which, cores in corrected:
            worlds[which % 2].correct(which // 2, cores)
        at = max(moment, timezone.now())
        close_all(at, ids)
        for world in worlds:
            world.books.rate(world.months)
            world.books.close(now)
            world.check()
            world.settle(pay, back)
            world.check()
    assert is_balanced(trial_balance())
