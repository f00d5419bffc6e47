"""`units`: what became of each unit of a task, try by try; and events in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare.cli.output import AsJson, Output, clean, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import between, local
from gridfare.sdk.answers import Attempt, Unit

# An attempt that came to nothing is shown; what went well, what is going on, and what was given back unstarted is not.
WELL = ("valid", "superseded", "released", "leased", "running", "reported")
# What a state alone means; with a reason or a code these say more.
MEANS = {"superseded": "agreed with the delivered one", "reported": "waits to be compared"}


def units(
    ctx: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The task's id.")],
    troubled: Annotated[bool, typer.Option("--troubled", help="Only attempts that came to nothing.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many units.")] = 100,
    as_json: AsJson = False,
) -> None:
    """What became of each unit: every attempt, where it ran, how it ended and why."""
    out, found = Output(as_json), list(open_client(ctx).units(task_id, limit=limit))
    if troubled:
        found = [unit for unit in found if any(attempt["state"] not in WELL for attempt in unit["attempts"])]
    out.show(found, units_table(found, troubled) if found else "nothing came to nothing" if troubled else "no units yet")


def units_table(found: Iterable[Unit], troubled: bool = False) -> RenderableType:
    """One row per attempt; a unit that nobody has taken yet has one of its own."""
    rows: list[tuple[Any, ...]] = []
    for unit in found:
        name = f"{unit['stage']} {unit['index']}" + (f" (copy {unit['replica']})" if unit.get("replica") else "")
        tries = [one for one in unit["attempts"] if not troubled or one["state"] not in WELL]
        rows += [(name, one["pool"], state_text(one["state"]), _took(one), _became(one)) for one in tries]
        if not unit["attempts"]:
            rows.append((name, unit["pool"] or "-", state_text(unit["state"]), "-", ""))
    return table(["unit", "pool", "state", "took", "what became of it"], rows, whole=["unit", "pool", "state"])


def _took(attempt: Attempt) -> str:
    return between(attempt["started_at"] or attempt["leased_at"], attempt["ended_at"]) if attempt["leased_at"] else "-"


def _became(attempt: Attempt) -> str:
    """Reason, code and detail in one line, and what it had saved."""
    said = [word for word in (attempt.get("reason_class"), attempt.get("code")) if word]
    unpaid = ["wrong, unpaid"] if attempt["state"] == "invalid" and attempt.get("code") != "no_consensus" else []
    words = ", ".join(dict.fromkeys(unpaid + (said or [MEANS.get(attempt["state"], "")])))
    words = "was not needed any more" if words == "superseded" else words
    detail = attempt.get("detail") or ""
    parts = [words + (": " if words and detail else "") + detail]
    if attempt.get("exit_code") not in (None, 0):
        parts.append(f"exit code {attempt['exit_code']}")
    if attempt.get("saved_at"):
        parts.append(f"checkpoint of {local(attempt['saved_at'])}")
    return "; ".join(part for part in parts if part)


def event_text(kind: str, data: dict[str, Any]) -> Text:
    """An event's line after its moment. Attempts that failed are told in words, others as they are."""
    if kind == "attempt.failed" and "pool" in data:
        return Text(clean(_failed(data)))
    return Text(clean("  ".join([kind, *(f"{name}={value}" for name, value in data.items())])))


def _failed(data: dict[str, Any]) -> str:
    """`attempt.failed  unit 3 on 640000-G-000001-E: reclaimed, owner_returned: the owner is back; the unit is waiting`."""
    why = ", ".join(dict.fromkeys(word for word in (data["reason_class"], data["code"]) if word))
    detail = f": {data['detail']}" if data["detail"] else ""
    return f"attempt.failed  {data['stage']} {data['index']} on {data['pool']}: {why}{detail}; the unit is {data['unit']}"
