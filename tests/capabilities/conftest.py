"""Where the built-in capabilities are, and a working folder for each task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities import run_local

CAPABILITIES = run_local.REPOSITORY / "capabilities"

Deliver = Callable[..., run_local.Result]


@pytest.fixture
def deliver(tmp_path: Path) -> Deliver:
    """deliver(capability, inputs, **files): run a task; a file is a path, or a dict of name → content."""
    tasks = iter(range(1000))

    def run(capability: str, inputs: dict[str, Any], **files: Any) -> run_local.Result:
        work = tmp_path / f"task{next(tasks)}"
        given = {name: _as_pairs(content, work / "given" / name) for name, content in files.items()}
        return run_local.run_task(CAPABILITIES / capability, inputs, given, work / "units")

    return run


def _as_pairs(content: Path | dict[str, str | bytes], folder: Path) -> list[tuple[str, Path]]:
    if isinstance(content, Path):
        return [(content.name, content)]
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return [(name, folder / name) for name in content]
