"""A map of squares, one for every part of the country that a map must have."""

from __future__ import annotations

import json
from typing import Any

from index.regions import PROVINCES, UNCOUNTED

PLACES = {code: (one.column, one.row) for code, one in PROVINCES.items()} | {"710000": (9, 7), "810000": (7, 8), "820000": (5, 8)}


def square(column: int, row: int) -> list[list[float]]:
    west, north = 75.0 + column * 5, 52.0 - row * 5
    return [[west, north], [west + 5, north], [west + 5, north - 5], [west, north - 5], [west, north]]


def feature(code: Any, *rings: list[list[float]], name: str = "", key: str = "adcode") -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
    return {"type": "Feature", "properties": {key: code, "name": name}, "geometry": shape}


def features() -> list[dict[str, Any]]:
    names = {code: one.zh for code, one in PROVINCES.items()} | {code: names[1] for code, names in UNCOUNTED.items()}
    return [feature(int(code), square(*PLACES[code]), name=names[code]) for code in PLACES]


def a_map(of: list[dict[str, Any]] | None = None, name: str = "squares") -> bytes:
    """Two of different names are different files."""
    return json.dumps({"type": "FeatureCollection", "name": name, "features": features() if of is None else of}).encode()
