"""How values look on a page: states, money, times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import template
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from billing.invoices.pages import minor_text
from marketplace.stages import MERGE, stage_name

register = template.Library()
_TONES: Final = {
    "good": "delivered done valid active published owner online held paid decided ready",
    "busy": "running leased placed verified open copying finalized approved sent in_payout due",
    "wait": "queued waiting blocked later draining testing registered enrolled reported wanted grace draft unpaid held_back "
    "disputed answered requested",
    "bad": "failed lost invalid suspended expired offline quarantine overdue uncollectible",
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words.split()}
_UPPER: Final = {"gb": "GB", "fp32": "FP32", "tflop": "TFLOP", "mib": "MiB"}
_MINUTE: Final = 60
_HOUR: Final = 3600


@register.filter
def badge(word: Any) -> SafeString:
    """A state as a coloured word."""
    return format_html('<span class="badge {}">{}</span>', _TONE_OF.get(str(word), "plain"), str(word).replace("_", " "))


@register.filter
def part_of(attempt: Any, task: Any) -> str:
    """What an attempt's unit is of its task: its index, with the stage's name before it after the first one."""
    name, unit = stage_name(task.plan, attempt.unit.stage), attempt.unit
    return str(unit.index) if unit.stage == 0 else name if name == MERGE else f"{name} {unit.index}"


@register.filter
def percent(share: Any) -> str:
    """A share as whole per cent."""
    return f"{float(share):.0%}"


@register.filter
def money(amount: Any) -> str:
    """Decimal text without needless zeros, but with the cents, thousands apart.

    >>> money("1.500000"), money("0.000012"), money("-1234567.10")
    ('1.50', '0.000012', '-1,234,567.10')
    """
    try:
        number = Decimal(str(amount)).normalize()
    except InvalidOperation:
        return str(amount)
    exponent = number.as_tuple().exponent
    return f"{number:,f}" if isinstance(exponent, int) and exponent < -2 else f"{number:,.2f}"


@register.filter
def quantity(amount: Any) -> str:
    """Decimal text of something measured: no needless zeros, thousands apart.

    >>> quantity("1234567.500"), quantity("0.000000"), quantity("300")
    ('1,234,567.5', '0', '300')
    """
    try:
        return f"{Decimal(str(amount)).normalize():,f}"
    except InvalidOperation:
        return str(amount)


@register.filter
def thousandths(number: Any) -> str:
    """Thousandths as units.

    >>> thousandths(1500), thousandths(None)
    ('1.5', '-')
    """
    return "-" if number is None else quantity(Decimal(number) / 1000)


@register.filter
def gigabytes(number: Any) -> str:
    """Bytes as decimal gigabytes."""
    return quantity(Decimal(number or 0) / 10**9)


@register.filter
def basis_points(number: int) -> str:
    """Basis points as per cent.

    >>> basis_points(500), basis_points(1250)
    ('5', '12.5')
    """
    return quantity(Decimal(number) / 100)


@register.filter
def minor(amount: str, currency: str) -> str:
    """An amount in whole minor units, as invoices write it.

    >>> minor("1234.500000", "CNY"), minor("1000.000000", "JPY")
    ('1,234.50', '1,000')
    """
    return minor_text(amount, currency)


@register.filter
def day_in(moment: datetime, zone: str) -> str:
    """The day of a moment by the clocks of a zone."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d}"


@register.filter
def last_day_in(end: datetime, zone: str) -> str:
    """The last day before a moment: what ends with midnight ends the day before."""
    return day_in(end - timedelta(microseconds=1), zone)


@register.filter
def month_in(moment: datetime, zone: str) -> str:
    """The month of a moment by the clocks of a zone.

    >>> from datetime import UTC
    >>> month_in(datetime(2026, 3, 31, 16, tzinfo=UTC), "Asia/Shanghai")
    '2026-04'
    """
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m}"

