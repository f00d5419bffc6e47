"""What ran where and why, what it cost, who earns what, where the files are."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.accounts import Cast
from demo.job import Outcome
from demo.market import ALICE, BOB, CAROL, ERIN, OPERATOR, PASSWORD
from gridfare.client import Client


def print_summary(cast: Cast, outcomes: list[Outcome], url: str, console: Console) -> int:
    """Print it. Returns the exit code: 0 when all is delivered and billed and the ledger balances."""
    for outcome in outcomes:
        _print_task(cast.alice, outcome, console)
    balance = cast.olga.trial_balance()
    _print_money(cast, balance, console)
    _print_doors(url, console)
    fine = all(o.task["state"] == "delivered" and o.task["cost"]["final"] and o.files for o in outcomes)
    if not (fine and balance["balanced"]):
        console.print("[bold red]Not everything was delivered and billed.[/]")
        return 1
    console.print("[bold green]Everything was delivered and billed; the ledger balances.[/]")
    return 0


def _print_task(alice: Client, outcome: Outcome, console: Console) -> None:
    task = outcome.task
    table = Table(title=f"{outcome.job.title}  ({task['id']})", title_justify="left", show_edge=False)
    for name in ("stage", "where", "units", "why there"):
        table.add_column(name, justify="right" if name == "units" else "left")
    explanation = alice.explain(str(task["id"]))
    for (stage, region, pool), count in sorted(_places(explanation).items(), reverse=True):
        table.add_row(stage, f"{region} {pool}", str(count), _why(explanation["decisions"], stage, pool))
    console.print()
    console.print(table)
    cost = task["cost"]
    console.print(f"  {task['state']}, {cost['amount']} {cost['currency']}, files in {outcome.folder or '-'}", soft_wrap=True)
    for path in outcome.files:
        console.print(f"    {path.name:22} {path.stat().st_size:>12,} bytes", highlight=False)


def _places(explanation: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Units by stage, region and pool."""
    places: Counter[tuple[str, str, str]] = Counter()
    for row in explanation["where"]:
        places["merge" if row["stage"] else "units", row["region"] or "-", row["pool"] or "no pool"] += row["units"]
    return places


def _why(decisions: list[dict[str, Any]], stage: str, pool: str) -> str:
    """A pool's terms in the newest round that placed units there, against the best that round knew."""
    for decision in decisions:
        mine = [one for one in decision["candidates"] if one["pool"] == pool]
        if mine and (decision["stage"] == "merge") == (stage == "merge") and pool in {p["pool"] for p in decision["placed"]}:
            price = f"{Decimal(str(mine[0]['price'])):.6f} CNY, {mine[0]['finish_s']:.1f} s a unit"
            best = decision["candidates"][0]
            return f"{price}, {_rank(mine[0], best, len(decision['candidates']))}"
    return ""


def _rank(mine: dict[str, Any], best: dict[str, Any], candidates: int) -> str:
    if mine is not best:
        return f"while {best['region']} was full"
    return "the only pool there" if candidates == 1 else f"best of {candidates} pools"


def _print_money(cast: Cast, balance: dict[str, Any], console: Console) -> None:
    table = Table(title="Who pays, who earns", title_justify="left", show_edge=False)
    for name, justify in (("party", "left"), ("as", "left"), ("total", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    parties = (
        (ALICE, cast.alice, "user"),
        (BOB, cast.bob, "provider"),
        (ERIN, cast.erin, "provider"),
        (CAROL, cast.carol, "publisher"),
    )
    for party, client, role in parties:
        statement = client.statement(role)
        table.add_row(party.name, role, f"{statement['total']} {statement['currency']}")
    for account in balance["accounts"]:
        if account["organization"] is None:
            table.add_row("the platform", account["kind"], f"{account['balance']} {account['currency']}")
    console.print()
    console.print(table)


def _print_doors(url: str, console: Console) -> None:
    console.print(f"\n[bold]{url}[/]  API {url}/api/docs/  operators {url}/admin/")
    names = f"{ALICE.username}, {BOB.username}, {ERIN.username}, {CAROL.username}, {OPERATOR}"
    console.print(f"log in as {names}; the password of each is [bold]{PASSWORD}[/]\n")
