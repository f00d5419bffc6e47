"""Numbers and times as people read them, and as they type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """Seconds of "90", "90s", "15m", "2h", "1d" or "1h30m"."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 15m, 2h or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", text))


def deadline(text: str) -> datetime:
    """A moment: RFC 3339 ("2030-01-31T12:00:00Z"), or a duration from now ("2h")."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC) + timedelta(seconds=duration(text.removeprefix("+")))


def size(count: Any) -> str:
    """1536 → 1.5 KiB."""
    value = float(count or 0)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def span(seconds: Any) -> str:
    """4000 → 1 h 06 min."""
    value = float(seconds)
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes = int(value // 60)
    if minutes < 60:
        return f"{minutes} min {int(value % 60):02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def parsed(moment: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(moment) if moment else None
    except ValueError:
        return None


def local(moment: str | None) -> str:
    """A moment in local time, to the second; as it came when it cannot be read."""
    at = parsed(moment)
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else moment or "-"


def ago(moment: str | None) -> str:
    at = parsed(moment)
    if at is None:
        return "-"
    seconds = (datetime.now(UTC) - at).total_seconds()
    return "just now" if seconds < 2 else f"{span(seconds)} ago"


def between(start: str | None, end: str | None) -> str:
    """How long it took, or has been taking."""
    begun, ended = parsed(start), parsed(end) or datetime.now(UTC)
    return span(max(0.0, (ended - begun).total_seconds())) if begun else "-"


def money(amount: Any, currency: Any = "CNY") -> str:
    """0.120000 CNY → 0.12 CNY: at least two places, no idle zeros behind them."""
    text = str(amount)
    whole, _, places = text.partition(".")
    if not re.fullmatch(r"-?\d+", whole) or not re.fullmatch(r"\d*", places):
        return f"{text} {currency}"
    return f"{whole}.{places.rstrip('0').ljust(2, '0')} {currency}"
