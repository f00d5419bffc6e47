"""A map of borders as lines for a drawing. Pure: shapes in, paths of SVG out.

Places are put on a plane where a degree of longitude is as long as it is at the middle of the map (equirectangular projection), and
then on a grid. Neighbours share positions, so that they meet on the grid, too; what is smaller than the grid stays as a dot: no
island is ever left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from index.borders import Floats, Shape

WIDTH: Final = 1000.0
MARGIN: Final = 10.0
GRIDS: Final = (10, 5, 2, 1)  # steps to a unit of the drawing: the finest of which all paths are short enough
MOST_LETTERS: Final = 500_000
LABEL: Final = (36.0, 20.0)  # a name stands only in what is so wide and high


@dataclass(frozen=True, slots=True)
class Outline:
    """Paths by code, in `steps` to a unit; `lines` are the paths that are not filled. `labels`: where names have room."""

    height: float
    steps: int
    paths: dict[str, str]
    lines: dict[str, str]
    labels: dict[str, tuple[float, float]]

    @property
    def scale(self) -> float:
        return 1 / self.steps


def outlined(shapes: Mapping[str, Shape]) -> Outline:
    """The finest drawing of at most MOST_LETTERS, or the coarsest there is."""
    plane, height = _plane(shapes)
    labels = {code: place for code, shape in plane.items() if (place := _label(shape)) is not None}
    for steps in GRIDS:
        paths = {code: "".join(_path(ring, steps, "z") for ring in shape.rings) for code, shape in plane.items() if shape.rings}
        lines = {code: "".join(_path(line, steps, "") for line in shape.lines) for code, shape in plane.items() if shape.lines}
        if sum(map(len, (*paths.values(), *lines.values()))) <= MOST_LETTERS:
            break
    return Outline(height, steps, paths, lines, labels)


def _plane(shapes: Mapping[str, Shape]) -> tuple[dict[str, Shape], float]:
    """Shapes in units of the drawing, the north on top, and how high that is."""
    parts = np.concatenate([part for shape in shapes.values() for part in (*shape.rings, *shape.lines)])
    (west, south), (east, north) = parts.min(axis=0), parts.max(axis=0)
    middle = math.cos(math.radians((south + north) / 2))
    scale = (WIDTH - 2 * MARGIN) / max((east - west) * middle, 1e-9)

    def put(part: Floats) -> Floats:
        return cast("Floats", np.column_stack(((part[:, 0] - west) * middle, north - part[:, 1])) * scale + MARGIN)

    found = {code: Shape(tuple(map(put, shape.rings)), tuple(map(put, shape.lines))) for code, shape in shapes.items()}
    return found, round(float((north - south) * scale + 2 * MARGIN), 1)


def _path(part: Floats, steps: int, end: str) -> str:
    """Relative steps on the grid; those that go nowhere are left out."""
    grid = np.rint(part * steps).astype(int)
    moves = np.diff(grid, axis=0)
    moves = moves[moves.any(axis=1)][: None if not end else -1]  # the way back to the start is `z`
    told = "".join(f"{x}{'' if y < 0 else ' '}{y}{' '}" for x, y in moves.tolist()) or "1 0 0 1 "
    return f"M{grid[0][0]} {grid[0][1]}l{told.rstrip()}{end}"


def _label(shape: Shape) -> tuple[float, float] | None:
    """The middle of the largest ring's area, where a name has room in its box."""
    if not shape.rings:
        return None
    ring = max(shape.rings, key=lambda one: float(np.ptp(one[:, 0]) * np.ptp(one[:, 1])))
    if np.ptp(ring[:, 0]) < LABEL[0] or np.ptp(ring[:, 1]) < LABEL[1]:
        return None
    near = ring - ring[0]  # so that areas are no differences of large numbers
    cross = near[:-1, 0] * near[1:, 1] - near[1:, 0] * near[:-1, 1]
    if abs(cross.sum()) < 1:
        return None
    x, y = ((near[:-1] + near[1:]) * cross[:, None]).sum(axis=0) / (3 * cross.sum()) + ring[0]
    return round(float(x), 1), round(float(y), 1)
