"""The command line, `gridfare`: one file per subject. Exit codes are in `gridfare.cli.group`."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from typing import Annotated

import typer

import gridfare
from gridfare.cli import account, index_years, invoices, ledger, market, submitting, tasks, units
from gridfare.cli.agent import agent_app
from gridfare.cli.artifact import artifact_app
from gridfare.cli.budget import budget_app
from gridfare.cli.capability import capability_app
from gridfare.cli.charge import charge_app, contract_app
from gridfare.cli.credit import credit_app
from gridfare.cli.dispute import dispute_app
from gridfare.cli.export import export_app
from gridfare.cli.group import Doors
from gridfare.cli.index import index_app
from gridfare.cli.index_work import batch_app, panel_app, weights_app
from gridfare.cli.network import network_app
from gridfare.cli.output import AsJson
from gridfare.cli.payment import payment_app
from gridfare.cli.pool import pool_app
from gridfare.cli.reserve import reserve_app
from gridfare.cli.session import Session
from gridfare.cli.settlement import payout_app, statement_app
from gridfare.cli.sla import sla_app
from gridfare.cli.tax import tax_app
from gridfare.cli.usage import usage_app
from gridfare.cli.webhook import webhook_app

__all__ = ["app"]

EPILOG = (
    "Exit codes: 0 done or delivered, 1 failed or expired, 2 wrong input, 3 not logged in or not allowed, "
    "4 not found, 5 no answer or the platform's fault, 6 still going, 7 cancelled, 130 Ctrl-C."
)
app = typer.Typer(
    name="gridfare",
    cls=Doors,
    help="Hand in tasks, fetch results, lend machines: a marketplace for computing power.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
PANELS: dict[str, list[Callable[..., None]]] = {
    "Work": [submitting.quote, submitting.submit, submitting.run, submitting.wait, tasks.tasks, tasks.show,
             units.units, tasks.logs, tasks.events, tasks.results, tasks.rate, tasks.cancel],
    "Market": [market.capabilities, market.market, market.scarcity, market.regions, market.pools],
    "Account": [account.login, account.logout, account.whoami, account.industry, account.bill],
}  # fmt: skip


@app.callback()
def options(
    ctx: typer.Context,
    profile: Annotated[str | None, typer.Option(help="Which stored login.", envvar="GRIDFARE_PROFILE")] = None,
    url: Annotated[str | None, typer.Option(help="The platform's address.", envvar="GRIDFARE_URL")] = None,
    key: Annotated[str | None, typer.Option(help="The API key.", envvar="GRIDFARE_KEY", show_envvar=True)] = None,
) -> None:
    ctx.obj = Session(profile, url, key)


def version(as_json: AsJson = False) -> None:
    """This client's version."""
    shown = {"gridfare": gridfare.version, "python": platform.python_version()}
    typer.echo(json.dumps(shown) if as_json else f"gridfare {shown['gridfare']}, Python {shown['python']}")


for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(rich_help_panel="Account")(version)
app.command("verify-ledger", rich_help_panel="Account")(ledger.verify_ledger)
app.add_typer(account.keys_app, name="keys", rich_help_panel="Account")
app.add_typer(budget_app, name="budget", rich_help_panel="Account")
app.add_typer(charge_app, name="charge", rich_help_panel="Account")
app.add_typer(contract_app, name="contract", rich_help_panel="Account")
app.add_typer(credit_app, name="credit", rich_help_panel="Account")
app.add_typer(dispute_app, name="dispute", rich_help_panel="Account")
app.add_typer(ledger.ledger_app, name="ledger", rich_help_panel="Account")
app.add_typer(invoices.invoice_app, name="invoice", rich_help_panel="Account")
app.add_typer(payment_app, name="payment", rich_help_panel="Account")
app.add_typer(payout_app, name="payout", rich_help_panel="Account")
app.add_typer(reserve_app, name="reserve", rich_help_panel="Account")
app.add_typer(sla_app, name="sla", rich_help_panel="Account")
app.add_typer(tax_app, name="tax", rich_help_panel="Account")
app.add_typer(statement_app, name="statement", rich_help_panel="Account")
app.add_typer(webhook_app, name="webhook", rich_help_panel="Account")
app.add_typer(export_app, name="export", rich_help_panel="Account")
app.add_typer(capability_app, name="capability", rich_help_panel="Market")
for command in (index_years.compare, index_years.history, index_years.series):
    index_app.command()(command)
index_app.add_typer(batch_app, name="batch")
index_app.add_typer(weights_app, name="weights")
index_app.add_typer(panel_app, name="panel")
app.add_typer(index_app, name="index", rich_help_panel="Market")
app.add_typer(artifact_app, name="artifact", rich_help_panel="Work")
app.add_typer(network_app, name="network", rich_help_panel="Market")
app.add_typer(usage_app, name="usage", rich_help_panel="Provider")
app.add_typer(pool_app, name="pool", rich_help_panel="Provider")
app.add_typer(agent_app, name="agent", rich_help_panel="Provider")
