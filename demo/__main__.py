"""`python -m demo`: the main job on real input, run through the public API as any user would.

Exit code 0 when everything was delivered and billed and the ledger balances, otherwise 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from demo.accounts import log_in_all
from demo.job import run_job
from demo.month import settle_month
from demo.opening import open_market
from demo.summary import print_summary
from gridfare.sdk.errors import GridfareError


def main() -> int:
    console = Console()
    url = os.environ.get("GRIDFARE_URL") or os.environ.get("GRIDFARE_BASE_URL") or "http://127.0.0.1:8000"
    data = Path(os.environ.get("GRIDFARE_DATA", ".gridfare"))
    try:
        cast = log_in_all(url)
        open_market(cast, console)
        outcomes = run_job(cast.alice, data / "results", console)
        settle_month(cast, console)
        return print_summary(cast, outcomes, url, console)
    except GridfareError as error:
        console.print(f"[bold red]The demo stopped:[/] {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
