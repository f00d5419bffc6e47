"""`charge ...` and `contract ...`: what months cost, why, what is not billed yet, what would have been, what was agreed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare.cli.inputs import pairs
from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local, money

charge_app = typer.Typer(help="Charges: what months cost, and why.", no_args_is_help=True)
contract_app = typer.Typer(help="Contracts: what an organization and the platform have agreed on.", no_args_is_help=True)
Number = Annotated[int, typer.Argument(min=1)]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]
Month = Annotated[str, typer.Argument(metavar="MONTH", help="For example 2026-03.")]
Note = Annotated[str, typer.Option(help="Why.")]


@charge_app.command("list")
def charges(ctx: typer.Context, limit: Most = 50, as_json: AsJson = False) -> None:
    """What was charged by month: peaks, tiers, packages. Tasks' own charges are on the bill."""
    out, found = Output(as_json), list(open_client(ctx).period_charges(most=limit))
    rows = [
        (c["id"], c["period"]["from"][:10], _of(c), c["meter"], c["revision"], c["billed"], money(c["amount"], c["currency"]))
        for c in found
    ]
    columns = ["charge", "from", "of", "meter", "revision", "billed", "amount"]
    right = ["charge", "revision", "billed", "amount"]
    out.show(found, table(columns, rows, right=right, whole=["amount"]) if found else "nothing was charged by month")


