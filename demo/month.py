"""Last month's money: the customer's bank pays the invoice, the operator pays the payees. Through the public API."""

from __future__ import annotations

from decimal import Decimal

from rich.console import Console
from rich.table import Table

from demo.accounts import Cast


def settle_month(cast: Cast, console: Console) -> None:
    """Record the payment of what alice owes, pay out what is due by that, and show both. Repeated, it finds nothing to do."""
    for invoice in cast.alice.invoices():
        if invoice["state"] in ("finalized", "overdue"):
            amount = f"{Decimal(invoice['open']).normalize():f}"
            cast.olga.pay_invoice(invoice["id"], amount, f"demo-{invoice['number']}")
    for payout in cast.olga.run_payouts()["payouts"]:
        cast.olga.approve_payout(payout["id"])
    cast.olga.send_payouts()
    _show(cast, console)


def _show(cast: Cast, console: Console) -> None:
    table = Table(title="Last month's invoices and payouts", title_justify="left", show_edge=False)
    for name in ("what", "of", "state", "amount"):
        table.add_column(name, justify="right" if name == "amount" else "left")
    for invoice in filter(lambda one: one["number"], cast.alice.invoices()):
        amount = f"{invoice['total']} {invoice['currency']}"
        table.add_row(f"invoice {invoice['number']}", invoice["organization"], invoice["state"], amount)
    for payout in cast.olga.payouts():
        amount = f"{payout['amount']} {payout['currency']}"
        table.add_row(f"payout {payout['id']}", payout["organization"], payout["state"], amount)
    console.print()
    console.print(table)
