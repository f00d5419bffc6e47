"""What months should come to, in fractions and loops: the slow truth of rating, invoices and balances. No code of billing's.

Each of five pools has one way to charge; the task's and the tiers' have a second price list from a day on. One of the capability's
two versions has fees by month, for results, for tasks and of what resources cost, wherever they ran.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

MICROS = 10**6
SLOT = timedelta(minutes=5)


@dataclass
class Account:
    """A customer: terms and prices. Prices are per core-second, per held core-second, per core of a day's or a month's peak.

    model           how the list "tiers" is priced: graduated, volume, package or percentage
    daily, monthly  peak policies, as the API takes them
    turn            days after the first month's start: from then on other lists are in force
    own             whether the customer then has a list of its own where the tasks are
    fee             what carol asks: `price` for a result, by `model` with a first tier or package of `bound` (percentage: at one
                    price, but at least `minimum` and at most `maximum`), `task` for each two tasks, and `percent` of resources
    """

    zone: ZoneInfo
    currency: str
    minor: int
    points: int
    percent: int
    carries: bool
    prices: dict[str, Fraction]
    model: str
    daily: dict[str, Any]
    monthly: dict[str, Any]
    turn: int
    own: bool
    fee: dict[str, Any]
    bound: int = 1000  # of the first tier, and of a package, in core-seconds
    fixed: int = 2  # of a surcharge, in currency units
    quantum: int = 60
    minimum: int = 180


@dataclass
class Run:
    """So many cores held for so many seconds at a pool under one of its lists; `paid` by the user; `fees`: of which one."""

    pool: str
    list: str
    begin: datetime
    seconds: int
    cores: int
    paid: bool
    fees: bool = False

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Item:
    """An amount that waits for an invoice."""

    kind: str
    list: str
    meter: str
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


POOLS = {"newer": "tiers", "own": "task", "fees": ""}  # of the lists that came later; the others are called like their pools
METERS = {"tiers": "core_second", "newer": "core_second", "own": "core_second", "quanta": "occupancy_second"}


def task_amount(account: Account, run: Run) -> int:
    return half_away(account.prices["task"] * run.cores * run.seconds * MICROS) if run.paid else 0


def month_amounts(account: Account, name: str, runs: list[Run], start: datetime, end: datetime) -> dict[str, int]:
    """What every meter that was used of a list in a month comes to, from all of its runs."""
    rate = account.prices[name]
    mine = [run for run in runs if run.list == name and run.paid]
    used: Fraction | int
    if name in {"daily", "monthly"}:
        used = _peak(account.daily if name == "daily" else account.monthly, mine, start, end, account.zone)
    elif name == "quanta":
        used = sum(_quanta(account, run, start, end) for run in mine)
    else:
        used = sum(run.cores * run.seconds for run in mine if start <= run.end < end)
    if not used:
        return {}
    if name not in {"tiers", "newer"}:
        return {METERS.get(name, "held_cores"): half_away(used * rate * MICROS)}
    whole = _tiered(account, rate, Fraction(used))
    more = {"surcharge": whole * Fraction(7, 100) + account.fixed} if account.model == "percentage" else {}
    return {meter: half_away(amount * MICROS) for meter, amount in ({"core_second": whole} | more).items()}


def month_fees(account: Account, runs: list[Run], start: datetime, end: datetime) -> dict[str, int]:
    """What the capability's fees of a month come to: every task that ended in it counts, and its result if it has one."""
    ended, fee = [run for run in runs if run.fees and start <= run.end < end], account.fee
    share = _resources(account, runs, start, end) * Fraction(fee["percent"], 100)
    asked = (_asked(account, ended) if ended else {}) | {"fee_share": share}
    return {meter: half_away(Fraction(half_away(amount * 10**12), 10**6)) for meter, amount in asked.items() if amount}


def _asked(account: Account, ended: list[Run]) -> dict[str, Fraction]:
    fee = account.fee
    units = sum(run.paid for run in ended)
    if account.model == "percentage":
        asked = max(min(units * fee["price"], Fraction(fee["maximum"])), Fraction(fee["minimum"]))
    else:
        asked = _tiered(replace(account, bound=fee["bound"]), fee["price"], Fraction(units)) if units else Fraction(0)
    return {"fee_per_unit": asked, "fee_per_task": ceil(Fraction(len(ended), 2)) * fee["task"]}


