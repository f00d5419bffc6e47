"""Price lists that are charged by period: read from JSON, written back, and what quotes count with. Pure.

rates   {meter: "0.01" | {"model": "graduated", ...}}        billing/rating reads the objects
rules   peak        the peak policy (metering/peaks/policy.py); its slots hold thousandths of cores or accelerators
        cap         what the customer may hold at most, in units: the base of the policy's floor
        quantum_s   occupancy is billed in whole quanta of so many seconds,
        minimum_s   and once anything has run for at least so many
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from billing.rating import Dynamic, Flat, Graduated, Package, Percentage, PerResult, Rate, Volume, parse_rate, precise
from core.errors import Invalid
from marketplace.services.offers import check_meters
from marketplace.tariffs import PEAKS, Tariff
from metering.occupancy import Rule
from metering.peaks import Policy, parse_policy
from metering.peaks.policy import DAILY

SCALE: Final = 1000  # slots of peaks hold thousandths, so that a mean's fraction is not lost
SURCHARGE: Final = "surcharge"  # a percentage of what the list's other meters cost
HELD: Final = ("held_cores", "held_accelerators")
SECONDS_OF: Final = {"daily_peak": 86_400, "monthly_peak": 30 * 86_400}
MOST_CAP: Final = 10**9
MOST_SECONDS: Final = 31 * 86_400
ONE_MS: Final = Rule(1, 0)


@dataclass(frozen=True, slots=True)
class Price:
    """A price list: what is billed of each meter (policy, quantum), and its rates.

    policy  of peaks; None for other bases
    cap     in the policy's slots (thousandths; units where the policy bills whole ones)
    time    how occupancy is counted, in milliseconds
    """

    basis: str
    rates: Mapping[str, Rate]
    policy: Policy | None = None
    cap: int | None = None
    time: Rule = ONE_MS

    @property
    def scale(self) -> int:
        """How many steps of a slot make a unit: a policy that bills whole units cuts every sample to them."""
        return 1 if self.policy is not None and self.policy.whole else SCALE

    def document(self) -> dict[str, Any]:
        """As JSON; `parse_price` reads it back."""
        rates = {meter: rate.document() for meter, rate in sorted(self.rates.items())}
        return {"basis": self.basis, "rates": rates, "rules": self._rules()}

    def _rules(self) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        if self.policy is not None:
            rules["peak"] = self.policy.document()
        if self.cap is not None:
            rules["cap"] = _text(Fraction(self.cap, self.scale))
        if self.time != ONE_MS:
            rules |= {"quantum_s": self.time.quantum // 1000 or 1, "minimum_s": self.time.minimum // 1000}
        return rules


def parse_price(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> Price:
    """Read a price list. Raises Invalid `rates_invalid | rate_invalid | peak_policy_invalid` with the member in `field`."""
    main = {meter: rate for meter, rate in rates.items() if meter != SURCHARGE}
    check_meters(basis, main)
    read = {meter: _rate(meter, rate) for meter, rate in rates.items()}
    known = {"peak", "cap"} if basis in PEAKS else {"quantum_s", "minimum_s"} if basis == "occupancy" else set()
    if unknown := sorted(set(rules) - known):
        raise Invalid("rates_invalid", f"a price by {basis} has no such rule", field=f"rules.{unknown[0]}")
    if basis not in PEAKS:
        return Price(basis, read, time=_time(rules))
    policy = _policy(basis, rules.get("peak"))
    return Price(basis, read, policy, _cap(rules.get("cap"), policy))


def _rate(meter: str, rate: Any) -> Rate:
    field = f"rates.{meter}"
    read = parse_rate({"model": "flat", "price": rate} if isinstance(rate, str) else rate, field)
    if isinstance(read.model, Percentage) != (meter == SURCHARGE):
        raise Invalid("rates_invalid", f"a percentage is asked on the meter {SURCHARGE}, and nothing else there", field=field)
    if isinstance(read.model, PerResult) and meter != "result":
        raise Invalid("rates_invalid", "only results are counted one by one", field=field)
    if isinstance(read.model, Dynamic):
        raise Invalid("rates_invalid", "usage of pools carries no price of its own", field=field)
    return read


def _policy(basis: str, document: Any) -> Policy:
    plain = {"kind": "day_max" if basis == "daily_peak" else "month_max"}
    policy = parse_policy(plain if document is None else document, "rules.peak")
    if policy.daily != (basis == "daily_peak"):
        kinds = ", ".join(DAILY) if basis == "daily_peak" else "one that begins with month_"
        raise Invalid("peak_policy_invalid", f"a price by {basis} takes {kinds}", field="rules.peak.kind")
    return policy


def _cap(text: Any, policy: Policy) -> int | None:
    if (text is None) != (not policy.min_ratio):
        raise Invalid("rates_invalid", "a floor needs both a cap and the policy's min_ratio", field="rules.cap")
    if text is None:
        return None
    flat = parse_rate({"model": "flat", "price": text}, "rules.cap").model
    units = Fraction(flat.price) if isinstance(flat, Flat) else Fraction(0)
    steps = units * (1 if policy.whole else SCALE)
    if steps.denominator != 1 or not 0 < units <= MOST_CAP:
        raise Invalid("rates_invalid", f"thousandths above 0, at most {MOST_CAP}", field="rules.cap")
    return int(steps)


def _time(rules: Mapping[str, Any]) -> Rule:
    if not rules:
        return ONE_MS
    return Rule(_seconds(rules, "quantum_s", 1) * 1000, _seconds(rules, "minimum_s", 0) * 1000)


def _seconds(rules: Mapping[str, Any], name: str, least: int) -> int:
    value = rules.get(name, least)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_SECONDS:
        raise Invalid("rates_invalid", f"whole seconds from {least} to {MOST_SECONDS}", field=f"rules.{name}")
    return value


def read_tariff(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> Tariff:
    """What the market stores of a price list by period (marketplace/tariffs.py)."""
    price = parse_price(basis, rates, rules)
    documents = {meter: rate.document() for meter, rate in price.rates.items()}
    estimates = {meter: estimate_of(basis, meter, rate) for meter, rate in price.rates.items()}
    return Tariff(documents, estimates, price.document()["rules"], per_period=True)


def estimate_of(basis: str, meter: str, rate: Rate) -> Decimal:
    """The price of one more unit that quotes and matching count with: that of the first tier, before any bound.

    A package's is price / size. A peak's is of a second that something is held: its price over the seconds of its day, or
    of 30 days, which is what it comes to if it is held all the time.
    """
    price = _first_price(rate)
    return precise(price / SECONDS_OF[basis] if meter in HELD else price)


def _first_price(rate: Rate) -> Fraction:
    match rate.model:
        case Graduated(tiers) | Volume(tiers):
            return Fraction(tiers[0].price)
        case Package(size, price):
            return Fraction(price) / Fraction(size)
        case Flat(price) | PerResult(price):
            return Fraction(price)
    return Fraction(0)  # a surcharge has no unit of its own


def _text(value: Fraction) -> str:
    return format(precise(value).normalize(), "f")
