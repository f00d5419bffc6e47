"""Pictures of outcomes as SVG: how many have waited how long, cores busy over time, units waiting over time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.measures import duration, waits_of
from scheduler.simulator.run import Outcome

Floats = NDArray[np.float64]
Series = tuple[str, Floats, Floats]

WIDTH, HEIGHT = 860, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 52
COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#4d7c0f", "#be185d")
DASHES: Final = ("", "7 4", "2 3", "9 3 2 3")
POINTS: Final = 400


def pictures(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """File name → SVG, all policies in each."""
    waits = [(one.policy.name, *_shares(waits_of(one))) for one in outcomes]
    busy = [(one.policy.name, *_means(one.held, 100 / _cores(one))) for one in outcomes]
    lines = [(one.policy.name, *_means(one.waiting, 1.0)) for one in outcomes]
    return {
        "waiting.svg": chart("Units that waited no longer than this, %", waits, x_scale=_log_seconds, y_most=100.0),
        "utilisation.svg": chart("Cores busy, %", busy, y_most=100.0),
        "queue.svg": chart("Units that have not started", lines),
    }


def _cores(outcome: Outcome) -> float:
    return float(sum(pool.cores for pool in outcome.park.pools))


def _shares(waits: Sequence[float]) -> tuple[Floats, Floats]:
    """The distribution of waits: seconds, and the percentage that waited no longer."""
    ordered = np.sort(np.array(waits, dtype=np.float64))
    shares = 100 * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    places = np.unique(np.linspace(0, len(ordered) - 1, POINTS).astype(np.int64)) if len(ordered) else np.zeros(0, dtype=np.int64)
    return ordered[places], shares[places]


def _means(changes: Sequence[tuple[float, float]], factor: float) -> tuple[Floats, Floats]:
    """A step function as means over equal parts of the time."""
    times = np.array([at for at, _ in changes], dtype=np.float64)
    values = np.array([value for _, value in changes], dtype=np.float64) * factor
    if len(times) < 2 or times[-1] <= times[0]:
        return times, values
    area = np.concatenate([[0.0], np.cumsum(np.diff(times) * values[:-1])])
    edges = np.linspace(times[0], times[-1], POINTS + 1)
    means = np.diff(np.interp(edges, times, area)) / np.diff(edges)
    return (edges[:-1] + edges[1:]) / 2, means


def chart(
    title: str,
    series: Sequence[Series],
    *,
    x_scale: Callable[[Sequence[Series]], tuple[Callable[[Floats], Floats], list[float]]] | None = None,
    y_most: float | None = None,
) -> str:
    """A line chart. Times are on the x axis; the y axis begins at 0."""
    place, ticks = (x_scale or _seconds)(series)
    most = y_most or _round_up(max((float(ys.max()) for _, _, ys in series if len(ys)), default=1.0))
    legend, more = _legend([name for name, _, _ in series])
    parts = [_frame(title, HEIGHT + more), *(_y_tick(most * i / 4, most) for i in range(5))]
    parts += [_x_tick(tick, float(place(np.array([tick]))[0])) for tick in ticks]
    parts += [_line(number, place(xs), ys / most) for number, (_, xs, ys) in enumerate(series)]
    return "\n".join([*parts, *legend, "</svg>\n"])


def _seconds(series: Sequence[Series]) -> tuple[Callable[[Floats], Floats], list[float]]:
    """A linear axis of time: seconds → 0 to 1, and its ticks."""
    first = min((float(xs.min()) for _, xs, _ in series if len(xs)), default=0.0)
    last = max((float(xs.max()) for _, xs, _ in series if len(xs)), default=1.0)
    span = max(last - first, 1e-9)
    step = _step(span / 8)
    ticks = [tick * step for tick in range(math.ceil(first / step), math.floor(last / step) + 1)]
    return lambda xs: (xs - first) / span, ticks


def _step(least: float) -> float:
    """A round number of seconds, minutes, hours or days."""
    nice = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
    return next((step for step in nice if step >= least), math.ceil(least / 86_400) * 86_400.0)


def _log_seconds(series: Sequence[Series]) -> tuple[Callable[[Floats], Floats], list[float]]:
    """A logarithmic axis from a second on; what is shorter stands at its beginning."""
    most = max((float(xs.max()) for _, xs, _ in series if len(xs)), default=1.0)
    top = math.log10(max(most, 10.0))
    marks = (1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0, 360_000.0)
    return lambda xs: np.log10(np.maximum(xs, 1.0)) / top, [mark for mark in marks if mark <= 10**top]


def _round_up(value: float) -> float:
    """A few digits times a power of ten, at least the value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 3, 4, 5, 6, 8, 10) if factor * power >= value * (1 - 1e-9))


def _x(part: float) -> float:
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="#374151">'
        f'<title>{escape(title)}</title><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        f'<text x="{LEFT}" y="24" font-size="15" fill="#111827">{escape(title)}</text>'
    )


def _y_tick(value: float, most: float) -> str:
    y = _y(value / most)
    line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>'
    return f'{line}<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.4g}</text>'


def _x_tick(seconds: float, part: float) -> str:
    x, y = _x(part), HEIGHT - BOTTOM
    text = "0" if seconds == 0 else _short(seconds)
    return f'<path d="M{x:.1f} {y}v5" stroke="#9ca3af"/><text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{text}</text>'


def _short(seconds: float) -> str:
    if seconds >= 172_800:
        return f"{seconds / 86_400:g} d"
    return duration(seconds).replace(".0 ", " ")


def _line(number: int, xs: Floats, ys: Floats) -> str:
    points = " ".join(f"{_x(float(x)):.1f},{_y(min(float(y), 1.0)):.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline points="{points}" fill="none" {_stroke(number)}/>'


def _stroke(number: int) -> str:
    dash = DASHES[number % len(DASHES)]
    return f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="1.8" stroke-dasharray="{dash or "none"}"'


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """Below the axis, left to right, in as many lines as it takes; and the pixels that the lines after the first add."""
    parts, x, y = [], float(LEFT), HEIGHT - 14
    for number, name in enumerate(names):
        shown = name if len(name) <= 60 else name[:59] + "…"
        width = 27 + 7.2 * len(shown) + 16
        if x > LEFT and x + width > WIDTH:
            x, y = float(LEFT), y + 18
        parts.append(f'<path d="M{x:.0f} {y}h22" fill="none" {_stroke(number)}/>')
        parts.append(f'<text x="{x + 27:.0f}" y="{y + 4}">{escape(shown)}</text>')
        x += width
    return parts, y - (HEIGHT - 14)
