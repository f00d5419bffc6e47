"""What months should come to, in fractions and loops: the slow truth of rating, invoices and balances. No code of billing's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

MICROS = 10**6
SLOT = timedelta(minutes=5)


@dataclass
class Account:
    """A customer: terms and prices. Prices are per core-second, per held core-second, per core of a day's or a month's peak."""

    zone: ZoneInfo
    currency: str
    minor: int
    points: int
    percent: int
    carries: bool
    prices: dict[str, Fraction]
    bound: int = 1000  # of the first tier, in core-seconds
    quantum: int = 60
    minimum: int = 180


@dataclass
class Run:
    """So many cores held for so many seconds under one of the prices; `paid` by the user."""

    price: str
    begin: datetime
    seconds: int
    cores: int
    paid: bool

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Item:
    """An amount that waits for an invoice."""

    kind: str
    price: str
    service_at: datetime
    month: datetime
    corrects: bool
    micros: int


@dataclass
class Bill:
    start: datetime
    end: datetime
    lines: list[tuple[Any, ...]]
    exact: int
    carried_out: int
    net: int
    tax: int

    @property
    def total(self) -> int:
        return self.net + self.tax


def half_away(amount: Fraction) -> int:
    whole = floor(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def split(amount: int, points: int) -> tuple[int, int]:
    """Provider's and platform's share: a unit that is left goes to the larger fraction, a tie to the provider."""
    sign, whole = (-1, -amount) if amount < 0 else (1, amount)
    kept, rest = divmod(whole * (10_000 - points), 10_000)
    kept += rest > 0 and rest >= 10_000 - rest
    return sign * kept, amount - sign * kept


def month_of(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    local = moment.astimezone(zone)
    first, following = date(local.year, local.month, 1), date(local.year + local.month // 12, local.month % 12 + 1, 1)
    return tuple(datetime(day.year, day.month, 1, tzinfo=zone).astimezone(UTC) for day in (first, following))  # type: ignore[return-value]


def task_amount(account: Account, run: Run) -> int:
    return half_away(account.prices["task"] * run.cores * run.seconds * MICROS) if run.paid else 0


def month_amount(account: Account, price: str, runs: list[Run], start: datetime, end: datetime) -> int:
    """What a month under a price comes to, from all of its runs."""
    rate = account.prices[price]
    mine = [run for run in runs if run.price == price and run.paid]
    if price == "tiers":
        used = sum(run.cores * run.seconds for run in mine if start <= run.end < end)
        return half_away((min(used, account.bound) * rate + max(used - account.bound, 0) * rate / 2) * MICROS)
    if price == "quanta":
        return half_away(sum(_quanta(account, run, start, end) for run in mine) * rate * MICROS)
    peaks = _peaks(mine, start, end, account.zone)
    return half_away((sum(peaks.values()) if price == "daily" else max(peaks.values(), default=0)) * rate * MICROS)


def _quanta(account: Account, run: Run, start: datetime, end: datetime) -> int:
    def billed(moment: datetime) -> int:
        ran = min(max((moment - run.begin) // timedelta(seconds=1), 0), run.seconds)
        return max(account.minimum, ceil(Fraction(ran, account.quantum)) * account.quantum) if ran else 0

    return run.cores * (billed(end) - billed(start))


def _peaks(runs: list[Run], start: datetime, end: datetime, zone: ZoneInfo) -> dict[date, int]:
    """The highest slot of every day; runs begin and end with slots."""
    held: dict[datetime, int] = defaultdict(int)
    for run in runs:
        moment = run.begin
        while moment < run.end:
            held[moment] += run.cores
            moment += SLOT
    peaks: dict[date, int] = defaultdict(int)
    for moment, cores in held.items():
        if start <= moment < end:
            day = moment.astimezone(zone).date()
            peaks[day] = max(peaks[day], cores)
    return peaks


@dataclass
class Books:
    """One account's books, closed as often as one likes."""

    account: Account
    runs: list[Run] = field(default_factory=list)
    charged: dict[Any, int] = field(default_factory=dict)  # what stands: of runs by place, of months by price and start
    waiting: list[Item] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    provider: int = 0
    carried: int = 0
    parked: bool = False

    def charge_runs(self) -> None:
        """Tasks are charged when they end, and again when they are corrected."""
        for place, run in enumerate(self.runs):
            if run.price == "task":
                month = month_of(run.end, self.account.zone)[0]
                self._stand(place, task_amount(self.account, run), "usage", run.price, run.end, month)

    def rate(self, months: list[tuple[datetime, datetime]]) -> None:
        for start, end in months:
            for price in ("tiers", "quanta", "daily", "monthly"):
                total = month_amount(self.account, price, self.runs, start, end)
                used = any(run.price == price and run.paid and run.begin < end and run.end > start for run in self.runs)
                self._stand((price, start), total, "period", price, end - timedelta(microseconds=1), start, used=used)

    def _stand(
        self, key: Any, total: int, kind: str, price: str, service_at: datetime, month: datetime, *, used: bool = True
    ) -> None:
        before = self.charged.get(key, 0)
        if total != before:
            shares = split(total, self.account.points)[0], split(before, self.account.points)[0]
            self.provider += shares[0] - shares[1]
            self.waiting.append(Item(kind, price, service_at, month, key in self.charged, total - before))
        if used:
            self.charged[key] = total

    def close(self, now: datetime) -> None:
        """Invoices of all months that are over, the earliest first."""
        while self.waiting and not self.parked:
            last = self.bills[-1].end if self.bills else None
            moment = min(one.service_at if last is None or one.service_at >= last else max(now, last) for one in self.waiting)
            start, end = month_of(moment, self.account.zone)
            mine = [one for one in self.waiting if one.service_at < end]
            bill = self._bill(max(start, last or start), end, mine)
            if bill.total < 0:
                self.parked = True
                return
            self.waiting = [one for one in self.waiting if one.service_at >= end]
            self.bills.append(bill)
            self.carried = bill.carried_out

    def _bill(self, start: datetime, end: datetime, items: list[Item]) -> Bill:
        minor = self.account.minor
        groups: dict[Any, int] = defaultdict(int)
        for one in items:
            late = one.corrects or one.service_at < start
            groups[one.kind, late, one.price, one.month] += one.micros
        lines = [(*key, exact, half_away(Fraction(exact, minor)) * minor) for key, exact in groups.items()]
        exact, net = sum(groups.values()), sum(line[-1] for line in lines)
        rest, made = exact + self.carried - net, 0
        if self.account.carries:
            made = (1 if rest > 0 else -1) * max(ceil(Fraction(abs(rest), minor) - Fraction(1, 2)), 0) * minor
        if made or (rest and not self.account.carries):
            lines.append(("remainder" if self.account.carries else "rounding", False, "", start, rest, made))
        net += made
        tax = half_away(Fraction(net * self.account.percent, 100 * minor)) * minor
        return Bill(start, end, lines, exact, rest - made if self.account.carries else 0, net, tax)
