"""`payment ...`: what came in and what it paid; operators take back what bounced."""

from __future__ import annotations

from typing import Annotated

import typer

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local

payment_app = typer.Typer(help="Payments: what came in, and for operators taking one back.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]


@payment_app.command("list")
def list_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Your organization's payments, newest first; operators: everybody's."""
    found = list(open_client(ctx).payments(most=limit))
    names = ("number", "organization", "method", "received_on", "amount", "prepaid", "currency")
    rows = [
        (*(one[name] for name in names), clean(one["reference"]), local(one["reversed_at"]) if one["reversed_at"] else "-")
        for one in found
    ]
    columns = ["number", "organization", "method", "received", "amount", "prepaid", "currency", "reference", "reversed"]
    Output(as_json).show(found, table(columns, rows, right=["number", "amount", "prepaid"]) if rows else "no payments")


@payment_app.command("reverse")
def reverse(
    ctx: typer.Context,
    payment: Annotated[int, typer.Argument(metavar="NUMBER", help="The payment's, from `gridfare payment list`.")],
    reason: Annotated[str, typer.Option(help="Why: it bounced, or was recorded by mistake; it is kept.")],
    amount: Annotated[str | None, typer.Option(help="Of a part; all of the payment when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Operators: take back a payment, or a part of it; what that had paid is owed again. Once, however often asked."""
    done = open_client(ctx).reverse_payment(payment, reason, amount)
    what = f"payment {payment} of {done['organization']}, {done['reversed_amount']} of {done['amount']} {done['currency']}"
    Output(as_json).show(done, f"{what}, was reversed {local(done['reversed_at'])}: {clean(done['reversal_reason'])}")
