"""`export ...`: files of usage and money for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gridfare.cli.output import AsJson, Output, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local, size
from gridfare.client import Client
from gridfare.sdk.money_answers import Export

export_app = typer.Typer(help="Files of your usage and money, for other programs.", no_args_is_help=True)


class FileFormat(StrEnum):
    """How rows may be written down."""

    CSV = "csv"
    PARQUET = "parquet"


class UsageParty(StrEnum):
    USER = "user"
    PROVIDER = "provider"
    ALL = "all"


class StatementParty(StrEnum):
    USER = "user"
    PROVIDER = "provider"
    PUBLISHER = "publisher"
    ALL = "all"


class Group(StrEnum):
    """What lines of a statement are grouped by."""

    TASK = "task"
    CAPABILITY = "capability"
    POOL = "pool"
    DAY = "day"
    MONTH = "month"


To = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]
Form = Annotated[FileFormat, typer.Option("--format", help="How it is written.")]
Since = Annotated[str | None, typer.Option("--from", metavar="DATE", help="From this day or moment on; the month's first.")]
Until = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to before this day or moment; now.")]
Currency = Annotated[str | None, typer.Option(help="Only this one, ISO 4217.")]
InAscii = Annotated[bool, typer.Option("--ascii", help="Names in ASCII or by their identifier, other text escaped.")]
Everybody = Annotated[bool, typer.Option("--all", help="Everybody's, for operators.")]


@export_app.command("usage")
def usage(
    ctx: typer.Context,
    output: To,
    since: Since = None,
    until: Until = None,
    form: Form = FileFormat.CSV,
    party: Annotated[UsageParty, typer.Option(help="What you used, what your pools did, or for operators all.")] = UsageParty.USER,
    in_ascii: InAscii = False,
    as_json: AsJson = False,
) -> None:
    """What was used, fact by fact: attempts, and what pools reported that meter themselves."""
    asked = {"since": since, "until": until, "format": form.value, "party": party.value, "ascii": in_ascii}
    _export(open_client(ctx), Output(as_json), output, "usage", asked)


@export_app.command("charges")
def charges(
    ctx: typer.Context,
    output: To,
    since: Since = None,
    until: Until = None,
    form: Form = FileFormat.CSV,
    currency: Currency = None,
    everybody: Everybody = False,
    in_ascii: InAscii = False,
    as_json: AsJson = False,
) -> None:
    """What was charged: tasks and months, with lines, shares and invoices."""
    asked = {"since": since, "until": until, "format": form.value, "currency": currency, "ascii": in_ascii}
    _export(open_client(ctx), Output(as_json), output, "charges", asked | _all(everybody))


@export_app.command("statements")
def statements(
    ctx: typer.Context,
    output: To,
    since: Since = None,
    until: Until = None,
    form: Form = FileFormat.CSV,
    party: Annotated[StatementParty, typer.Option(help="As whom, or for operators all.")] = StatementParty.USER,
    group: Annotated[Group, typer.Option("--by", help="What lines are grouped by.")] = Group.TASK,
    currency: Currency = None,
    in_ascii: InAscii = False,
    as_json: AsJson = False,
) -> None:
    """What you owe, or earn as a provider or publisher, in lines."""
    asked = {"since": since, "until": until, "format": form.value, "party": party.value, "group": group.value}
    _export(open_client(ctx), Output(as_json), output, "statements", asked | {"currency": currency, "ascii": in_ascii})


@export_app.command("ledger")
def ledger(
    ctx: typer.Context,
    output: To,
    since: Since = None,
    until: Until = None,
    form: Form = FileFormat.CSV,
    currency: Currency = None,
    everybody: Everybody = False,
    in_ascii: InAscii = False,
    as_json: AsJson = False,
) -> None:
    """What was posted: each debit and credit of your accounts. Proofs and journals: `gridfare ledger export`."""
    asked = {"since": since, "until": until, "format": form.value, "currency": currency, "ascii": in_ascii}
    _export(open_client(ctx), Output(as_json), output, "ledger", asked | _all(everybody))


@export_app.command("focus")
def focus(
    ctx: typer.Context,
    output: To,
    month: Annotated[str | None, typer.Argument(help="Such as 2026-03, in your account's zone.")] = None,
    since: Since = None,
    until: Until = None,
    form: Form = FileFormat.CSV,
    currency: Annotated[str | None, typer.Option(help="Of the account, ISO 4217.")] = None,
    as_json: AsJson = False,
) -> None:
    """Months of your account as FOCUS 1.2, the FinOps Foundation's format for bills: one, or those that begin in a window."""
    out, client = Output(as_json), open_client(ctx)
    if month is None:
        _export(client, out, output, "focus", {"since": since, "until": until, "format": form.value, "currency": currency})
        return
    if since or until:
        raise typer.BadParameter("choose a month, or --from and --to")
    part = output.with_name(output.name + ".part")
    with part.open("wb") as file:
        count = client.export_focus(file, month, form.value, currency)
    part.replace(output)
    out.show({"path": str(output), "bytes": count, "format": form.value}, f"{count} bytes in {output}")


