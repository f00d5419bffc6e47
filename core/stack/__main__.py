"""python -m core.stack up [--once] [--no-demo] [--port PORT]
python -m core.stack tokens --to FOLDER
"""

import argparse
import os
import sys
from pathlib import Path

from core.embedded import EmbeddedError, data_folder
from core.stack.lock import AlreadyRunning
from core.stack.ports import PortError
from core.stack.show import Show
from core.stack.supervisor import StepFailed
from core.stack.tokens import write_tokens
from core.stack.up import Options, up


def main() -> int:
    """Exit code 0, that of the demo with --once, 1 when something could not be started."""
    arguments = _parser().parse_args()
    show = Show()
    try:
        if arguments.action == "tokens":
            return write_tokens(arguments.to)
        return up(Options(data_folder(), arguments.port, arguments.once, not arguments.no_demo), show)
    except (AlreadyRunning, EmbeddedError, OSError, PortError, StepFailed) as error:
        show.error(f"error: {error}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="core.stack", description="The whole market on this machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    start = actions.add_parser("up", help="start everything, run the demo, serve until Ctrl-C")
    start.add_argument("--once", action="store_true", help="end after the demo, with its exit code")
    start.add_argument("--no-demo", action="store_true", help="only serve")
    start.add_argument("--port", default=os.environ.get("PORT", ""), help="default: the first free from 8000")
    tokens = actions.add_parser("tokens", help="make the demo market and write its agents' join tokens")
    tokens.add_argument("--to", type=Path, required=True, help="folder for the files 1, 2, 3, ...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
