"""`quote`, `submit`, `run`, `wait`: handing in work, and waiting for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from gridfare.cli.group import Interrupted, code_of_state
from gridfare.cli.inputs import existing, inputs_of, pairs
from gridfare.cli.output import AsJson, Output
from gridfare.cli.progress import bytes_moving, task_moving
from gridfare.cli.session import open_client
from gridfare.cli.views import quote_view, task_line
from gridfare.cli.words import deadline as moment
from gridfare.cli.words import duration
from gridfare.client import Client
from gridfare.sdk.answers import Task

SETTLE_S = 5.0

Capability = Annotated[str, typer.Argument(metavar="CAPABILITY", help="org/name, or org/name@version.")]
Input = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="NAME=VALUE", help="JSON or text; @path uploads a file, a folder; NAME[]= is a list."),
]
Inputs = Annotated[
    str | None, typer.Option("--inputs", metavar="FILE", help="All inputs as a JSON object; - is stdin.")
]
Objective = Annotated[
    str | None,
    typer.Option(help="What is worth most: price, time, carbon, or each of them.", metavar="cheapest|fastest|greenest|balanced"),
]
Regions = Annotated[list[str] | None, typer.Option("--region", help="Only there; may be repeated.")]
Providers = Annotated[list[str] | None, typer.Option("--provider", help="Only these; may be repeated.")]
Excluded = Annotated[list[str] | None, typer.Option("--exclude-provider", help="Not these; may be repeated.")]
MaxPrice = Annotated[str | None, typer.Option("--max-price", metavar="AMOUNT", help="Refuse to pay more.")]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="TERM=NUMBER", help="Own objective: price, hour, kilogram (of CO2), risk; may be repeated."),
]
MinTrust = Annotated[str | None, typer.Option("--min-trust", metavar="0..1", help="Only pools this likely to be right.")]
NetworkClass = Annotated[
    str | None,
    typer.Option("--network", metavar="REGION:CLASS", help="From that region, a way of jitter class 0 (deterministic) to 3."),
]
MinLevel = Annotated[
    int | None,
    typer.Option("--min-level", min=0, max=4, metavar="0..4", help="Lowest level of a pool: 2 passed its self-test, 4 is audited."),
]
Unproven = Annotated[
    bool,
    typer.Option("--accept-unproven", help="Believe single results of community pools that have no record yet."),
]
Deadline = Annotated[str | None, typer.Option("--deadline", metavar="TIME", help="RFC 3339, or a duration such as 2h.")]
Verify = Annotated[
    str | None,
    typer.Option("--verify", metavar="POLICY", help='exact, or JSON such as {"quorum": {"of": 3, "need": 2}}.'),
]
Name = Annotated[str | None, typer.Option("--name", help="For people to recognise it.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="May be repeated.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end; the exit code tells how it was.")]
Download = Annotated[Path | None, typer.Option("--download", "-d", metavar="DIR", help="Wait, then fetch the result.")]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="Stop waiting after 90s, 15m, ... (exit 6).")
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Submitting again with the same key gives the same task."),
]


@dataclass(frozen=True)
class Ending:
    """What is to happen after the submit."""

    wait: bool = False
    download: Path | None = None
    timeout: str | None = None

    def seconds(self) -> float | None:
        return duration(self.timeout) if self.timeout else None


def rules(
    objective: str | None,
    regions: list[str] | None,
    providers: list[str] | None,
    excluded: list[str] | None,
    max_price: str | None,
    deadline: str | None,
    weights: list[str] | None,
    min_trust: str | None,
    min_level: int | None,
    network: str | None,
    accept_unproven: bool = False,
) -> dict[str, Any]:
    """The keyword arguments of `Client.quote` and `Client.submit` that say where and how."""
    return {
        "objective": objective,
        "regions": regions or (),
        "providers": providers or (),
        "exclude_providers": excluded or (),
        "max_price": max_price,
        "deadline": moment(deadline) if deadline else None,
        "more": _more(weights, min_trust, min_level, network) | _accepted(accept_unproven),
    }


def _more(weights: list[str] | None, min_trust: str | None, min_level: int | None, network: str | None) -> dict[str, Any]:
    """Constraints that few need; the platform checks their values."""
    more: dict[str, Any] = {}
    if weights:
        more["weights"] = dict(pairs(weights, "--weight"))
    if min_trust:
        more["min_trust"] = min_trust
    if min_level is not None:
        more["min_level"] = min_level
    if network:
        region, _, jitter_class = network.partition(":")
        more["network"] = {"from": region, "jitter_class": jitter_class or 3}
    return more


def _accepted(unproven: bool) -> dict[str, Any]:
    return {"accept_unproven": True} if unproven else {}


def quote(
    ctx: typer.Context,
    capability: Capability,
    given: Input = None,
    inputs: Inputs = None,
    objective: Objective = None,
    region: Regions = None,
    provider: Providers = None,
    exclude_provider: Excluded = None,
    max_price: MaxPrice = None,
    deadline: Deadline = None,
    weight: Weights = None,
    min_trust: MinTrust = None,
    min_level: MinLevel = None,
    network: NetworkClass = None,
    accept_unproven: Unproven = False,
    as_json: AsJson = False,
) -> None:
    """Price and time of a task, without handing it in."""
    out = Output(as_json)
    where = rules(
        objective, region, provider, exclude_provider, max_price, deadline, weight, min_trust, min_level, network, accept_unproven
    )
    values, client = inputs_of(given or [], inputs), open_client(ctx)
    with bytes_moving(out, "uploading") as progress:
        answer = client.quote(capability, values, **where, progress=progress)
    out.show(answer, quote_view(answer))


def submit(
    ctx: typer.Context,
    capability: Capability,
    given: Input = None,
    inputs: Inputs = None,
    objective: Objective = None,
    region: Regions = None,
    provider: Providers = None,
    exclude_provider: Excluded = None,
    max_price: MaxPrice = None,
    deadline: Deadline = None,
    weight: Weights = None,
    min_trust: MinTrust = None,
    min_level: MinLevel = None,
    network: NetworkClass = None,
    accept_unproven: Unproven = False,
    verify: Verify = None,
    name: Name = None,
    label: Labels = None,
    wait: Wait = False,
    download: Download = None,
    timeout: Timeout = None,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a task. Files are uploaded first, unless the platform has them already."""
    where = rules(
        objective, region, provider, exclude_provider, max_price, deadline, weight, min_trust, min_level, network, accept_unproven
    )
    where |= {"verify": policy_of(verify), "name": name, "labels": dict(pairs(label or [], "--label"))}
    where |= {"idempotency_key": idempotency_key}
    hand_in(
        ctx,
        Output(as_json),
        capability,
        inputs_of(given or [], inputs),
        where,
        Ending(wait, download, timeout),
    )


