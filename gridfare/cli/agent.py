"""`agent ...`: lending a machine. The work is done by `gridfare.agent`; here are its options and its words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from gridfare.cli.group import FAILED, LATE
from gridfare.cli.market import gflops
from gridfare.cli.output import AsJson, Output, facts, state_text, table
from gridfare.cli.words import duration, span
from gridfare.client import checked_url
from gridfare.sdk import errors

if TYPE_CHECKING:
    from gridfare.agent import IdleRules, SelfTest

agent_app = typer.Typer(help="Lend this machine: join a pool, work, drain, test.", no_args_is_help=True)


def default_home() -> Path:
    """GRIDFARE_AGENT_HOME, else below XDG_DATA_HOME, else below ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("GRIDFARE_AGENT_HOME") or Path(base) / "gridfare" / "agent")


Home = Annotated[
    Path,
    typer.Option(
        "--home",
        metavar="DIR",
        default_factory=default_home,
        help="The agent's folder: key, caches, work.",
        show_default="GRIDFARE_AGENT_HOME or ~/.local/share/gridfare/agent",
    ),
]
Benchmark = Annotated[float, typer.Option("--benchmark-s", min=0.01, help="Seconds for each measurement.")]


@contextmanager
def speaking() -> Iterator[None]:
    """The agent's errors as errors of the command line."""
    from gridfare.agent import HomeError, ProtocolError, Unreachable

    try:
        yield
    except HomeError as error:
        raise errors.BadFile("agent_home", str(error)) from error
    except ProtocolError as error:
        document = {"code": error.code, "detail": error.detail} | error.fields
        raise errors.error_of(error.status, document) from error
    except Unreachable as error:
        raise errors.Unreachable("unreachable", str(error)) from error