@register.filter
def when(moment: datetime | str | None) -> SafeString | str:
    """How long ago, with the exact time for those who point at it."""
    at = parse_datetime(moment) if isinstance(moment, str) else moment
    if at is None:
        return "-"
    text = _ago(at) if timezone.now() >= at else f"in {timesince(timezone.now(), now=at, depth=1)}"
    exact = at.astimezone(timezone.get_default_timezone()).strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, text)


def _ago(at: datetime) -> str:
    return "just now" if timezone.now() - at < timedelta(minutes=1) else f"{timesince(at, depth=1)} ago"


@register.filter
def duration(seconds: Any) -> str:
    """Seconds as people say them.

    >>> duration(0.25), duration(75), duration(7300)
    ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None:
        return "-"
    whole = round(float(seconds))
    if whole < _MINUTE:
        return f"{float(seconds):.1f} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


@register.filter
def ms(seconds: Any) -> str:
    """Seconds as milliseconds.

    >>> ms(0.0123456)
    '12.35'
    """
    return f"{float(seconds) * 1e3:,.2f}"


@register.filter
def brief(amount: Any) -> str:
    """An amount to four significant digits, for comparing.

    >>> brief(0.00005174123), brief(16.59463458), brief(0)
    ('0.00005174', '16.59', '0')
    """
    return f"{Decimal(f'{float(amount):.4g}'):f}"


_FEELS: Final = (("load1", "load {}"), ("free_cores", "{} cores free"), ("temperature_c", "{} °C"), ("power_w", "{} W"))


@register.filter
def feels(status: Mapping[str, Any]) -> str:
    """What of its state a machine knows.

    >>> feels({"load1": 0.5, "temperature_c": 61}), feels({})
    ('load 0.5, 61 °C', '')
    """
    return ", ".join(text.format(status[name]) for name, text in _FEELS if status.get(name) is not None)


@register.filter
def ways(choice: Mapping[str, Any]) -> list[Any]:
    """The paths of a choice, the best first."""
    return [choice["path"], *choice["alternatives"]]


@register.filter
def compact(value: Any) -> str:
    """An input's value on one line, as JSON, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:300]} …"


@register.filter
def words(name: Any) -> str:
    """`core_second` as people write it.

    >>> words("gb_moved")
    'GB moved'
    """
    return " ".join(_UPPER.get(word, word) for word in str(name).split("_"))


@register.filter
def gib(mib: Any) -> float:
    """MiB as GiB."""
    return round(float(mib) / 1024, 1)


@register.filter
def fee(manifest: Mapping[str, Any]) -> str:
    """The publisher's fee in words.

    >>> fee({"fee": {"per_unit": "0.002", "per_task": "0"}}), fee({})
    ('0.002 per unit', 'none')
    >>> fee({"fee": {"per_unit": {"model": "package", "size": "10", "price": "2"}, "per_task": "0"}})
    'package of 10 for 2.00 per unit, by the month'
    """
    given = manifest.get("fee", {})
    parts = [(given.get(name, "0"), words(name)) for name in ("per_unit", "per_task", "share")]
    return ", ".join(_fee(amount, name) for amount, name in parts if isinstance(amount, Mapping) or Decimal(str(amount))) or "none"


def _fee(asked: Any, name: str) -> str:
    if not isinstance(asked, Mapping):
        return f"{money(asked)} {name}"
    if asked["model"] == "package":
        return f"package of {quantity(asked['size'])} for {money(asked['price'])} {name}, by the month"
    if asked["model"] == "percentage":
        return f"{quantity(asked['percent'])} % of what resources cost, by the month"
    tiers = asked.get("tiers", [asked])
    prices = ", then ".join(money(tier["price"]) for tier in tiers)
    return f"{prices} {name}, by the month ({words(asked['model'])})"


@register.filter
def at(line: Mapping[str, Any], name: str) -> Any:
    """One member of a line."""
    return line.get(name)
