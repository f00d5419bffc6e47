"""`usage`: what was used; send what pools metered, see and decide what was kept apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from gridfare.cli.output import AsJson, Output, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local
from gridfare.sdk.answers import QuarantinedEvent, UsageTaken

usage_app = typer.Typer()
SHOWN = 20


@usage_app.callback(invoke_without_command=True)
def usage(
    ctx: typer.Context,
    group_by: Annotated[
        str, typer.Option("--by", help="organization, project, label:NAME, capability, pool, region, api_key, day, hour, month.")
    ] = "",
    party: Annotated[str, typer.Option(help="user, provider, or all for operators.")] = "user",
    since: Annotated[str | None, typer.Option("--from", metavar="DATE")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to before this day.")] = None,
    zone: Annotated[str | None, typer.Option(help="Time zone of days and months, for example Asia/Shanghai.")] = None,
    meter: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """What was used; and sending what pools metered themselves."""
    if ctx.invoked_subcommand is not None:
        return
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    groups = [name for name in group_by.split(",") if name]
    window: dict[str, Any] = {"party": party, "since": since, "until": until, "zone": zone, "meter": meter}
    client = open_client(ctx)
    if as_csv:
        typer.echo(client.usage_csv(groups, **window), nl=False)
        return
    found = list(client.usage(groups, **window))
    columns = [*(name for name in groups if name != "meter"), "meter", "quantity", "unit", "fp32_tflop", "facts"]
    rows = [[row.get(name) for name in columns] for row in found]
    lines = table(columns, rows, right=["quantity", "fp32_tflop", "facts"])
    Output(as_json).show(found, lines if rows else "nothing was used")


@usage_app.command("days")
def days(
    ctx: typer.Context,
    meter: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    stat: Annotated[str | None, typer.Option(help="sum of quantities; avg or max of what was held.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="DATE")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to before this day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Days of what was held and of what pools reported, with the largest five minutes of each."""
    found = list(open_client(ctx).usage_days(meter=meter, stat=stat, since=since, until=until))
    rows = []
    for day in found:
        known = [slot for slot in day["slots"] if slot is not None]
        named = (day["day"], day["pool"], day["meter"], day["stat"], day["unit"])
        rows.append((*named, len(known), max(known, key=Decimal, default=None)))
    lines = table(["day", "pool", "meter", "stat", "unit", "slots", "largest"], rows, right=["slots", "largest"])
    Output(as_json).show(found, lines if rows else "nothing was reported")


def events_of(text: str) -> Iterator[dict[str, Any]]:
    """The events of a file: a JSON list, one JSON object, or an object per line."""
    try:
        whole = json.loads(text)
        yield from whole if isinstance(whole, list) else [whole]
        return
    except ValueError:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    for number, line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            raise typer.BadParameter(f"line {number} is not JSON") from None


@usage_app.command("send")
def send(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CloudEvents: a JSON list, or one per line. - reads stdin.")],
    as_json: AsJson = False,
) -> None:
    """Send usage events of your pools. Sending them again changes nothing."""
    out = Output(as_json)
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from None
    show_taken(out, open_client(ctx).send_usage(list(events_of(text))))


