"""`sla ...`: what providers promise for their pools, how days kept it, and what was given back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client

sla_app = typer.Typer(help="Service levels: promises of providers, how days kept them, and credits.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]
Pool = Annotated[str, typer.Argument(help="One of your pools.")]
Kind = Annotated[str, typer.Argument(help="deadline or availability.")]
Step = Annotated[
    list[str], typer.Option("--below", metavar="PERCENT:CREDIT", help="Below so many per cent, so many per cent are given back.")
]
Minimum = Annotated[int, typer.Option(min=1, help="Tasks (deadline) or core seconds (availability) that a day must have.")]


def steps_of(texts: list[str]) -> list[list[int]]:
    """What `--below` says, in basis points.

    >>> steps_of(["99:10", "95.5:25"])
    [[9900, 1000], [9550, 2500]]
    """
    try:
        parts = [text.split(":") for text in texts]
        return [[_points(threshold), _points(credit)] for threshold, credit in parts]
    except ValueError:
        raise typer.BadParameter("such as 99:10 - below 99 per cent, 10 per cent are given back", param_hint="--below") from None


def _points(percent: str) -> int:
    whole, _, part = percent.partition(".")
    if len(part) > 2 or not (whole + part).isdecimal():
        raise ValueError(percent)
    return int(whole) * 100 + int(part.ljust(2, "0"))


def _percent(points: int) -> str:
    return f"{points // 100}.{points % 100:02}".rstrip("0").rstrip(".")


@sla_app.command("list")
def list_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """What is promised to everybody and to your organization, newest first."""
    found = list(open_client(ctx).sla_terms(most=limit))
    Output(as_json).show(found, _terms(found) if found else "nobody promises anything")


@sla_app.command("promise")
def promise(
    ctx: typer.Context,
    pool: Pool,
    kind: Kind,
    below: Step,
    minimum: Minimum = 1,
    customer: Annotated[str | None, typer.Option(help="To one customer; to everybody when left out.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="From this day (UTC) on; tomorrow when left out.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to before this day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Promise something for one of your pools. It is never changed, only ended."""
    more: dict[str, Any] = {"minimum": minimum, "customer": customer, "first": first, "until": until}
    made = open_client(ctx).promise_sla(pool, kind, steps_of(below), **more)
    Output(as_json).show(made, _terms([made]))


@sla_app.command("end")
def end(ctx: typer.Context, terms: Annotated[int, typer.Argument(min=1)], as_json: AsJson = False) -> None:
    """Promise it no more from tomorrow (UTC) on."""
    ended = open_client(ctx).end_sla(terms)
    Output(as_json).show(ended, _terms([ended]))


@sla_app.command("withdraw")
def withdraw(ctx: typer.Context, terms: Annotated[int, typer.Argument(min=1)], as_json: AsJson = False) -> None:
    """Take back terms that have not begun; they stay on record."""
    taken = open_client(ctx).withdraw_sla(terms)
    Output(as_json).show(taken, _terms([taken]))


@sla_app.command("backtest")
def backtest(
    ctx: typer.Context,
    pool: Pool,
    kind: Kind,
    below: Step,
    minimum: Minimum = 1,
    days: Annotated[int, typer.Option(min=1, max=92, help="How many, up to yesterday.")] = 30,
    as_json: AsJson = False,
) -> None:
    """What such terms would have cost you. Nothing is written."""
    found = open_client(ctx).backtest_sla(pool, kind, steps_of(below), minimum=minimum, days=days)
    rows = [
        (day["day"], clean(day["customer"]), day["good"], day["total"], _percent(day["credit_basis_points"]), day["credit"],
         day["currency"])
        for day in found["days"]
    ]  # fmt: skip
    columns = ["day", "customer", "good", "of", "credit %", "credit", "currency"]
    told = table(columns, rows, right=["good", "of", "credit %", "credit"]) if rows else "nothing would have been judged"
    sums = "; ".join(f"{amount} {currency}" for currency, amount in found["credits"].items())
    Output(as_json).show(found, told, f"in all {sums}" if sums else "in all nothing")


@sla_app.command("days")
def days(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """How days kept what was promised to your organization, or by it, newest first."""
    found = list(open_client(ctx).sla_measurements(most=limit))
    rows = [
        (one["id"], one["day"], clean(one["pool"]), one["kind"], clean(one["customer"]), one["good"], one["total"],
         _percent(one["credit_basis_points"]), one["credit"], one["currency"])
        for one in found
    ]  # fmt: skip
    columns = ["id", "day", "pool", "kind", "customer", "good", "of", "credit %", "credit", "currency"]
    told = table(columns, rows, right=["id", "good", "of", "credit %", "credit"]) if rows else "no day was judged"
    Output(as_json).show(found, told)


@sla_app.command("credits")
def credits_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """What was given back, task by task, newest first."""
    found = list(open_client(ctx).sla_credits(most=limit))
    rows = [(one["measurement"], one["task"], one["charge"], one["amount"], one["currency"]) for one in found]
    columns = ["day's id", "task", "charge", "amount", "currency"]
    Output(as_json).show(found, table(columns, rows, right=["day's id", "charge", "amount"]) if rows else "nothing was given back")


def _terms(found: list[dict[str, Any]]) -> Table:
    rows = [
        (one["id"], clean(one["pool"]), clean(one["provider"]), one["kind"], clean(one["customer"] or "everybody"),
         ", ".join(f"<{_percent(low)}%: {_percent(credit)}%" for low, credit in one["steps"]), one["minimum"],
         one["valid_from"][:10], "withdrawn" if one["withdrawn_at"] else (one["valid_to"] or "-")[:10])
        for one in found
    ]  # fmt: skip
    return table(["id", "pool", "provider", "kind", "to", "given back", "least", "from", "to before"], rows, right=["id", "least"])
