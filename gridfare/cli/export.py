"""`export ...`: files of the account's money for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gridfare.cli.output import AsJson, Output
from gridfare.cli.session import open_client

export_app = typer.Typer(help="Files of your account's money, for other programs.", no_args_is_help=True)


class FileFormat(StrEnum):
    """How rows may be written down."""

    CSV = "csv"
    PARQUET = "parquet"


@export_app.command("focus")
def focus(
    ctx: typer.Context,
    month: Annotated[str, typer.Argument(help="Such as 2026-03, in your account's zone.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    form: Annotated[FileFormat, typer.Option("--format", help="How it is written.")] = FileFormat.CSV,
    currency: Annotated[str | None, typer.Option(help="Of the account, ISO 4217.")] = None,
    as_json: AsJson = False,
) -> None:
    """A month of your account as FOCUS 1.2, the FinOps Foundation's format for bills."""
    out, part = Output(as_json), output.with_name(output.name + ".part")
    with part.open("wb") as file:
        size = open_client(ctx).export_focus(file, month, form.value, currency)
    part.replace(output)
    out.show({"path": str(output), "bytes": size, "format": form.value}, f"{size} bytes in {output}")
