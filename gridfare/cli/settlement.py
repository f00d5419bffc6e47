"""`statement ...` and `payout ...`: what payees get and when; for operators runs, approval and sending."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local

statement_app = typer.Typer(help="What you get as a provider or publisher, charge by charge.", no_args_is_help=True)
payout_app = typer.Typer(help="Payouts: what went out to payees, and for operators what shall.", no_args_is_help=True)
Payout = Annotated[int, typer.Argument(metavar="PAYOUT", help="Its id, from `gridfare payout list`.")]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]


class Party(StrEnum):
    """As whom an organization gets money."""

    PROVIDER = "provider"
    PUBLISHER = "publisher"


As = Annotated[Party, typer.Option("--party", help="As whom.")]
Since = Annotated[str | None, typer.Option("--from", help="Charged from this day or moment on.")]
Until = Annotated[str | None, typer.Option("--to", help="Charged before this day or moment.")]


@statement_app.command("lines")
def lines(
    ctx: typer.Context,
    party: As = Party.PROVIDER,
    since: Since = None,
    until: Until = None,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """Your shares of charges, and how each stands: disputed, unpaid by the customer, held_back, due, in_payout, paid."""
    found = list(open_client(ctx).payables(party.value, since=since, until=until, most=limit))
    rows = [
        (s["charge"], s["task"], s["attempt"] or "", s["pool"] or "", s["share"], s["currency"], s["state"], _day(s["due_at"]))
        for s in found
    ]
    columns = ["charge", "task", "attempt", "pool", "share", "currency", "state", "due"]
    Output(as_json).show(found, table(columns, rows, right=["charge", "attempt", "share"]) if rows else "no shares")


@statement_app.command("periods")
def periods(
    ctx: typer.Context,
    party: As = Party.PROVIDER,
    since: Since = None,
    until: Until = None,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """Your shares of what is charged by month, a pool's price list or a capability's fees, and how each stands."""
    found = list(open_client(ctx).period_payables(party.value, since=since, until=until, most=limit))
    rows = [
        (s["period_charge"], s["meter"], s["pool"] or s["capability"], f"{s['from'][:10]} {s['to'][:10]}", s["share"],
         s["currency"], s["state"], _day(s["due_at"]))
        for s in found
    ]  # fmt: skip
    columns = ["charge", "meter", "of", "from, to", "share", "currency", "state", "due"]
    Output(as_json).show(found, table(columns, rows, right=["charge", "share"]) if rows else "no shares")


def _day(moment: str | None) -> str:
    return local(moment) if moment else ""


@statement_app.command("csv")
def csv(ctx: typer.Context, party: As = Party.PROVIDER, since: Since = None, until: Until = None) -> None:
    """The same as CSV, printed."""
    typer.echo(open_client(ctx).payables_csv(party.value, since=since, until=until), nl=False)


def _payouts(found: list[dict[str, Any]]) -> Any:
    rows = [(p["id"], p["organization"], p["state"], p["lines"], p["amount"], p["currency"], clean(p["reason"])) for p in found]
    return table(["id", "payee", "state", "lines", "amount", "currency", "why"], rows, right=["id", "lines", "amount"])


def _show(told: dict[str, Any], as_json: bool) -> None:
    columns = ["attempt", "key", "state", "reference", "why"]
    rows = [(a["number"], a["key"], a["state"], clean(a["reference"]), clean(a["reason"])) for a in told["attempts"]]
    attempts = [table(columns, rows, right=["attempt"])] if rows else []
    Output(as_json).show(told, _payouts([told]), *attempts)


@payout_app.command("list")
def list_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Your organization's payouts; for operators all."""
    found = list(open_client(ctx).payouts(most=limit))
    Output(as_json).show(found, _payouts(found) if found else "no payouts")


@payout_app.command("show")
def show(ctx: typer.Context, payout: Payout, as_json: AsJson = False) -> None:
    """One payout and the attempts to send it."""
    _show(open_client(ctx).payout(payout), as_json)


@payout_app.command("lines")
def payout_lines(ctx: typer.Context, payout: Payout, limit: Most = 100, as_json: AsJson = False) -> None:
    """What a payout pays: each share with its charge, task and attempt."""
    found = list(open_client(ctx).payout_lines(payout, most=limit))
    rows = [
        (_paid_for(s), s["role"], s["task"] or "", s["attempt"] or "", s["amount"]) for s in found
    ]
    Output(as_json).show(found, table(["charge", "role", "task", "attempt", "amount"], rows, right=["charge", "attempt", "amount"]))


def _paid_for(line: dict[str, Any]) -> str:
    if line["charge"]:
        return str(line["charge"])
    kinds = {"period_charge": "period", "withheld": "kept back", "released": "released"}
    return next(f"{word} {line[name]}" for name, word in kinds.items() if line.get(name))


@payout_app.command("run")
def run(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Operators: gather all that is due into draft payouts."""
    told = open_client(ctx).run_payouts()
    Output(as_json).show(told, _payouts(told["payouts"]) if told["payouts"] else "nothing is due")


@payout_app.command("approve")
def approve(ctx: typer.Context, payout: Payout, as_json: AsJson = False) -> None:
    """Operators: let a draft go out with the next sending."""
    _show(open_client(ctx).approve_payout(payout), as_json)


@payout_app.command("retry")
def retry(ctx: typer.Context, payout: Payout, as_json: AsJson = False) -> None:
    """Operators: let a failed payout go out again, as a new attempt."""
    _show(open_client(ctx).retry_payout(payout), as_json)


@payout_app.command("cancel")
def cancel(
    ctx: typer.Context,
    payout: Payout,
    reason: Annotated[str, typer.Option(help="Why; it stays with the payout.")],
    as_json: AsJson = False,
) -> None:
    """Operators: give a payout up before any money moved; its lines wait for the next run."""
    _show(open_client(ctx).cancel_payout(payout, reason), as_json)


@payout_app.command("send")
def send(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Operators: send all approved payouts now, and ask again about those whose end nobody knows."""
    told = open_client(ctx).send_payouts()
    Output(as_json).show(told, f"{told['paid']} paid, {told['failed']} failed, {told['pending']} without an answer yet")
