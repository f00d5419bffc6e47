"""Join all frames into video.mp4 (H.264, yuv420p) and contact_sheet.png."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
from PIL import Image
from problems import BadInput, exit_code

SHEET_WIDTH = 1600
GAP = 8
PAPER = (24, 27, 31)


def frames() -> list[Path]:
    """Every unit's pictures in the order of the flight."""
    found = sorted(Path("in/units").glob("*/frames/*.png"), key=lambda path: path.name)
    if not found:
        raise BadInput("There are no frames to join.")
    return found


def even(path: Path) -> Image.Image:
    """A frame without the last line of an odd width or height: yuv420p needs pairs."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    return picture.crop((0, 0, picture.width & ~1, picture.height & ~1))


def write_video(pictures: list[Path], fps: int, target: Path) -> None:
    """Encode the frames."""
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=fps, options={"crf": "17", "preset": "medium"})
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = even(pictures[0]).size
        for path in pictures:
            film.mux(stream.encode(av.VideoFrame.from_image(even(path))))
        film.mux(stream.encode(None))


def columns_for(count: int) -> int:
    """Three to five pictures side by side, in rows as even as they get."""
    if count <= 3:
        return count
    return min(range(3, 6), key=lambda wide: (-count % wide / wide, -wide))


def write_sheet(pictures: list[Path], target: Path, most: int = 16) -> None:
    """All frames, or `most` of them evenly chosen, small and side by side."""
    count = min(most, len(pictures))
    chosen = [pictures[number * (len(pictures) - 1) // max(1, count - 1)] for number in range(count)]
    wide = columns_for(count)
    cell = (SHEET_WIDTH - GAP * (wide + 1)) // wide
    with Image.open(chosen[0]) as first:
        tall = max(1, round(cell * first.height / first.width))
    rows = -(-count // wide)
    sheet = Image.new("RGB", (SHEET_WIDTH, GAP + rows * (tall + GAP)), PAPER)
    for number, path in enumerate(chosen):
        with Image.open(path) as opened:
            small = opened.convert("RGB").resize((cell, tall), Image.Resampling.LANCZOS)
        sheet.paste(small, (GAP + number % wide * (cell + GAP), GAP + number // wide * (tall + GAP)))
    sheet.save(target, optimize=True)


def main() -> None:
    """Write both results."""
    inputs = json.loads(Path("task.json").read_text())["inputs"]
    pictures = frames()
    write_video(pictures, int(inputs.get("fps", 12)), Path("video.mp4"))
    write_sheet(pictures, Path("contact_sheet.png"))


if __name__ == "__main__":
    sys.exit(exit_code(main))
