"""`credit`: what may still be spent, what is held for tasks, the wallet; for operators, blocks, top-ups and grants."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local, money
from gridfare.sdk.money_answers import Grant, Hold

credit_app = typer.Typer()
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
Reference = Annotated[str, typer.Option(help="Names the source, for example the bank's reference; it counts once.")]
Currency = Annotated[str | None, typer.Option(help="The platform's, if not given.")]
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


@credit_app.command("grants")
def grants(ctx: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Credit that was given, what is left of it, and until when."""
    found = list(open_client(ctx).grants(most=limit))
    rows = [(*_given(g), local(g["expires_at"]), g["reason"]) for g in found]
    lines = table(["amount", "left", "expires", "reason"], rows, right=["amount", "left"])
    Output(as_json).show(found, lines if rows else "no grants")


def _given(grant: Grant) -> tuple[str, str]:
    return money(grant["amount"], grant["currency"]), money(grant["left"], grant["currency"])


@credit_app.command("movements")
def movements(ctx: typer.Context, limit: Limit = 50, as_json: AsJson = False) -> None:
    """What came into the wallet and what left it, newest first."""
    found = list(open_client(ctx).movements(most=limit))
    rows = [(local(m["at"]), m["kind"], m["source"], money(m["amount"], m["currency"]), m["entry"]) for m in found]
    lines = table(["at", "kind", "from", "amount", "entry"], rows, right=["amount"])
    Output(as_json).show(found, lines if rows else "nothing moved")


@credit_app.command("grant")
def grant(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument()],
    amount: Annotated[str, typer.Argument(help="Decimal text.")],
    until: Annotated[str, typer.Option(help="When it expires, for example 2027-01-01T00:00:00Z.")],
    reason: Annotated[str, typer.Option(help="What the organization is told.")],
    reference: Reference,
    currency: Currency = None,
    as_json: AsJson = False,
) -> None:
    """Operators: give credit until a moment; it pays invoices before prepaid money does."""
    made = open_client(ctx).grant(organization, amount, until, reason, reference=reference, currency=currency)
    told = f"{organization} was given {money(made['amount'], made['currency'])} until {local(made['expires_at'])}"
    Output(as_json).show(made, told)


@credit_app.command("top-up")
def top_up(
    ctx: typer.Context,
    organization: Annotated[str, typer.Argument()],
    amount: Annotated[str, typer.Argument(help="Decimal text.")],
    reference: Reference,
    currency: Currency = None,
    as_json: AsJson = False,
) -> None:
    """Operators: record money for a wallet; what is owed is paid from it at once."""
    made = open_client(ctx).top_up(organization, amount, reference=reference, currency=currency)
    Output(as_json).show(made, f"{money(made['amount'], made['currency'])} recorded for {organization}")


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
