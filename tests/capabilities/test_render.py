"""East video, west rendering: frames, film and sheet; a stranger's scene reads no file but its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities import run_local
from tests.capabilities.conftest import CAPABILITIES, Deliver

TINY: dict[str, Any] = {"frames": 1, "width": 32, "height": 18, "samples": 2}
HOUSE = CAPABILITIES / "render" / "tests" / "house.obj"

PROBE = """
import av, json, sys
with av.open(sys.argv[1]) as film:
    stream = film.streams.video[0]
    frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    context = stream.codec_context
    shape = [context.width, context.height, len(frames), float(stream.average_rate)]
    print(json.dumps([context.name, context.pix_fmt, *shape]))
"""


LINKED = """
import mitsuba
mitsuba.set_variant("scalar_rgb")
print(*{line.split()[-1] for line in open("/proc/self/maps") if "libatomic" in line})
"""


def test_the_renderer_brings_the_library_that_a_bare_machine_lacks() -> None:
    """libatomic.so.1 is no part of a Python; without it Mitsuba cannot be imported."""
    python = run_local.environment(CAPABILITIES / "render")
    done = subprocess.run([str(python), "-c", LINKED], check=True, capture_output=True, text=True)
    assert done.stdout.split()
    assert all(path.startswith(str(python.parents[1])) for path in done.stdout.split())


def probe(film: Path) -> list[Any]:
    """Codec, pixel format, width, height, number of frames that decode, frames per second."""
    words = [str(run_local.environment(CAPABILITIES / "render")), "-c", PROBE, str(film)]
    found: list[Any] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def refusal(deliver: Deliver, **files: Any) -> str:
    """What the user reads when a scene cannot be used."""
    with pytest.raises(run_local.UnitFailed) as failed:
        deliver("render", TINY, **files)
    assert failed.value.exit_code == 2, failed.value.stderr
    return failed.value.stderr


def scene(body: str) -> dict[str, str]:
    """A scene's file with this in it."""
    return {"scene.xml": f'<scene version="3.0.0">{body}<shape type="sphere"/></scene>'}


def test_every_frame_is_in_the_film(deliver: Deliver) -> None:
    result = deliver("render", {**TINY, "frames": 3, "width": 33, "height": 19, "fps": 5, "frames_per_unit": 2})
    assert len(result.unit_s) == 2
    assert probe(result.folder / "video.mp4") == ["h264", "yuv420p", 32, 18, 3, 5.0]
    assert (result.folder / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_frame_is_the_same_wherever_and_in_whatever_unit_it_is_rendered(deliver: Deliver) -> None:
    alone = deliver("render", {**TINY, "frames": 2})
    together = deliver("render", {**TINY, "frames": 2, "frames_per_unit": 2})
    for unit, name in ((0, "000000.png"), (1, "000001.png")):
        one = alone.folder.parent / f"{unit:06d}" / "frames" / name
        assert one.read_bytes() == (together.folder.parent / "000000" / "frames" / name).read_bytes()


def test_a_scene_without_light_is_lit(deliver: Deliver) -> None:
    result = deliver("render", TINY, scene=scene(""))
    assert result.paths == ["contact_sheet.png", "video.mp4"]


@pytest.mark.parametrize(
    "body",
    [
        '<include filename="other.xml"/>',
        '<path value="/etc"/>',
        '<shape type="ply"><string name="filename" value="/etc/passwd"/></shape>',
        '<shape type="ply"><string name="filename" value="../../task.json"/></shape>',
        '<default name="f" value="/etc/x"/><shape type="ply"><string name="filename" value="$f"/></shape>',
        '<default name="n" value="filename"/><shape type="ply"><string name="$n" value="task.json"/></shape>',
        '<default name="a" value="$b"/><default name="b" value="/etc"/><string name="s" value="$a"/>',
        '<shape type="../../plugins/evil"/>',
        '<bsdf type="conductor"><string name="material" value="../../../etc/x"/></bsdf>',
        '<bsdf type="diffuse"><spectrum name="reflectance" filename="task.json"/></bsdf>',
        '<emitter type="envmap"><string name="filename" value="sky.exr"/></emitter>',
    ],
)
def test_a_scene_that_names_a_file_outside_its_assets_is_refused(deliver: Deliver, body: str) -> None:
    assert refusal(deliver, scene=scene(body)).startswith("The scene")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"scene.xml": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><scene>&b;</scene>'},
            "document type",
        ),
        ({"scene.xml": "<scene>"}, "not well-formed"),
        ({"scene.xml": "<other/>"}, "does not begin with <scene>"),
        ({"scene.xml": '<scene version="3.0.0"/>'}, "empty"),
        ({"scene.xml": '<scene version="3.0.0"><shape type="nothing"/></scene>'}, "Mitsuba refused"),
        ({"mesh.ply": b"\x00\x01"}, "could not be read"),
        ({"mesh.obj": "v 0 0 0\n"}, "empty"),
        ({"notes.txt": "hello"}, "neither a Mitsuba scene"),
    ],
)
def test_a_file_that_is_no_scene_is_refused_in_a_sentence(deliver: Deliver, files: dict[str, str | bytes], said: str) -> None:
    assert said in refusal(deliver, scene=files)
