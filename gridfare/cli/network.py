"""`network ...`: links between regions, paths over them, and bookings of their bandwidth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare.cli.output import AsJson, Output, facts, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local
from gridfare.sdk.answers import NetworkLink, Way

network_app = typer.Typer(help="Links between regions: latency, paths, bookings.", no_args_is_help=True)
From = Annotated[str, typer.Argument(metavar="FROM", help="A region's code, or a node's.")]
To = Annotated[str, typer.Argument(metavar="TO", help="A region's code, or a node's.")]
JitterClass = Annotated[int | None, typer.Option("--class", min=0, max=3, help="Jitter class at most: 0 to 3.")]
Mbps = Annotated[int | None, typer.Option("--mbps", min=1, help="Free on every link.")]
MaxLatency = Annotated[float | None, typer.Option("--max-latency-ms", help="Then the cheapest path within it.")]


def age(seconds: float) -> str:
    """90 s, 12 min, 5 h, 3 d."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@network_app.command("links")
def links(
    ctx: typer.Context,
    domain: Annotated[str | None, typer.Option(help="Only of this network.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every link, as measured and as counted now."""
    out, found = Output(as_json), open_client(ctx).network()
    kept = [each for each in found["links"] if domain in (None, each["domain"])]
    columns = ["link", "from", "to", "free Mbit/s", "P50 ms", "P90 ms", "counted ms", "class", "CNY/GB", "known by", "age"]
    right = ["link", "free Mbit/s", "P50 ms", "P90 ms", "counted ms", "CNY/GB", "age"]
    view = table(columns, [_link_row(each) for each in kept], right=right)
    out.show(kept, view if kept else "no links; an operator imports a topology: manage.py import_topology FILE")


def _link_row(each: NetworkLink) -> tuple[Any, ...]:
    times = (each["latency_p50_ms"], each["latency_p90_ms"], each["latency_counted_ms"])
    return (
        each["id"],
        each["source"],
        each["target"],
        f"{each['free_mbps']:,.0f}",
        *(f"{time:.2f}" for time in times),
        f"J{each['jitter_class']}",
        each["price_per_gb"],
        "probes" if each["overlay"] else each["origin"],
        age(each["age_s"]),
    )


@network_app.command("nodes")
def nodes(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Sites and points of presence, and the regions they serve."""
    out, found = Output(as_json), open_client(ctx).network()["nodes"]
    rows = [(each["code"], each["region"], each["latitude"], each["longitude"], each["locator"]) for each in found]
    out.show(found, table(["node", "region", "latitude", "longitude", "locator"], rows, whole=["node"]))


@network_app.command("path")
def path(
    ctx: typer.Context,
    source: From,
    target: To,
    jitter_class: JitterClass = None,
    mbps: Mbps = None,
    max_latency_ms: MaxLatency = None,
    max_loss: Annotated[float | None, typer.Option("--max-loss", help="Of each link, as a share.")] = None,
    objective: Annotated[str | None, typer.Option(help="latency, price or carbon.")] = None,
    k: Annotated[int | None, typer.Option("-k", min=1, max=8, help="How many paths.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only over this network.")] = None,
    as_json: AsJson = False,
) -> None:
    """The best path, its alternatives, and the segments that steer packets along it."""
    out = Output(as_json)
    wishes: dict[str, Any] = {"mbps": mbps, "max_latency_ms": max_latency_ms, "max_loss": max_loss}
    wishes |= {"objective": objective, "k": k, "domain": domain}
    found = open_client(ctx).network_path(source, target, jitter_class=jitter_class, **wishes)
    segments = found["policy"]["segments"] if found["policy"] else []
    out.show(
        found,
        _ways([found["path"], *found["alternatives"]]),
        facts([("segments", ", ".join(each["sid"] for each in segments)), ("no policy", found["unsteered"])]),
        *([Text(found["iproute2"])] if found["iproute2"] else []),
    )


def _ways(ways: Iterable[Way]) -> RenderableType:
    rows = [
        (
            " → ".join(way["nodes"]),
            f"{way['latency_ms']:.2f}",
            f"J{way['jitter_class']}",
            f"{way['mbps']:,.0f}",
            way["price_per_gb"],
        )
        for way in ways
    ]
    return table(["path", "ms", "class", "Mbit/s", "CNY/GB"], rows, right=["ms", "Mbit/s", "CNY/GB"])


@network_app.command("metrics")
def metrics(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Regions by their scores in IETF CATS form: 0-3 avoid, 4-7 optional, 8-10 prefer."""
    out, found = Output(as_json), open_client(ctx).network_metrics()
    rows = []
    for each in found["regions"]:
        scores = {one["metric_type"]: one["value"] for one in each["level1"]}
        whole = each["level2"]["value"] if each["level2"] else None
        rows.append((each["region"], scores.get("communication"), scores.get("computing"), whole))
    columns = ["region", "communication", "computing", "composed"]
    out.show(found, table(columns, rows, right=columns[1:], whole=["region"]))


@network_app.command("reserve")
def reserve(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Option("--from", help="The best path from here ...")] = None,
    target: Annotated[str | None, typer.Option("--to", help="... to there.")] = None,
    link: Annotated[list[int] | None, typer.Option("--link", help="Or these links; may be repeated.")] = None,
    mbps: Mbps = None,
    start: Annotated[str | None, typer.Option(help="RFC 3339; default: now.")] = None,
    end: Annotated[str | None, typer.Option(help="RFC 3339.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="For so long, as early as possible.")] = None,
    size: Annotated[int | None, typer.Option("--bytes", min=1, help="Brought over by --end, as early as possible.")] = None,
    kind: Annotated[str | None, typer.Option(help="deterministic or burst.")] = None,
    jitter_class: JitterClass = None,
    max_latency_ms: MaxLatency = None,
    note: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Book bandwidth on every link of a path, or on none (operators)."""
    wish: dict[str, Any] = {"from": source, "to": target, "links": link or None, "mbps": mbps, "start": start, "end": end}
    wish |= {"seconds": seconds, "bytes": size, "kind": kind, "class": jitter_class, "note": note}
    out, booked = Output(as_json), open_client(ctx).reserve(**wish, max_latency_ms=max_latency_ms)
    said = [
        ("booking", booked["booking"]),
        ("links", ", ".join(map(str, booked["links"]))),
        ("bandwidth", f"{booked['mbps']:,} Mbit/s, {booked['kind']}"),
        ("from", local(booked["start"])),
        ("until", local(booked["end"])),
    ]
    out.show(booked, facts(said))


@network_app.command("reservations")
def reservations(ctx: typer.Context, as_json: AsJson = False) -> None:
    """What is booked, by link, newest first (operators)."""
    out, found = Output(as_json), list(open_client(ctx).reservations())
    rows = [
        (each["booking"], each["link"], each["mbps"], each["kind"], local(each["start"]), local(each["end"]), each["note"])
        for each in found
        if each["released_at"] is None
    ]
    columns = ["booking", "link", "Mbit/s", "kind", "from", "until", "note"]
    out.show(found, table(columns, rows, right=["link", "Mbit/s"], whole=["booking"]) if rows else "nothing is booked")


@network_app.command("release")
def release(
    ctx: typer.Context,
    booking: Annotated[str, typer.Argument(metavar="BOOKING", help="Its number.")],
    as_json: AsJson = False,
) -> None:
    """Give a booking back, on all its links (operators)."""
    out = Output(as_json)
    open_client(ctx).release(booking)
    out.show({"released": booking}, f"released {booking}")