def _resources(account: Account, runs: list[Run], start: datetime, end: datetime) -> Fraction:
    """What the resources of the runs with fees cost in a month: by the task, or a part of a list by the core time held under it."""
    micros = sum(task_amount(account, run) for run in runs if run.fees and run.list == "task" and start <= run.end < end)
    found = Fraction(micros)
    for name in ("tiers", "newer", "own", "quanta", "daily", "monthly"):
        paid = [run for run in runs if run.list == name and run.paid]
        held = [(run.cores * max(min(run.end, end) - max(run.begin, start), timedelta()), run.fees) for run in paid]
        whole = sum((time for time, _ in held), timedelta())
        if whole:
            mine = sum((time for time, fees in held if fees), timedelta())
            part = Fraction(mine // timedelta(milliseconds=1), whole // timedelta(milliseconds=1))
            found += sum(month_amounts(account, name, runs, start, end).values()) * part
    return found / MICROS


def _tiered(account: Account, rate: Fraction, used: Fraction) -> Fraction:
    bound = account.bound
    if account.model == "volume":  # and a fixed part of its upper tier
        return used * rate if used <= bound else used * rate / 2 + account.fixed
    if account.model == "package":
        return ceil(used / bound) * rate
    if account.model == "graduated":
        return min(used, Fraction(bound)) * rate + max(used - bound, Fraction(0)) * rate / 2
    return used * rate


def _quanta(account: Account, run: Run, start: datetime, end: datetime) -> int:
    def billed(moment: datetime) -> int:
        ran = min(max((moment - run.begin) // timedelta(seconds=1), 0), run.seconds)
        return max(account.minimum, ceil(Fraction(ran, account.quantum)) * account.quantum) if ran else 0

    return run.cores * (billed(end) - billed(start))


def _peak(policy: dict[str, Any], runs: list[Run], start: datetime, end: datetime, zone: ZoneInfo) -> Fraction:
    """What is billed of the month: one peak, or the sum of the days'."""
    kind, days = policy["kind"], _days(runs, start, end, zone)
    valid = [day for day in days if any(day) or policy.get("valid_days") == "active"]
    tops = sorted((_top(policy, kind, day) for day in valid), reverse=True)
    if kind.startswith("day_"):
        return Fraction(sum(tops))
    if not valid:
        return Fraction(0)
    if kind == "month_p95":
        slots = sorted((slot for day in valid for slot in day), reverse=True)
        peak = Fraction(slots[len(slots) // 20])
    else:
        taken = tops[: {"month_max": 1, "month_topk_mean": policy.get("k", 5)}.get(kind, len(tops))]
        peak = Fraction(sum(taken), len(taken))
    return peak * Fraction(len(valid), len(days)) if policy.get("day_factor") else peak


def _top(policy: dict[str, Any], kind: str, slots: list[int]) -> int:
    """A day's own peak."""
    rule, k = (kind, policy.get("k", 5)) if kind.startswith("day_") else (policy.get("day", "day_max"), policy.get("day_k", 5))
    place = {"day_max": 0, "day_kth": min(k, len(slots)) - 1, "day_p95": len(slots) // 20}[rule]
    return sorted(slots, reverse=True)[place]


def _days(runs: list[Run], start: datetime, end: datetime, zone: ZoneInfo) -> list[list[int]]:
    """What was held in every slot of every day; runs begin and end with slots."""
    held: dict[datetime, int] = defaultdict(int)
    for run in runs:
        for number in range(ceil(run.seconds / 300)):
            held[run.begin + number * SLOT] += run.cores
    days: dict[date, list[int]] = defaultdict(list)
    for number in range((end - start) // SLOT):
        moment = start + number * SLOT
        days[moment.astimezone(zone).date()].append(held[moment])
    return list(days.values())


@dataclass
class Books:
    """One account's books, closed as often as one likes."""

    account: Account
    runs: list[Run] = field(default_factory=list)
    charged: dict[Any, int] = field(default_factory=dict)  # what stands: of runs by place, of months by list, meter and start
    waiting: list[Item] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    provider: int = 0
    publisher: int = 0
    carried: int = 0
    parked: bool = False

    def charge_runs(self) -> None:
        """Tasks are charged when they end, and again when they are corrected."""
        for place, run in enumerate(self.runs):
            if run.list == "task":
                item = Item("usage", "task", "", run.end, month_of(run.end, self.account.zone)[0], place in self.charged, 0)
                self._stand(place, task_amount(self.account, run), item)

    def rate(self, months: list[tuple[datetime, datetime]]) -> None:
        for start, end in months:
            for name in ("tiers", "newer", "own", "quanta", "daily", "monthly", "fees"):
                amounts = {"fees": month_fees}.get(name) or partial(month_amounts, name=name)
                found = amounts(account=self.account, runs=self.runs, start=start, end=end)
                before = [meter for (of, meter, at) in self._months() if (of, at) == (name, start)]
                for meter in {*found, *before}:
                    key = (name, meter, start)
                    item = Item("period", name, meter, end - timedelta(microseconds=1), start, key in self.charged, 0)
                    self._stand(key, found.get(meter, 0), item)

    def _months(self) -> list[tuple[str, str, datetime]]:
        return [key for key in self.charged if isinstance(key, tuple)]

    def _stand(self, key: Any, total: int, item: Item) -> None:
        before = self.charged.get(key, 0)
        if total != before:
            more = split(total, self.account.points)[0] - split(before, self.account.points)[0]
            if item.list == "fees":
                self.publisher += more
            else:
                self.provider += more
            self.waiting.append(replace(item, micros=total - before))
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
            groups[one.kind, late, one.list, one.meter, one.month] += one.micros
        lines: list[tuple[Any, ...]] = [
            (kind, late, POOLS.get(name, name), meter, month, exact, half_away(Fraction(exact, minor)) * minor)
            for (kind, late, name, meter, month), exact in groups.items()
        ]
        exact, net = sum(groups.values()), sum(line[-1] for line in lines)
        rest, made = exact + self.carried - net, 0
        if self.account.carries:
            made = (1 if rest > 0 else -1) * max(ceil(Fraction(abs(rest), minor) - Fraction(1, 2)), 0) * minor
        if made or (rest and not self.account.carries):
            lines.append(("remainder" if self.account.carries else "rounding", False, "", "", start, rest, made))
        net += made
        tax = half_away(Fraction(net * self.account.percent, 100 * minor)) * minor
        return Bill(start, end, lines, exact, rest - made if self.account.carries else 0, net, tax)
