"""The agent's loop: tell the platform what is held and done, take new work, keep the machine busy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from gridfare.agent import log
from gridfare.agent.capacity import Capacity
from gridfare.agent.holdings import Holdings
from gridfare.agent.keeping import Keeper
from gridfare.agent.line import Line, Options
from gridfare.agent.notice import Notice, Wish, earliest, uptime
from gridfare.agent.outbox import Outbox
from gridfare.agent.owner import LOOK_S, Watch
from gridfare.agent.probes import Prober
from gridfare.agent.protocol import Channel, ProtocolError, Unreachable
from gridfare.agent.sensing import Sensing
from gridfare.agent.workshop import Workshop

SYNC = "/agent/v1/sync"
YOUNG_S, YOUNG_WAIT_S = 2.0, 0.25
SOON_S, BULK_S = 0.02, 0.3
SHOW_S = 1.0
BULK_ITEMS = 20
RESEND_REFUSED = 3
FATAL_REFUSALS = 5
NULL_WANT = 20_000


class Fatal(Exception):
    """The platform does not know this agent any more: there is nothing to go on with."""


class Loop:
    """The talk of one agent process with the platform. Everything here runs in the event loop's thread."""

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        workshop: Workshop,
        capacity: Capacity,
        options: Options,
        draining: Callable[[], bool] = lambda: False,
        wish: Wish = lambda: None,
        watch: Watch | None = None,
        sensing: Sensing | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.channel, self.outbox, self.options = channel, outbox, options
        self.names, self.chaos = workshop.choice.names(), workshop.chaos
        self.holdings = Holdings(workshop, capacity, options.null)
        self.holdings.sending = outbox.batch
        self.prober = Prober(channel, workshop.chaos, silent=options.null)
        self.line = Line()
        self.is_drained = draining
        self.watch, self.workshop, self.sensing, self.keeper = watch, workshop, sensing, keeper
        if keeper is not None:
            keeper.news = self._break_off
        self.notice = Notice(wish if watch is None else lambda: earliest(wish(), watch.last.left_s))
        self.noticed = False
        self.call: asyncio.Task[dict[str, Any]] | None = None
        self.stopping = False
        self.deadline = float("inf")
        self.last_busy = time.monotonic()

    # -- the talk ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until stopped and empty; raises Fatal when the platform refuses this agent."""
        keepers = [asyncio.create_task(self._keep())]
        if self.watch is not None:
            self.look_out(self.watch)  # before the first call: the platform must not send work to somebody's desk
            keepers.append(asyncio.create_task(self._watch_owner(self.watch)))
        try:
            while not self._finished():
                await self._pause()
                await self._exchange()
        finally:
            self.prober.stop()
            if self.keeper is not None:
                self.keeper.stop()
            for keeper in keepers:
                keeper.cancel()
            self.holdings.end_all("agent_stopping", "the agent ends")
            if self.holdings.tasks:
                await asyncio.wait(self.holdings.tasks, timeout=30)

    def _finished(self) -> bool:
        if time.monotonic() > self.deadline:
            return True
        return (self.stopping or self.is_drained()) and not self._busy()

    async def _exchange(self) -> None:
        """One sync, whatever becomes of it."""
        if self.chaos.strikes(self.chaos.drop_heartbeats):
            await asyncio.sleep(1.0)
            return
        try:
            sent = uptime()
            answer = await self._sync()
            if self.chaos.strikes(self.chaos.lose_answers):
                raise Unreachable("chaos lost the answer")
        except Unreachable as problem:
            self._untold()
            await self._back_off(problem)
        except ProtocolError as problem:
            await self._refused(problem)
        except asyncio.CancelledError:
            self._untold()
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        else:
            await self._answered(sent, answer)

    def _untold(self) -> None:
        if self.keeper is not None:
            self.keeper.missed()

    async def _answered(self, sent: float, answer: dict[str, Any]) -> None:
        self.line.renewed, self.line.failures, self.line.refusals = sent, 0, 0
        if self.sensing is not None:
            self.sensing.heard()
        await self._apply_safely(answer)

    async def _apply_safely(self, answer: dict[str, Any]) -> None:
        """An answer that is not of the protocol's form must not end the agent."""
        try:
            self.apply(answer)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            log.logger.exception("the platform's answer is not understood")
            await asyncio.sleep(1.0)

    async def _sync(self) -> dict[str, Any]:
        """Compose and send; the call can be broken off by `_interrupt`, which is a lost answer to the platform."""
        if self.outbox.batch is None and (self.holdings.ended or self.holdings.bound):
            items = self.holdings.next_items()
            self.holdings.sealed(await asyncio.to_thread(self.outbox.put, items))
            self.line.batch_items = len(items)
        wait_s = self._wait_s()
        self.holdings.news.clear()
        self.call = asyncio.create_task(self.channel.post(SYNC, self._request(wait_s), wait_s + 30))
        try:
            return await self.call
        finally:
            self.call = None

    def _request(self, wait_s: int) -> bytes:
        head = {
            "session": self.line.session,
            "want": self._want(),
            "wait_s": wait_s,
            "executors": self.names,
            "draining": self._leaving(),
            "reclaim_in_s": self.notice.wish(),
            "held": self.holdings.rows(),
            **self.prober.words(),
        }
        if self.sensing is not None and (status := self.sensing.news()) is not None:
            head["status"] = status
        if self.keeper is not None:
            head |= self.keeper.words()
        batch = self.outbox.batch
        reports = batch.to_json() if batch else "null"
        return (json.dumps(head)[:-1] + ', "reports": ' + reports + "}").encode()

    def _leaving(self) -> bool:
        return self.stopping or self.is_drained() or self.line.drain or self.noticed

    def _want(self) -> int:
        if self._leaving():
            return 0
        if self.options.null:
            return max(0, NULL_WANT - len(self.holdings.ended))
        return self.holdings.appetite.want(len(self.holdings.held) - self.holdings.waiting_to_show())

    def _wait_s(self) -> int:
        """How long the platform may hold its answer: not while something here is about to be reported."""
        if self.outbox.batch or self.holdings.ended or self.holdings.bound or self.stopping or self.prober.found is not None:
            return 0
        if not self.holdings.held:
            return self.options.idle_wait_s
        return 0 if self._is_young() or not self._want() else 1

    def _is_young(self) -> bool:
        return time.monotonic() - self.holdings.last_start < YOUNG_S

    async def _pause(self) -> None:
        """Wait for a reason to call: something to report, room for work, or a lease to renew."""
        bulk = self.line.batch_items >= BULK_ITEMS and bool(self.holdings.queue)
        earliest = max(self.line.earliest, self.line.answered + (BULK_S if bulk else SOON_S))
        if self.holdings.held and not (self.outbox.batch or self.holdings.ended or self.holdings.bound):
            quiet = YOUNG_WAIT_S if self._is_young() else self._quiet_s()
            if self.holdings.waiting_to_show():
                quiet = min(quiet, SHOW_S)
            await self._news_within(max(self.line.answered + quiet, earliest) - time.monotonic())
        left = (self.line.earliest if self.options.null else earliest) - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    def _quiet_s(self) -> float:
        """Until leases are to be renewed; who wants more work spends the last second of it in the call."""
        return self.line.renew_s - (1.0 if self._want() else 0.0)

    async def _news_within(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self.holdings.news.wait(), seconds)
            except TimeoutError:
                return

    async def _back_off(self, problem: Unreachable) -> None:
        self.line.failures += 1
        wait = min(0.2 * 2 ** min(self.line.failures - 1, 6), 5.0)
        if problem.retry_after_s is not None:
            wait = min(problem.retry_after_s, 60.0)
        if self.line.failures in (1, 4) or self.line.failures % 20 == 0:
            log.warning("the platform does not answer", why=problem, tries=self.line.failures)
        await asyncio.sleep(min(wait, max(self.deadline - time.monotonic(), 0)))

    async def _refused(self, problem: ProtocolError) -> None:
        """Refusals are not repaired by repeating: set a poisoned batch aside, give up when we are not known."""
        self.line.refusals += 1
        log.warning("the platform refuses the sync", why=problem, times=self.line.refusals)
        if problem.status in (401, 403, 404, 410) and self.line.refusals >= FATAL_REFUSALS:
            raise Fatal(str(problem))
        if problem.status in (400, 413, 422) and self.line.refusals >= RESEND_REFUSED:
            self.outbox.reject()
            self.holdings.sending = None
        await asyncio.sleep(min(0.2 * 2**self.line.refusals, 5.0))

    # -- the answer -------------------------------------------------------------------------------------------

    def apply(self, answer: dict[str, Any]) -> None:
        """Act on an answer."""
        now = time.monotonic()
        self.line.answered = now
        self.line.earliest = now + min(float(answer.get("next_s") or 0), self.line.lease_s / 3)
        self.line.lease_s = float(answer.get("lease_s") or self.line.lease_s)
        self.line.renew_s = min(max(float(answer.get("renew_s") or 1.0), 1.0), self.line.lease_s / 3)
        self.line.drain = bool(answer.get("drain"))
        if self.outbox.accept(answer.get("accepted")):
            self.holdings.sending = None
        self.prober.hear(answer.get("probe"))
        if self.keeper is not None:
            self.keeper.hear(answer.get("store"))
        for attempt, fence, why in answer.get("refused") or ():
            log.info("a report was refused", attempt=attempt, fence=fence, why=why)
        for attempt, fence, why in answer.get("stop") or ():
            self.holdings.stop(str(attempt), fence, why)
        for attempt, fence in answer.get("reveal") or ():
            self.holdings.show(str(attempt), fence)
        self.notice.hear(answer.get("reclaim_in_s"))
        self._heed_notice({str(attempt) for attempt, _ in answer.get("checkpoint") or ()})
        self.holdings.closed = self.stopping or self.is_drained() or self.noticed
        self.holdings.take(answer.get("specs") or {}, answer.get("leases") or [])

    # -- keeping watch ----------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Twice a second: leases that could not be renewed, the wish to drain, too much in the queue, idleness."""
        while True:
            await asyncio.sleep(0.5)
            self._check_leases()
            self._heed_notice(None)
            if self.is_drained() and not self.stopping:
                self._empty_queue("the machine is being drained")
            self.holdings.shed()
            self.prober.tick()
            if self.keeper is not None:
                self.keeper.tick()
            self._check_idle()

    def _heed_notice(self, named: set[str] | None) -> None:
        """While the machine is wanted back: take nothing, ask for checkpoints, and end what runs when it is time.

        ``named`` are attempts whose checkpoint an answer asks for; with a notice all are asked.
        """
        left = self.notice.left_s()
        changed, self.noticed = (left is not None) != self.noticed, left is not None
        if self.keeper is not None:
            self.keeper.paused = self.noticed
        if changed:
            self._turn(left)
        if left is not None:
            self.holdings.ask_checkpoints(None)
        elif named is not None or changed:
            self.holdings.ask_checkpoints(named or set())
        if left is not None and left <= 0:
            self.holdings.end_all("reclaimed", "the owner took the machine back")

    def _turn(self, left: float | None) -> None:
        """A notice begins or ends: the platform hears of it at once."""
        if left is None:
            log.info("the machine is lent again")
            self._break_off()
        else:
            log.info("the machine is wanted back", in_s=round(left, 1), held=len(self.holdings.held), **self._own_reason())
            self._empty_queue("the machine is wanted back", "reclaimed")

    def _own_reason(self) -> dict[str, str]:
        """Why this machine itself is not free, for its owner who wonders; nothing where it was the platform's word."""
        why = "" if self.watch is None else self.watch.last.why
        return {"why": why} if why else {}

    async def _watch_owner(self, watch: Watch) -> None:
        """Several times a second, so that whoever comes back has the machine within one."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look_out(watch)

    def look_out(self, watch: Watch) -> None:
        """One look at the machine's use: who is back has it now, programs get no grace."""
        view = watch.look(self.holdings.whole.cores - self.holdings.capacity.cores)
        if view.owner_is_here and any(not attempt.stopped() for attempt in self.holdings.held.values()):
            log.info("the owner is back", held=len(self.holdings.held), why=view.why)
            self.holdings.end_all("owner_returned", "the machine's owner is back")
            self.workshop.kill_everything()
        self._heed_notice(None)

    def _check_leases(self) -> None:
        """Stop by ourselves before the platform may give the units to somebody else."""
        bound = max(self.line.lease_s - 10, self.line.lease_s / 2)
        going_on = sum(not attempt.stopped() for attempt in self.holdings.held.values())
        if going_on and uptime() - self.line.renewed > bound:
            log.warning("leases could not be renewed", held=going_on)
            self.holdings.end_all("lease_unrenewed", "the platform could not be reached in time")

    def _check_idle(self) -> None:
        self.last_busy = time.monotonic() if self._busy() else self.last_busy
        limit = self.options.once_idle_s
        if limit is not None and not self.stopping and time.monotonic() - self.last_busy >= limit:
            self.stop()

    def _busy(self) -> bool:
        return bool(self.holdings.held or self.holdings.ended or self.outbox.batch)

    def _empty_queue(self, why: str, code: str = "agent_stopping") -> None:
        """Give back what waits, and break off a waiting call so that this is not kept for its end."""
        self.holdings.closed = True
        self.holdings.release_queue(why, code)
        self._break_off()

    def _break_off(self) -> None:
        """End a call that only waits, so that the next one tells what is new."""
        self.holdings.news.set()
        if self.call is not None and not (self.outbox.batch or self.holdings.held):
            self.call.cancel()

    def stop(self) -> None:
        """Leave in order: unstarted units go back, running ones get ``stop_s``. A second call leaves at once."""
        if self.stopping:
            self._stop_running()
            self.deadline = min(self.deadline, time.monotonic() + 3)
            return
        log.info("stopping", held=len(self.holdings.held), queued=len(self.holdings.queue))
        self.stopping = True
        self.deadline = time.monotonic() + self.options.stop_s + 15
        self._empty_queue("the agent is stopping")
        asyncio.get_running_loop().call_later(self.options.stop_s, self._stop_running)

    def _stop_running(self) -> None:
        self.holdings.end_all("agent_stopping", "the provider took the machine back")
