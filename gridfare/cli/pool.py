"""`pool ...`: a provider's dealings with one pool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare.cli.inputs import pairs
from gridfare.cli.market import gflops, machines, prices, reputation_text
from gridfare.cli.output import AsJson, Output, facts, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import ago, deadline, duration, local, size
from gridfare.sdk.answers import Pool, PoolTrust

pool_app = typer.Typer(help="A provider's pool: prices, machines, states.", no_args_is_help=True)
PoolId = Annotated[str, typer.Argument(metavar="POOL", help="The pool's identifier.")]


@pool_app.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Your own name for it.")],
    region: Annotated[str, typer.Option(help="Where it stands: a code of `gridfare regions`.")],
    kind: Annotated[str | None, typer.Option(help="general, intelligent, super or community.")] = None,
    tier: Annotated[str | None, typer.Option(help="cloud, edge or end.")] = None,
    bandwidth: Annotated[int | None, typer.Option("--bandwidth-mbps", min=1, help="To the platform's store.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a pool; its machines come with the agent."""
    out = Output(as_json)
    made = open_client(ctx).create_pool(name, region, kind=kind, tier=tier, bandwidth_mbps=bandwidth)
    out.show(made, made["identifier"])
    out.note(f"next: gridfare pool offer {made['identifier']} --rate core_second=0.0001", "bright_black")
    out.note(f"      gridfare pool token {made['identifier']}", "bright_black")


