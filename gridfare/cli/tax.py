"""`tax ...`: for operators the taxes, how much each is from when on, and who is asked for them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local

tax_app = typer.Typer(help="Operators: taxes, their rates from when on, and who is asked for them.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]
Code = Annotated[str, typer.Argument(metavar="TAX", help="A tax's code, for example vat.")]
Category = Annotated[str, typer.Option(help="Of customers, for example standard, small, exempt.")]
Start = Annotated[str | None, typer.Option("--from", help="From this moment on; now when left out.")]


@tax_app.command("list")
def list_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Which taxes there are."""
    found = list(open_client(ctx).taxes(most=limit))
    rows = [(clean(tax["code"]), clean(tax["name"])) for tax in found]
    Output(as_json).show(found, table(["code", "name"], rows) if rows else "no taxes")


@tax_app.command("add")
def add(
    ctx: typer.Context,
    code: Code,
    name: Annotated[str, typer.Argument(help="As invoices show it, for example 'VAT 增值税'.")],
    as_json: AsJson = False,
) -> None:
    """A new kind of tax."""
    made = open_client(ctx).add_tax(code, name)
    Output(as_json).show(made, f"{made['code']}: {made['name']}")


@tax_app.command("rates")
def rates(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """All rates, and when each holds."""
    found = list(open_client(ctx).tax_rates(most=limit))
    Output(as_json).show(found, _rates(found) if found else "no rates")


@tax_app.command("rate")
def rate(
    ctx: typer.Context,
    tax: Code,
    percent: Annotated[str, typer.Argument(help="Per cent, for example 6 or 6.5.")],
    category: Category = "standard",
    region: Annotated[str | None, typer.Option(help="Only for customers of this region; everywhere when left out.")] = None,
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Put a rate in force; it ends the one before."""
    made = open_client(ctx).set_tax_rate(tax, percent, category=category, region=region, start=start)
    Output(as_json).show(made, _rates([made]))


@tax_app.command("assignments")
def assignments(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Who is asked for which tax."""
    found = list(open_client(ctx).tax_assignments(most=limit))
    Output(as_json).show(found, _assignments(found) if found else "nobody is asked for a tax")


@tax_app.command("assign")
def assign(
    ctx: typer.Context,
    tax: Code,
    organization: Annotated[str, typer.Argument(help="Its short name.")],
    category: Category = "standard",
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Ask an organization for a tax."""
    made = open_client(ctx).assign_tax(tax, organization, category=category, start=start)
    Output(as_json).show(made, _assignments([made]))


@tax_app.command("stop")
def stop(
    ctx: typer.Context,
    assignment: Annotated[int, typer.Argument(metavar="NUMBER", help="From `gridfare tax assignments`.")],
    at: Annotated[str | None, typer.Option(help="From this moment on; now when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask an organization for a tax no more."""
    ended = open_client(ctx).stop_tax(assignment, at=at)
    Output(as_json).show(ended, _assignments([ended]))


def _rates(found: list[dict[str, Any]]) -> Any:
    rows = [(r["number"], r["tax"], f"{r['percent']} %", r["category"], r["region"] or "everywhere", *_times(r)) for r in found]
    return table(["number", "tax", "rate", "category", "region", "from", "to"], rows, right=["number", "rate"])


def _assignments(found: list[dict[str, Any]]) -> Any:
    rows = [(a["number"], a["tax"], a["organization"], a["category"], *_times(a)) for a in found]
    return table(["number", "tax", "organization", "category", "from", "to"], rows, right=["number"])


def _times(one: dict[str, Any]) -> tuple[str, str]:
    return local(one["valid_from"]), local(one["valid_to"]) if one["valid_to"] else ""
