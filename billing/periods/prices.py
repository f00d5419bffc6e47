"""Price lists that are charged by period: read from JSON, written back, and what quotes count with. Pure.

rates   {meter: "0.01" | {"model": "graduated", ...}}        billing/rating reads the objects
rules   peak        the peak policy (metering/peaks/policy.py); its slots hold thousandths of cores or accelerators
        cap         what the customer may hold at most, in units: the base of the policy's floor
        quantum_s   occupancy is billed in whole quanta of so many seconds,
        minimum_s   and once anything has run for at least so many
        events      {meter: unit}: which meters that the pool itself reports are charged, and in which unit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from billing.rating import Dynamic, Flat, Graduated, Package, Percentage, PerResult, Rate, Volume, parse_rate, precise
from core.errors import Invalid
from marketplace.services.offers import check_meters
from marketplace.tariffs import PEAKS, Tariff
from metering.events.reading import is_meter, is_unit
from metering.occupancy import Rule
from metering.peaks import Policy, parse_policy
from metering.peaks.policy import DAILY

SCALE: Final = 1000  # slots of peaks hold thousandths, so that a mean's fraction is not lost
SURCHARGE: Final = "surcharge"  # a percentage of what the list's other meters cost
HELD: Final = ("held_cores", "held_accelerators")
PLAIN: Final = frozenset({"gb_moved", SURCHARGE})  # of lists by peak, too, their sum is charged
UNITS: Final = {
    "core_second": "core-seconds",
    "accelerator_second": "accelerator-seconds",
    "fp32_tflop": "FP32 TFLOP",
    "gb_moved": "GB",
    "occupancy_second": "core-seconds",
    "result": "results",
    "held_cores": "cores",
    "held_accelerators": "accelerators",
    SURCHARGE: "currency",
}
# What events say of the platform's own meters is counted in these.
EVENT_UNITS: Final = {"core_second": "second", "accelerator_second": "second", "fp32_tflop": "tflop", "gb_moved": "gb",
                      "occupancy_second": "second", "result": "result"}  # fmt: skip
MOST_EVENTS: Final = 20
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
    events  meter -> unit of what pools report themselves and this list charges
    """

    basis: str
    rates: Mapping[str, Rate]
    policy: Policy | None = None
    cap: int | None = None
    time: Rule = ONE_MS
    events: Mapping[str, str] = field(default_factory=dict)

    @property
    def peaks(self) -> frozenset[str]:
        """The meters of which the peak is charged."""
        return frozenset({*HELD, *self.events} - PLAIN) if self.policy is not None else frozenset()

    def unit_of(self, meter: str) -> str:
        """As it is shown."""
        return UNITS.get(meter) or self.events.get(meter, "units")

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
        return rules | ({"events": dict(sorted(self.events.items()))} if self.events else {})


def parse_price(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> Price:
    """Read a price list. Raises Invalid `rates_invalid | rate_invalid | peak_policy_invalid` with the member in `field`."""
    main = {meter: rate for meter, rate in rates.items() if meter != SURCHARGE}
    events = _events(rules.get("events", {}), main)
    check_meters(basis, main, events)
    read = {meter: _rate(meter, rate) for meter, rate in rates.items()}
    known = {"peak", "cap"} if basis in PEAKS else {"quantum_s", "minimum_s"} if basis == "occupancy" else set()
    if unknown := sorted(set(rules) - known - {"events"}):
        raise Invalid("rates_invalid", f"a price by {basis} has no such rule", field=f"rules.{unknown[0]}")
    if basis not in PEAKS:
        return Price(basis, read, time=_time(rules), events=events)
    policy = _policy(basis, rules.get("peak"))
    return Price(basis, read, policy, _cap(rules.get("cap"), policy), events=events)


def _events(given: Any, rates: Mapping[str, Any]) -> dict[str, str]:
    """Which of the pool's own meters are charged: each has a rate, and the platform's have the platform's unit."""
    if not isinstance(given, Mapping) or len(given) > MOST_EVENTS:
        raise Invalid("rates_invalid", f"at most {MOST_EVENTS} meters, each with its unit", field="rules.events")
    for meter, unit in given.items():
        place = f"rules.events.{meter}"
        if not is_meter(meter) or not is_unit(unit):
            raise Invalid("rates_invalid", "a meter that pools may report, and its unit as text", field=place)
        if meter not in rates:
            raise Invalid("rates_invalid", f"what {meter} costs is missing in rates", field=place)
        if EVENT_UNITS.get(meter, unit) != unit:
            raise Invalid("rates_invalid", f"{meter} is counted in {EVENT_UNITS[meter]}", field=place)
    return dict(given)


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
    if not {"quantum_s", "minimum_s"} & set(rules):
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


def read_fee(document: Mapping[str, Any], field: str) -> Decimal:
    """What quotes count with of a publisher's fee for the month: its first tier's price, of a share 0.

    Raises Invalid `rate_invalid`.
    """
    rate = parse_rate(document, field)
    if isinstance(rate.model, Dynamic) or isinstance(rate.model, Percentage) != field.endswith("share"):
        raise Invalid("rate_invalid", "a share is a percentage, and nothing else is one", field=f"{field}.model")
    return precise(_first_price(rate))


def estimate_of(basis: str, meter: str, rate: Rate) -> Decimal:
    """The price of one more unit that quotes and matching count with: that of the first tier, before any bound.

    A package's is price / size. A peak's is of a second that something is held: its price over the seconds of its day, or
    of 30 days, which is what it comes to if it is held all the time.
    """
    price = _first_price(rate)
    held = basis in PEAKS and meter not in PLAIN
    return precise(price / SECONDS_OF[basis] if held else price)


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
