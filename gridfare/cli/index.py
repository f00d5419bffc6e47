"""`index ...`: where provinces stand, why, and from which numbers; runs as files; for operators runs and editions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gridfare.cli.output import AsJson, Output, clean, facts, table
from gridfare.cli.session import open_client
from gridfare.cli.words import local, size
from gridfare.client import Client
from gridfare.sdk.index import CODE

index_app = typer.Typer(help="The Computing Power Service Development Index: ranks, runs and their files.", no_args_is_help=True)
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all when left out.")]
Run = Annotated[int | None, typer.Option("--run", min=1, help="A run's number; the newest edition when left out.")]
Which = Annotated[int | None, typer.Argument(metavar="RUN", min=1, help="A run's number; the newest edition when left out.")]
Number = Annotated[int, typer.Argument(metavar="RUN", min=1, help="From `gridfare index runs`.")]


class Form(StrEnum):
    """What a run may be written down as."""

    XLSX = "xlsx"
    JSON = "json"
    CSV = "csv"
    BUNDLE = "bundle"


class Profile(StrEnum):
    """Of the country's statistics, or of this platform alone."""

    NATIONAL = "national"
    PLATFORM = "platform"


def chosen(client: Client, out: Output, run: int | None) -> int:
    """The run that was asked for; says on stderr which one it is when it is the newest edition."""
    if run is not None:
        return run
    edition = client.index_edition()
    out.note(f"edition {edition['edition']} of {edition['definition']} for {edition['period']}, run {edition['id']}")
    return int(edition["id"])


def marked(out: Output, synthetic: bool) -> None:
    """Say it where values were generated."""
    if synthetic:
        out.note("contains generated values, which say nothing of any province", "yellow")


def rounded(text: str) -> str:
    """Decimal text to two places; empty where nothing is known.

    >>> rounded("61.238000000000"), rounded("")
    ('61.24', '')
    """
    return f"{float(text):,.2f}" if text else ""


@index_app.command("ranks")
def ranks(ctx: typer.Context, run: Run = None, as_json: AsJson = False) -> None:
    """Who stands where, with the ranks between which 90 of 100 ways to weigh and to compute put them."""
    out, client = Output(as_json), open_client(ctx)
    found = client.index_table(chosen(client, out, run), "ranks")
    rows = [(one["rank"], one["region_code"], one["region"], rounded(one["score"]), _band(one)) for one in found]
    _show(out, found, table(["rank", "code", "province", "score", "band"], rows, right=["rank", "score"]))


def _band(one: dict[str, str]) -> str:
    return f"{one['band_low']} to {one['band_high']}" if one["band_low"] else ""


def _show(out: Output, found: list[dict[str, str]], view: Table) -> None:
    marked(out, any(one["synthetic"] == "yes" for one in found))
    out.show(found, view if found else "nothing is known")


@index_app.command("runs")
def runs(
    ctx: typer.Context,
    definition: Annotated[str | None, typer.Option(help="code@version, or code: all its versions.")] = None,
    profile: Annotated[Profile | None, typer.Option()] = None,
    period: Annotated[str | None, typer.Option(help="Such as 2022 or 2022-03.")] = None,
    editions: Annotated[bool, typer.Option("--editions", help="Only what was published.")] = False,
    limit: Most = 20,
    as_json: AsJson = False,
) -> None:
    """Runs, newest first."""
    asked: dict[str, Any] = {"definition": definition, "profile": profile and profile.value, "period": period}
    found = list(open_client(ctx).index_runs(**asked, published=True if editions else None, most=limit))
    rows = [
        (one["id"], one["edition"] or "", clean(one["definition"]), one["profile"], one["period"], clean(one["weights"]),
         "yes" if one["synthetic"] else "no", one["digest"][:16], local(one["created_at"]))
        for one in found
    ]  # fmt: skip
    columns = ["run", "edition", "definition", "profile", "period", "weights", "generated", "sha256", "made"]
    Output(as_json).show(found, table(columns, rows, right=["run", "edition"]) if rows else "no runs")


@index_app.command("show")
def show(ctx: typer.Context, run: Which = None, as_json: AsJson = False) -> None:
    """A run: what it was made of and how, with its hashes. With --json the whole result and analysis."""
    out, client = Output(as_json), open_client(ctx)
    number = chosen(client, out, run)
    if as_json:
        found = client.index_run(number)
        marked(out, found["synthetic"])
        out.show(found)
        return
    about = client.index_table(number, "about")
    _show(out, about, facts([(one["what"], one["value"]) for one in about]))


