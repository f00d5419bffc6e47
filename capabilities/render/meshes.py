"""Triangle meshes made in code and written as binary PLY."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np


def grid_faces(rows: int, columns: int, closed_rows: bool) -> np.ndarray:
    """Two triangles per cell of a grid of vertices that is closed across its columns."""
    row = np.arange(rows if closed_rows else rows - 1)[:, None]
    column = np.arange(columns)[None, :]
    below, right = (row + 1) % rows, (column + 1) % columns
    a, b, c, d = (r * columns + k for r, k in ((row, column), (row, right), (below, right), (below, column)))
    halves = [np.stack(np.broadcast_arrays(*corners), axis=-1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))]
    return np.concatenate(halves).astype(np.int32)


def torus_knot(p: int = 2, q: int = 3, steps: int = 480, sides: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tube of radius 0.155 m along a (p, q) torus knot, standing upright: vertices, normals, faces."""
    t = np.linspace(0, 2 * math.pi, steps, endpoint=False)
    around = 0.46 + 0.2 * np.cos(q * t)
    line = np.stack([around * np.cos(p * t), 0.26 * np.sin(q * t), around * np.sin(p * t)], axis=1)
    along = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, line)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    angle = np.linspace(0, 2 * math.pi, sides, endpoint=False)[None, :, None]
    normals = np.cos(angle) * side[:, None] + np.sin(angle) * up[:, None]
    points = line[:, None] + 0.125 * normals
    return points.reshape(-1, 3), normals.reshape(-1, 3), grid_faces(steps, sides, closed_rows=True)


def plinth_profile(radius: float = 0.78, height: float = 0.24, bevel: float = 0.05) -> np.ndarray:
    """Radius and height of a low round plinth with rounded edge, from the foot to the middle of its top."""
    turn = np.linspace(0, math.pi / 2, 9)
    edge = np.stack([radius - bevel + bevel * np.cos(turn), height - bevel + bevel * np.sin(turn)], axis=1)
    return np.concatenate([[[radius, 0.0]], edge, [[0.4, height], [0.0, height]]])


def lathe(profile: np.ndarray, sides: int = 128) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A profile of (radius, height) turned around the z axis: vertices, normals, faces."""
    slope = np.gradient(profile, axis=0)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    angle = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    out = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.empty((len(profile), sides, 3))
    normals = np.empty_like(points)
    points[..., :2], points[..., 2] = profile[:, :1, None] * out, profile[:, 1:]
    normals[..., :2], normals[..., 2] = slope[:, 1:, None] * out, -slope[:, :1]
    return points.reshape(-1, 3), normals.reshape(-1, 3), grid_faces(len(profile), sides, closed_rows=False)


def write_ply(path: Path, points: np.ndarray, normals: np.ndarray, faces: np.ndarray) -> Path:
    """Write a mesh with normals; returns the path."""
    fields = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{fields}"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    vertices = np.concatenate([points, normals], axis=1).astype("<f4")
    path.write_bytes(header.encode() + vertices.tobytes() + rows.tobytes())
    return path
