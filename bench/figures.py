"""How the benchmarks speak: a line per figure, the reference beside it, and the same as JSON in bench/out/."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from bench.sampling import Taken

OUT = Path(__file__).parent / "out"


def say(text: str) -> None:
    """Print at once: a benchmark's output is often read through a pipe."""
    print(text, flush=True)


def versus(what: str, figure: float, against: str, reference: float, bar: float | None = None) -> float:
    """Print two rates and their ratio, and whether the ratio reaches its bar."""
    ratio = figure / reference
    verdict = "" if bar is None else f", bar {bar:g} x: {'reached' if ratio >= bar else 'MISSED'}"
    say(f"  {what} {figure:,.0f}/s   {against} {reference:,.0f}/s   ratio {ratio:.2f} x{verdict}")
    return ratio


def shown(by_name: dict[str, float], unit: str) -> str:
    """A dictionary of numbers on a line, largest first."""
    return "  ".join(f"{name} {value:,.0f} {unit}" for name, value in sorted(by_name.items(), key=lambda pair: -pair[1]))


def others_share(taken: Taken) -> float:
    """The part of the machine's cores that others had while something was measured: much of it spoils a figure."""
    return taken.others_s / max(taken.wall_s * (os.cpu_count() or 1), 1e-9)


def save(name: str, figures: Any) -> None:
    """Write figures, with what is needed to compare them with another day's, to bench/out/<name>.json."""
    OUT.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    document = {"at": time.strftime("%FT%TZ", time.gmtime()), "load": os.getloadavg(), **machine, "figures": figures}
    (OUT / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
