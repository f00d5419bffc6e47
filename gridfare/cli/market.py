"""`pools`, `market`, `regions`, `capabilities`: what there is."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from gridfare.cli.output import AsJson, Output, clean, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import money
from gridfare.sdk.answers import Pool, Reputation


def gflops(value: Any) -> str:
    number = float(value or 0)
    if number < 1:
        return f"{number * 1000:.0f} M"
    return f"{number / 1000:.1f} T" if number >= 1000 else f"{number:.0f} G"


def machines(pool: Pool) -> str:
    devices = "".join(f" + {each.get('count', 1)} {each.get('model')}" for each in pool["accelerators"])
    return f"{pool['cores']} × {pool['instruction_set']}{devices}"


def prices(offer: dict[str, Any] | None) -> str:
    """0.0001/core second, 0.8/gb moved CNY; what follows the market from its floor to its ceiling."""
    if not offer:
        return "-"
    rates = offer.get("documents", {})
    floors = {meter: f"{money(rate['floor'], '').strip()} to " for meter, rate in rates.items() if rate.get("model") == "dynamic"}
    priced = offer["rates"].items()
    each = (f"{floors.get(meter, '')}{money(price, '').strip()}/{meter.replace('_', ' ')}" for meter, price in priced)
    return f"{', '.join(each)} {offer.get('currency', 'CNY')}"


def reputation_text(reputation: Reputation | None) -> str:
    """0.96 (120 checked), or new."""
    if reputation is None or reputation["score"] is None:
        return "new"
    return f"{reputation['score']:.2f} ({reputation['sample_size']} checked)"


def _agent(pool: Pool) -> Text:
    agent = pool.get("agent")
    if not agent:
        return Text("none", "bright_black")
    return Text("online", "green") if agent.get("online") else Text("offline", "red")


def pools(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Your own pools."""
    out, found = Output(as_json), list(open_client(ctx).pools())
    rows = [
        (
            pool["identifier"],
            pool["name"],
            pool["region"],
            state_text(pool["state"]),
            _agent(pool),
            machines(pool),
            gflops(pool["fp32_gflops"]),
            (pool.get("load") or {}).get("cores_leased", 0),
        )
        for pool in found
    ]
    columns = ["pool", "name", "region", "state", "agent", "machines", "FLOPS", "busy"]
    hint = "no pools; make one: gridfare pool create NAME --region REGION"
    out.show(found, table(columns, rows, right=["FLOPS", "busy"], whole=["pool", "state"]) if found else hint)


def market(
    ctx: typer.Context,
    region: Annotated[str | None, typer.Option(help="Only there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Active pools of everybody, with today's prices."""
    out = Output(as_json)
    found = [pool for pool in open_client(ctx).market() if region in (None, pool["region"])]
    rows = [
        (
            pool["identifier"],
            pool.get("provider"),
            pool["region"],
            pool["kind"],
            machines(pool),
            gflops(pool["fp32_gflops"]),
            f"L{pool.get('level', 0)}",
            reputation_text(pool.get("reputation")),
            prices(pool.get("offer")),
            prices(pool.get("own_offer")),
        )
        for pool in found
    ]
    columns = ["pool", "provider", "region", "kind", "machines", "FLOPS", "level", "reputation", "price", "yours"]
    out.show(found, table(columns, rows, right=["FLOPS"], whole=["pool"]) if found else "no active pools")


def scarcity(
    ctx: typer.Context,
    pool: Annotated[str | None, typer.Option(help="Only this pool.")] = None,
    hours: Annotated[int, typer.Option(help="How far back.")] = 24,
    as_json: AsJson = False,
) -> None:
    """What being full has cost: by pool and resource, newest first."""
    out, found = Output(as_json), open_client(ctx).market_prices(pool=pool, hours=hours)
    rows = [(one["at"][:19], one["pool"], one["region"], one["resource"], f"{one['price']:.6g}") for one in found]
    columns = ["at", "pool", "region", "resource", "price"]
    out.show(found, table(columns, rows, right=["price"], whole=["pool"]) if found else "no pool was full")


def regions(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Places on the map."""
    out, found = Output(as_json), open_client(ctx).regions()
    rows = [(each["code"], each["gb_code"], each["name"], each["name_zh"]) for each in found]
    out.show(found, table(["code", "GB/T 2260", "name", "名称"], rows, whole=["code"]))


def capabilities(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What can be run."""
    out, found = Output(as_json), list(open_client(ctx).capabilities())
    rows = []
    for each in found:
        versions = Text(", ").join(
            Text.assemble(clean(v["version"]), "" if v["state"] == "published" else f" ({v['state']})")
            for v in each["versions"]
        )
        rows.append((each["name"], versions, each["summary"]))
    out.show(found, table(["capability", "versions", "summary"], rows, whole=["capability"]))
