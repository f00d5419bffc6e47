"""`dispute ...`: doubt charges, answer, withdraw; evidence and its check; for operators decisions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gridfare.cli.group import FAILED
from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local
from gridfare.evidence import Refuted, check

dispute_app = typer.Typer(help="Disputes about charges, and their evidence.", no_args_is_help=True)
Dispute = Annotated[int, typer.Argument(metavar="DISPUTE", help="Its id, from `gridfare dispute list`.")]
Disputes = Annotated[list[int], typer.Argument(metavar="DISPUTE...", help="One or many ids.")]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]
Said = Annotated[str, typer.Option("--text", help="What all parties read.")]


class Reason(StrEnum):
    """Why a charge is doubted."""

    NOT_DELIVERED = "not_delivered"
    WRONG_RESULT = "wrong_result"
    WRONG_USAGE = "wrong_usage"
    WRONG_PRICE = "wrong_price"
    DUPLICATE = "duplicate"
    NOT_ORDERED = "not_ordered"
    OTHER = "other"


class Position(StrEnum):
    """What the respondent says."""

    ACCEPTS = "accepts"
    CONTESTS = "contests"


class Outcome(StrEnum):
    """What an operator decides."""

    UPHELD = "upheld"
    PARTLY = "partly"
    REJECTED = "rejected"


def _disputes(found: list[dict[str, Any]]) -> Any:
    rows = [
        (d["id"], d["state"], d["reason"], d["customer"], d["respondent"], d["charges"], d["disputed"], d["awarded"], d["currency"],
         d["outcome"] or d["position"], local(d["answer_until"]))
        for d in found
    ]  # fmt: skip
    columns = ["id", "state", "reason", "customer", "respondent", "charges", "disputed", "awarded", "currency", "says", "answer by"]
    return table(columns, rows, right=["id", "charges", "disputed", "awarded"])


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    Output(as_json).show(found, _disputes(found) if found else "no disputes")


@dispute_app.command("list")
def list_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Disputes that your organization has part in; for operators all."""
    _show(list(open_client(ctx).disputes(most=limit)), as_json)


@dispute_app.command("show")
def show(ctx: typer.Context, dispute: Dispute, as_json: AsJson = False) -> None:
    """One dispute and what was said in it."""
    told = open_client(ctx).dispute(dispute)
    rows = [(local(m["at"]), m["role"], clean(m["text"])) for m in told["messages"]]
    Output(as_json).show(told, _disputes([told]), table(["at", "who", "said"], rows))


@dispute_app.command("charges")
def charges(ctx: typer.Context, dispute: Dispute, limit: Most = 100, as_json: AsJson = False) -> None:
    """The charges of a dispute, and what was taken back of each."""
    found = list(open_client(ctx).dispute_charges(dispute, most=limit))
    rows = [
        (c["charge"] or c["period_charge"], c["task"] or f"month of {c['meter']}", c["attempt"] or "", c["amount"], c["awarded"],
         c["refund"] or c["period_refund"] or "", c["credit_note"] or "")
        for c in found
    ]  # fmt: skip
    columns = ["charge", "task", "attempt", "amount", "awarded", "refund", "credit note"]
    Output(as_json).show(found, table(columns, rows, right=["charge", "attempt", "amount", "awarded", "refund"]))


@dispute_app.command("open")
def open_(
    ctx: typer.Context,
    reason: Annotated[Reason, typer.Option(help="Why.")],
    text: Said,
    charge: Annotated[list[int] | None, typer.Option("--charge", help="A charge's number; may be repeated.")] = None,
    period_charge: Annotated[
        list[int] | None, typer.Option("--period-charge", help="The number of a month's charge; may be repeated.")
    ] = None,
    invoice: Annotated[int | None, typer.Option(help="An invoice whose lines are disputed.")] = None,
    line: Annotated[list[int] | None, typer.Option("--line", help="With --invoice: a line's number; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Doubt charges, or lines of an invoice: one dispute for each provider and publisher."""
    if bool(charge or period_charge) == (invoice is not None) or (invoice is not None) != bool(line):
        raise typer.BadParameter("name charges (--charge, --period-charge), or an invoice and its lines (--invoice with --line)")
    named: dict[str, Any] = {"charges": charge, "period_charges": period_charge, "invoice": invoice, "lines": line}
    made = open_client(ctx).open_disputes(reason.value, text, **{name: value or None for name, value in named.items()})
    _show(made, as_json)


@dispute_app.command("answer")
def answer(
    ctx: typer.Context,
    disputes: Disputes,
    position: Annotated[Position, typer.Option(help="Whether you accept or contest.")],
    text: Said,
    as_json: AsJson = False,
) -> None:
    """Answer disputes about what you provided."""
    _show(open_client(ctx).answer_disputes(disputes, position.value, text), as_json)


@dispute_app.command("say")
def say(ctx: typer.Context, dispute: Dispute, text: Said, as_json: AsJson = False) -> None:
    """Add a message to a dispute that is not decided yet."""
    told = open_client(ctx).say_in_dispute(dispute, text)
    Output(as_json).show(told, f"{len(told['messages'])} messages")


@dispute_app.command("withdraw")
def withdraw(ctx: typer.Context, disputes: Disputes, as_json: AsJson = False) -> None:
    """Give disputes up."""
    _show(open_client(ctx).withdraw_disputes(disputes), as_json)


@dispute_app.command("decide")
def decide(
    ctx: typer.Context,
    disputes: Disputes,
    outcome: Annotated[Outcome, typer.Option(help="What is decided; the same for all that are named.")],
    text: Said,
    amount: Annotated[str | None, typer.Option(help="With `partly`: what is taken back of each, without tax.")] = None,
    as_json: AsJson = False,
) -> None:
    """Operators: decide disputes, all or none."""
    part: dict[str, Any] = {} if amount is None else {"amount": amount}
    decisions = [part | {"dispute": one, "outcome": outcome.value, "text": text} for one in disputes]
    _show(open_client(ctx).decide_disputes(decisions), as_json)


@dispute_app.command("bundle")
def bundle(
    ctx: typer.Context,
    dispute: Dispute,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; without one it is printed.")] = None,
) -> None:
    """The evidence in one file: charges, usage, attempts, prices, messages, outcome, and a digest."""
    content = open_client(ctx).dispute_bundle(dispute)
    if output is None:
        typer.echo(content.decode())
    else:
        output.write_bytes(content)
        typer.echo(f"{len(content)} bytes in {output}")


@dispute_app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="From `gridfare dispute bundle`.")],
    as_json: AsJson = False,
) -> None:
    """Check an evidence file without the platform: its digest, and every sum that stands in it."""
    out = Output(as_json)
    try:
        found = check(file.read_bytes())
    except Refuted as error:
        out.show({"proved": False, "error": str(error)}, f"refuted: {error}")
        raise typer.Exit(FAILED) from None
    told = {"proved": True, **found._asdict(), "disputed": str(found.disputed), "awarded": str(found.awarded)}
    sums = f"{found.awarded} of {found.disputed} on {found.charges} charges"
    out.show(told, f"dispute {found.dispute} is {found.state}: {sums}; digest {found.digest}")
