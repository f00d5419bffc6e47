"""The built-in scene: a metal knot on a plinth in a field of beads, under soft studio light.

Units are metres, z is up, the floor is z = 0. Everything is made in code, so the capability needs no assets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import meshes
import mitsuba as mi
import numpy as np

Spec = dict[str, Any]

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def rgb(red: float, green: float, blue: float) -> Spec:
    """A linear colour."""
    return {"type": "rgb", "value": [red, green, blue]}


DISTANCE = 6.4  # of the camera from the middle of the built-in scene

# Where each soft light stands, its half width and half height, and its radiance: warm key, cool rim, warm
# kicker, fill. Few large rectangles give a third of the noise that the same light painted on a sky gives.
SOFTBOXES = [
    ((4.0, 4.5, 7.5), (3.2, 2.4), (8.6, 7.4, 5.9)),
    ((-6.5, -5.5, 5.0), (2.6, 1.7), (2.6, 4.2, 7.4)),
    ((-3.0, 8.0, 2.4), (0.7, 1.9), (6.5, 3.9, 2.0)),
    ((7.5, -5.0, 3.2), (0.9, 2.2), (2.4, 2.8, 3.4)),
]


def lights(target: Sequence[float], distance: float) -> dict[str, Spec]:
    """The studio's light around a point, always beyond a camera that is `distance` away."""
    scale = distance / DISTANCE
    found: dict[str, Spec] = {"ambient": {"type": "constant", "radiance": rgb(0.07, 0.09, 0.14)}}
    for number, (place, (wide, tall), radiance) in enumerate(SOFTBOXES):
        origin = [middle + scale * away for middle, away in zip(target, place, strict=True)]
        look = mi.ScalarTransform4f().look_at(origin=origin, target=list(target), up=[0, 0, 1])
        size = mi.ScalarTransform4f().scale([scale * wide, scale * tall, 1])
        emitter = {"type": "area", "radiance": rgb(*radiance)}
        found[f"light{number}"] = {"type": "rectangle", "to_world": look @ size, "emitter": emitter}
    return found


def floor_pixels(size: int = 512) -> np.ndarray:
    """Albedo of the floor (size, size, 3): slate that darkens outwards."""
    across = np.linspace(-1, 1, size)
    away = np.hypot(across[:, None], across[None, :])[..., None]
    fade = 1 / (1 + (away / 0.22) ** 2)
    pixels = np.array([0.010, 0.014, 0.024]) + fade * np.array([0.085, 0.115, 0.155])
    return np.asarray(pixels, dtype=np.float32)


def floor(radius: float = 24.0) -> Spec:
    """A wide, slightly glossy floor."""
    place = mi.ScalarTransform4f().scale([radius, radius, 1])
    colour = {"type": "bitmap", "bitmap": mi.Bitmap(floor_pixels()), "raw": True}
    bsdf = {"type": "roughplastic", "diffuse_reflectance": colour, "alpha": 0.14, "nonlinear": True}
    return {"type": "rectangle", "to_world": place, "bsdf": bsdf}


GOLD: Spec = {"type": "roughconductor", "material": "Au", "alpha": 0.09, "distribution": "ggx"}
COPPER: Spec = {"type": "roughconductor", "material": "Cu", "alpha": 0.11, "distribution": "ggx"}
GLASS: Spec = {"type": "dielectric", "int_ior": 1.5, "specular_transmittance": rgb(0.93, 0.98, 0.97)}
STONE: Spec = {"type": "plastic", "diffuse_reflectance": rgb(0.035, 0.037, 0.045), "nonlinear": True}


CLAY: Spec = {"type": "principled", "base_color": rgb(0.62, 0.30, 0.19), "roughness": 0.42, "specular": 0.5}


def two_sided(bsdf: Spec) -> Spec:
    """The same material on both sides, for meshes whose triangles face anywhere."""
    return {"type": "twosided", "bsdf": bsdf}


def sphere(x: float, y: float, z: float, radius: float, bsdf: Spec) -> Spec:
    """A ball."""
    return {"type": "sphere", "center": [x, y, z], "radius": radius, "bsdf": bsdf}


PALETTE = [(250, 190, 88), (240, 106, 78), (196, 58, 112), (104, 60, 152), (44, 84, 168), (26, 140, 150)]


def glaze(share: float) -> Spec:
    """The glossy colour at a share 0..1 of the palette."""
    stops = np.linspace(0, 1, len(PALETTE))
    mixed = [float(np.interp(share, stops, channel)) / 255 for channel in zip(*PALETTE, strict=True)]
    return {
        "type": "plastic",
        "diffuse_reflectance": rgb(*(channel**2.2 for channel in mixed)),
        "nonlinear": True,
    }


def bead_material(number: int, away: float) -> Spec:
    """Mostly glazed colours in the order of the palette outwards; a few of glass, gold and chalk."""
    if number % 11 == 0:
        return GLASS
    if number % 13 == 0:
        return GOLD
    if number % 7 == 0:
        return {"type": "diffuse", "reflectance": rgb(0.80, 0.78, 0.74)}
    return glaze(min(1.0, max(0.0, (away - 1.2) / 3.4)))


def beads(count: int = 330) -> dict[str, Spec]:
    """Balls in the order of a sunflower's seeds, larger outwards, lying on the floor."""
    found = {}
    for number in range(24, count):
        away, angle = 0.265 * math.sqrt(number), number * GOLDEN_ANGLE
        size = 0.075 + 0.017 * away + 0.012 * math.sin(number * 2.4)
        found[f"bead{number}"] = sphere(away * math.cos(angle), away * math.sin(angle), size, size, bead_material(number, away))
    return found


def centre(folder: Path) -> dict[str, Spec]:
    """Plinth, knot and the glass ball inside of it."""
    knot = meshes.write_ply(folder / "knot.ply", *meshes.torus_knot())
    plinth = meshes.write_ply(folder / "plinth.ply", *meshes.lathe(meshes.plinth_profile()))
    lift = mi.ScalarTransform4f().translate([0, 0, 0.98])
    return {
        "plinth": {"type": "ply", "filename": str(plinth), "bsdf": STONE},
        "knot": {"type": "ply", "filename": str(knot), "to_world": lift, "bsdf": COPPER},
    }


def build(folder: Path, distance: float = DISTANCE) -> Spec:
    """The whole scene as Mitsuba's dictionary; `folder` takes its generated meshes."""
    return {"type": "scene", **lights((0, 0, 0.5), distance), "floor": floor(), **centre(folder), **beads()}