@index_app.command("province")
def province(
    ctx: typer.Context,
    code: Annotated[str, typer.Argument(help="Six digits of GB/T 2260, such as 440000.")],
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """A province: every indicator with its value, its score, and the points of the index that it gives."""
    out, client = Output(as_json), open_client(ctx)
    found = client.index_province(chosen(client, out, run), code)
    rows = [
        (one["node"], one["en"], rounded(one["raw"]), one["unit"], rounded(one["score"]), rounded(one["contribution"]))
        for one in found
    ]
    columns = ["node", "name", "value", "unit", "score", "points"]
    _show(out, found, table(columns, rows, right=["value", "score", "points"]))


@index_app.command("indicator")
def indicator(
    ctx: typer.Context, code: Annotated[str, typer.Argument(help="A node, such as A11.")], run: Run = None, as_json: AsJson = False
) -> None:
    """An indicator in every province."""
    out, client = Output(as_json), open_client(ctx)
    found = client.index_indicator(chosen(client, out, run), code)
    rows = [
        (one["region_code"], one["region"], rounded(one["raw"]), rounded(one["score"]), rounded(one["contribution"]))
        for one in found
    ]
    _show(out, found, table(["code", "province", "value", "score", "points"], rows, right=["value", "score", "points"]))


@index_app.command("observations")
def observations(
    ctx: typer.Context,
    run: Run = None,
    variable: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    region: Annotated[str | None, typer.Option(help="Only of this province's code.")] = None,
    as_json: AsJson = False,
) -> None:
    """The values that a run saw, each with its source."""
    out, client = Output(as_json), open_client(ctx)
    seen = client.index_table(chosen(client, out, run), "observations")
    found = [one for one in seen if variable in {None, one["variable"]} and region in {None, one["region_code"]}]
    rows = [
        (one["region"], one["variable"], one["value"], one["unit"], one["vintage"], one["origin"], one["source"]) for one in found
    ]
    columns = ["province", "variable", "value", "unit", "published", "origin", "source"]
    _show(out, found, table(columns, rows, right=["value"]))


@index_app.command("observation")
def observation(
    ctx: typer.Context, number: Annotated[int, typer.Argument(metavar="OBSERVATION", min=1)], as_json: AsJson = False
) -> None:
    """One value, with the file and the row that it comes from."""
    out, found = Output(as_json), open_client(ctx).index_observation(number)
    marked(out, found["origin"] == "synthetic")
    out.show(found, facts(found.items()))


@index_app.command("export")
def export(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    run: Which = None,
    form: Annotated[Form, typer.Option("--format", help="bundle: what `manage.py index_replay` takes.")] = Form.XLSX,
    name: Annotated[str, typer.Option("--table", help="Of a CSV: ranks, scores, raw, contributions, observations ...")] = "ranks",
    as_json: AsJson = False,
) -> None:
    """Save a run as a file, which says itself whether values were generated."""
    out, client = Output(as_json), open_client(ctx)
    number, part = chosen(client, out, run), output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            count = client.index_file(number, file, form.value, name)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    out.show({"path": str(output), "bytes": count, "run": number, "format": form.value}, f"{size(count)} in {output}")


@index_app.command("definitions")
def definitions(ctx: typer.Context, limit: Most = 20, as_json: AsJson = False) -> None:
    """Trees of indicators, newest first."""
    found = list(open_client(ctx).index_definitions(most=limit))
    rows = [(clean(one["title"]), clean(one["name_en"]), one["state"], one["digest"][:16]) for one in found]
    Output(as_json).show(found, table(["definition", "name", "state", "sha256"], rows) if rows else "no definitions")


@index_app.command("run")
def make(
    ctx: typer.Context,
    period: Annotated[str, typer.Argument(help="Such as 2022 or 2022-03.")],
    definition: Annotated[str, typer.Option(help="code@version, or code: the newest.")] = CODE,
    weights: Annotated[str, typer.Option(help="The set's name.")] = "equal",
    profile: Annotated[Profile, typer.Option()] = Profile.NATIONAL,
    as_of: Annotated[str | None, typer.Option(metavar="DATE", help="See nothing that was published later; today.")] = None,
    base: Annotated[int | None, typer.Option(min=1, help="The run whose goalposts stand.")] = None,
    as_json: AsJson = False,
) -> None:
    """Operators: make a run. What was made of the same is given again."""
    out, parameters = Output(as_json), {} if base is None else {"base": base}
    made = open_client(ctx).make_index_run(
        definition, period, weights=weights, profile=profile.value, as_of=as_of, parameters=parameters
    )
    marked(out, made["synthetic"])
    out.show(made, f"run {made['id']} of {made['definition']} for {made['period']}", f"SHA-256 {made['digest']}")


@index_app.command("publish")
def publish(
    ctx: typer.Context, run: Number, note: Annotated[str, typer.Option(help="What changed; it stays with the edition.")],
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Operators: publish a run as the next edition."""
    made = open_client(ctx).publish_index_run(run, note)
    Output(as_json).show(made, f"run {made['id']} is edition {made['edition']} of {made['definition']}")
