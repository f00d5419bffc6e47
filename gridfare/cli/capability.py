"""`capability ...`: a publisher's dealings with one capability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare.cli.output import AsJson, Output, clean, facts, state_text, table
from gridfare.cli.progress import bytes_moving
from gridfare.cli.session import open_client
from gridfare.cli.words import duration, local

capability_app = typer.Typer(help="A capability: its inputs, publishing it.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="org/name, or org/name@version.")]
Version = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="org/name@version.")]


@capability_app.command("show")
def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """A capability and the inputs it takes."""
    out, found = Output(as_json), open_client(ctx).capability(name)
    out.show(found, *_view(found))


def _view(found: dict[str, Any]) -> list[RenderableType]:
    manifest = found.get("manifest") or {}
    versions = [f"{each['version']} ({_standing(each)})" for each in found.get("versions", [])]
    head = facts(
        [
            ("capability", found.get("name")),
            ("version", manifest.get("version")),
            ("state", state_text(found["state"]) if found.get("state") else None),
            ("versions", ", ".join(versions)),
            ("summary", manifest.get("summary") or found.get("summary")),
            ("published", local(found["published_at"]) if found.get("published_at") else None),
        ]
    )
    schema = manifest.get("inputs") or {}
    rows = [
        (name, _kind(each), _default(name, each, schema), each.get("description", ""))
        for name, each in (schema.get("properties") or {}).items()
    ]
    columns = ["input", "type", "default", "description"]
    return [head, Text("\ninputs", "bold"), table(columns, rows, whole=["input"])] if rows else [head]


def _standing(version: dict[str, Any]) -> str:
    return f"{version['state']}, unstable" if version.get("unstable_since") else str(version["state"])


def _kind(schema: dict[str, Any]) -> str:
    if schema.get("format") == "artifact":
        return "file"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items') or {})}"
    return str(schema.get("type", "any"))


def _default(name: str, each: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema.get("required", []):
        return "(required)"
    return json.dumps(each["default"], ensure_ascii=False) if "default" in each else ""


@capability_app.command("publish")
def publish(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds manifest.yaml and the program.")],
    draft: Annotated[bool, typer.Option("--draft", help="Stop before publishing.")] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Stop waiting for the tests after this.")] = "15m",
    as_json: AsJson = False,
) -> None:
    """Pack a folder, upload it, publish it and wait until its tests have passed."""
    out, client, seconds = Output(as_json), open_client(ctx), duration(timeout)
    with bytes_moving(out, "uploading") as progress:
        made = client.draft_capability(folder, progress=progress)
    if not draft:
        out.note(f"testing {made['name']}@{made['version']}", "bright_black")
        made = client.publish_capability(folder, timeout=seconds)
    out.show(
        made,
        Text.assemble(f"{made['name']}@{made['version']} is ", state_text(made["state"])),
        *_report(made),
    )


def _report(made: Any) -> list[RenderableType]:
    rows = [
        (each.get("name"), state_text(each.get("state")), each.get("detail")) for each in made.get("test_report") or []
    ]
    return [table(["test", "result", "detail"], rows)] if rows else []


def _verb(verb: str, help_text: str) -> None:
    """One command per move of a version's state."""

    def move(ctx: typer.Context, version: Version, as_json: AsJson = False) -> None:
        if "@" not in version:
            raise typer.BadParameter(f"{version!r} is not org/name@version")
        out, moved = Output(as_json), open_client(ctx).move_capability(version, verb)
        out.show(moved, Text.assemble(f"{clean(version)} is ", state_text(moved.get("state"))))

    capability_app.command(verb, help=help_text)(move)


_verb("deprecate", "Take no new tasks.")
_verb("withdraw", "Take no new tasks and cancel the waiting ones.")
_verb("trust", "Operators: let it run without a sandbox.")
