"""Tasks, quotes and explanations as people see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridfare.cli.output import clean, facts, state_text, table
from gridfare.cli.words import ago, between, local, money, size, span
from gridfare.sdk.answers import ENDED, Quote, Result, Task


def task_line(task: Task) -> Text:
    """One sentence about a task that has ended, or goes on."""
    words = Text.assemble(state_text(task["state"]), " ", clean(task["id"]))
    if task["state"] in ENDED:
        words.append(f"  in {between(task['created_at'], task['ended_at'])}, {cost_of(task)}")
    if task["reason"]:
        words.append(f"\n{clean(task['reason'])}", "red")
    return words


def cost_of(task: Task) -> str:
    cost = task["cost"]
    return money(cost["amount"], cost["currency"]) + ("" if cost["final"] else " so far")


def bar(fraction: Any, width: int = 20) -> Text:
    full = round(max(0.0, min(1.0, float(fraction or 0))) * width)
    return Text.assemble(("━" * full, "green"), ("━" * (width - full), "bright_black"))


def tasks_table(tasks: Iterable[Task]) -> Table:
    columns = ["id", "state", "capability", "name", "units", "cost", "created"]
    rows = [
        (
            task["id"],
            state_text(task["state"]),
            task["capability"],
            task["name"],
            f"{task['progress']['units_done']}/{task['progress']['units_total']}",
            money(task["cost"]["amount"], task["cost"]["currency"]),
            ago(task["created_at"]),
        )
        for task in tasks
    ]
    return table(columns, rows, right=["units", "cost"], whole=["id", "state", "created"])


def task_facts(task: Task) -> Table:
    progress, result = task["progress"], task["result"]
    counts = f"  {progress['units_done']} of {progress['units_total']} units"
    rules = "  ".join(f"{name}: {_short(value)}" for name, value in task["constraints"].items() if value)
    labels = "  ".join(f"{name}={value}" for name, value in task["labels"].items())
    asked = " (cancel requested)" if task["cancel_requested"] and task["state"] not in ENDED else ""
    return facts(
        [
            ("task", task["id"]),
            ("name", task["name"]),
            ("capability", task["capability"]),
            ("state", state_text(task["state"]).append(asked)),
            ("reason", " ".join(filter(None, [task["reason_class"], task["reason"]]))),
            ("progress", bar(progress["fraction"]).append(counts)),
            ("cost", cost_of(task)),
            ("result", f"{result['files']} files, {size(result['bytes'])}" if result else None),
            ("objective", "own weights" if task["constraints"].get("weights") else task["objective"]),
            ("constraints", rules),
            ("results", policy_text(task.get("verify"))),
            ("deadline", local(task["deadline"]) if task["deadline"] else None),
            ("labels", labels),
            ("created", f"{local(task['created_at'])}, {ago(task['created_at'])}"),
            ("took", between(task["started_at"], task["ended_at"]) if task["started_at"] else None),
        ]
    )


def policy_text(policy: Any) -> str:
    """How results are proved, in words; nothing where they are not."""
    if not isinstance(policy, dict):
        return ""
    need, compare = policy.get("need", 1), policy.get("compare", "exact")
    if compare == "validator":
        how = "judged by the publisher's program" + (f", {need} of different owners must agree" if need > 1 else "")
    else:
        how = f"{need} of different owners must agree" + (" within a tolerance" if compare == "tolerance" else "")
    more = {"adaptive": "trusted pools are spot-checked", "commit_reveal": "bound before anybody shows one",
            "homogeneous": "from one kind of machine"}  # fmt: skip
    return ", ".join([how, *(words for name, words in more.items() if policy.get(name))])


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{clean(name)} {_short(one)}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def explanation(why: dict[str, Any], task: Task | None = None) -> list[RenderableType]:
    """Where the platform put the units and what it compared, or what keeps them waiting."""
    parts: list[RenderableType] = []
    if rows := _by_pool(why.get("where") or []):
        made = table(["pool", "region", "stage", "units", "states"], rows, right=["units"], whole=["pool"])
        parts += [Text("\nwhere", "bold"), made]
    for decision in why.get("decisions") or []:
        head = Text.assemble("\n", ("why there", "bold"), f": {_placed(decision)}; candidates, best first")
        parts += [head, candidates_table(decision["candidates"]), _left_out(decision["excluded"])]
    if waiting := why.get("waiting"):
        units = waiting["units"]
        told = f"\n{units} {'unit waits' if units == 1 else 'units wait'}: {waiting['reason']}, {waiting['detail']}"
        parts += [Text(clean(told), "yellow"), _left_out(waiting["excluded"])]
        parts += [Text(_miss(miss), "bright_black") for miss in waiting.get("misses", ())]
    if prediction := why.get("prediction"):
        parts += [Text("\npredicted and actual", "bold"), prediction_table(prediction, task), _record(prediction["calibration"])]
    return parts


def _placed(decision: dict[str, Any]) -> str:
    """What was placed where, and by which way of deciding."""
    stage, places = clean(decision["stage"]), decision.get("placed") or []
    where = ", ".join(f"{place['units']} to {clean(place['pool'])}" for place in places)
    return f"{stage}: {where} by {clean(decision.get('decided_by') or 'a round')}" if where else stage


def prediction_table(prediction: dict[str, Any], task: Task | None = None) -> Table:
    """What was promised, for nine of ten too, beside what came."""
    promised, came = prediction["predicted"], prediction["actual"]
    rows = [
        (name, span(promised[f"{name}_p50_s"]), span(promised[f"{name}_p90_s"]), _came(came[f"{name}_s"]))
        for name in ("start", "finish")
    ]
    paid = money(task["cost"]["amount"], task["cost"]["currency"]) if task and task["cost"]["final"] else ""
    rows.append(("price", money(promised["price"], promised["currency"]), "", paid))
    return table(["", "expected", "P90", "actual"], rows, right=["expected", "P90", "actual"])


def _came(seconds: float | None) -> str:
    return "not yet" if seconds is None else span(seconds)


def _record(calibration: dict[str, Any]) -> Text:
    """How far such promises have held."""
    record = calibration["finish"]
    if not record["tasks"]:
        return Text("no task has been delivered yet to hold predictions against", "bright_black")
    kept = f"{record['within_p90']:.0%} of the last {record['tasks']} results came within the P90 predicted"
    return Text(f"{kept}; corrected by x {record['factor']:g}", "bright_black")


def _miss(miss: dict[str, Any]) -> str:
    """A pool that nearly fits, and what would let it in."""
    lacks = ", ".join(clean(name) for name in miss["lacks"])
    change = miss.get("change")
    told = "; ".join(f"{clean(name)} = {_short(value)}" for name, value in change.items()) if change else "nothing you could change"
    return clean(f"near miss: {miss['pool']} ({miss['region']}), left out by {lacks}; would take it with: {told}")


def _by_pool(where: list[dict[str, Any]]) -> list[tuple[str, str, str, int, str]]:
    """One row per pool and stage, the states of its units put together."""
    states: dict[tuple[str, str, str], dict[str, int]] = {}
    for each in where:
        if each["pool"]:
            stage = clean(each.get("part") or ("merge" if each["stage"] in (1, "merge") else "unit"))
            states.setdefault((each["pool"], each["region"], stage), {})[each["state"]] = each["units"]
    return [
        (*place, sum(counts.values()), ", ".join(f"{count} {state}" for state, count in counts.items()))
        for place, counts in states.items()
    ]


_TERMS = ("cost", "price", "wait_s", "transfer_s", "run_s", "finish_s")  # first, in this order
_SMALL = ("run_p90_s", "return_s", "time_cost", "carbon_g")  # only in JSON


def candidates_table(candidates: list[dict[str, Any]]) -> Table:
    """Money and seconds of one unit at each candidate; terms that are nothing everywhere are left out."""
    known = dict.fromkeys(name for each in candidates for name in each if name not in ("pool", "region"))
    telling = [name for name in known if any(each.get(name) for each in candidates)]
    names = [name for name in _TERMS if name in telling] + [name for name in telling if name not in (*_TERMS, *_SMALL)]
    titles = [f"{name.removesuffix('_s').replace('_', ' ')}{' s' if name.endswith('_s') else ''}" for name in names]
    rows = [(each["pool"], each["region"], *(_term(each.get(name)) for name in names)) for each in candidates]
    return table(["pool", "region", *titles], rows, right=titles, whole=["pool"])


def _term(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else clean(value)


def _left_out(excluded: dict[str, Any]) -> Text:
    return Text(f"left out: {excluded_text(excluded)}", "bright_black")


def excluded_text(excluded: dict[str, Any]) -> str:
    return ", ".join(f"{count} by {clean(dimension)}" for dimension, count in excluded.items()) or "none"


def quote_view(quote: Quote) -> Group:
    """The ways to run it, side by side."""
    head = Text(f"{quote['units']} units, {clean(quote['tflop'])} FP32 TFLOP")
    parts: list[RenderableType] = [head]
    if not quote["feasible"]:
        parts.append(Text("no pool can run this", "red"))
    options: dict[str, Any] = dict(quote)
    objectives = ("cheapest", "fastest", "greenest", "balanced", "own")
    given = {name: option for name in objectives if (option := options.get(name))}
    rows = [(name, *_option_cells(option)) for name, option in given.items()]
    if rows:
        columns = ["objective", "price", "time", "9 of 10", "g CO2", "pools"]
        parts.append(table(columns, rows, right=columns[1:5]))
    parts.extend(Text(line, "bright_black") for line in _following(given.values()))
    if quote["excluded"]:
        parts.append(_left_out(quote["excluded"]))
    return Group(*parts)


def _following(options: Iterable[dict[str, Any]]) -> list[str]:
    """A line for each rate that follows the market; the prices above count its ceiling."""
    pools = {pool["pool"]: pool.get("dynamic", {}) for option in options for pool in option["pools"]}
    return [
        clean(f"{pool}: {meter.replace('_', ' ')} follows the market, {rate['floor']} to {rate['ceiling']}")
        + (f", last {clean(rate['last'])}" if rate["last"] else "")
        for pool, rates in sorted(pools.items())
        for meter, rate in rates.items()
    ]


def _option_cells(option: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Price, expected time, P90, carbon, pools."""
    pools = ", ".join(f"{pool['units']} × {pool['pool']} ({pool['region']})" for pool in option["pools"])
    p90 = span(option.get("seconds_p90", option["seconds"]))
    carbon = f"{option.get('carbon_g', 0):.3g}"
    return money(option["price"], option["currency"]), span(option["seconds"]), p90, carbon, pools


def files_table(result: Result) -> Table:
    rows = [(file["path"], size(file["bytes"]), file["media_type"], file["sha256"][:12]) for file in result["files"]]
    return table(["file", "size", "type", "sha256"], rows, right=["size"])
