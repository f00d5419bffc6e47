"""Charts of the pages: what ECharts is told, as plain JSON. Pure: values in, an option out.

Every chart stands above a table that holds the same numbers, and a page must be whole without it: no script, print, reading
aloud. An option holds no functions and no HTML; the few things that JSON cannot say have names that charts.js knows:
`renderItem: "whiskers"` of a custom series draws [y, low, high] as a line with ends; a data item's `link` is a path of this site
that a click leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ROW: Final = 24  # pixels for a row of a chart of bars
ROOM: Final = 96
Number = float | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of a page.

    name       of its element and of the picture that is saved of it; one of a kind on its page
    title      what it shows, in words; read aloud in its place
    option     ECharts' option, of JSON alone
    height     pixels
    synthetic  whether generated values are in it: the picture says so, too
    note       what a saved picture says of its source
    wide       whether it needs more width than a phone has: there the table stands alone
    """

    name: str
    title: str
    option: Mapping[str, Any]
    height: int = 360
    synthetic: bool = False
    note: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart of bars: its name, how long it is, and where a click leads."""

    name: str
    value: Number
    link: str = ""
    low: Number = None
    high: Number = None


def bars(name: str, title: str, rows: Sequence[Bar], unit: str = "", **more: Any) -> Chart:
    """Bars from left to right, the first row on top; whiskers from `low` to `high` where rows have them."""
    series: list[dict[str, Any]] = [{"type": "bar", "name": title, "barMaxWidth": 16, "data": [_bar(row) for row in rows]}]
    ends = [[at, row.low, row.high] for at, row in enumerate(rows) if row.low is not None and row.high is not None]
    if ends:
        series.append({"type": "custom", "name": "5-95 %", "renderItem": "whiskers", "data": ends, "encode": {"x": [1, 2], "y": 0}})
    option = {
        "grid": _grid(left=16, right=24, top=8, bottom=36 if unit else 24),
        "tooltip": {"trigger": "item"},
        "xAxis": _value(unit),
        "yAxis": _names([row.name for row in rows], inverse=True),
        "series": series,
    }
    return Chart(name, title, option, ROW * len(rows) + ROOM, **more)


def stacked(
    name: str, title: str, names: Sequence[str], parts: Mapping[str, Sequence[Number]], unit: str = "", **more: Any
) -> Chart:
    """Bars made of parts, one colour for each; {part: a value for every name}."""
    series = [
        {"type": "bar", "stack": "all", "name": part, "barMaxWidth": 16, "data": list(values)} for part, values in parts.items()
    ]
    option = {
        "grid": _grid(left=16, right=24, top=40, bottom=36 if unit else 24),
        "legend": {"top": 4, "type": "scroll"},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": _value(unit),
        "yAxis": _names(names, inverse=True),
        "series": series,
    }
    return Chart(name, title, option, ROW * len(names) + ROOM + 24, **more)


def lines(
    name: str, title: str, steps: Sequence[str], rows: Mapping[str, Sequence[Number]], unit: str = "", inverse: bool = False,
    **more: Any,
) -> Chart:  # fmt: skip
    """A line for each of `rows` over `steps`; a gap where a value is None. `inverse`: the least on top, as ranks are."""
    series = [
        {
            "type": "line", "name": one, "data": list(values), "connectNulls": False,
            "symbolSize": 7,
            "endLabel": {"show": len(rows) <= 12, "formatter": "{a}"}, "emphasis": {"focus": "series"},
            "labelLayout": {"moveOverlap": "shiftY"},
        }
        for one, values in rows.items()
    ]  # fmt: skip
    option = {
        "grid": _grid(left=16, right=110, top=40, bottom=24),
        "legend": {"top": 4, "type": "scroll"},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "category", "data": list(steps), "boundaryGap": len(steps) == 1},
        "yAxis": _value(unit) | {"inverse": inverse, "scale": True} | ({"min": 1, "minInterval": 1} if inverse else {}),
        "series": series,
    }
    return Chart(name, title, option, 420, **more)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a scatter chart, of a group that has a colour and a mark."""

    name: str
    x: float
    y: float
    group: str = ""
    link: str = ""


def scatter(
    name: str, title: str, points: Sequence[Point], x: str, y: str, fit: Sequence[tuple[float, float]] = (), **more: Any
) -> Chart:
    """Points by group, named; `fit` is a line through two of the plane's places."""
    groups = dict.fromkeys(point.group for point in points)
    marks = ("circle", "triangle", "rect", "diamond", "pin")
    series: list[dict[str, Any]] = [
        {
            "type": "scatter", "name": group, "symbol": marks[at % len(marks)], "symbolSize": 11,
            "data": [_point(point) for point in points if point.group == group],
            "label": {"show": True, "position": "right", "formatter": "{b}", "fontSize": 11}, "labelLayout": {"hideOverlap": True},
        }
        for at, group in enumerate(groups)
    ]  # fmt: skip
    if fit:
        series.append({"type": "line", "name": "fit", "data": [list(one) for one in fit], "symbol": "none", "silent": True})
    option = {
        "grid": _grid(left=16, right=72, top=64, bottom=40),
        "legend": {"top": 4, "type": "scroll"},
        "tooltip": {"trigger": "item"},
        "xAxis": _value(x) | {"scale": True},
        "yAxis": _value(y) | {"scale": True, "nameLocation": "end", "nameTextStyle": {"align": "left"}},
        "series": series,
    }
    return Chart(name, title, option, 480, **more)


def heat(
    name: str, title: str, columns: Sequence[str], rows: Sequence[str], cells: Sequence[Sequence[Number]],
    least: float = 0, most: float = 1, **more: Any,
) -> Chart:  # fmt: skip
    """A square for every row and column, the darker the more; `cells[row][column]`, None where there is nothing."""
    data = [[at, down, "-" if value is None else value] for down, row in enumerate(cells) for at, value in enumerate(row)]
    option = {
        "grid": _grid(left=16, right=8, top=8, bottom=56),
        "tooltip": {"trigger": "item"},
        "xAxis": _names(columns) | {"axisLabel": {"rotate": 60, "interval": 0, "fontSize": 11}},
        "yAxis": _names(rows, inverse=True),
        "visualMap": {"min": least, "max": most, "calculable": False, "orient": "horizontal", "left": "center", "bottom": 0},
        "series": [{"type": "heatmap", "name": title, "data": data}],
    }
    return Chart(name, title, option, 20 * len(rows) + 160, **more)


def _grid(**room: int) -> dict[str, Any]:
    return {**room, "containLabel": True}


def _value(name: str) -> dict[str, Any]:
    return {"type": "value", "name": name, "nameLocation": "middle", "nameGap": 26, "axisLabel": {"hideOverlap": True}}


def _names(names: Sequence[str], inverse: bool = False) -> dict[str, Any]:
    return {"type": "category", "data": list(names), "inverse": inverse, "axisTick": {"show": False}, "axisLabel": {"interval": 0}}


def _bar(row: Bar) -> dict[str, Any]:
    return {"name": row.name, "value": row.value} | ({"link": row.link} if row.link else {})


def _point(point: Point) -> dict[str, Any]:
    return {"name": point.name, "value": [point.x, point.y]} | ({"link": point.link} if point.link else {})
