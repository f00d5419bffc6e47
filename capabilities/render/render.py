"""Render the frames of one unit: `frames/<index, 6 digits>.png`.

Reads task.json: `params` is {"value": frame} or {"start": first, "stop": end}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import drjit
import mitsuba as mi
import numpy as np
from problems import exit_code

mi.set_variant("scalar_rgb")  # the only variant that needs neither a GPU nor LLVM on the machine

import camera  # noqa: E402  (these build Mitsuba values, which need the variant)
import denoise  # noqa: E402
import scenes  # noqa: E402

# The same as in manifest.yaml, for platforms that pass the inputs as they were given.
DEFAULTS: dict[str, Any] = {
    "frames": 24,
    "width": 480,
    "height": 270,
    "samples": 8,
    "fps": 12,
    "orbit_degrees": 90,
    "orbit_start": 20,
    "elevation_degrees": 20,
    "zoom": 1.0,
    "up": "z",
    "frames_per_unit": 1,
}

EXPOSURE = 0.95


def frames_of(params: dict[str, int]) -> range:
    """The frames of this unit."""
    if "value" in params:
        return range(params["value"], params["value"] + 1)
    return range(params["start"], params["stop"])


def only_file(folder: Path) -> Path | None:
    """The file of an optional input."""
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return found[0] if found else None


def picture(stage: scenes.Stage, inputs: dict[str, Any], frame: int) -> np.ndarray:
    """One frame as linear radiance (height, width, 3)."""
    sensor = camera.sensor(inputs, frame, stage.target, stage.distance, stage.aperture)
    integrator = stage.scene.integrator() or mi.load_dict({"type": "path", "max_depth": 6, "rr_depth": 3})
    halves = [
        np.array(mi.render(stage.scene, sensor=sensor, integrator=integrator, seed=2 * frame + half))[..., :3] for half in (0, 1)
    ]
    return denoise.denoise(*halves)


def save(radiance: np.ndarray, path: Path) -> None:
    """Write an 8-bit sRGB picture."""
    bitmap = mi.Bitmap(tone(radiance).astype(np.float32))
    eight = bitmap.convert(mi.Bitmap.PixelFormat.RGB, mi.Struct.Type.UInt8, srgb_gamma=True)
    eight.write(str(path))


def tone(radiance: np.ndarray) -> np.ndarray:
    """Contrast and a soft shoulder of film, after Narkowicz's fit of the ACES curve (2016)."""
    level = np.maximum(radiance, 0) * EXPOSURE
    return np.clip(level * (2.51 * level + 0.03) / (level * (2.43 * level + 0.59) + 0.14), 0, 1)


def main() -> None:
    """Render this unit's frames on one thread: the platform decides what runs in parallel."""
    drjit.set_thread_count(int(os.environ.get("OMP_NUM_THREADS", "1")))
    mi.set_log_level(mi.LogLevel.Error)
    task = json.loads(Path("task.json").read_text())
    inputs = {**DEFAULTS, **{name: value for name, value in task["inputs"].items() if value is not None}}
    scratch = Path(os.environ.get("TMPDIR", "."))
    stage = scenes.load(only_file(Path("in/scene")), Path("in/assets"), scratch, inputs)
    folder = Path("frames")
    folder.mkdir(exist_ok=True)
    frames = frames_of(task["params"])
    for done, frame in enumerate(frames, 1):
        save(picture(stage, inputs, frame), folder / f"{frame:06d}.png")
        Path("progress").write_text(f"{done / len(frames):.4f}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