@agent_app.command("join")
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="The platform's address.")],
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="From `gridfare pool token POOL`.")],
    home: Home,
    name: Annotated[str | None, typer.Option(help="The host's name when left out.")] = None,
    executor: Annotated[list[str] | None, typer.Option("--executor", help="What it offers; may be repeated.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="All when left out.")] = None,
    memory_mib: Annotated[int | None, typer.Option("--memory-mib", min=1, help="All when left out.")] = None,
    disk_mib: Annotated[int | None, typer.Option("--disk-mib", min=1, help="3/4 of the free disk.")] = None,
    cache_mib: Annotated[int, typer.Option("--cache-mib", min=0, help="For programs and inputs.")] = 10_240,
    benchmark_s: Benchmark = 1.0,
    as_json: AsJson = False,
) -> None:
    """Put this machine into the pool that the token belongs to, and test it. Exit code 1 when a test fails."""
    from gridfare import agent

    out, offered = Output(as_json), tuple(executor) if executor else None
    out.note("joining, and measuring this machine", "bright_black")
    with speaking():
        done = agent.join(
            checked_url(url), token, home, name, offered, cores, memory_mib, disk_mib, cache_mib, benchmark_s
        )
    said = Text.assemble(f"joined {done.pool} ({done.pool_name}), which is ", state_text(done.pool_state))
    out.show(asdict(done), said, *_view(done.selftest))
    out.note(f"to work: gridfare agent run --home {home}", "bright_black")
    _end(done.selftest)


@agent_app.command("selftest")
def selftest(
    home: Annotated[Path | None, typer.Option(metavar="DIR", help="Of an agent that has joined.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Tell the platform; needs --home.")] = False,
    benchmark_s: Benchmark = 1.0,
    as_json: AsJson = False,
) -> None:
    """Test and measure this machine. Exit code 1 when a test fails."""
    from gridfare import agent

    if send and home is None:
        raise typer.BadParameter("--send needs --home")
    out = Output(as_json)
    with speaking():
        done = agent.selftest(home, send, benchmark_s)
    out.show(asdict(done), *_view(done))
    _end(done)


def _view(done: SelfTest) -> list[RenderableType]:
    rows = [(each.code, state_text(each.status), each.measured, each.needed, each.hint) for each in done.results]
    checks = table(["check", "result", "measured", "needed", "hint"], rows, whole=["check"])
    speeds = done.benchmark
    measured = [
        ("FP32", f"{gflops(speeds.fp32_mflops / 1000)}FLOPS"),
        ("memory", f"{speeds.memory_mbps} MB/s"),
        ("disk", f"{speeds.disk_mbps} MB/s"),
    ]
    return [checks, Text(""), facts(measured)]


def _end(done: SelfTest) -> None:
    if not done.passed:
        raise typer.Exit(FAILED)


@agent_app.command("run")
def run(
    home: Home,
    executor: Annotated[str | None, typer.Option(help="Only this one: process, sandbox or null.")] = None,
    allow_untrusted: Annotated[
        bool, typer.Option("--allow-untrusted", help="Let `process` run programs nobody vouches for.")
    ] = False,
    once_idle: Annotated[
        str | None, typer.Option("--once-idle", metavar="TIME", help="End after so long without work.")
    ] = None,
    stop_after: Annotated[
        str, typer.Option("--stop-after", metavar="TIME", help="How long running units may go on after Ctrl-C.")
    ] = "10s",
    log_level: Annotated[str | None, typer.Option("--log-level", help="DEBUG, INFO, WARNING or ERROR.")] = None,
) -> None:
    """Work until stopped. Ctrl-C leaves in order; a second one at once. Its log goes to stderr."""
    from gridfare import agent

    idle_s, options = duration(once_idle) if once_idle else None, dict[str, Any]()
    options |= {"executor": executor, "allow_untrusted": allow_untrusted, "log_level": log_level}
    with speaking():
        code = agent.run(home, once_idle_s=idle_s, stop_s=duration(stop_after), **options)
    raise typer.Exit(code)


@agent_app.command("reclaim")
def reclaim(
    home: Home,
    notice: Annotated[str, typer.Option("--in", metavar="TIME", help="When you want it: 10m from now.")] = "0",
    lasting: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Until given back when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Want this machine back: programs are asked for a checkpoint now, and end then. The agent goes on running."""
    from gridfare import agent

    in_s = duration(notice)
    with speaking():
        agent.reclaim(home, in_s, duration(lasting) if lasting else None)
    Output(as_json).show({"in_s": in_s}, f"the machine is yours in {span(in_s)}" if in_s else "the machine is yours")


@agent_app.command("give-back")
def give_back(home: Home, as_json: AsJson = False) -> None:
    """Lend this machine again."""
    from gridfare import agent

    with speaking():
        agent.give_back(home)
    Output(as_json).show({"lent": True}, "the machine is lent again")


@agent_app.command("idle")
def idle(
    home: Home,
    hours: Annotated[list[str] | None, typer.Option(metavar="FROM-TO", help="22:00-07:00; may be repeated.")] = None,
    timezone: Annotated[str, typer.Option(help="Of the hours: Asia/Shanghai. The machine's own when left out.")] = "",
    max_load: Annotated[float | None, typer.Option("--max-load", min=0, help="Most load that others may make.")] = 1.0,
    min_idle: Annotated[str, typer.Option("--min-idle", metavar="TIME", help="Nobody must have used it so long.")] = "5m",
    on_battery: Annotated[bool, typer.Option("--on-battery", help="Work without mains, too.")] = False,
    presence: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Its change means: the owner is here.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Work at any time.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set when this machine may work for others. The agent heeds it from its next start on."""
    from gridfare import agent

    files = tuple(str(path.expanduser().absolute()) for path in presence or ())
    with speaking():
        try:
            rules = agent.IdleRules(tuple(hours or ()), timezone, max_load, duration(min_idle), on_battery, files)
        except agent.RulesError as problem:
            raise typer.BadParameter(str(problem)) from None
        agent.set_idle(home, None if off else rules)
    out = Output(as_json)
    out.show(None if off else asdict(rules), "it works at any time" if off else _idle_words(rules, min_idle))


def _idle_words(rules: IdleRules, min_idle: str) -> str:
    """Rules of a private machine as a sentence."""
    hours = f" between {', '.join(rules.hours)}" if rules.hours else ""
    where = f" ({rules.timezone})" if rules.hours and rules.timezone else ""
    load = "" if rules.max_load is None else f" and others' load is at most {rules.max_load:g}"
    return f"it works{hours}{where} when idle for {min_idle}{load}"


@agent_app.command("store")
def store(
    home: Home,
    mib: Annotated[int, typer.Option("--mib", min=0, max=2**31 - 1, help="0 offers none.")],
    as_json: AsJson = False,
) -> None:
    """Offer room for copies of artifacts that users want near. The agent heeds it from its next start on."""
    from gridfare import agent

    with speaking():
        agent.set_store(home, mib)
    Output(as_json).show({"store_mib": mib}, f"it keeps copies of up to {mib} MiB" if mib else "it keeps no copies")


@agent_app.command("drain")
def drain(
    home: Home,
    wait: Annotated[str | None, typer.Option("--wait", metavar="TIME", help="Wait so long for its end.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let the agent of this machine finish what runs, take nothing new, and end. Exit code 6 when it has not ended."""
    from gridfare import agent

    out = Output(as_json)
    with speaking():
        ended = agent.drain(home, duration(wait) if wait else None)
    out.show({"ended": ended}, "the agent has ended" if ended else "the agent is draining")
    if wait and not ended:
        raise typer.Exit(LATE)
