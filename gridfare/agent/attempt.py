"""The state of one held attempt, as the loop, the platform and its own course see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gridfare.agent import workspace
from gridfare.agent.capacity import Device
from gridfare.agent.checkpoints import Saver, State
from gridfare.agent.child import Child
from gridfare.agent.model import Lease, Need
from gridfare.agent.reasons import AttemptEnded, Released

BEFORE_START = ("queued", "preparing")
NOT_OUR_FAULT = ("agent_stopping", "lease_unrenewed", "reclaimed", "owner_returned")
AT_ONCE = ("owner_returned",)
"""Causes that leave a program no grace: its processor is wanted this second."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One lease from its arrival to its report.

    ``phase``: queued → preparing → running (→ committed) → uploading. ``cause`` is set when somebody wants it to end, and is never
    taken back.
    """

    lease: Lease
    arrived: float
    phase: str = "queued"
    cause: str | None = None
    detail: str = ""
    began: float = 0.0
    slot: int = 0
    folder: str = ""
    devices: list[Device] = field(default_factory=list)
    child: Child | None = None
    resumed: State = field(default_factory=dict)
    """The saved files as they lay before the program started: storing them again would tell nothing."""
    saver: Saver | None = None
    """Looks after its checkpoints, where the capability has some, while the program runs."""
    bind: Callable[[Attempt, dict[str, Any]], None] | None = None
    """Hands a report over while the attempt goes on: its commitment. What it held of the machine is free from then on."""
    salt: str = ""
    """What its commitment was made with: shown with the result."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the platform asks for the result that was committed to, or when the attempt is to end."""
    waiting_for: asyncio.Task[Any] | None = None
    """What the attempt waits for and may be interrupted in: its environment."""

    @property
    def occupies(self) -> Need:
        """What it takes of the machine: once its program is over and its result committed to, only the disk."""
        need = self.lease.spec.need
        return Need(cores=0, disk_mib=need.disk_mib) if self.salt else need

    @property
    def scope(self) -> str:
        """The part of a blob's path that names this attempt."""
        return f"{self.lease.attempt}/{self.lease.fence}"

    def stopped(self) -> bool:
        """Whether somebody wants it to end; asked by transfer threads."""
        return self.cause is not None

    def stop(self, cause: str, detail: str = "") -> None:
        """End it wherever it is; the first cause counts."""
        if self.cause is not None:
            return
        self.cause, self.detail = cause, detail
        self.asked.set()
        if self.child is not None:
            end = self.child.kill if cause in AT_ONCE else self.child.stop
            end(cause, detail)
        elif self.waiting_for is not None:
            self.waiting_for.cancel()

    def check(self) -> None:
        """Raise AttemptEnded when somebody wants it to end."""
        if self.cause is not None:
            raise self.ending()

    def ending(self) -> AttemptEnded:
        """The end that `stop` asked for: what never started goes back to the platform instead of failing."""
        cause = self.cause or "agent_stopping"
        if self.phase in BEFORE_START and cause in NOT_OUR_FAULT:
            return Released(cause, self.detail)
        return AttemptEnded(cause, self.detail)

    def held_row(self) -> list[Any]:
        """The attempt as a sync names it."""
        progress = None
        if self.child is not None and self.child.attended and self.phase == "running":
            progress = workspace.read_progress(self.folder)
        return [self.lease.attempt, self.lease.fence, self.phase, progress]
