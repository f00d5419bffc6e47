"""`artifact ...`: the organization's files, where their bytes are, copies near the work, pins."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer
from rich.console import RenderableType

from gridfare.cli.output import AsJson, Output, facts, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import deadline, local, size
from gridfare.sdk.answers import ArtifactWhere

artifact_app = typer.Typer(help="Files: where they are, copies near the work, pins.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ARTIFACT", help="Its id, from `gridfare artifact list`.")]


@artifact_app.command("list")
def list_artifacts(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The organization's artifacts, newest first."""
    out, found = Output(as_json), list(open_client(ctx).artifacts(limit=limit))
    rows = [(a["id"], a["name"], size(a["bytes"]), ", ".join(a["regions"]), local(a["created_at"])) for a in found]
    columns = ["artifact", "name", "size", "stores", "since"]
    out.show(found, table(columns, rows, right=["size"], whole=["artifact"]) if rows else "no artifacts")


@artifact_app.command("places")
def places(ctx: typer.Context, artifact: Id, as_json: AsJson = False) -> None:
    """Where its bytes are: stores of regions, caches of pools, copies that were asked for."""
    _show(Output(as_json), open_client(ctx).artifact(artifact))


@artifact_app.command("replicate")
def replicate(
    ctx: typer.Context,
    artifact: Id,
    regions: Annotated[list[str], typer.Argument(metavar="REGION...", help="Codes, from `gridfare regions`.")],
    as_json: AsJson = False,
) -> None:
    """Ask that copies be kept in these regions. Asking again renews their time, and tries again what had failed."""
    _show(Output(as_json), open_client(ctx).replicate(artifact, regions))


@artifact_app.command("unreplicate")
def unreplicate(
    ctx: typer.Context,
    artifact: Id,
    region: Annotated[str, typer.Argument(metavar="REGION")],
    as_json: AsJson = False,
) -> None:
    """Want no copy in this region any more."""
    open_client(ctx).drop_replica(artifact, region)
    Output(as_json).show({"artifact": artifact, "dropped": region}, f"no copy in {region} any more")


@artifact_app.command("pin")
def pin(
    ctx: typer.Context,
    artifact: Id,
    until: Annotated[str, typer.Option("--until", metavar="WHEN", help="30d from now, or an RFC 3339 moment.")] = "30d",
    as_json: AsJson = False,
) -> None:
    """Keep it where it is held or cached until then."""
    moment = deadline(until).astimezone(UTC).isoformat()
    _show(Output(as_json), open_client(ctx).pin(artifact, moment))


@artifact_app.command("unpin")
def unpin(ctx: typer.Context, artifact: Id, as_json: AsJson = False) -> None:
    """Let it be evicted again."""
    open_client(ctx).unpin(artifact)
    Output(as_json).show({"artifact": artifact, "pinned_until": None}, "no longer pinned")


def _show(out: Output, found: ArtifactWhere) -> None:
    caches = ", ".join(f"{each['region']} ({each['pools']})" for each in found["caches"])
    said = [
        ("artifact", found["id"]),
        ("name", f"{found['name']}, {size(found['bytes'])}"),
        ("stores", ", ".join(found["regions"])),
        ("caches", caches),
        ("pinned until", local(found["pinned_until"])),
    ]
    out.show(found, facts(said), *_copies(found))


def _copies(found: ArtifactWhere) -> list[RenderableType]:
    rows = [(each["region"], state_text(each["state"]), local(each["expires_at"]), each["detail"]) for each in found["replicas"]]
    return [table(["copy in", "state", "until", "why"], rows, whole=["copy in"])] if rows else []
