"""python -m core.embedded env|up|down|status [--dir FOLDER] [--forgetful]

env prints shell lines, so that `eval "$(python -m core.embedded env)"` points any program at the servers.
"""

import argparse
import shlex
import sys
from pathlib import Path

from core.embedded import EmbeddedError, data_folder, ensure, servers, stop


def main() -> int:
    """Exit code 0; 1 when a server cannot be had, or when status finds one that does not run."""
    options = _parser().parse_args()
    try:
        return int(_ACTIONS[options.action](options))
    except EmbeddedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="core.embedded", description="The embedded PostgreSQL and Redis.")
    parser.add_argument("action", choices=sorted(_ACTIONS))
    parser.add_argument("--dir", type=Path, default=data_folder(), help="data folder (default: %(default)s)")
    parser.add_argument("--forgetful", action="store_true", help="faster; a crash may lose data")
    return parser


def _env(options: argparse.Namespace) -> int:
    found = ensure(options.dir, durable=not options.forgetful)
    print(f"export DATABASE_URL={shlex.quote(found.database_url)}")
    print(f"export REDIS_URL={shlex.quote(found.redis_url)}")
    return 0


def _up(options: argparse.Namespace) -> int:
    ensure(options.dir, durable=not options.forgetful)
    return _status(options)


def _down(options: argparse.Namespace) -> int:
    stop(options.dir)
    return 0


def _status(options: argparse.Namespace) -> int:
    found = {server.name: server.pid() for server in servers(options.dir)}
    for name, pid in found.items():
        print(f"{name}: {f'running, pid {pid}' if pid else 'not running'}")
    return 0 if all(found.values()) else 1


_ACTIONS = {"env": _env, "up": _up, "down": _down, "status": _status}

if __name__ == "__main__":
    sys.exit(main())