def policy_of(text: str | None) -> Any:
    """The value of --verify: a word, or JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise typer.BadParameter("is no JSON", param_hint="--verify") from None


def run(
    ctx: typer.Context,
    argv: Annotated[list[str], typer.Argument(metavar="-- ARGV...", help="The program and its words, after --.")],
    file: Annotated[list[str] | None, typer.Option("--file", "-f", metavar="PATH", help="Put below in/files/.")] = None,
    output: Annotated[list[str] | None, typer.Option("--output", "-o", metavar="GLOB", help="Files to keep.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", help="Units; {index} in a word is its number.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE")] = None,
    cores: Annotated[int | None, typer.Option(help="Cores of one unit.")] = None,
    memory: Annotated[int | None, typer.Option(metavar="MIB", help="Memory of one unit.")] = None,
    limit: Annotated[str | None, typer.Option("--limit", metavar="TIME", help="Stop a unit after this long.")] = None,
    capability: Annotated[str, typer.Option(help="The capability that runs it.")] = "gridfare/command",
    objective: Objective = None,
    region: Regions = None,
    provider: Providers = None,
    exclude_provider: Excluded = None,
    max_price: MaxPrice = None,
    deadline: Deadline = None,
    weight: Weights = None,
    min_trust: MinTrust = None,
    min_level: MinLevel = None,
    network: NetworkClass = None,
    accept_unproven: Unproven = False,
    verify: Verify = None,
    name: Name = None,
    label: Labels = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the end.")] = True,
    download: Download = None,
    timeout: Timeout = None,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Run a command somewhere: gridfare run -f data.csv -o out.txt -d . -- sh -c 'wc -l in/files/* > out.txt'."""
    words: dict[str, Any] = {"argv": argv, "count": count, "cores": cores, "memory_mib": memory}
    words |= {
        "files": [existing(path) for path in file or []],
        "outputs": output,
        "env": dict(pairs(env or [], "-e")),
    }
    words["run_s"] = max(1, int(duration(limit))) if limit else None
    where = rules(
        objective, region, provider, exclude_provider, max_price, deadline, weight, min_trust, min_level, network, accept_unproven
    )
    where |= {"verify": policy_of(verify), "name": name, "labels": dict(pairs(label or [], "--label"))}
    where |= {"idempotency_key": idempotency_key}
    given = {key: value for key, value in words.items() if value}
    hand_in(ctx, Output(as_json), capability, given, where, Ending(wait, download, timeout))


