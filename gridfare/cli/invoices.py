"""`invoice ...`: what is to be paid; for operators payments, corrections and bank statements."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local

invoice_app = typer.Typer(help="Invoices: what is to be paid, and for operators what was.", no_args_is_help=True)
Invoice = Annotated[int, typer.Argument(metavar="INVOICE", help="Its id, from `gridfare invoice list`.")]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]
Reason = Annotated[str, typer.Option(help="Why; it stays with the invoice.")]
Reference = Annotated[str, typer.Option(help="Names the cause: the same one counts once.")]


class Format(StrEnum):
    """How an invoice may be written down."""

    PDF = "pdf"
    CSV = "csv"


class Language(StrEnum):
    """The languages of an invoice."""

    EN = "en"
    ZH = "zh"


@invoice_app.command("list")
def list_(ctx: typer.Context, limit: Most = None, as_json: AsJson = False) -> None:
    """Your organization's invoices; the running month's only gathers."""
    found = list(open_client(ctx).invoices(most=limit))
    rows = [
        (i["id"], i["number"] or "-", i["organization"], i["period"]["from"][:10], i["state"], i["total"], i["open"], i["currency"])
        for i in found
    ]
    columns = ["id", "number", "organization", "from", "state", "total", "open", "currency"]
    Output(as_json).show(found, table(columns, rows, right=["id", "total", "open"]) if rows else "no invoices")


@invoice_app.command("show")
def show(ctx: typer.Context, invoice: Invoice, as_json: AsJson = False) -> None:
    """One invoice with its lines."""
    _show(open_client(ctx).invoice(invoice), as_json)


def _show(told: dict[str, Any], as_json: bool) -> None:
    head = f"{told['number'] or 'draft'} for {told['bill_to']}, {told['state']}; total {told['total']} {told['currency']}"
    due = f", due before {local(told['due_at'])}" if told["due_at"] else ""
    columns = ["line", "kind", "capability", "pool", "charges", "amount", "tax"]
    rows = [
        (one["number"], one["kind"], one["capability"] or "", one["pool"] or "", one["charges"], one["amount"], one["tax"])
        for one in told["lines"]
    ]
    lines = table(columns, rows, right=["line", "charges", "amount", "tax"]) if rows else "no lines yet"
    Output(as_json).show(told, f"{head}, open {told['open']}{due}", lines)


@invoice_app.command("profile")
def profile(
    ctx: typer.Context,
    address: Annotated[str | None, typer.Option(help="The buyer's address, one line; an empty text takes it off.")] = None,
    tax_number: Annotated[str | None, typer.Option("--tax-number", help="The buyer's; an empty text takes it off.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what stands of your organization on its invoices, from the next one on; without options, what does now."""
    client, asked = open_client(ctx), address is None and tax_number is None
    told = client.organization() if asked else client.set_billing_profile(address=address, tax_number=tax_number)
    shown = f"{told['name']}, address {told['billing_address'] or '-'}, tax number {told['tax_number'] or '-'}"
    Output(as_json).show(told, clean(shown))


@invoice_app.command("charges")
def charges(
    ctx: typer.Context, invoice: Invoice, line: Annotated[int, typer.Argument()], limit: Most = 100, as_json: AsJson = False
) -> None:
    """The charges that a line is made of."""
    found = list(open_client(ctx).invoice_charges(invoice, line, most=limit))
    rows = [(one["id"], one["kind"], one["reason"], one["pool"] or "", local(one["charged_at"]), one["amount"]) for one in found]
    columns = ["charge", "kind", "reason", "pool", "charged", "amount"]
    Output(as_json).show(found, table(columns, rows, right=["charge", "amount"]) if rows else "no charges")


@invoice_app.command("get")
def get(
    ctx: typer.Context,
    invoice: Invoice,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file.")],
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.PDF,
    language: Annotated[Language, typer.Option(help="Of a PDF.")] = Language.EN,
    as_json: AsJson = False,
) -> None:
    """Save an invoice as PDF or CSV."""
    part = output.with_name(output.name + ".part")
    with part.open("wb") as file:
        size = open_client(ctx).invoice_file(invoice, file, form.value, language.value)
    part.replace(output)
    Output(as_json).show({"path": str(output), "bytes": size}, f"{size} bytes in {output}")


@invoice_app.command("void")
def void(ctx: typer.Context, invoice: Invoice, reason: Reason, as_json: AsJson = False) -> None:
    """Operators: take back an invoice of which nothing was paid; shows the one that takes its place."""
    _show(open_client(ctx).void_invoice(invoice, reason), as_json)


