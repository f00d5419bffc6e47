"""`credit`: what may still be spent, what is held for tasks; for operators, blocks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local, money
from gridfare.sdk.answers import Hold

credit_app = typer.Typer()
SUMS = ("available", "limit", "prepaid", "unpaid", "held")


@credit_app.callback(invoke_without_command=True)
def credit(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What may still be spent: limit + prepaid - unpaid - held."""
    if ctx.invoked_subcommand is not None:
        return
    found = open_client(ctx).credit()
    rows = [[one["currency"], *(money(one[name], one["currency"]) for name in SUMS)] for one in found["allowances"]]  # type: ignore[literal-required]  # names of sums
    told = [f"blocked since {local(one['blocked_at'])}: {one['reason']} {one['detail']}" for one in found["blocks"]]
    blocks = [Text(clean(line), "bold red") for line in told]
    Output(as_json).show(found, table(["currency", *SUMS], rows, right=SUMS), *blocks)


@credit_app.command("holds")
def holds(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="held, captured or released.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What is, or was, set aside for tasks, newest first."""
    found = list(open_client(ctx).holds(state, most=limit))
    rows = [(h["task"], h["state"], *_amounts(h), h["by"], local(h["held_at"])) for h in found]
    lines = table(["task", "state", "amount", "captured", "by", "since"], rows, right=["amount", "captured"], whole=["task"])
    Output(as_json).show(found, lines if rows else "nothing was held")


def _amounts(hold: Hold) -> tuple[str, str]:
    return money(hold["amount"], hold["currency"]), money(hold["captured"], hold["currency"])


@credit_app.command("block")
def block(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Argument(help="A short name, for example dunning.")],
    detail: Annotated[str, typer.Option(help="What the organization is told.")] = "",
    as_json: AsJson = False,
) -> None:
    """Operators: take no new tasks of an organization; what runs goes on."""
    changed = open_client(ctx).block(organization, reason, detail)
    told = f"{organization} is blocked: {reason}" if changed else f"{organization} was blocked for {reason} already"
    Output(as_json).show({"organization": organization, "reason": reason, "changed": changed}, told)


@credit_app.command("lift")
def lift(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument()],
    reason: Annotated[str, typer.Argument()],
    as_json: AsJson = False,
) -> None:
    """Operators: take tasks of an organization again, as far as this reason goes."""
    changed = open_client(ctx).lift_block(organization, reason)
    told = f"the block for {reason} is lifted" if changed else f"{organization} was not blocked for {reason}"
    Output(as_json).show({"organization": organization, "reason": reason, "changed": changed}, told)
