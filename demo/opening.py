"""What must be there before a user can ask: active pools, published capabilities."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from demo.accounts import Cast
from demo.market import CAPABILITIES, CAROL
from gridfare.client import Client
from gridfare.sdk.answers import Pool
from gridfare.sdk.errors import GridfareError, WaitTimeout

FOLDER: Final = Path(__file__).resolve().parent.parent / "capabilities"
POOLS_S: Final = 120.0
TESTS_S: Final = 900.0


def open_market(cast: Cast, console: Console) -> None:
    """Admit the pools whose agents passed their self-test, then publish what is not published yet."""
    for provider in (cast.bob, cast.erin):
        _admit(provider, cast.olga, console)
    with ThreadPoolExecutor(len(CAPABILITIES)) as workers:
        for line in workers.map(lambda name: _publish(cast, name), CAPABILITIES):
            console.print(line)


def _admit(provider: Client, operator: Client, console: Console) -> None:
    """The provider waits for its machines, the operator lets them in."""
    until = time.monotonic() + POOLS_S
    for identifier in [pool["identifier"] for pool in provider.pools()]:
        pool = _verified(provider, identifier, until)
        if pool["state"] == "verified":
            pool = operator.move_pool(identifier, "activate")
        power = f"{float(pool['fp32_gflops']):.1f} GFLOPS FP32 on {pool['cores']} of its cores"
        console.print(f"[green]pool[/] {identifier}  {pool['name']}, {pool['region']}: {pool['state']}, {power}")


def _verified(provider: Client, identifier: str, until: float) -> Pool:
    """The pool, once its agent has joined and its self-test has passed."""
    while (pool := provider.pool(identifier))["state"] in ("registered", "enrolled"):
        if time.monotonic() > until:
            raise WaitTimeout(f"the pool {pool['name']} is still {pool['state']}", pool)
        time.sleep(0.3)
    return pool


def _publish(cast: Cast, name: str) -> str:
    """Publish a built-in capability: drafted by carol, trusted by olga, tested on a pool, listed."""
    known = _published(cast.carol, f"{CAROL.slug}/{name}")
    if known:
        return f"[green]capability[/] {known}: published before"
    draft: dict[str, Any] = dict(cast.carol.draft_capability(FOLDER / name))
    full = f"{draft['name']}@{draft['version']}"
    if not draft.get("trusted"):
        cast.olga.move_capability(full, "trust")
    began = time.monotonic()
    version = cast.carol.publish_capability(FOLDER / name, timeout=TESTS_S)
    tests = len(version.get("test_report") or [])
    return f"[green]capability[/] {full}: {tests} tests passed in {time.monotonic() - began:.0f} s, published"


def _published(carol: Client, name: str) -> str | None:
    try:
        versions = carol.capability(name)["versions"]
    except GridfareError:
        return None
    return next((f"{name}@{v['version']}" for v in versions if v["state"] == "published"), None)