def wait(
    ctx: typer.Context,
    task_id: Annotated[str, typer.Argument(metavar="ID")],
    timeout: Timeout = None,
    download: Download = None,
    as_json: AsJson = False,
) -> None:
    """Wait for a task's end; the exit code tells how it was."""
    out, client = Output(as_json), open_client(ctx)
    finish(out, client, task_id, Ending(True, download, timeout))


def hand_in(
    ctx: typer.Context,
    out: Output,
    capability: str,
    inputs: dict[str, Any],
    where: dict[str, Any],
    ending: Ending,
) -> None:
    """Upload, submit, and do what is wanted afterwards."""
    ending.seconds()  # a wrong duration is found before anything is handed in
    client = open_client(ctx)
    with bytes_moving(out, "uploading") as progress:
        task = client.submit(capability, inputs, **where, progress=progress)
    if ending.wait or ending.download:
        out.note(f"submitted {task['id']}", "bright_black")
        finish(out, client, task["id"], ending)
    else:
        out.show(task, task["id"])
        out.note(f"follow it: gridfare show {task['id']}", "bright_black")


def finish(out: Output, client: Client, task_id: str, ending: Ending) -> None:
    """Wait, download, say how it was, and exit with the state's code."""
    task = watch(out, client, task_id, ending.seconds())
    fetched = fetch(out, client, task, ending.download) if task["state"] == "delivered" else []
    document = task | {"downloaded": [str(path) for path in fetched]} if ending.download else task
    out.show(document, task_line(task), *[Text(str(path)) for path in fetched])
    if task["state"] == "delivered" and not ending.download and task["result"] and task["result"]["files"]:
        out.note(f"fetch the result: gridfare results {task_id} -o DIR", "bright_black")
    elif task["state"] == "failed":
        out.note(f"what it said: gridfare logs {task_id}", "bright_black")
    raise typer.Exit(code_of_state(task["state"]))


def watch(out: Output, client: Client, task_id: str, seconds: float | None) -> Task:
    """Wait with a progress display. Ctrl-C leaves the task alone and says so."""
    try:
        with task_moving(out) as look:
            return client.wait(task_id, seconds, on_change=look, settle_s=SETTLE_S)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped waiting; the task goes on.\n  gridfare wait {task_id}\n  gridfare cancel {task_id}",
            task_id,
        ) from None


def fetch(out: Output, client: Client, task: Task, folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    try:
        with bytes_moving(out, "downloading") as progress:
            return client.download_results(task["id"], folder, progress=progress)
    except KeyboardInterrupt:
        again = f"stopped downloading; to go on: gridfare results {task['id']} -o {folder}"
        raise Interrupted(again, task["id"]) from None
