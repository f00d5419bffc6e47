"""The camera's flight: an arc around a point, from frame to frame the same step."""

from __future__ import annotations

import math
from typing import Any

import mitsuba as mi
import numpy as np

FIELD_OF_VIEW = 36.0


def distance_for(radius: float, inputs: dict[str, Any]) -> float:
    """How far away a ball of this radius fills the picture's shorter side, with a little air."""
    across = math.tan(math.radians(FIELD_OF_VIEW / 2))
    shorter = math.atan(across * min(1.0, inputs["height"] / inputs["width"]))
    return 1.05 * radius / math.sin(shorter)


def farthest(distance: float, inputs: dict[str, Any]) -> float:
    """Where the studio's lights must stay behind."""
    return float(distance / min(1.0, inputs["zoom"]))


def orbit_point(inputs: dict[str, Any], frame: int, target: np.ndarray, distance: float) -> np.ndarray:
    """Where the camera is at a frame. A full turn ends one step before its start, so that the film loops."""
    turn = float(inputs["orbit_degrees"])
    steps = inputs["frames"] if abs(turn) == 360 else max(1, inputs["frames"] - 1)
    azimuth = math.radians(inputs["orbit_start"] + turn * frame / steps)
    elevation = math.radians(inputs["elevation_degrees"])
    flat = math.cos(elevation)
    away = np.array([math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(elevation)])
    return np.asarray(target + away * distance / inputs["zoom"])


def film(inputs: dict[str, Any]) -> dict[str, Any]:
    """A picture of linear radiance."""
    return {
        "type": "hdrfilm",
        "width": inputs["width"],
        "height": inputs["height"],
        "rfilter": {"type": "gaussian"},
        "pixel_format": "rgb",
        "component_format": "float32",
    }


def sensor(inputs: dict[str, Any], frame: int, target: np.ndarray, distance: float, aperture: float) -> Any:
    """The camera of one frame; `distance` in metres before zoom, `aperture` as a share of it."""
    origin = orbit_point(inputs, frame, target, distance)
    away = float(np.linalg.norm(origin - target))
    look = mi.ScalarTransform4f().look_at(origin=origin.tolist(), target=target.tolist(), up=[0, 0, 1])
    return mi.load_dict(
        {
            "type": "thinlens",
            "fov": FIELD_OF_VIEW,
            "aperture_radius": max(1e-6, aperture * away),
            "focus_distance": 0.97 * away,
            "to_world": look,
            "film": film(inputs),
            "sampler": {"type": "multijitter", "sample_count": max(1, inputs["samples"] // 2)},
        }
    )
