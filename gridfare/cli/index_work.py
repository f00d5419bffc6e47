"""`index batch|weights|panel ...`: files of observations, recorded weights, panels of experts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from gridfare.cli.index import Most, Profile
from gridfare.cli.output import AsJson, Output, clean, state_text, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local

batch_app = typer.Typer(help="Operators: files of observations, looked at before they are kept.", no_args_is_help=True)
weights_app = typer.Typer(help="Recorded weights of indicators.", no_args_is_help=True)
panel_app = typer.Typer(help="Panels of experts who judge what matters how much.", no_args_is_help=True)
Batch = Annotated[int, typer.Argument(metavar="BATCH", min=1, help="From `gridfare index batch list`.")]
Panel = Annotated[int, typer.Argument(metavar="PANEL", min=1, help="From `gridfare index panel list`.")]
Definition = Annotated[str, typer.Argument(help="code@version, or code: the newest.")]
HEADS = {"node", "code", "one"}


@batch_app.command("preview")
def preview(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV or XLSX.")],
    profile: Annotated[Profile, typer.Option()] = Profile.NATIONAL,
    title: Annotated[str, typer.Option(help="Of the source.")] = "",
    publisher: Annotated[str, typer.Option()] = "",
    source_url: Annotated[str, typer.Option("--source-url", help="Where it is from.")] = "",
    licence: Annotated[str, typer.Option()] = "",
    published: Annotated[str | None, typer.Option("--published", metavar="DATE", help="The vintage of rows without one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a file: what is wrong or strange, with its row. Nothing is kept before `commit`. Exit code 1: something is wrong."""
    cited: dict[str, Any] = {"title": title, "publisher": publisher, "url": source_url, "licence": licence, "published": published}
    found = open_client(ctx).import_observations(file, profile=profile.value, **cited)
    wrong = sum(one["severity"] == "error" for one in found["report"])
    said = f"{wrong} errors: mend the file" if wrong else f"keep it: gridfare index batch commit {found['id']}"
    Output(as_json).show(found, *_report(found), f"batch {found['id']}: {found['rows']} rows; {said}")
    if wrong:
        raise typer.Exit(1)


def _report(found: dict[str, Any]) -> list[RenderableType]:
    rows = [(one["row"], one["field"], state_text(one["severity"]), one["code"], clean(one["detail"])) for one in found["report"]]
    return [table(["row", "field", "severity", "code", "detail"], rows, right=["row"])] if rows else []


@batch_app.command("list")
def batches(ctx: typer.Context, limit: Most = 20, as_json: AsJson = False) -> None:
    """Batches, newest first."""
    found = list(open_client(ctx).observation_batches(most=limit))
    rows = [
        (one["id"], clean(one["name"]), one["profile"], one["origin"], one["state"], one["rows"], local(one["created_at"]))
        for one in found
    ]
    columns = ["batch", "file", "profile", "origin", "state", "rows", "brought"]
    Output(as_json).show(found, table(columns, rows, right=["batch", "rows"]) if rows else "no batches")


@batch_app.command("commit")
def commit(ctx: typer.Context, batch: Batch, as_json: AsJson = False) -> None:
    """Keep all rows, or none if one is wrong."""
    _moved(Output(as_json), open_client(ctx).commit_observations(batch))


@batch_app.command("drop")
def drop(ctx: typer.Context, batch: Batch, as_json: AsJson = False) -> None:
    """Forget a file that was looked at."""
    _moved(Output(as_json), open_client(ctx).drop_observations(batch))


@batch_app.command("roll-back")
def roll_back(
    ctx: typer.Context, batch: Batch, reason: Annotated[str, typer.Option(help="Why; it is kept.")], as_json: AsJson = False
) -> None:
    """Take a committed batch out of later runs; those that saw it stay as they are."""
    _moved(Output(as_json), open_client(ctx).roll_back_observations(batch, reason))


