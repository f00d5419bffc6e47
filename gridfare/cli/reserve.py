"""`reserve ...`: what is kept back of payouts and when it is released; for operators the terms."""

from __future__ import annotations

from typing import Annotated

import typer

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local

reserve_app = typer.Typer(help="Reserves: what is kept back of payouts for a while.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]


@reserve_app.command("list")
def list_(ctx: typer.Context, limit: Most = 100, as_json: AsJson = False) -> None:
    """What was kept back of your payouts, newest first; operators: of everybody's."""
    found = list(open_client(ctx).reserves(most=limit))
    names = ("number", "organization", "payout", "state", "amount", "drawn", "released", "left", "currency")
    rows = [(*(one[name] for name in names), local(one["release_at"])) for one in found]
    right = ["number", "payout", "amount", "drawn", "released", "left"]
    Output(as_json).show(found, table([*names, "release"], rows, right=right) if rows else "nothing was kept back")


@reserve_app.command("balance")
def balance(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What is kept back of your payouts, by currency."""
    found = open_client(ctx).reserve_balances()
    rows = [
        (one["currency"], one["held"], one["pending"], local(one["next_release_at"]) if one["next_release_at"] else "-")
        for one in found
    ]
    columns = ["currency", "held", "pending", "next release"]
    Output(as_json).show(found, table(columns, rows, right=["held", "pending"]) if rows else "nothing is kept back")


@reserve_app.command("terms")
def terms(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Terms of your reserve, newest first; without any the platform's hold. Operators: everybody's."""
    found = list(open_client(ctx).reserve_terms(most=limit))
    rows = [(one["organization"], one["basis_points"], one["days"], local(one["starts_at"]), clean(one["note"])) for one in found]
    columns = ["organization", "basis points", "days", "from", "note"]
    Output(as_json).show(found, table(columns, rows, right=["basis points", "days"]) if rows else "no terms: the platform's hold")


@reserve_app.command("agree")
def agree(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument(help="The payee's short name.")],
    basis_points: Annotated[int, typer.Argument(help="Of what a payout comes to: 1000 is a tenth, 0 keeps nothing back.")],
    days: Annotated[int, typer.Argument(help="From the run on, until it is released.")],
    starts_at: Annotated[str | None, typer.Option("--from", help="From this moment on; now when left out.")] = None,
    note: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    as_json: AsJson = False,
) -> None:
    """Operators: what is kept back of a payee's payouts from now on. What was kept back before stays as it was."""
    told = open_client(ctx).agree_reserve(organization, basis_points, days, starts_at=starts_at, note=note)
    what = f"{told['basis_points']} basis points of {told['organization']}'s payouts are kept back for {told['days']} days"
    Output(as_json).show(told, f"{what}, from {local(told['starts_at'])} on")
