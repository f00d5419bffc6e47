"""Says which results divide their number. Nothing could be compared: right results differ."""

import json
from pathlib import Path


def is_right(folder: Path, number: int) -> bool:
    """A text that is no number is wrong as well."""
    text = (folder / "divisor.txt").read_bytes().strip()
    return text.isdigit() and int(text) > 1 and number % int(text) == 0


number = 720 * (json.loads(Path("task.json").read_text())["index"] + 1)
results = sorted(Path("in/results").iterdir(), key=lambda folder: int(folder.name))
right = [[int(folder.name)] for folder in results if is_right(folder, number)]
Path("verdict.json").write_text(json.dumps({"groups": right}))