@invoice_app.command("give-up")
def give_up(ctx: typer.Context, invoice: Invoice, reason: Reason, as_json: AsJson = False) -> None:
    """Operators: give up an overdue invoice; what is open becomes the platform's loss."""
    _show(open_client(ctx).give_up_invoice(invoice, reason), as_json)


@invoice_app.command("credit")
def credit(
    ctx: typer.Context,
    invoice: Invoice,
    line: Annotated[int, typer.Option(help="The line's number.")],
    net: Annotated[str, typer.Option(help="What to take back of it, without tax.")],
    reason: Reason,
    reference: Reference,
    as_json: AsJson = False,
) -> None:
    """Operators: take back a part of a line by a credit note."""
    note = open_client(ctx).credit_invoice(invoice, {line: net}, reason, reference)
    Output(as_json).show(note, f"{note['number']}: {note['net']} and {note['tax']} tax taken back")


@invoice_app.command("pay")
def pay(
    ctx: typer.Context,
    invoice: Invoice,
    amount: Annotated[str, typer.Argument()],
    reference: Reference,
    received_on: Annotated[str | None, typer.Option("--on", metavar="DATE", help="When it came in; today when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Operators: record money that came in for an invoice."""
    paid = open_client(ctx).pay_invoice(invoice, amount, reference, received_on)
    Output(as_json).show(paid, f"payment {paid['id']}: {paid['amount']}, of which {paid['prepaid']} is prepaid balance")


@invoice_app.command("pay-online")
def pay_online(ctx: typer.Context, invoice: Invoice, as_json: AsJson = False) -> None:
    """Begin to pay what is open of an invoice at the gateway."""
    begun = open_client(ctx).pay_online(invoice)
    Output(as_json).show(begun, f"{begun['gateway']} payment {begun['key']} of {begun['amount']}: {begun['state']}")


@invoice_app.command("import")
def import_(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="CAMT.053 or CSV.")], as_json: AsJson = False) -> None:
    """Operators: import a bank statement; what fits no invoice, or several, waits for a person."""
    done = open_client(ctx).import_bank_statement(file.name, file.read_text(encoding="utf-8"))
    Output(as_json).show(done, f"{done['matched']} lines matched, {done['queued']} wait: gridfare invoice bank-lines")


@invoice_app.command("bank-lines")
def bank_lines(ctx: typer.Context, limit: Most = 50, as_json: AsJson = False) -> None:
    """Operators: what came in and waits for a person."""
    found = list(open_client(ctx).bank_lines(most=limit))
    rows = [(b["id"], b["booked_on"], b["amount"], b["currency"], b["payer"], b["remittance"], b["why"]) for b in found]
    columns = ["id", "booked", "amount", "currency", "payer", "text", "why"]
    Output(as_json).show(found, table(columns, rows, right=["id", "amount"]) if rows else "nothing waits")


@invoice_app.command("settle")
def settle(
    ctx: typer.Context,
    line: Annotated[int, typer.Argument(metavar="BANK_LINE")],
    invoice: Annotated[int | None, typer.Option(help="What it pays; without one it is no payment of ours.")] = None,
    as_json: AsJson = False,
) -> None:
    """Operators: say what a waiting line of a bank statement is."""
    done = open_client(ctx).settle_bank_line(line, invoice)
    Output(as_json).show(done, f"{done['reference']} is {done['state']}")


@invoice_app.command("parked")
def parked(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Operators: months that are parked because something impossible was met, and what."""
    found = list(open_client(ctx).billing_periods(state="parked"))
    names = ("number", "organization", "currency", "parked_code")
    rows = [(*(one[name] for name in names), local(one["starts_at"]), clean(one["parked_detail"])) for one in found]
    columns = ["number", "organization", "currency", "code", "from", "detail"]
    Output(as_json).show(found, table(columns, rows, right=["number"]) if rows else "no month is parked")


@invoice_app.command("free")
def free(
    ctx: typer.Context,
    period: Annotated[int, typer.Argument(metavar="NUMBER", help="The month's, from `gridfare invoice parked`.")],
    reason: Annotated[str, typer.Option(help="What was mended; it is kept.")],
    as_json: AsJson = False,
) -> None:
    """Operators: let a parked month go on after mending; the next run closes it."""
    freed = open_client(ctx).free_period(period, reason)
    Output(as_json).show(freed, f"{freed['organization']}'s month {period} is {freed['state']} again; the next run closes it")