@export_app.command("apel")
def apel(
    ctx: typer.Context,
    output: To,
    since: Since = None,
    until: Until = None,
    accelerators: Annotated[bool, typer.Option("--accelerators", help="Of accelerators, as JSON, instead of jobs.")] = False,
    site: Annotated[str | None, typer.Option(help="Your site's name where the records go; your short name.")] = None,
    everybody: Everybody = False,
    as_json: AsJson = False,
) -> None:
    """Usage records of your pools in APEL's message format, for the accounting of computing centres: a tar archive of messages."""
    kind = "accelerators" if accelerators else "apel"
    asked = {"since": since, "until": until, "site": site}
    _export(open_client(ctx), Output(as_json), output, kind, asked | _all(everybody))


@export_app.command("list")
def listed(
    ctx: typer.Context,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all when left out.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Your exports, newest first."""
    found = list(open_client(ctx).exports(most=limit))
    rows = [
        (one["id"], one["schema"], one["format"], one["party"], state_text(one["state"]), _rows(one), local(one["requested_at"]))
        for one in found
    ]
    columns = ["export", "columns", "format", "party", "state", "rows", "asked"]
    Output(as_json).show(found, table(columns, rows, right=["rows"], whole=["export"]) if rows else "no exports")


@export_app.command("fetch")
def fetch(
    ctx: typer.Context,
    export: Annotated[str, typer.Argument(metavar="EXPORT", help="Its id, from `gridfare export list`.")],
    output: To,
    as_json: AsJson = False,
) -> None:
    """Wait for an export that was asked for before, and fetch its file."""
    _fetch(open_client(ctx), Output(as_json), output, export)


@export_app.command("name")
def name(
    ctx: typer.Context,
    called: Annotated[str, typer.Argument(metavar="NAME", help="In ASCII; an empty text: made of your organization's name.")],
    as_json: AsJson = False,
) -> None:
    """Say what exports call your organization where only ASCII may stand."""
    organization = open_client(ctx).set_export_name(called)
    Output(as_json).show(organization, f"exports call {organization['slug']}: {organization['ascii_name'] or 'by its name'}")


def _all(everybody: bool) -> dict[str, Any]:
    return {"party": "all"} if everybody else {}


def _export(client: Client, out: Output, output: Path, kind: str, asked: dict[str, Any]) -> None:
    _fetch(client, out, output, client.request_export(kind, **asked)["id"])


def _fetch(client: Client, out: Output, output: Path, export: str) -> None:
    """Wait, telling how far it is, and write the file whole or not at all."""
    seen = ""
    for found in client.wait_export(export):
        if (told := f"{found['state']}: {_rows(found)} rows") != seen and found["state"] != "ready":
            out.note(seen := told)
    part = output.with_name(output.name + ".part")
    with part.open("wb") as file:
        count = client.download_export(file, found)
    part.replace(output)
    document = {"path": str(output), "bytes": count} | found
    out.show(document, f"{found['rows']} rows of {found['schema']}, {size(count)} in {output}", f"SHA-256 {found['sha256']}")


def _rows(one: Export) -> str:
    """Written so far, and of how many."""
    if one["state"] in {"requested", "running"} and one["estimated"] is not None:
        return f"{one['rows']} of about {one['estimated']}"
    return str(one["rows"])