@pool_app.command("show")
def show(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """A pool with its machines, self-test and agent."""
    out, found = Output(as_json), open_client(ctx).pool(pool)
    out.show(found, _facts(found), *_selftest(found))


def _facts(pool: Pool) -> RenderableType:
    agent, load = pool.get("agent"), pool.get("load") or {}
    seen = f"{agent['name']} {agent['version']}, seen {ago(agent['seen_at'])}" if agent else "none"
    return facts(
        [
            ("pool", pool["identifier"]),
            ("name", pool["name"]),
            ("state", state_text(pool["state"])),
            ("region", pool["region"]),
            ("kind", f"{pool['kind']}, {pool['tier']}"),
            ("machines", machines(pool)),
            ("memory", size(pool["memory_mib"] * 2**20)),
            ("disk", size(pool["disk_mib"] * 2**20)),
            ("FP32", gflops(pool["fp32_gflops"]) + "FLOPS"),
            ("benchmark", benchmark_text(pool.get("benchmark"))),
            ("executors", ", ".join(pool["executors"])),
            ("agent", seen),
            ("feels", feels((agent or {}).get("status") or {})),
            ("reclaimed", local(pool["reclaim_at"]) if pool.get("reclaim_at") else "no"),
            ("busy", f"{load.get('cores_leased', 0)} cores, {load.get('attempts', 0)} attempts"),
        ]
    )


def benchmark_text(told: Mapping[str, str] | None) -> str:
    """`hepscore23 12.5 a core`."""
    return f"{told['type']} {told['value']} a core" if told else "none"


@pool_app.command("benchmark")
def benchmark(
    ctx: typer.Context,
    pool: PoolId,
    declared: Annotated[str, typer.Argument(metavar="TYPE:VALUE", help="si2k, hepspec or hepscore23, per core; or none.")],
    as_json: AsJson = False,
) -> None:
    """Declare what a core does by a benchmark of HEP, for usage records of computing centres."""
    kind, _, value = declared.partition(":")
    told = None if declared == "none" else {"type": kind, "value": value}
    changed = open_client(ctx).change_pool(pool, benchmark=told)
    Output(as_json).show(changed, f"{pool}: {benchmark_text(changed.get('benchmark'))}")


def feels(status: Mapping[str, Any]) -> str:
    """`load 1.2, 3 cores free, 61 °C, 85 W`: what of its state the machine knows."""
    words = {
        "load1": "load {}", "free_cores": "{} cores free", "free_memory_mib": "{} MiB of memory free",
        "temperature_c": "{} °C", "power_w": "{} W",
    }  # fmt: skip
    return ", ".join(text.format(status[name]) for name, text in words.items() if status.get(name) is not None) or "-"


def _selftest(pool: Pool) -> list[RenderableType]:
    rows = [
        (each["code"], state_text(each["status"]), each.get("measured"), each.get("needed"), each.get("hint"))
        for each in pool.get("selftest") or []
    ]
    found = table(["check", "result", "measured", "needed", "hint"], rows, whole=["check"])
    return [Text("\nself-test", "bold"), found] if rows else []


@pool_app.command("trust")
def trust(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """How far its results are believed, and why: level, reputation, quarantine, quota."""
    out, found = Output(as_json), open_client(ctx).pool_trust(pool)
    out.show(found, *trust_view(found))


@pool_app.command("lift")
def lift(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """Operators: end its quarantine and lift its quota."""
    out, found = Output(as_json), open_client(ctx).lift_quarantine(pool)
    out.show(found, *trust_view(found))


@pool_app.command("audit")
def audit(
    ctx: typer.Context,
    pool: PoolId,
    until: Annotated[str, typer.Option(metavar="TIME", help="RFC 3339, or a duration such as 2160h.")],
    as_json: AsJson = False,
) -> None:
    """Operators: vouch for an independent audit until then."""
    out, found = Output(as_json), open_client(ctx).audit_pool(pool, deadline(until).isoformat())
    out.show(found, *trust_view(found))


def trust_view(found: PoolTrust) -> list[RenderableType]:
    quarantine, quota = found["quarantine"], found["daily_quota"]
    held = f"{quarantine['state']} until {local(quarantine['until'])}: {quarantine['reason']}" if quarantine else "none"
    head = facts(
        [
            ("pool", found["pool"]),
            ("level", f"L{found['level']}" + (f" until {local(found['level_until'])}" if found["level_until"] else "")),
            ("next level", found["level_missing"]),
            ("believed alone", believed_text(found)),
            ("reputation", reputation_text(found["reputation"])),
            ("quarantine", held),
            ("quota", "none" if quota is None else f"{quota} units a day"),
        ]
    )
    rows = [
        (v["capability"], v["consecutive_valid"], f"{v['check_probability']:.0%}", reputation_text(v["reputation"]))
        for v in found["versions"]
    ]
    events = [(local(each["at"]), each["kind"], each["detail"]) for each in found["events"]]
    parts: list[RenderableType] = [head]
    parts += [table(["capability", "right in a row", "checked", "reputation"], rows, whole=["capability"])] if rows else []
    return parts + ([table(["when", "what", "why"], events, whole=["when"])] if events else [])


def believed_text(found: PoolTrust) -> str:
    """Whether nobody else need confirm its results; of units that are worth more, somebody must."""
    most = found.get("believed_up_to")
    if found.get("unproven") or most == 0:
        return "no: it gets what is compared, and what says accept_unproven"
    return "yes" if most is None else f"where a unit is worth {most:,g} or less; beyond, its results are compared"


@pool_app.command("offer")
def offer(
    ctx: typer.Context,
    pool: PoolId,
    rate: Annotated[
        list[str], typer.Option("--rate", metavar="METER=PRICE", help="core_second=0.0001, or a rate as JSON; may be repeated.")
    ],
    basis: Annotated[str, typer.Option(help="consumption, occupancy, result, daily_peak or monthly_peak.")] = "consumption",
    rules: Annotated[str | None, typer.Option(metavar="JSON", help="By month: peak, cap, quantum_s, minimum_s.")] = None,
    customer: Annotated[str | None, typer.Option(help="The own price of this organization; left out: everybody's.")] = None,
    currency: Annotated[str | None, typer.Option(help="CNY when left out.")] = None,
    valid_from: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Now when left out.")] = None,
    valid_to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Open when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set a price list. It ends the open one before it; tasks handed in earlier keep their prices."""
    out, rates = Output(as_json), {meter: _json(text) if text.startswith("{") else text for meter, text in pairs(rate, "--rate")}
    said = None if rules is None else _json(rules)
    made = open_client(ctx).create_offer(
        pool, basis, rates, rules=said, customer=customer, currency=currency, valid_from=valid_from, valid_to=valid_to
    )
    out.show(made, f"{made['basis']}: {prices(dict(made))}, from {local(made['valid_from'])}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not JSON") from None


@pool_app.command("offers")
def offers(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """A pool's price lists, with their periods."""
    out, found = Output(as_json), list(open_client(ctx).offers(pool))
    rows = [(local(each["valid_from"]), local(each["valid_to"]), each["basis"], prices(dict(each))) for each in found]
    out.show(found, table(["from", "to", "basis", "price"], rows, whole=["from", "to"]) if found else "no offers")


@pool_app.command("token")
def token(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """Make a join token for one agent."""
    out, client = Output(as_json), open_client(ctx)
    made = client.join_token(pool)
    out.show(made, made["token"])
    out.note(f"single use, until {local(made['expires_at'])}; on the machine:", "bright_black")
    out.note(f"  gridfare agent join {client.url} {made['token']}", "bright_black")


@pool_app.command("maintain")
def maintain(
    ctx: typer.Context,
    pool: PoolId,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="RFC 3339, or from now: 2h.")],
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 90m.")],
    category: Annotated[str, typer.Option(help="hardware, software, network, power or other.")] = "other",
    note: Annotated[str, typer.Option(help="A word for those who wait.")] = "",
    as_json: AsJson = False,
) -> None:
    """Announce maintenance: nothing is placed that would still run when it begins, and work resumes by itself."""
    begin = deadline(start)
    end = begin + timedelta(seconds=duration(lasting))
    out, client = Output(as_json), open_client(ctx)
    made = client.plan_window(pool, begin.isoformat(), end.isoformat(), category=category, note=note)
    out.show(made, f"window {made['number']}: {local(made['start'])} to {local(made['end'])}")


@pool_app.command("windows")
def windows(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """A pool's maintenance windows."""
    out, found = Output(as_json), list(open_client(ctx).windows(pool))
    rows = [(each["number"], local(each["start"]), local(each["end"]), each["category"], each["note"]) for each in found]
    shown = table(["window", "from", "to", "category", "note"], rows, whole=["from", "to"])
    out.show(found, shown if found else "no maintenance")


@pool_app.command("unmaintain")
def unmaintain(
    ctx: typer.Context, pool: PoolId, number: Annotated[int, typer.Argument(metavar="WINDOW")], as_json: AsJson = False
) -> None:
    """Take a maintenance window back, or end a running one now."""
    open_client(ctx).take_back_window(pool, number)
    Output(as_json).show({"number": number}, f"window {number} is taken back")


@pool_app.command("reclaim")
def reclaim(
    ctx: typer.Context,
    pool: PoolId,
    notice: Annotated[str, typer.Option("--in", metavar="TIME", help="When you want it: 10m from now.")] = "0",
    lasting: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Until given back when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Want the machines back: programs are asked for a checkpoint now, and end then."""
    out, client = Output(as_json), open_client(ctx)
    moved = client.reclaim_pool(pool, duration(notice), for_s=duration(lasting) if lasting else None)
    out.show(moved, f"{moved['identifier']} is yours from {local(moved.get('reclaim_at'))}")


@pool_app.command("give-back")
def give_back(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
    """Lend reclaimed machines again."""
    out, moved = Output(as_json), open_client(ctx).give_back_pool(pool)
    out.show(moved, f"{moved['identifier']} takes work again")


def _verb(verb: str, help_text: str) -> None:
    """One command per move of a pool's state; they differ in nothing but the word."""

    def move(ctx: typer.Context, pool: PoolId, as_json: AsJson = False) -> None:
        out, moved = Output(as_json), open_client(ctx).move_pool(pool, verb)
        out.show(moved, Text.assemble(f"{moved['identifier']} is ", state_text(moved["state"])))

    pool_app.command(verb, help=help_text)(move)


_verb("drain", "Finish what it has, take nothing new.")
_verb("resume", "Take work again after draining.")
_verb("retire", "Leave the market, for ever.")
_verb("activate", "Operators: admit a verified pool, so that it takes work.")
_verb("suspend", "Operators: stop it.")
_verb("reinstate", "Operators: let a suspended pool back.")
