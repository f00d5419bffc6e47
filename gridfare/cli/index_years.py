"""`index compare|history|series`: from one run to another, and years on one base's goalposts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gridfare.cli.index import Number, Profile, Run, chosen, marked, rounded
from gridfare.cli.output import AsJson, Output, clean, table
from gridfare.cli.session import open_client
from gridfare.sdk.index import CODE


def compare(
    ctx: typer.Context,
    run: Number,
    other: Annotated[int, typer.Argument(min=1, help="The run after.")],
    as_json: AsJson = False,
) -> None:
    """From one run to another: who moved, by how much. What does not compare says why not."""
    out, found = Output(as_json), open_client(ctx).index_comparison(run, other)
    marked(out, found["run"]["synthetic"] or found["other"]["synthetic"])
    if not found["comparable"]:
        out.show(found, *[f"does not compare: {clean(one['detail'])}" for one in found["reasons"]])
        return
    rows = [
        (code, rounded(one["before"] or ""), rounded(one["after"] or ""), rounded(one["change"] or ""), one["rank_before"],
         one["rank_after"])
        for code, one in found["regions"].items()
    ]  # fmt: skip
    columns = ["province", "before", "after", "change", "rank before", "rank after"]
    out.show(found, table(columns, rows, right=columns[1:]))


def history(
    ctx: typer.Context,
    region: Annotated[str, typer.Argument(metavar="PROVINCE", help="Six digits of GB/T 2260.")],
    node: Annotated[str, typer.Option(help="An indicator, or what blends some.")] = "INDEX",
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """A province over the periods that compare with a run; those that do not say why not."""
    out, client = Output(as_json), open_client(ctx)
    found = client.index_history(chosen(client, out, run), node)
    marked(out, any(one["synthetic"] for one in found["periods"]))
    out.show(found, table(["period", "run", "value", "rank", "does not compare"], [_year(one, region) for one in found["periods"]]))


def _year(one: dict[str, Any], region: str) -> tuple[Any, ...]:
    known = one["regions"].get(region, {"value": "", "rank": ""})
    reasons = "; ".join(why["detail"] for why in one["reasons"])
    return one["period"], one["run"], rounded(known["value"]), known["rank"], reasons or " "


def series(
    ctx: typer.Context,
    period: Annotated[list[str], typer.Argument(help="Such as 2021 2022.")],
    base: Annotated[str, typer.Option(help="The period whose run lends its goalposts.")],
    definition: Annotated[str, typer.Option(help="code@version, or code: the newest.")] = CODE,
    weights: Annotated[str, typer.Option(help="The set's name.")] = "equal",
    profile: Annotated[Profile, typer.Option()] = Profile.NATIONAL,
    as_json: AsJson = False,
) -> None:
    """Operators: make a run of every period on one base's goalposts, so that they compare."""
    out = Output(as_json)
    made = open_client(ctx).make_index_series(definition, period, base, weights=weights, profile=profile.value)
    marked(out, any(one["synthetic"] for one in made))
    out.show(made, *[f"run {one['id']} of {one['definition']} for {one['period']}" for one in made])
