"""Maps of borders that operators bring: GeoJSON, read and checked whole. Pure.

A map is a FeatureCollection (RFC 7946) in degrees of longitude and latitude; each feature has the code of GB/T 2260 of a province,
of Taiwan, Hong Kong or Macao, or of the nation (borders at sea). All 34 must be there: a map that lacks one may not be shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from core.errors import Invalid
from index.regions import NATION, PROVINCES, UNCOUNTED

Floats = NDArray[np.float64]
CODES: Final = ("adcode", "gb", "code")  # of a feature's properties, the first that is there
NAMES: Final = {code: {one.short, one.zh, one.en} for code, one in PROVINCES.items()} | {
    code: set(names) for code, names in UNCOUNTED.items()
}
WEST, EAST, SOUTH, NORTH = 70.0, 140.0, 0.0, 60.0  # all of the country with its seas lies within
MOST: Final = 100  # faults that are told
_COUNTRY: Final = "156"  # of ISO 3166, before a code of GB/T 2260 in some files
_SEA: Final = re.compile(rf"{NATION}(_JD)?")
_APPROVAL: Final = re.compile(r"[A-Z\u4e00-\u9fff]{1,12}\((19|20)\d{2}\)第?\d{1,6}号?")
_DEPTHS: Final = {"Polygon": 1, "MultiPolygon": 2, "LineString": 0, "MultiLineString": 1}
_FEWEST: Final = 4  # positions of a ring, the first again at its end


@dataclass(frozen=True, slots=True)
class Shape:
    """What belongs to one code: arrays of positions (n, 2), longitude and latitude; rings are closed, lines are not."""

    rings: tuple[Floats, ...] = ()
    lines: tuple[Floats, ...] = ()


class _Wrong(Exception):
    """What is wrong with a feature, in words."""


def approval(text: str) -> str:
    """An approval number as it is printed under maps: GS(2023)2767号, GS京(2022)1061号, 粤S(2019)064号.

    Wide brackets become narrow ones and spaces go. Invalid `approval_invalid`.

    >>> approval("ＧＳ（2023） 2767号")
    'GS(2023)2767号'
    """
    found = "".join(unicodedata.normalize("NFKC", text).split()).upper()
    if not _APPROVAL.fullmatch(found):
        why = "an approval number (审图号) is written as GS(2023)2767号 or GS京(2022)1061号; a map without one may not be shown"
        raise Invalid("approval_invalid", why, field="approval_number")
    return found


def read_map(content: bytes) -> dict[str, Shape]:
    """Shapes by code. Invalid `map_invalid` with all `errors`, `map_incomplete` with those that are `missing`."""
    shapes: dict[str, Shape] = {}
    faults: list[dict[str, Any]] = []
    for number, feature in enumerate(_features(content)):
        try:
            code = _code(feature)
            if code in shapes and code != NATION:
                raise _Wrong(f"{_called(code)} stands twice")
            before = shapes.get(code, Shape())
            found = _shape(feature, code)
            shapes[code] = Shape(before.rings + found.rings, before.lines + found.lines)
        except _Wrong as error:
            faults.append({"feature": number, "detail": f"feature {number + 1}: {error}"})
    _refuse(faults)
    _complete(shapes)
    return shapes


def _refuse(faults: Sequence[dict[str, Any]]) -> None:
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise Invalid("map_invalid", f"{faults[0]['detail']}{more}", field="content", errors=faults[:MOST])


def _complete(shapes: dict[str, Shape]) -> None:
    missing = [_called(code) for code in NAMES if code not in shapes or not shapes[code].rings]
    if missing:
        detail = f"the map lacks {', '.join(missing)}: an incomplete map of the country may not be shown"
        raise Invalid("map_incomplete", detail, field="content", missing=missing)


def _features(content: bytes) -> list[Any]:
    try:
        document = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Invalid("map_invalid", f"the file is no JSON in UTF-8: {error}", field="content") from None
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise Invalid("map_invalid", "the file is no GeoJSON FeatureCollection", field="content")
    features = document.get("features")
    if not isinstance(features, list) or not features:
        raise Invalid("map_invalid", "the FeatureCollection has no features", field="content")
    return features


def _code(feature: Any) -> str:
    """The code of six digits; NATION for borders at sea. Names that are known must be that code's."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        raise _Wrong("it has no properties")
    told = next((properties[name] for name in CODES if properties.get(name) not in (None, "")), None)
    if told is None or not isinstance(told, str | int):
        raise _Wrong(f"it has no code of GB/T 2260 as {', '.join(CODES[:-1])} or {CODES[-1]}")
    code = str(told)[:20]
    code = code.removeprefix(_COUNTRY) if len(code) == len(_COUNTRY + NATION) else code
    if _SEA.fullmatch(code) or code == "000000":
        return NATION
    if code not in NAMES:
        raise _Wrong(f"{code} is the code of no province")
    name = properties.get("name")
    other = next((one for one, names in NAMES.items() if name in names), code) if isinstance(name, str) else code
    if other != code:
        raise _Wrong(f"it is called {name}, but {code} is {_called(code)}")
    return code


