"""The three classic workloads, submitted together, followed with a progress display, downloaded when delivered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from demo.market import ARCHIVE_REGION, CAROL
from gridfare.client import Client

FOLDER: Final = Path(__file__).resolve().parent.parent
ENDED: Final = ("delivered", "failed", "cancelled", "expired")
SETTLE_S: Final = 60.0


@dataclass(frozen=True)
class Job:
    """One of the demo's tasks. `title` names the workload as the field does."""

    capability: str
    title: str
    inputs: Mapping[str, Any]
    constraints: Mapping[str, Any]
    objective: str = "cheapest"


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    job: Job
    task: Mapping[str, Any]
    quote: Mapping[str, Any]
    folder: Path | None
    files: list[Path]


JOBS: Final = (
    Job("archive", "东数西存  archive the sources in Guizhou", {"files": FOLDER / "capabilities"},
        {"regions": [ARCHIVE_REGION]}),
    Job("train", "东数西训  find the best digit reader", {"folds": 3}, {}, "fastest"),
    Job("render", "东视西渲  render a camera flight", {"frames": 24, "width": 480, "height": 270}, {}),
)  # fmt: skip


def run_job(alice: Client, results: Path, console: Console) -> list[Outcome]:
    """Quote, submit, follow and download. Nothing here that a user's own program could not do."""
    pending = []
    for job in JOBS:
        name = f"{CAROL.slug}/{job.capability}"
        options = {"objective": job.objective, **job.constraints}
        quote = alice.quote(name, job.inputs, **options)
        option = dict(quote).get(job.objective) or {}
        assert isinstance(option, dict)  # noqa: S101  for the type checker
        price, seconds = Decimal(str(option.get("price", "0"))), float(option.get("seconds", 0))
        console.print(f"[cyan]quote[/] {job.title}: {quote['units']} units, about {price:.4f} CNY, {seconds:.0f} s")
        pending.append((job, quote, alice.submit(name, job.inputs, name=job.title, **options)))
    tasks = _follow(alice, [(job, str(task["id"])) for job, _, task in pending], console)
    return [
        _fetch(alice, job, tasks[str(task["id"])], quote, results) for job, quote, task in pending
    ]


def _follow(alice: Client, jobs: list[tuple[Job, str]], console: Console) -> dict[str, Mapping[str, Any]]:
    columns = (TextColumn("{task.description:45}"), BarColumn(28), TaskProgressColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[state]}"))  # fmt: skip
    tasks: dict[str, Mapping[str, Any]] = {}
    with Progress(*columns, console=console) as progress:
        bars = {one: progress.add_task(job.title, state="queued", total=1.0) for job, one in jobs}
        open_ones = [one for _, one in jobs]
        while open_ones:
            for one in list(open_ones):
                task = tasks[one] = alice.task(one)
                progress.update(bars[one], completed=task["progress"]["fraction"], state=task["state"])
                if task["state"] in ENDED:
                    progress.stop_task(bars[one])
                    open_ones.remove(one)
                    _say_end(task, console)
            time.sleep(0.4)
    return tasks


def _say_end(task: Mapping[str, Any], console: Console) -> None:
    colour = "green" if task["state"] == "delivered" else "red"
    console.print(f"[{colour}]{task['state']}[/] {task['name']}  {task['reason']}")


def _fetch(
    alice: Client, job: Job, task: Mapping[str, Any], quote: Mapping[str, Any], results: Path
) -> Outcome:
    """Wait for the final bill, then download what was delivered."""
    final = alice.wait(str(task["id"]), timeout=SETTLE_S, settle_s=SETTLE_S)
    if final["state"] != "delivered":
        return Outcome(job, dict(final), quote, None, [])
    folder = results / f"{job.capability}-{str(task['id'])[-6:]}"
    return Outcome(job, dict(final), quote, folder, alice.download_results(str(task["id"]), folder))
