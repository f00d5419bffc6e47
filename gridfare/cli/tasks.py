"""`tasks`, `show`, `logs`, `events`, `results`, `cancel`: looking at what was handed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from gridfare.cli.group import Interrupted
from gridfare.cli.output import AsJson, Output, clean
from gridfare.cli.session import open_client
from gridfare.cli.submitting import fetch
from gridfare.cli.units import event_text
from gridfare.cli.views import explanation, files_table, task_facts, task_line, tasks_table
from gridfare.cli.words import local
from gridfare.sdk.answers import ENDED, Event, LogChunk

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]


def tasks(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="queued, running, delivered, failed, cancelled, expired.")] = None,
    capability: Annotated[str | None, typer.Option(help="org/name.")] = None,
    label: Annotated[str | None, typer.Option(metavar="KEY=VALUE")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Created after this moment.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Created before this moment.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first."""
    out, wanted = Output(as_json), label.replace("=", ":", 1) if label else None
    found = list(
        open_client(ctx).tasks(
            state=state,
            capability=capability,
            label=wanted,
            created_after=since,
            created_before=until,
            limit=None if everything else limit,
        )
    )
    out.show(found, tasks_table(found) if found else "no tasks")


def show(ctx: typer.Context, task_id: TaskId, as_json: AsJson = False) -> None:
    """A task: how far it is, what it costs, where it runs and why."""
    out, client = Output(as_json), open_client(ctx)
    task = client.task(task_id)
    why = client.explain(task_id)
    out.show(task | {"explain": why}, task_facts(task), *explanation(why, task))


def results(
    ctx: typer.Context,
    task_id: TaskId,
    folder: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Download there.")] = None,
    as_json: AsJson = False,
) -> None:
    """List a task's result files, or download them. Downloading again only fetches what is missing."""
    out, client = Output(as_json), open_client(ctx)
    if folder is None:
        result = client.result(task_id)
        out.show(result, files_table(result))
        return
    fetched = [str(path) for path in fetch(out, client, client.task(task_id), folder)]
    out.show({"task": task_id, "downloaded": fetched}, *[Text(path) for path in fetched])


def rate(
    ctx: typer.Context,
    task_id: TaskId,
    stars: Annotated[int, typer.Argument(min=1, max=5, help="1 to 5.")],
    comment: Annotated[str, typer.Option(help="Why, in a few words.")] = "",
    as_json: AsJson = False,
) -> None:
    """Rate a task that was delivered to you. Said again, the last word stands."""
    rated = open_client(ctx).rate_task(task_id, stars, comment)
    Output(as_json).show(rated, f"{rated['stars']} of 5 stars for {task_id}")


def cancel(ctx: typer.Context, task_id: TaskId, as_json: AsJson = False) -> None:
    """Ask that a task be cancelled."""
    out, task = Output(as_json), open_client(ctx).cancel(task_id)
    over = task["state"] in ENDED
    out.show(task, task_line(task) if over else f"cancelling {task_id}; it ends once nothing of it runs any more")


def events(
    ctx: typer.Context,
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the task has ended.")] = False,
    after: Annotated[int, typer.Option(min=0, help="Only those after this sequence number.")] = 0,
    as_json: AsJson = False,
) -> None:
    """What happened to a task; with --json one event per line."""
    out = Output(as_json)
    with leaving_alone(task_id):
        for event in open_client(ctx).events(task_id, after=after, follow=follow):
            out.line(event, _event_text(event))


def _event_text(event: Event) -> Text:
    return Text.assemble((local(event["at"]), "bright_black"), "  ", event_text(event["kind"], event["data"]))


def logs(
    ctx: typer.Context,
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the task has ended.")] = False,
    unit: Annotated[int | None, typer.Option(min=0, help="Only this unit.")] = None,
    stage: Annotated[str | None, typer.Option(help="unit or merge.")] = None,
    attempt: Annotated[str | None, typer.Option(help="Only this attempt.")] = None,
    stream: Annotated[str | None, typer.Option(help="stdout, stderr or agent.")] = None,
    as_json: AsJson = False,
) -> None:
    """What its programs wrote; with --json one chunk per line."""
    out, client = Output(as_json), open_client(ctx)
    many = unit is None and not as_json and client.task(task_id)["progress"]["units_total"] > 1
    with leaving_alone(task_id):
        chunks = client.logs(task_id, unit=unit, stage=stage, attempt=attempt, stream=stream, follow=follow)
        if as_json:
            for chunk in chunks:
                out.line(chunk, "")
            return
        for line in _whole_lines(chunks, many):
            out.line(None, line)


def _whole_lines(chunks: Iterator[LogChunk], many: bool) -> Iterator[Text]:
    """Chunks of several programs as whole lines, each with its unit in front where there are many."""
    open_lines: dict[tuple[Any, str], tuple[LogChunk, str]] = {}
    for chunk in chunks:
        key = (chunk["attempt"], chunk["stream"])
        text = open_lines.pop(key, (chunk, ""))[1] + chunk["text"]
        *whole, rest = text.split("\n")
        if rest:
            open_lines[key] = (chunk, rest)
        for line in whole:
            yield _log_text(chunk, line, many)
    for chunk, line in open_lines.values():
        yield _log_text(chunk, line, many)


def _log_text(chunk: LogChunk, line: str, many: bool) -> Text:
    style = {"stderr": "yellow", "agent": "bright_black"}.get(chunk["stream"], "")
    name = "merge" if chunk["stage"] == "merge" else f"unit {chunk['unit']}"
    prefix = (f"{name:>9} | ", "bright_black") if many else ("", "")
    return Text.assemble(prefix, (clean(line.removesuffix("\r")) if line else "", style))


@contextmanager
def leaving_alone(task_id: str) -> Iterator[None]:
    """Ctrl-C stops looking, not the task."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped looking; a task that has not ended goes on", task_id) from None
