"""Copies of artifacts that the platform asks this machine to keep (docs/protocol.md): fetched, kept, told of, dropped.

They lie in the cache's folder, so that attempts take them from there, but count against the room that the owner offers for
them (`agent.json: store_mib`) and are not evicted. What is kept is written down before it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gridfare.agent import log
from gridfare.agent.cache import Cache
from gridfare.agent.files import write_atomically
from gridfare.agent.model import DIGEST, MIB, Blob
from gridfare.agent.reasons import AttemptEnded, one_line
from gridfare.agent.transfer import Transfer

SCOPE = "store"  # the folder of the platform's blobs from which copies come
REPEAT_S = 60.0
MOST_FAILED = 64


class Keeper:
    """The store of one agent. Orders are heard in the event loop's thread; one copy at a time is fetched in another."""

    def __init__(
        self,
        book: Path,
        mib: int,
        cache: Cache,
        transfer: Transfer,
        threads: ThreadPoolExecutor,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        self.book, self.mib, self.cache, self.transfer, self.threads = book, mib, cache, transfer, threads
        self.news = news
        self.queue: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        self.telling: dict[str, str] = {}
        self.paused = False
        self.dirty, self.told_at, self.said = True, float("-inf"), False
        self.stopping = False
        self.work: asyncio.Task[None] | None = None
        cache.keep(read_book(book))

    # -- the talk ---------------------------------------------------------------------------------------------------

    def words(self) -> dict[str, Any]:
        """What a sync carries: everything that is kept, when that is news, or a minute old where room is offered."""
        old = self.mib > 0 and time.monotonic() - self.told_at >= REPEAT_S
        self.said = self.dirty or old
        if not self.said:
            return {}
        self.telling, self.dirty = dict(self.failed), False
        failed = [[sha256, why] for sha256, why in sorted(self.telling.items())]
        return {"store": {"mib": self.mib, "kept": sorted(self.cache.kept), "failed": failed}}

    def missed(self) -> None:
        """The call that carried the words was not answered."""
        self.dirty = self.dirty or self.said

    def hear(self, document: Any) -> None:
        """Orders: copies to keep and to drop, and contents of the cache that are pinned."""
        if self.said:
            self.said, self.told_at = False, time.monotonic()
            for sha256, why in self.telling.items():
                if self.failed.get(sha256) == why:
                    del self.failed[sha256]
        orders = document or {}
        for sha256 in orders.get("drop", ()):
            self._drop(sha256)
        for sha256, size, *_ in orders.get("keep", ()):
            self._order(sha256, int(size))
        if "pin" in orders:
            now_ms = time.time() * 1000
            self.cache.pin({sha256 for sha256, until_ms in orders["pin"] if until_ms > now_ms})

    def _order(self, sha256: str, size: int) -> None:
        if not DIGEST.fullmatch(sha256) or size < 0:
            raise ValueError(f"no copy to keep: {sha256!r}")
        if sha256 in self.cache.kept:
            self.dirty = True  # the platform does not know yet
        else:
            self.queue[sha256] = size
        self.tick()

    def _drop(self, sha256: str) -> None:
        self.queue.pop(sha256, None)
        if sha256 in self.cache.kept:
            self.cache.release({sha256})
            self._write()
            self.dirty = True

    # -- the work ---------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Begin to fetch if there is something to fetch, and the machine is not wanted back (`paused`)."""
        if self.queue and self.work is None and not (self.stopping or self.paused):
            self.work = asyncio.create_task(self._fetch_all())

    def stop(self) -> None:
        """Fetch no more; what has arrived of a copy is gone on from."""
        self.stopping = True
        if self.work is not None:
            self.work.cancel()

    async def _fetch_all(self) -> None:
        try:
            while self.queue and not self.paused:
                blob = Blob(*next(iter(self.queue.items())))
                why = await asyncio.get_running_loop().run_in_executor(self.threads, self._fetch, blob)
                self._settle(blob.sha256, why)
        finally:
            self.work = None

    def _settle(self, sha256: str, why: str | None) -> None:
        """After a fetch: kept, failed, dropped meanwhile, or broken off because the machine is wanted back."""
        if why is not None and self.paused and sha256 in self.queue:
            return
        wished = self.queue.pop(sha256, None) is not None
        if not wished:
            self.cache.release({sha256})
        elif why is not None and len(self.failed) < MOST_FAILED:
            self.failed[sha256] = why
        self._write()
        self.dirty = True
        self.news()

    def _fetch(self, blob: Blob) -> str | None:
        """One copy, in a thread; returns why it is not there."""
        if sum(self.cache.kept.values()) + blob.bytes > self.mib * MIB:
            return "the machine offers less room than that"
        self.cache.expect({blob.sha256})
        try:
            with self.cache.use(blob, self._download(blob), lambda count: None):
                self.cache.keep({blob.sha256: blob.bytes})
        except (AttemptEnded, OSError) as problem:
            why = one_line(getattr(problem, "detail", "") or str(problem))
            log.warning("a copy could not be fetched", sha256=blob.sha256[:12], why=why)
            return why
        finally:
            self.cache.expect(())
        log.info("a copy is kept", sha256=blob.sha256[:12], bytes=blob.bytes)
        return None

    def _download(self, blob: Blob) -> Callable[[Path], int]:
        def unwanted() -> bool:
            return self.stopping or self.paused or blob.sha256 not in self.queue

        return lambda target: self.transfer.download(SCOPE, blob, target, unwanted)

    def _write(self) -> None:
        write_atomically(self.book, json.dumps(self.cache.kept, sort_keys=True).encode())


def read_book(path: Path) -> dict[str, int]:
    """sha256 → bytes of what was kept when the agent last ran; nothing where the book is damaged."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        found = json.loads(path.read_bytes())
        return {sha: int(size) for sha, size in found.items() if DIGEST.fullmatch(sha)}
    return {}
