"""Which scene a task shows: the built-in one, a mesh on the studio's floor, or the user's Mitsuba scene.

Scenes are loaded with `parallel=False, optimize=False`: otherwise Mitsuba orders the lights by where they lie in memory,
and the same frame gets other noise each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import camera
import mitsuba as mi
import numpy as np
import studio
import user_scene
from problems import BadInput

MESH_RADIUS = 1.1


@dataclass(frozen=True)
class Stage:
    """A loaded scene and what the camera flies around."""

    scene: Any
    target: np.ndarray
    distance: float
    aperture: float


def load(scene_file: Path | None, assets: Path, scratch: Path, inputs: dict[str, Any]) -> Stage:
    """Load what the inputs ask for. Raises BadInput with a sentence for the user."""
    if scene_file is None:
        scene = mi.load_dict(studio.build(scratch, camera.farthest(studio.DISTANCE, inputs)), parallel=False, optimize=False)
        return Stage(scene, np.array([0.0, 0.0, 0.68]), studio.DISTANCE, 0.006)
    kind = scene_file.suffix.lower()
    if kind == ".xml":
        return whole_scene(user_scene.load(scene_file, assets, inputs), inputs)
    if kind in (".ply", ".obj"):
        return mesh_stage(scene_file, kind[1:], inputs)
    raise BadInput(f"The scene {scene_file.name} is neither a Mitsuba scene (.xml) nor a mesh (.ply, .obj).")


def whole_scene(scene: Any, inputs: dict[str, Any]) -> Stage:
    """Frame a whole scene: its middle in the picture, far enough to see all of it."""
    low, high = user_scene.bounds(scene)
    radius = float(np.linalg.norm(high - low)) / 2
    return Stage(scene, (low + high) / 2, camera.distance_for(radius, inputs), 0.0)


def mesh_stage(path: Path, kind: str, inputs: dict[str, Any]) -> Stage:
    """A mesh scaled to fit into a ball of 1.1 m, standing on the studio's floor."""
    shape = {"type": kind, "filename": str(path), "face_normals": not has_normals(path, kind)}
    turn = upright(inputs["up"])
    low, high = user_scene.bounds(load_mesh({**shape, "to_world": turn}, path.name))
    scale = 2 * MESH_RADIUS / float(np.linalg.norm(high - low))
    shift = [float(part) for part in (-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2])]
    place = mi.ScalarTransform4f().scale(scale).translate(shift) @ turn
    mesh = {**shape, "to_world": place, "bsdf": studio.two_sided(studio.CLAY)}
    distance = camera.distance_for(MESH_RADIUS, inputs)
    lights = studio.lights((0, 0, 0.5), camera.farthest(distance, inputs))
    scene = mi.load_dict({"type": "scene", **lights, "floor": studio.floor(), "mesh": mesh}, parallel=False, optimize=False)
    return Stage(scene, np.array([0.0, 0.0, 0.47 * scale * (high[2] - low[2])]), distance, 0.003)


def upright(up: str) -> Any:
    """The turn that brings the mesh's own vertical axis to z."""
    turn = mi.ScalarTransform4f()
    return turn.rotate([1, 0, 0], 90) if up == "y" else turn


def has_normals(path: Path, kind: str) -> bool:
    """Whether a mesh brings normals; without them its faces are shown flat, as smoothing would blur its edges."""
    with path.open("rb") as opened:
        if kind == "obj":
            return any(line.startswith(b"vn ") for line in opened)
        return b" nx" in opened.read(4096).split(b"end_header")[0]


def load_mesh(shape: dict[str, Any], name: str) -> Any:
    """Read a mesh; Mitsuba's message becomes a sentence."""
    try:
        return mi.load_dict(shape)
    except Exception as error:
        raise BadInput(f"The mesh {name} could not be read: {str(error).splitlines()[-1][:200]}") from error
