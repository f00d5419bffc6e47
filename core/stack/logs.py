"""Logs that stay small."""

import os
import shutil
from pathlib import Path

LARGEST = 10 * 1024 * 1024


def rotate(folder: Path, largest: int = LARGEST) -> list[Path]:
    """Moves the text of every log larger than the limit, in bytes, to NAME.log.1. Returns the rotated logs.

    Writers keep the file open and append to it, so it is copied and emptied rather than renamed.
    """
    large = [path for path in folder.glob("*.log") if path.stat().st_size > largest]
    for path in large:
        shutil.copyfile(path, path.with_suffix(".log.1"))
        os.truncate(path, 0)
    return large