@batch_app.command("count")
def count(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Count the platform's own month now, as every night."""
    made = open_client(ctx).count_index()
    told = [clean(f"{one['name']}: {one['rows']} rows") for one in made]
    Output(as_json).show(made, *told or ["nothing changed since it was counted"])


def _moved(out: Output, found: dict[str, Any]) -> None:
    out.show(found, clean(f"{found['name']}: {found['rows']} rows, {found['state'].replace('_', ' ')}"))


@weights_app.command("list")
def weights(ctx: typer.Context, limit: Most = 20, as_json: AsJson = False) -> None:
    """Recorded sets, newest first."""
    found = list(open_client(ctx).index_weights(most=limit))
    rows = [
        (one["id"], clean(one["definition"]), clean(one["name"]), one["kind"], one["digest"][:16], local(one["recorded_at"]))
        for one in found
    ]
    columns = ["id", "definition", "name", "kind", "sha256", "recorded"]
    Output(as_json).show(found, table(columns, rows, right=["id"]) if rows else "no weights")


@weights_app.command("import")
def import_weights(
    ctx: typer.Context,
    definition: Definition,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV of nodes and weights, or a JSON object.")],
    name: Annotated[str, typer.Option(help="Of the set.")],
    note: Annotated[str, typer.Option(help="Whose weights they are.")] = "",
    as_json: AsJson = False,
) -> None:
    """Operators: record weights. They never change."""
    made = open_client(ctx).import_index_weights(definition, name, weights_in(file.read_text(encoding="utf-8-sig")), note)
    Output(as_json).show(made, clean(f"weights {made['name']} of {made['definition']} are recorded"), f"SHA-256 {made['digest']}")


def weights_in(text: str) -> dict[str, str]:
    r"""Weights by node as they are written, with all their digits.

    >>> weights_in("node,weight\nA,0.60\nB,0.4\n"), weights_in('{"A": 0.60}')
    ({'A': '0.60', 'B': '0.4'}, {'A': '0.60'})
    """
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text, object_pairs_hook=list, parse_float=str, parse_int=str, parse_constant=str)
        except ValueError as error:
            raise typer.BadParameter(f"it is no JSON: {error}", param_hint="FILE") from None
        pairs = [(str(code), str(value)) for code, value in found]
    else:
        pairs = [(code, value) for code, value in rows_in(text, 2)]
    if len(dict(pairs)) < len(pairs):
        raise typer.BadParameter("a node is there twice", param_hint="FILE")
    return dict(pairs)


def rows_in(text: str, width: int) -> list[list[str]]:
    """Rows of a CSV with so many columns, without a head."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(row)]
    rows = rows[1:] if rows and rows[0][0].lower() in HEADS else rows
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise typer.BadParameter(f"row {number} has {len(row)} columns, not {width}", param_hint="FILE")
    return rows


@panel_app.command("list")
def panels(ctx: typer.Context, limit: Most = 20, as_json: AsJson = False) -> None:
    """Panels, newest first."""
    found = list(open_client(ctx).index_panels(most=limit))
    rows = [(one["id"], clean(one["definition"]), clean(one["name"]), one["state"], local(one["created_at"])) for one in found]
    columns = ["panel", "definition", "name", "state", "opened"]
    Output(as_json).show(found, table(columns, rows, right=["panel"]) if rows else "no panels")


@panel_app.command("show")
def panel(ctx: typer.Context, number: Panel, as_json: AsJson = False) -> None:
    """How a panel stands: what is missing, how consistent it is, and in words what does not fit."""
    _stand(Output(as_json), open_client(ctx).index_panel(number))


def _stand(out: Output, found: dict[str, Any]) -> None:
    numbers = {one["name"]: one["id"] for one in found["experts"]}
    rows = [
        (numbers.get(name, ""), name, one["parent"], one["missing"], one["ratio"] and f"{float(one['ratio']):.3f}",
         "; ".join(one["words"]))
        for name, each in found["standing"].items()
        for one in each
    ]  # fmt: skip
    told = table(["id", "expert", "group", "missing", "ratio", "in words"], rows, right=["id", "missing"])
    out.show(found, f"{clean(found['name'])} of {found['definition']}, {found['state']}", told)


@panel_app.command("open")
def open_(
    ctx: typer.Context,
    definition: Definition,
    name: Annotated[str, typer.Argument(help="Of the panel.")],
    expert: Annotated[list[str], typer.Option("--expert", metavar="NAME[=VOICE]", help="May be repeated; a voice is 1.")],
    as_json: AsJson = False,
) -> None:
    """Operators: open a panel with its experts."""
    pairs = [(one.rpartition("=")[0], one.rpartition("=")[2]) if "=" in one else (one, "1") for one in expert]
    if len(dict(pairs)) < len(pairs):
        raise typer.BadParameter("an expert is there twice", param_hint="--expert")
    made = open_client(ctx).open_index_panel(definition, name, dict(pairs))
    Output(as_json).show(made, f"panel {made['id']} is open; its experts: gridfare index panel show {made['id']}")


@panel_app.command("judge")
def judge(
    ctx: typer.Context,
    number: Panel,
    expert: Annotated[int, typer.Argument(metavar="EXPERT", min=1, help="From `gridfare index panel show`.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV: one, other, how much more one weighs: 3, 1/5.")],
    as_json: AsJson = False,
) -> None:
    """Operators: write down what an expert judges, as much as there is by now."""
    said = rows_in(file.read_text(encoding="utf-8-sig"), 3)
    _stand(Output(as_json), open_client(ctx).judge_index(number, expert, said))


@panel_app.command("record")
def record(
    ctx: typer.Context, number: Panel, name: Annotated[str, typer.Option(help="Of the set of weights.")], as_json: AsJson = False
) -> None:
    """Operators: make weights of a panel, for ever."""
    made = open_client(ctx).record_index_panel(number, name)
    Output(as_json).show(made, clean(f"weights {made['name']} of {made['definition']} are recorded"), f"SHA-256 {made['digest']}")
