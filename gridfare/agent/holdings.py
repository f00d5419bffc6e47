"""Everything the agent has in hand: leases that wait, units that run, reports that are not sent yet."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import chain, islice
from typing import Any, Protocol

from gridfare.agent import log
from gridfare.agent.attempt import Attempt
from gridfare.agent.capacity import Appetite, Capacity
from gridfare.agent.executors import null
from gridfare.agent.model import Need, Spec, SpecError, read_lease, read_spec
from gridfare.agent.outbox import MAX_ITEMS, Batch, Report
from gridfare.agent.reasons import STALE, AttemptEnded, Released, failure

BACKFILL_DEPTH, BACKFILL_S = 32, 30.0
SPECS_KEPT = 1000
SLOTS = 1024


class Carrier(Protocol):
    """Takes one attempt to its end (the workshop)."""

    async def carry_out(self, attempt: Attempt) -> Report | None:
        """The attempt's report, or None when the platform wants none."""


class Holdings:
    """An attempt is held from its lease to its report; a report is kept until it is part of a sealed batch.

    ``news`` is set whenever there is something to tell the platform.
    """

    def __init__(self, workshop: Carrier, capacity: Capacity, is_null: bool = False) -> None:
        self.workshop, self.is_null = workshop, is_null
        self.capacity, self.whole = capacity, capacity.copy()
        self.appetite = Appetite(max(capacity.cores, 1))
        self.held: dict[str, Attempt] = {}
        self.queue: deque[Attempt] = deque()
        self.ended: dict[str, Report] = {}
        self.bound: dict[str, Report] = {}
        self.taken: list[Report] = []
        self.specs: dict[str, Spec | SpecError] = {}
        self.sending: Batch | None = None
        self.free_slots = list(range(SLOTS - 1, -1, -1))
        self.tasks: set[asyncio.Task[None]] = set()
        self.news = asyncio.Event()
        self.last_start = time.monotonic()
        self.closed = False

    def rows(self) -> list[list[Any]]:
        """What a sync names: all that is held, and what ended and is in no batch yet."""
        running = [attempt.held_row() for attempt in self.held.values()]
        return running + [[item["attempt"], item["fence"], "uploading", None] for item in self.ended.values()]

    def next_items(self) -> list[Report]:
        """Commitments and reports for the next batch; they stay here until `sealed`."""
        self.taken = list(islice(chain(self.bound.values(), self.ended.values()), MAX_ITEMS))
        return self.taken

    def sealed(self, batch: Batch) -> None:
        """A batch is on disk: its reports are no longer ours to keep."""
        self.sending = batch
        for item in self.taken:
            for kept in (self.bound, self.ended):
                if kept.get(str(item["attempt"])) is item:
                    del kept[str(item["attempt"])]

    # -- taking ------------------------------------------------------------------------------------------------

    def take(self, specs: dict[str, Any], rows: list[list[Any]]) -> None:
        """Take new leases; those we know already were given twice."""
        if self.is_null:
            fresh = [row for row in rows if not self.is_known(str(row[0]), row[1])]
            self.ended.update((str(item["attempt"]), item) for item in null.reports_of(fresh))
            return
        for name, document in specs.items():
            self._learn_spec(name, document)
        for row in rows:
            self._take_row(row)
        if self.closed:
            self.release_queue("the agent is leaving")
        self._admit()

    def _learn_spec(self, name: str, document: dict[str, Any]) -> None:
        try:
            self.specs[name] = read_spec(document)
        except SpecError as problem:
            log.warning("a spec is refused", why=problem)
            self.specs[name] = problem
        while len(self.specs) > SPECS_KEPT:
            self.specs.pop(next(iter(self.specs)))

    def is_known(self, key: str, fence: int) -> bool:
        """Whether a lease is already here: held, ended, or on its way in a batch."""
        if key in self.held:
            return self.held[key].lease.fence >= fence
        if key in self.ended:
            return bool(self.ended[key]["fence"] >= fence)
        return self.sending is not None and key in self.sending.attempts

    def _take_row(self, row: list[Any]) -> None:
        key, fence = str(row[0]), row[1]
        if self.is_known(key, fence):
            return
        if key in self.held:
            self.end(self.held[key], STALE)
            self.held.pop(key, None)
        try:
            attempt = Attempt(read_lease(row, self._spec(row[2])), time.monotonic())
        except SpecError as problem:
            ended = AttemptEnded("download_failed", str(problem), "capability_error")
            self.ended[key] = failure(row[0], fence, ended)
            return
        self.held[key] = attempt
        if self.whole.fits(attempt.lease.spec.need):
            self.queue.append(attempt)
        else:
            self._report(attempt, Released("executor_missing", "needs more than this machine declared"))

    def _spec(self, name: str) -> Spec:
        spec = self.specs.get(name) or SpecError("the spec was not sent")
        if isinstance(spec, SpecError):
            raise spec
        return spec

    # -- running -----------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Start queued attempts that fit, in order; small ones pass a large one for a while only."""
        skipped: list[Attempt] = []
        while self.queue and self.free_slots and len(skipped) < BACKFILL_DEPTH:
            attempt = self.queue.popleft()
            if self.capacity.fits(attempt.lease.spec.need):
                self._start(attempt)
                continue
            skipped.append(attempt)
            if time.monotonic() - attempt.arrived > BACKFILL_S or not self.capacity.cores:
                break
        self.queue.extendleft(reversed(skipped))

    def _start(self, attempt: Attempt) -> None:
        attempt.devices = self.capacity.take(attempt.lease.spec.need)
        attempt.bind = self._bind
        attempt.slot = self.free_slots.pop()
        attempt.phase, attempt.began = "preparing", time.monotonic()
        self.last_start = attempt.began
        task = asyncio.create_task(self._carry(attempt))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _carry(self, attempt: Attempt) -> None:
        """An attempt in its slot; the slot is free again before its report is sent."""
        report: Report | None = None
        try:
            report = await self.workshop.carry_out(attempt)
        except Exception:  # noqa: BLE001  one unit must not end the agent
            log.logger.exception("a unit broke the agent's own code: attempt=%s", attempt.lease.attempt)
            broken = AttemptEnded("download_failed", "the agent failed", "node_fault")
            report = failure(attempt.lease.attempt, attempt.lease.fence, broken)
        finally:
            self.capacity.give_back(attempt.occupies, attempt.devices)
            self.free_slots.append(attempt.slot)
        self.appetite.learn(time.monotonic() - attempt.began)
        if self.held.get(attempt.lease.key) is attempt:
            del self.held[attempt.lease.key]
            if report is not None:
                self.ended[attempt.lease.key] = report
        self.news.set()
        self._admit()

    def _bind(self, attempt: Attempt, item: Report) -> None:
        """A commitment is to be told; while its attempt waits, the machine works on other units."""
        need = attempt.lease.spec.need
        self.capacity.give_back(Need(need.cores, need.memory_mib, 0, need.accelerators), attempt.devices)
        attempt.devices = []
        self.bound[attempt.lease.key] = item
        self.news.set()
        self._admit()

    def waiting_to_show(self) -> int:
        """How many attempts have committed to a result and wait to be asked for it."""
        return sum(attempt.phase == "committed" for attempt in self.held.values())

    def show(self, key: str, fence: int) -> None:
        """The platform asks for the result that an attempt committed to."""
        attempt = self.held.get(key)
        if attempt is not None and attempt.lease.fence == fence and attempt.phase == "committed":
            attempt.asked.set()

    # -- ending ------------------------------------------------------------------------------------------------

    def stop(self, key: str, fence: int, why: str) -> None:
        """The platform wants an attempt to end."""
        if key in self.ended and self.ended[key]["fence"] == fence and why == STALE:
            del self.ended[key]
        attempt = self.held.get(key)
        if attempt is not None and attempt.lease.fence == fence:
            self.end(attempt, "cancelled" if why == "user_cancel" else STALE)

    def ask_checkpoints(self, keys: set[str] | None) -> None:
        """Ask these attempts (None: all) to save what they have; others need not any more."""
        for key, attempt in self.held.items():
            if attempt.saver is not None:
                if keys is None or key in keys:
                    attempt.saver.ask()
                else:
                    attempt.saver.unask()

    def end(self, attempt: Attempt, cause: str, detail: str = "") -> None:
        """End an attempt; a queued one has nothing to wait for."""
        attempt.stop(cause, detail)
        self.bound.pop(attempt.lease.key, None)
        if attempt.phase == "queued":
            self.queue.remove(attempt)
            self._report(attempt, None if cause == STALE else attempt.ending())

    def end_all(self, cause: str, detail: str) -> None:
        """End everything that is held."""
        for attempt in list(self.held.values()):
            self.end(attempt, cause, detail)

    def release_queue(self, why: str, code: str = "agent_stopping") -> None:
        """Give back everything that was not started."""
        while self.queue:
            self._report(self.queue.pop(), Released(code, why))

    def shed(self) -> None:
        """Give back what was fetched ahead for units that turn out to be long: another machine may be idle."""
        running = [attempt for attempt in self.held.values() if attempt.phase != "queued"]
        if not running or not self.queue:
            return
        youngest = time.monotonic() - max(attempt.began for attempt in running)
        keep = max(4 * (self.appetite.goal(youngest) - self.appetite.slots), self.appetite.slots)
        while len(self.queue) > keep:
            self._report(self.queue.pop(), Released("", "other machines can start it sooner"))

    def _report(self, attempt: Attempt, problem: AttemptEnded | None) -> None:
        """An attempt that never ran is over."""
        lease = attempt.lease
        if self.held.get(lease.key) is attempt:
            del self.held[lease.key]
        if problem is not None:
            self.ended[lease.key] = failure(lease.attempt, lease.fence, problem)
            self.news.set()
