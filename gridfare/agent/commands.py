"""What an operator does with an agent: join a pool, run, drain, test the machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gridfare import version
from gridfare.agent import checks as tests
from gridfare.agent import facts, log
from gridfare.agent.files import write_atomically
from gridfare.agent.home import Accelerator, AgentConfig, Home, HomeError
from gridfare.agent.identity import load_identity, load_or_create_identity
from gridfare.agent.line import Options
from gridfare.agent.notice import write_wish
from gridfare.agent.owner import IdleRules
from gridfare.agent.protocol import Channel, Signer, post_once
from gridfare.agent.service import serve


@dataclass(frozen=True, slots=True)
class Joined:
    """The outcome of `join`: where the agent belongs, and how the machine did in the self-test."""

    agent_id: str
    pool: str
    pool_name: str
    pool_state: str
    selftest: tests.SelfTest


def join(
    url: str,
    token: str,
    home: Path | str,
    name: str | None = None,
    executors: tuple[str, ...] | None = None,
    cores: int | None = None,
    memory_mib: int | None = None,
    disk_mib: int | None = None,
    cache_mib: int = 10_240,
    benchmark_s: float = 1.0,
) -> Joined:
    """Enrol this machine in the pool that the token belongs to, test it, and send the results.

    Amounts are what the agent may use, by default the whole machine (and three quarters of the free disk).
    Joining again with the same home keeps the key. Raises ProtocolError (token_unknown, token_used, token_expired),
    Unreachable, HomeError when an agent is running in that home.
    """
    place = Home(home)
    place.create()
    os.umask(0o022)
    lock = place.hold()
    try:
        return _join(place, url.rstrip("/"), token, name, executors, cores, memory_mib, disk_mib, cache_mib, benchmark_s)
    finally:
        os.close(lock)


def _join(
    place: Home,
    url: str,
    token: str,
    name: str | None,
    executors: tuple[str, ...] | None,
    cores: int | None,
    memory_mib: int | None,
    disk_mib: int | None,
    cache_mib: int,
    benchmark_s: float,
) -> Joined:
    identity = load_or_create_identity(place.key)
    names = executors or facts.executors(place.sandbox, place.path.as_posix())
    amounts = (
        cores or facts.cores(),
        memory_mib or facts.memory_mib(),
        disk_mib or facts.free_disk_mib(place.path) * 3 // 4,
    )
    found = facts.collect(place.sandbox, names, *amounts)
    called = name or found["hostname"]
    payload = {"token": token, "public_key": identity.public_key, "name": called, "version": version, "facts": found}
    answer = post_once(url, "/agent/v1/enrol", payload)
    devices = tuple(Accelerator(**item) for item in found["accelerators"])
    pool = answer["pool"]
    identifier = str(answer["agent_id"])
    _forget_other_agent(place, identifier)
    idle = _rules_before(place) or (IdleRules() if is_shared(pool) else None)
    store = _store_before(place)
    config = AgentConfig(url, identifier, called, pool["identifier"], *amounts, tuple(names), devices, cache_mib, store, idle)
    place.save_config(config)
    result = tests.run(place.path, url, benchmark_s, config.cores)
    state = asyncio.run(_send_selftest(place, config, result))
    return Joined(identifier, pool["identifier"], pool.get("name", ""), state, result)


def is_shared(pool: dict[str, Any]) -> bool:
    """Whether the pool's machines are somebody's own, lent while they are idle."""
    return pool.get("kind") == "community" or pool.get("tier") == "end"


def _rules_before(place: Home) -> IdleRules | None:
    """What the owner set when this home had joined before."""
    with contextlib.suppress(HomeError):
        return place.load_config().idle
    return None


def _store_before(place: Home) -> int:
    with contextlib.suppress(HomeError):
        return place.load_config().store_mib
    return 0


def set_store(home: Path | str, mib: int) -> None:
    """How much room this machine offers for copies of artifacts (0: none); the agent heeds it from its next start on.

    Raises HomeError when the folder is no agent's home.
    """
    place = Home(home)
    place.save_config(replace(place.load_config(), store_mib=mib))


def set_idle(home: Path | str, rules: IdleRules | None) -> None:
    """When this machine may work for others (None: always); the agent heeds it from its next start on.

    Raises HomeError when the folder is no agent's home.
    """
    place = Home(home)
    place.save_config(replace(place.load_config(), idle=rules))


def _forget_other_agent(place: Home, identifier: str) -> None:
    """A chain of reports belongs to one agent id."""
    with contextlib.suppress(HomeError):
        if place.load_config().agent_id == identifier:
            return
    place.outbox.unlink(missing_ok=True)


async def _send_selftest(place: Home, config: AgentConfig, result: tests.SelfTest) -> str:
    channel = Channel(config.url, Signer(load_identity(place.key), config.agent_id))
    document = {"results": [item.to_json() for item in result.results], "benchmark": result.benchmark.to_json()}
    try:
        answer = await channel.post("/agent/v1/selftest", json.dumps(document).encode(), 60)
    finally:
        await channel.close()
    return str(answer.get("pool_state", ""))


def selftest(home: Path | str | None = None, send: bool = False, benchmark_s: float = 1.0) -> tests.SelfTest:
    """Test this machine; with ``send`` the platform gets the results (the home must have joined).

    Without a home a temporary folder is used. Raises HomeError, ProtocolError, Unreachable.
    """
    if home is None:
        with tempfile.TemporaryDirectory(prefix="gridfare-") as folder:
            return tests.run(Path(folder), None, benchmark_s)
    place = Home(home)
    place.create()
    config = place.load_config() if place.config.exists() else None
    result = tests.run(place.path, config.url if config else None, benchmark_s, config.cores if config else None)
    if send:
        asyncio.run(_send_selftest(place, place.load_config(), result))
    return result


def drain(home: Path | str, wait_s: float | None = None) -> bool:
    """Ask the agent of this home to finish what runs, give back the rest and end.

    Returns whether it has ended, at once or after waiting up to ``wait_s`` seconds. Raises HomeError when the folder
    is no agent's home.
    """
    place = Home(home)
    place.load_config()
    write_atomically(place.drain, b"")
    ends = time.monotonic() + (wait_s or 0)
    while place.is_held():
        if time.monotonic() >= ends:
            return False
        time.sleep(0.2)
    return True


def reclaim(home: Path | str, in_s: float = 0.0, for_s: float | None = None) -> None:
    """Want this machine back in ``in_s`` seconds, for ``for_s`` seconds (None: until `give_back`).

    Nothing new is taken from now on, programs are asked for a checkpoint, and what still runs then is ended. The agent goes
    on running. Raises HomeError when the folder is no agent's home.
    """
    place = Home(home)
    place.load_config()
    write_wish(place.reclaim, in_s, for_s)


def give_back(home: Path | str) -> None:
    """Lend this machine again. Raises HomeError when the folder is no agent's home."""
    place = Home(home)
    place.load_config()
    place.reclaim.unlink(missing_ok=True)


def run(
    home: Path | str,
    *,
    executor: str | None = None,
    allow_untrusted: bool = False,
    once_idle_s: float | None = None,
    stop_s: float = 10.0,
    log_level: str | None = None,
) -> int:
    """Work until stopped. Returns 0 after an orderly end, 3 when the platform does not know this agent any more.

    ``executor`` forces one (process, sandbox, null); `process` runs programs that the platform does not vouch for
    only with ``allow_untrusted``. ``once_idle_s`` ends the agent after that many seconds without work. SIGTERM and
    SIGINT give unstarted units back and let running ones go on for ``stop_s``; a second signal ends at once.
    Raises HomeError when the home has not joined or another agent runs in it.
    """
    log.configure(log_level or os.environ.get("GRIDFARE_LOG", "INFO"))
    os.umask(0o022)
    place = Home(home)
    config = place.load_config()
    place.create()
    lock = place.hold()
    options = Options(stop_s=stop_s, once_idle_s=once_idle_s)
    try:
        return asyncio.run(serve(place, config, options, executor, allow_untrusted))
    finally:
        os.close(lock)
