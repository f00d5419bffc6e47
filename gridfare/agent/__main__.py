"""`python -m gridfare.agent join|run|drain|selftest`: the agent without the rest of the command line."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from gridfare.agent import HomeError, ProtocolError, Unreachable, drain, join, run, selftest


def parser() -> argparse.ArgumentParser:
    """The four commands and their options."""
    root = argparse.ArgumentParser(prog="python -m gridfare.agent")
    commands = root.add_subparsers(dest="command", required=True)
    joining = commands.add_parser("join")
    joining.add_argument("url")
    joining.add_argument("token")
    joining.add_argument("--name")
    for option in ("--cores", "--memory-mib", "--disk-mib"):
        joining.add_argument(option, type=int)
    running = commands.add_parser("run")
    running.add_argument("--executor", choices=["process", "sandbox", "null"])
    running.add_argument("--allow-untrusted", action="store_true")
    running.add_argument("--once-idle-s", type=float)
    running.add_argument("--stop-s", type=float, default=10.0)
    draining = commands.add_parser("drain")
    draining.add_argument("--wait-s", type=float)
    testing = commands.add_parser("selftest")
    for command in (joining, running, draining):
        command.add_argument("--home", required=True)
    testing.add_argument("--home")
    return root


def main(words: list[str] | None = None) -> int:
    """Returns the exit code: 0 well, 1 refused, 3 unknown to the platform."""
    options = vars(parser().parse_args(words))
    command = options.pop("command")
    try:
        if command == "run":
            return run(**options)
        if command == "drain":
            return 0 if drain(**options) else 1
        done = join(**options) if command == "join" else selftest(**options)
    except (HomeError, ProtocolError, Unreachable) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(json.dumps(asdict(done), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
