"""One agent process, put together from its parts and taken down in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gridfare.agent import log
from gridfare.agent.cache import Cache, Programs
from gridfare.agent.capacity import Capacity, Device
from gridfare.agent.chaos import Chaos
from gridfare.agent.checkpoints import Desk
from gridfare.agent.environments import Environments
from gridfare.agent.executors import Choice
from gridfare.agent.executors.base import Executor
from gridfare.agent.executors.process import ProcessExecutor
from gridfare.agent.executors.sandbox import find_sandbox
from gridfare.agent.family import Family, adopt_orphans
from gridfare.agent.files import remove_tree, write_atomically
from gridfare.agent.guardian import MARK, Guardian
from gridfare.agent.home import AgentConfig, Home
from gridfare.agent.identity import load_identity
from gridfare.agent.keeping import Keeper
from gridfare.agent.line import Options
from gridfare.agent.logs import LogShipper
from gridfare.agent.loop import Fatal, Loop
from gridfare.agent.model import MIB
from gridfare.agent.notice import read_wish
from gridfare.agent.outbox import Outbox
from gridfare.agent.owner import LinuxSenses, Watch
from gridfare.agent.procfs import kill_marked
from gridfare.agent.protocol import BlobChannel, Channel, Signer
from gridfare.agent.sensing import Energy, Sensing
from gridfare.agent.transfer import Transfer
from gridfare.agent.watchdog import Watchdog
from gridfare.agent.workshop import Workshop
from gridfare.agent.workspace import Folders


async def serve(
    place: Home,
    config: AgentConfig,
    options: Options,
    executor: str | None = None,
    allow_untrusted: bool = False,
    ready: Callable[[Loop], None] = lambda loop: None,
) -> int:
    """Run an agent in a home that the caller holds; returns the exit code. ``ready`` gets the loop, to stop it."""
    adopt_orphans()
    clean_up(place)
    guardian = Guardian.start()
    write_atomically(place.running, json.dumps({"mark": guardian.mark, "pid": os.getpid()}).encode())
    threads = ThreadPoolExecutor(8, thread_name_prefix="gridfare")
    signer = Signer(load_identity(place.key), config.agent_id)
    channel, blobs = Channel(config.url, signer), BlobChannel(config.url, signer)
    choice = Choice(find_executors(place, config, executor), executor, allow_untrusted)
    shop = build_workshop(place, config, choice, channel, blobs, threads, guardian)
    outbox = Outbox(place.outbox, signer.identity, place.rejected)
    options.null = executor == "null"
    whole = capacity_of(config)
    sensing = Sensing(place.path, shop.cache, lambda: whole, shop.energy.meter)
    wish = functools.partial(read_wish, place.reclaim)
    keeper = Keeper(place.kept, config.store_mib, shop.cache, shop.transfer, threads)
    loop = Loop(channel, outbox, shop, whole, options, place.drain.exists, wish, watch_of(config), sensing, keeper)
    helpers = [asyncio.create_task(shop.shipper.run()), asyncio.create_task(shop.watchdog.run())]
    handle_signals(loop)
    ready(loop)
    log.info("running", pool=config.pool, executors=",".join(choice.names()), cores=config.cores)
    try:
        await loop.run()
        log.info("ended", core_s=round(time.process_time(), 2))
        return 0
    except Fatal as problem:
        log.error("the platform does not know this agent", why=problem)
        return 3
    finally:
        for helper in helpers:
            helper.cancel()
        threads.shutdown(wait=False, cancel_futures=True)
        await channel.close()
        blobs.close()
        await asyncio.to_thread(guardian.dismiss)


def clean_up(place: Home) -> None:
    """Remove what an agent that was killed left: its programs, its working folders, an old wish to drain."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        killed = kill_marked(MARK, json.loads(place.running.read_bytes())["mark"])
        if killed:
            log.warning("programs of a killed agent were ended", processes=killed)
    for folder in (*place.work.iterdir(), place.saving):
        remove_tree(folder)
    place.drain.unlink(missing_ok=True)


def find_executors(place: Home, config: AgentConfig, forced: str | None) -> dict[str, Executor]:
    """Executors that were declared and work now."""
    found: dict[str, Executor] = {"process": ProcessExecutor()}
    sandbox, why = find_sandbox(place.sandbox, config.agent_id)
    if sandbox is not None:
        found["sandbox"] = sandbox
    else:
        log.warning("no sandbox: only programs that the platform vouches for run here", why=why)
    allowed = {*config.executors, forced}
    return {name: executor for name, executor in found.items() if name in allowed}


def watch_of(config: AgentConfig) -> Watch | None:
    """Who looks out for the machine's owner, where it has one who uses it."""
    return None if config.idle is None else Watch(config.idle, LinuxSenses(config.idle.presence))


def capacity_of(config: AgentConfig) -> Capacity:
    """What was declared, with one entry per accelerator in the order of its driver."""
    models = [item for item in config.accelerators for _ in range(item.count)]
    devices = [Device(index, item.model, item.memory_mib) for index, item in enumerate(models)]
    return Capacity(config.cores, config.memory_mib, config.disk_mib, devices)


def build_workshop(
    place: Home,
    config: AgentConfig,
    choice: Choice,
    channel: Channel,
    blobs: BlobChannel,
    threads: ThreadPoolExecutor,
    guardian: Guardian,
) -> Workshop:
    """Put the tools together."""
    family, transfer = Family(), Transfer(blobs)
    family.known.add(guardian.process.pid)
    return Workshop(
        folders=Folders(place.work),
        choice=choice,
        cache=Cache(place.cache, config.cache_mib * MIB),
        programs=Programs(place.programs),
        environments=Environments(place.environments, family, guardian.mark),
        transfer=transfer,
        shipper=LogShipper(channel),
        watchdog=Watchdog(threads),
        family=family,
        threads=threads,
        chaos=Chaos.from_environment(),
        mark=guardian.mark,
        energy=Energy(),
        desk=Desk(channel, transfer, threads, place.saving),
    )


def handle_signals(loop: Loop) -> None:
    """SIGTERM and SIGINT leave in order; only the main thread of a process can receive them."""
    events: Any = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):
            events.add_signal_handler(number, loop.stop)
