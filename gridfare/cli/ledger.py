"""`ledger ...` and `verify-ledger`: the chain of seals, exports of the ledger, and checking one without the platform."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gridfare.cli.group import FAILED
from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local
from gridfare.ledger import Proved, Refuted, verify
from gridfare.ledger.verify import balance_rows

ledger_app = typer.Typer(help="The ledger: its seals, its entries, and exports of it.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]


class Format(StrEnum):
    """How the ledger may be written down."""

    NDJSON = "ndjson"
    HLEDGER = "hledger"
    BEANCOUNT = "beancount"


@ledger_app.command("proof")
def proof(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """The chain of seals. Keep the last hash: it proves later that nothing before it was changed."""
    out, found = Output(as_json), list(open_client(ctx).ledger_proof(most=limit))
    rows = [(s["number"], f"{s['first']} to {s['last']}", s["entries"], s["legs"], local(s["sealed_at"]), s["hash"]) for s in found]
    columns = ["seal", "entries", "count", "legs", "sealed", "hash"]
    out.show(found, table(columns, rows, right=["seal", "count", "legs"], whole=["hash"]) if found else "nothing is sealed yet")


@ledger_app.command("entries")
def entries(ctx: typer.Context, limit: Most = 50, as_json: AsJson = False) -> None:
    """Your organization's sealed entries; with --json each with its path to the root of its seal."""
    out, found = Output(as_json), list(open_client(ctx).ledger_entries(most=limit))
    rows = [(e["position"], e["seal"], e["kind"], e["key"], len(e["legs"]), e["digest"]) for e in found]
    columns = ["place", "seal", "kind", "key", "legs", "digest"]
    out.show(found, table(columns, rows, right=["place", "seal", "legs"], whole=["digest"]) if found else "no sealed entries")


@ledger_app.command("export")
def export(
    ctx: typer.Context,
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.NDJSON,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; without one it is printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """The sealed ledger as a stream: for operators all of it, for others the entries of their own accounts."""
    if output is None:
        if as_json:
            raise typer.BadParameter("--json needs --output: without it, the ledger itself is printed")
        open_client(ctx).export_ledger(sys.stdout.buffer, form.value)
        return
    out, part = Output(as_json), output.with_name(output.name + ".part")
    with part.open("wb") as file:
        size = open_client(ctx).export_ledger(file, form.value)
    part.replace(output)
    out.show({"path": str(output), "bytes": size, "format": form.value}, f"{size} bytes in {output}")


def verify_ledger(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gridfare ledger export --format ndjson` wrote.")],
    expected: Annotated[str | None, typer.Option("--hash", help="A seal's hash that you kept: it must be in the chain.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check an export of the ledger, without the platform: every digest, the chain of seals, every balance."""
    out = Output(as_json)
    try:
        with file.open("rb") as lines:
            proved = verify(lines, expected=expected)
    except Refuted as refuted:
        out.show({"proved": False, "detail": str(refuted)}, Text.assemble(("not proved: ", "bold red"), clean(str(refuted))))
        raise typer.Exit(FAILED) from None
    rows = balance_rows(proved)
    document = {"proved": True, "organization": proved.organization, "seals": proved.seals, "entries": proved.entries}
    shown = table(["account", "debit", "credit"], [tuple(row.values()) for row in rows], right=["account", "debit", "credit"])
    out.show(document | {"hash": proved.hash, "balances": rows}, _proved_line(proved), *([shown] if rows else []))


def _proved_line(proved: Proved) -> Text:
    whose = "the whole ledger" if proved.organization is None else f"organization {proved.organization}'s part of the ledger"
    counts = f"{proved.entries} entries in a chain of {proved.seals} seals, sums in micro-units; the last hash is {proved.hash}"
    return Text.assemble(("proved: ", "bold green"), f"{whose}, {counts}")