@usage_app.command("correct")
def correct(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="The event's source.")],
    event: Annotated[str, typer.Argument(help="The event's id.")],
    name: Annotated[str, typer.Option(help="A name of this correction; the same again changes nothing.")],
    quantity: Annotated[str | None, typer.Option(help="What it should have said; 0 takes it back.")] = None,
    gauge: Annotated[str | None, typer.Option(help="The same of a gauge's sample.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put an event of your pools right. Months that are charged get the difference."""
    if (quantity is None) == (gauge is None):
        raise typer.BadParameter("give one of --quantity and --gauge")
    right = {"gauge": gauge} if quantity is None else {"quantity": quantity}
    given = {"source": source, "id": event, "name": name, "reason": reason} | right
    show_taken(Output(as_json), open_client(ctx).correct_usage_events([given]))


def show_taken(out: Output, taken: UsageTaken) -> None:
    """How many were counted, and why the others were not; exit code 1 if there are such."""
    rows = [(row["index"], row["id"], row["status"], row["code"], row["field"], row["detail"]) for row in taken["rows"]]
    head = ", ".join(f"{count} {status}" for status, count in taken["counts"].items() if count) or "nothing sent"
    wrong = table(["place", "id", "status", "code", "field", "why"], rows[:SHOWN], right=["place"])
    out.show(taken, head, *([wrong] if rows else []))
    if rows:
        raise typer.Exit(1)


@usage_app.command("reconcile")
def reconcile(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="CSV with pool,meter,unit,from,to,quantity[,customer], or JSON like it, a line each.")
    ] = None,
    again: Annotated[int | None, typer.Option("--again", min=1, help="Instead of a file: this one, as of now.")] = None,
    relative: Annotated[str, typer.Option(help="How far off is within, as a part of the platform's: 0.01.")] = "0",
    absolute: Annotated[str, typer.Option(help="The same as a quantity; the larger of the two counts.")] = "0",
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
    zone: Annotated[str | None, typer.Option(help="Time zone of days in the file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare your pools' own counters with what the platform knows; exit code 1 where they are off or missing."""
    if (file is None) == (again is None):
        raise typer.BadParameter("give a FILE, or --again NUMBER")
    client = open_client(ctx)
    if again is not None:
        client.reconcile_again(again)
        made = client.reconciliation(again)
    else:
        made = client.reconcile_usage(_counters(file or Path()), relative=relative, absolute=absolute, name=name, zone=zone)
    _show_report(Output(as_json), made, list(client.reconciliation_rows(made["number"])))


def _counters(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from None
    return list(events_of(text)) if text.lstrip()[:1] in {"{", "["} else text


@usage_app.command("reconciliations")
def reconciliations(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Reconciliations of your counters, newest first."""
    found = list(open_client(ctx).reconciliations())
    rows = [(one["number"], one["name"], local(one["created_at"]), len(one["runs"]), _counts(one)) for one in found]
    lines = table(["number", "name", "at", "runs", "last"], rows, right=["number", "runs"])
    Output(as_json).show(found, lines if rows else "nothing was reconciled")


@usage_app.command("reconciliation")
def reconciliation(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(min=1)],
    status: Annotated[str | None, typer.Option(help="matched, within, off, missing_here or missing_there.")] = None,
    run: Annotated[int | None, typer.Option(min=1, help="By default the last.")] = None,
    as_json: AsJson = False,
) -> None:
    """The report of one of them."""
    client = open_client(ctx)
    _show_report(Output(as_json), client.reconciliation(number), list(client.reconciliation_rows(number, status=status, run=run)))


def _counts(made: dict[str, Any]) -> str:
    return ", ".join(f"{count} {status}" for status, count in made["runs"][-1]["counts"].items() if count) or "nothing"


def _show_report(out: Output, made: dict[str, Any], found: list[dict[str, Any]]) -> None:
    names = ("status", "pool", "customer", "meter", "unit", "from", "to", "theirs", "ours", "difference")
    rows = [[local(row[name]) if name in {"from", "to"} else row[name] for name in names] for row in found]
    lines = table(list(names), rows, right=["theirs", "ours", "difference"])
    out.show(made | {"rows": found}, f"reconciliation {made['number']}: {_counts(made)}", *([lines] if rows else []))
    if any(row["status"] not in {"matched", "within"} for row in found):
        raise typer.Exit(1)


@usage_app.command("quarantine")
def quarantine(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="open, accepted or refused.")] = "open",
    as_json: AsJson = False,
) -> None:
    """Events that were not counted: too old, or at odds with one that is."""
    out, found = Output(as_json), list(open_client(ctx).usage_quarantine(state))
    rows = [
        (one["number"], one["provider"], one["reason"], one["state"], one["document"].get("id"), local(one["occurred_at"]))
        for one in found
    ]
    columns = ["number", "provider", "reason", "state", "id", "at"]
    out.show(found, table(columns, rows, right=["number"]) if rows else "nothing is kept apart")


@usage_app.command("accept")
def accept(ctx: typer.Context, number: Annotated[int, typer.Argument(min=1)], as_json: AsJson = False) -> None:
    """Operators: count an event that was too old to be taken unseen."""
    _show(Output(as_json), open_client(ctx).accept_usage(number))


@usage_app.command("refuse")
def refuse(ctx: typer.Context, number: Annotated[int, typer.Argument(min=1)], as_json: AsJson = False) -> None:
    """Operators: leave an event out for good."""
    _show(Output(as_json), open_client(ctx).refuse_usage(number))


def _show(out: Output, kept: QuarantinedEvent) -> None:
    out.show(kept, f"{kept['document'].get('id')} is {kept['state']}")
