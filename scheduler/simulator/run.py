"""Virtual time: units arrive, rounds place them, they run and end; until nobody is left whom a round would place. Pure.

    arrival, end, deadline passed → something has changed → a round, `gap_s` after the last one at the earliest
                                                            (and every `sweep_s` while units wait)

A round is the production planner's: its snapshot is made as scheduler/snapshots.py makes it, from what is live on the pools.
Units placed get in line at their pool (machines.py) and hold its resources while their data come, they run, and the result
goes back. How long they run is the trace's word, times how much slower the pool's cores are than the trace's.

A unit that still waits when its deadline passes is given up, as is who waits when nothing happens any more: both are unplaced.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.matching.loads import load_of, used_by
from scheduler.matching.scalar import needs_of, unit_price
from scheduler.matching.values import ClassState, Placement, PoolState, Snapshot
from scheduler.needs import key_of
from scheduler.simulator.learning import Paces
from scheduler.simulator.machines import Machine, Party
from scheduler.simulator.park import Park
from scheduler.simulator.policies import Policy
from scheduler.simulator.values import Trace

END, ARRIVE, GIVE_UP, LOOK = range(4)  # the order of what happens at the same moment
WAITING_PER_CLASS: Final = 20_000  # units of a class that a round counts; as scheduler/snapshots.py has it


@dataclass(frozen=True, slots=True)
class Settings:
    """How a simulation is played.

    gap_s       least virtual seconds between rounds
    sweep_s     most of them while units wait and nothing happens; 0: no round unless something happens
    time_box_s  wall time of a round's optimum: where no round needs longer (`Outcome.decided_by` tells) an outcome is reproducible
    learn       from ended units, or believe what was asked for
    seed        of what the policy draws
    """

    gap_s: float = 0.05
    sweep_s: float = 300.0
    time_box_s: float = 60.0
    learn: bool = True
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """How it went. By unit, in the trace's order: seconds from the trace's beginning (None: never), pool, money, grams.

    held, waiting   (second, busy cores), (second, units that have not started) at every change
    rounds_s        the planner's wall time in each round; decided_by  → rounds
    """

    trace: Trace
    park: Park
    policy: Policy
    started: list[float | None]
    ended: list[float | None]
    pool: list[int | None]
    cost: list[float]
    carbon_g: list[float]
    held: list[tuple[float, float]] = field(default_factory=list)
    waiting: list[tuple[float, int]] = field(default_factory=list)
    rounds_s: list[float] = field(default_factory=list)
    decided_by: dict[str, int] = field(default_factory=dict)


def simulate(trace: Trace, park: Park, policy: Policy, settings: Settings | None = None) -> Outcome:
    """A trace from its first arrival to its last end."""
    return _World(trace, park, policy, settings or Settings()).play()


class _World:
    def __init__(self, trace: Trace, park: Park, policy: Policy, settings: Settings) -> None:
        self.trace, self.park, self.policy, self.settings = trace, park, policy, settings
        n = len(trace.units)
        self.outcome = Outcome(trace, park, policy, [None] * n, [None] * n, [None] * n, [0.0] * n, [0.0] * n)
        self.machines = {pool.id: Machine(pool) for pool in park.pools}
        self.paces, self.chance = Paces(), random.Random(settings.seed)  # noqa: S311  nothing secret is drawn
        self.documents: dict[int, Mapping[str, Any]] = {}
        self.needs: dict[int, Mapping[str, float]] = {}
        self.need_ids = self._classes()
        self.queues: dict[int, deque[int]] = {}
        self.on_pool: dict[int, tuple[int, float]] = {}  # unit that runs → its pool, seconds
        self.carbon: tuple[int, dict[str, float]] = (-1, {})  # hour since the epoch, its grams by region
        self.events: list[tuple[float, int, int]] = [(unit.at, ARRIVE, i) for i, unit in enumerate(trace.units)]
        heapq.heapify(self.events)
        self.now, self.last_round, self.look_at = 0.0, -float("inf"), float("inf")
        self.changed, self.busy, self.running, self.not_started = False, 0.0, 0, 0

    def _classes(self) -> list[int]:
        """The class of every unit: equal needs are one, numbered as they come."""
        by_key: dict[str, int] = {}
        by_object: dict[int, int] = {}
        for unit in self.trace.units:
            if id(unit.document) not in by_object:
                document = self.policy.asked(unit.document)
                number = by_key.setdefault(key_of(dict(document)), len(by_key) + 1)
                by_object[id(unit.document)] = number
                self.documents[number], self.needs[number] = document, needs_of(document["need"])
        return [by_object[id(unit.document)] for unit in self.trace.units]

    def play(self) -> Outcome:
        while self.events:
            self._to_next_moment()
            if not self.queues:
                continue
            if self.changed and self.now >= self.last_round + self.settings.gap_s:
                placed = self._round()
                self._look_again(placed)
            elif self.changed:
                self._look(self.last_round + self.settings.gap_s)
        return self.outcome

    # -- time ----------------------------------------------------------------------------------------------------

    def _to_next_moment(self) -> None:
        """Everything that happens at the next moment."""
        self.now = self.events[0][0]
        touched: set[int] = set()
        while self.events and self.events[0][0] <= self.now:
            _, kind, number = heapq.heappop(self.events)
            if kind == END:
                touched.add(self._end(number))
            elif kind == ARRIVE:
                self._arrive(number)
            elif kind == GIVE_UP:
                self._give_up(number)
            elif self.now >= self.look_at:
                self.look_at, self.changed = float("inf"), True
        for pool_id in sorted(touched):
            self._start(self.machines[pool_id])
        self._note()

    def _look(self, at: float) -> None:
        """Think of a round at a moment, unless one is thought of before it."""
        if at < self.look_at:
            self.look_at = at
            heapq.heappush(self.events, (at, LOOK, 0))

    def _look_again(self, placed: int) -> None:
        """The next round when nothing happens; none when nothing ever will."""
        if self.queues and self.settings.sweep_s and (self.running or placed):
            self._look(self.now + self.settings.sweep_s)

    def _note(self) -> None:
        self.outcome.held.append((self.now, self.busy))
        self.outcome.waiting.append((self.now, self.not_started))

    # -- units ---------------------------------------------------------------------------------------------------

    def _arrive(self, number: int) -> None:
        need_id = self.need_ids[number]
        self.queues.setdefault(need_id, deque()).append(number)
        self.not_started += 1
        self.changed = True
        deadline = self.documents[need_id].get("deadline")
        if deadline is not None:
            heapq.heappush(self.events, (max(deadline - self.trace.begins_at, self.now), GIVE_UP, number))

    def _give_up(self, number: int) -> None:
        """The deadline has passed: who still waits for a place goes."""
        queue = self.queues.get(self.need_ids[number])
        if queue and number in queue:
            queue.remove(number)
            self.not_started -= 1
            self._forget_empty(self.need_ids[number])

    def _forget_empty(self, need_id: int) -> None:
        if not self.queues[need_id]:
            del self.queues[need_id]

    def _start(self, machine: Machine) -> None:
        for party in machine.start(self.now):
            for number in party.units:
                self._run(number, machine.pool)

    def _run(self, number: int, pool: PoolState) -> None:
        """From here on it is known when the unit ends, and what it costs."""
        unit, document = self.trace.units[number], self.documents[self.need_ids[number]]
        cores, out = document["need"]["cores"], self.outcome
        run_s = unit.run_s * self.trace.core_gflops / (pool.mflops / 1e3 / pool.cores)
        moved_s = (document["bytes_in"] + document.get("bytes_out", 0)) * 8 / (pool.bandwidth_mbps * 1e6)
        watt_hours = run_s * cores * pool.watts / 3600
        out.started[number], out.pool[number] = self.now, pool.id
        out.cost[number] = unit_price(document, self.park.prices[pool.id].rates, run_s)
        out.carbon_g[number] = watt_hours / 1e3 * self._carbon()[pool.region]
        self.busy, self.running, self.not_started = self.busy + cores, self.running + 1, self.not_started - 1
        heapq.heappush(self.events, (self.now + run_s + moved_s, END, number))
        self.on_pool[number] = (pool.id, run_s)

    def _carbon(self) -> dict[str, float]:
        at = self.trace.begins_at + self.now
        if self.carbon[0] != int(at // 3600):
            self.carbon = int(at // 3600), self.park.carbon(at)
        return self.carbon[1]

    def _end(self, number: int) -> int:
        """A unit is over. Returns its pool."""
        need_id, (pool_id, run_s) = self.need_ids[number], self.on_pool.pop(number)
        document = self.documents[need_id]
        if self.settings.learn:
            self.paces.learn(document["version"], pool_id, float(document["tflop"]), run_s)
        self.outcome.ended[number] = self.now
        self.machines[pool_id].end(need_id, self.needs[need_id])
        self.busy, self.running, self.changed = self.busy - document["need"]["cores"], self.running - 1, True
        return pool_id

    # -- rounds --------------------------------------------------------------------------------------------------

    def _round(self) -> int:
        """Place what can be placed now. Returns the units placed."""
        snapshot = self.snapshot()
        began = time.perf_counter()
        placements, decided_by = self.policy.decide(snapshot, self.settings.time_box_s, self.chance)
        self.outcome.rounds_s.append(time.perf_counter() - began)
        self.outcome.decided_by[decided_by] = self.outcome.decided_by.get(decided_by, 0) + 1
        self.last_round, self.look_at, self.changed = self.now, float("inf"), False
        for placement in placements:
            self._place(placement)
        for pool_id in sorted({placement.pool_id for placement in placements}):
            self._start(self.machines[pool_id])
        self._note()
        return sum(placement.units for placement in placements)

    def _place(self, placement: Placement) -> None:
        """The oldest units of the class get in line at the pool."""
        queue, need = self.queues[placement.need_id], self.needs[placement.need_id]
        size = int(self.documents[placement.need_id].get("gang") or 1)
        together = {name: amount * size for name, amount in need.items()}
        for _ in range(placement.units // size):
            units = tuple(queue.popleft() for _ in range(size))
            self.machines[placement.pool_id].add(Party(units, placement.need_id, together, self.now))
        self._forget_empty(placement.need_id)

    def snapshot(self) -> Snapshot:
        """The market as of now, as scheduler/snapshots.py reads it."""
        waiting = sorted(self.queues.items(), key=lambda pair: pair[1][0])
        at = self.trace.begins_at + self.now
        live = {need_id for machine in self.machines.values() for need_id in machine.live}
        pace = self.paces.of(sorted({self.documents[need_id]["version"] for need_id in live | self.queues.keys()}))
        loads = [load_of(machine.pool, self._units(machine), pace) for machine in self.machines.values()]
        return Snapshot(
            classes=[self._state(need_id, queue) for need_id, queue in waiting],
            pools=[load.pool for load in loads],
            offers=self.park.offers,
            pace=pace,
            carbon=self._carbon(),
            used=used_by([load.pool for load in loads], loads),
            at=round(at, 3),
        )

    def _units(self, machine: Machine) -> list[tuple[Mapping[str, Any], int]]:
        return [(self.documents[need_id], count) for need_id, count in sorted(machine.live.items())]

    def _state(self, need_id: int, queue: deque[int]) -> ClassState:
        age_s = round(self.now - self.trace.units[queue[0]].at, 1)
        return ClassState(need_id, self.documents[need_id], min(len(queue), WAITING_PER_CLASS), age_s=max(age_s, 0.0))