def _called(code: str) -> str:
    if code in UNCOUNTED:
        return f"{UNCOUNTED[code][2]} {UNCOUNTED[code][1]}"
    return f"{PROVINCES[code].en} {PROVINCES[code].zh}" if code in PROVINCES else "the nation"


def _shape(feature: dict[str, Any], code: str) -> Shape:
    """Provinces are polygons; the nation's borders may be lines, too."""
    geometry = feature.get("geometry")
    geometry = geometry if isinstance(geometry, dict) else {}
    kind = geometry.get("type")
    lines = isinstance(kind, str) and kind.endswith("LineString")
    if not isinstance(kind, str) or kind not in _DEPTHS or (lines and code != NATION):
        raise _Wrong(f"{_called(code)} is neither a Polygon nor a MultiPolygon")
    parts = tuple(_positions(one, code, closed=not lines) for one in _parts(geometry.get("coordinates"), _DEPTHS[kind]))
    if not parts:
        raise _Wrong(f"{_called(code)} has no shape")
    return Shape(lines=parts) if lines else Shape(rings=parts)


def _parts(coordinates: Any, depth: int) -> Iterator[Any]:
    """Rings and lines, so deep in lists."""
    if depth == 0:
        yield coordinates
    elif not isinstance(coordinates, list):
        raise _Wrong("its coordinates are nested as no polygon's")
    else:
        for one in coordinates:
            yield from _parts(one, depth - 1)


def _positions(part: Any, code: str, *, closed: bool) -> Floats:
    """(n, 2). Beyond the country's box nearly always two numbers were swapped, or they are no degrees."""
    where = _called(code)
    try:
        found = np.asarray(part)
    except ValueError:
        raise _Wrong(f"{where} has positions of different lengths") from None
    if found.dtype.kind not in "if" or found.ndim != 2 or found.shape[1] not in (2, 3):
        raise _Wrong(f"{where} has positions that are not two numbers")
    found = found[:, :2].astype(float)
    if len(found) < (_FEWEST if closed else 2):
        raise _Wrong(f"{where} has a part of {len(found)} positions")
    if closed and not (found[0] == found[-1]).all():
        raise _Wrong(f"{where} has a ring that is not closed")
    outside = (found < (WEST, SOUTH)) | (found > (EAST, NORTH)) | ~np.isfinite(found)
    if outside.any():
        x, y = found[outside.any(axis=1)][0]
        swapped = ": are longitude and latitude swapped?" if WEST <= y <= EAST and SOUTH <= x <= NORTH else ""
        raise _Wrong(f"{where} has a position at {x:g}, {y:g}, which is not in the country{swapped}")
    return found
