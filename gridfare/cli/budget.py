"""`budget ...`: what a part of the organization may spend, and what happens on the way there."""

from __future__ import annotations

from typing import Annotated

import typer

from gridfare.cli.output import AsJson, Output, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local, money
from gridfare.sdk.money_answers import Budget, Threshold

budget_app = typer.Typer(help="Budgets: amounts for projects, people, keys or tasks.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="PERCENT:ACTION", help="notify, block, pause or stop; repeatable [80:notify 100:block]."),
]
Number = Annotated[int, typer.Argument(min=1)]


def thresholds_of(given: list[str]) -> list[Threshold]:
    """`80:notify` as the API takes it."""
    found = list[Threshold]()
    for text in given:
        percent, _, action = text.partition(":")
        if not (percent.isascii() and percent.isdigit() and action):
            raise typer.BadParameter(f"{text!r} is not like 80:notify")
        found.append({"percent": int(percent), "action": action})
    return found


@budget_app.command("list")
def list_budgets(ctx: typer.Context, limit: Most = 50, as_json: AsJson = False) -> None:
    """All budgets, newest first."""
    found = list(open_client(ctx).budgets(most=limit))
    columns = ["number", "name", "of", "amount", "spent", "held", "period", "at"]
    lines = table(columns, [_row(one) for one in found], right=["number", "amount", "spent", "held"])
    Output(as_json).show(found, lines if found else "no budgets")


def _row(one: Budget) -> tuple[object, ...]:
    amounts = (money(text, one["currency"]) for text in (one["amount"], one["spent"], one["held"]))
    told = " ".join(f"{t['percent']}:{t['action']}" for t in one["thresholds"])
    period = "closed" if one["closed_at"] else one["period"]
    return one["number"], one["name"], f"{one['scope']} {one['subject']}".strip(), *amounts, period, told


@budget_app.command("open")
def open_budget(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument()],
    amount: Annotated[str, typer.Argument(help="Decimal, for example 500.00.")],
    scope: Annotated[str, typer.Option(help="organization, project, user, key or task.")] = "organization",
    subject: Annotated[str, typer.Option("--of", help="Which project, username, key's prefix or task.")] = "",
    period: Annotated[str, typer.Option(help="month or total.")] = "month",
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Open a budget. It counts at once what was spent in the period and what is held."""
    told = thresholds_of(at or ["80:notify", "100:block"])
    made = open_client(ctx).open_budget(name, amount, told, scope=scope, subject=subject, period=period)
    Output(as_json).show(made, f"budget {made['number']}: {money(made['amount'], made['currency'])} a {made['period']}")


@budget_app.command("change")
def change(
    ctx: typer.Context,
    number: Number,
    name: Annotated[str | None, typer.Option()] = None,
    amount: Annotated[str | None, typer.Option()] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Another name, amount, or other thresholds."""
    told = thresholds_of(at) if at else None
    made = open_client(ctx).change_budget(number, name=name, amount=amount, thresholds=told)
    Output(as_json).show(made, f"budget {number}: {money(made['amount'], made['currency'])}")


@budget_app.command("close")
def close(ctx: typer.Context, number: Number, as_json: AsJson = False) -> None:
    """Close a budget: it limits nothing any more."""
    open_client(ctx).close_budget(number)
    Output(as_json).show({"number": number, "closed": True}, f"budget {number} is closed")


@budget_app.command("alerts")
def alerts(ctx: typer.Context, limit: Most = 50, as_json: AsJson = False) -> None:
    """Thresholds that were reached, newest first."""
    found = list(open_client(ctx).budget_alerts(most=limit))
    rows = [(one["budget"], f"{one['percent']} %", one["action"], local(one["raised_at"])) for one in found]
    Output(as_json).show(found, table(["budget", "reached", "action", "at"], rows, right=["budget"]) if found else "no alerts")