@charge_app.command("previews")
def previews(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What the open month would cost if it ended now, as of last night."""
    out, found = Output(as_json), list(open_client(ctx).period_previews())
    rows = [(_of(p), p["meter"], p["billed"], money(p["total"], p["currency"]), local(p["cutoff"])) for p in found]
    columns = ["of", "meter", "so far", "amount", "as of"]
    out.show(found, table(columns, rows, right=["so far", "amount"], whole=["amount"]) if found else "nothing so far")


@charge_app.command("evidence")
def evidence(
    ctx: typer.Context,
    number: Number,
    task: Annotated[bool, typer.Option("--task", help="A task's charge, not a month's.")] = False,
    as_json: AsJson = False,
) -> None:
    """What proves a charge; --json has everything: records, slots, removed slots, ranks, prices."""
    client = open_client(ctx)
    found = client.charge_evidence(number) if task else client.period_evidence(number)
    Output(as_json).show(found, *(_task_view(found) if task else _period_view(found)))


def _task_view(found: dict[str, Any]) -> list[RenderableType]:
    row = found["reason_row"]
    why = f"{row['work']} work of a task that ended {row['ending']}: {row['payer']} pays" if row else found["reason"]
    lines = [(one["meter"], one["quantity"], one["unit_price"], one["amount"]) for one in found["lines"]]
    parts: list[RenderableType] = [Text(clean(f"charge {found['charge']} of task {found['task']}"), "bold"), Text(clean(why))]
    parts += [table(["meter", "quantity", "price", "amount"], lines, right=["quantity", "price", "amount"])] if lines else []
    return [*parts, *_market_view(found), Text(f"digest of the usage record {found['digest']}")]


def _market_view(found: dict[str, Any]) -> list[RenderableType]:
    """Which round made the prices that followed the market, and between what."""
    market = (found.get("price") or {}).get("market") or {}
    return [
        Text(clean(f"round {market['round']} priced {meter} at {rate['price']}, between {rate['floor']} and {rate['ceiling']}"))
        for meter, rate in sorted(market.get("rates", {}).items())
    ]


def _of(charge: dict[str, Any]) -> str:
    """Whose price it is: a pool's, or a capability's fees."""
    return str(charge["pool"] or charge["capability"])


def _period_view(found: dict[str, Any]) -> list[RenderableType]:
    facts = found["facts"]
    head = f"charge {found['charge']}: {found['meter']} of {_of(found)}, {found['period']['from']} to {found['period']['to']}"
    proof = "the facts are those that were charged" if facts["matches"] else "THE FACTS ARE NOT THOSE THAT WERE CHARGED"
    lines = [(one["kind"], one["quantity"], one["unit_price"], one["amount"]) for one in found["lines"]]
    return [
        Text(clean(head), "bold"),
        Text(clean(found["formula"])),
        table(["kind", "quantity", "price", "amount"], lines, right=["quantity", "price", "amount"]),
        Text(f"{facts['count']} records, digest {facts['digest']}: {proof}"),
    ]


@charge_app.command("subscriptions")
def subscriptions(ctx: typer.Context, limit: Most = 50, as_json: AsJson = False) -> None:
    """Pools whose own meters are paid by."""
    out, found = Output(as_json), list(open_client(ctx).subscriptions(most=limit))
    rows = [(one["number"], one["organization"], one["pool"], local(one["from"]), local(one["to"] or "")) for one in found]
    columns = ["number", "organization", "pool", "from", "to"]
    out.show(found, table(columns, rows, right=["number"]) if found else "no subscriptions")


@charge_app.command("subscribe")
def subscribe(ctx: typer.Context, pool: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """From now on pay for what a pool reports of your organization."""
    out, made = Output(as_json), open_client(ctx).subscribe(pool)
    out.show(made, f"subscription {made['number']}: what {made['pool']} reports is charged with the month")


@charge_app.command("unsubscribe")
def unsubscribe(ctx: typer.Context, number: Number, as_json: AsJson = False) -> None:
    """End a subscription now. What happened before is charged, whenever it is reported."""
    out, ended = Output(as_json), open_client(ctx).unsubscribe(number)
    out.show(ended, f"ended {local(ended['to'])}")


@charge_app.command("unbilled")
def unbilled(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Usage that stands on no charge yet, and why."""
    out, found = Output(as_json), open_client(ctx).unbilled()
    rows = [(row["count"], row["reason"], row["why"], local(row["since"] or ""), row["amount"] or "") for row in found]
    columns = ["records", "reason", "because", "since", "amount"]
    out.show(found, table(columns, rows, right=["records", "amount"], whole=["reason"]) if found else "everything is billed")


@charge_app.command("what-if")
def what_if(
    ctx: typer.Context,
    month: Month,
    prices: Annotated[
        Path | None, typer.Option("--prices", metavar="FILE", help="JSON: a list of {name, basis, rates, rules} or {pool}.")
    ] = None,
    pool: Annotated[list[str] | None, typer.Option("--pool", help="The present price list of this pool; may be repeated.")] = None,
    basis: Annotated[str | None, typer.Option(help="With --rate: a basis to try.")] = None,
    rate: Annotated[list[str] | None, typer.Option("--rate", metavar="METER=PRICE")] = None,
    as_json: AsJson = False,
) -> None:
    """What a month would have cost under other prices or bases. Nothing is written."""
    candidates: list[Any] = [{"pool": one} for one in pool or []]
    if prices is not None:
        candidates += _read(prices)
    if basis is not None:
        candidates.append({"basis": basis, "rates": dict(pairs(rate or [], "--rate"))})
    if not candidates:
        raise typer.BadParameter("name prices to try: --prices FILE, --pool POOL, or --basis with --rate")
    out, found = Output(as_json), open_client(ctx).what_if(month, candidates)
    rows = [("as it was", found["actual"]["total"], "")]
    rows += [(one["name"], one["total"], one["difference"]) for one in found["candidates"]]
    out.show(found, table(["price", "total", "difference"], rows, right=["total", "difference"]))


def _read(file: Path) -> list[Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    return found if isinstance(found, list) else [found]


@charge_app.command("run")
def run(
    ctx: typer.Context,
    month: Month,
    organization: Annotated[list[str] | None, typer.Option("--organization", help="Only this one; may be repeated.")] = None,
    final: Annotated[bool, typer.Option("--final", help="Post it; otherwise only previews are written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Operators: rate a month. A second run adds nothing."""
    out, done = Output(as_json), open_client(ctx).rate_period(month, organization or None, final=final)
    out.show(done, f"{done['charges']} {'charges' if final else 'previews'}, {done['parked']} parked")


@charge_app.command("parked")
def parked(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="open, approved or refused.")] = None,
    as_json: AsJson = False,
) -> None:
    """Operators: amounts that are not posted until somebody decides."""
    out, found = Output(as_json), list(open_client(ctx).parked(state))
    rows = [
        (p["number"], p["organization"], p["period"]["from"][:10], p["meter"], p["reason"], p["total"], p["state"]) for p in found
    ]
    columns = ["number", "organization", "from", "meter", "reason", "total", "state"]
    out.show(found, table(columns, rows, right=["number", "total"]) if found else "nothing is parked")


@charge_app.command("approve")
def approve(ctx: typer.Context, number: Number, note: Note = "", as_json: AsJson = False) -> None:
    """Operators: post what was parked."""
    Output(as_json).show(open_client(ctx).approve_parked(number, note), f"{number} is approved")


@charge_app.command("refuse")
def refuse(ctx: typer.Context, number: Number, note: Note = "", as_json: AsJson = False) -> None:
    """Operators: never post these facts."""
    Output(as_json).show(open_client(ctx).refuse_parked(number, note), f"{number} is refused")


@charge_app.command("correct")
def correct(
    ctx: typer.Context,
    usage: Number,
    value: Annotated[list[str], typer.Option("--set", metavar="COUNTER=NUMBER", help="core_ms=1500; may be repeated.")],
    as_json: AsJson = False,
) -> None:
    """Operators: correct a usage record; the difference is charged."""
    numbers = {}
    for name, text in pairs(value, "--set"):
        if not text.isascii() or not text.isdigit():
            raise typer.BadParameter(f"{text!r} is no whole number", param_hint="--set")
        numbers[name] = int(text)
    made = open_client(ctx).correct_usage(usage, **numbers)
    Output(as_json).show(made, f"revision {made['revision']} of attempt {made['attempt']}")


@contract_app.command("list")
def contracts(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Your organization's contracts, newest first; operators see all."""
    out, found = Output(as_json), list(open_client(ctx).contracts())
    rows = [
        (
            c["number"],
            c["organization"],
            local(c["valid_from"]),
            local(c["valid_to"] or ""),
            c["zone"],
            c["credit_limit"] or "default",
        )
        for c in found
    ]
    columns = ["number", "organization", "from", "to", "zone", "credit limit"]
    out.show(found, table(columns, rows, right=["number", "credit limit"]) if found else "no contract: the market's defaults hold")


@contract_app.command("sign")
def sign(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument()],
    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Now when left out.")] = None,
    zone: Annotated[str | None, typer.Option(help="IANA time zone of days and months.")] = None,
    currency: Annotated[str | None, typer.Option()] = None,
    credit_limit: Annotated[str | None, typer.Option(help="The most that may be owed.")] = None,
    platform_basis_points: Annotated[
        int | None, typer.Option("--share", min=0, max=10_000, help="The platform's, in basis points.")
    ] = None,
    grace_days: Annotated[int | None, typer.Option(min=0, max=31)] = None,
    due_days: Annotated[int | None, typer.Option(min=0, max=365)] = None,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Operators: put a contract in force; it ends the one before."""
    terms: dict[str, Any] = {"start": start, "zone": zone, "currency": currency, "credit_limit": credit_limit, "note": note or None}
    terms |= {"platform_basis_points": platform_basis_points, "grace_days": grace_days, "due_days": due_days}
    given = {name: value for name, value in terms.items() if value is not None}
    made = open_client(ctx).sign_contract(organization, **given)
    Output(as_json).show(made, f"contract {made['number']} of {made['organization']}, from {local(made['valid_from'])}")
