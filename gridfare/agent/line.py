"""The state of the agent's talk with the platform, and how patient it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from gridfare.agent.notice import uptime

IDLE_WAIT_S = 20


@dataclass(slots=True)
class Options:
    """How long to be patient, in seconds; ``once_idle_s`` ends the agent after idling that long."""

    stop_s: float = 10.0
    once_idle_s: float | None = None
    idle_wait_s: int = IDLE_WAIT_S
    null: bool = False


@dataclass(slots=True)
class Line:
    """The state of the talk with the platform."""

    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    lease_s: float = 60.0
    renew_s: float = 1.0
    """How long to stay away with leases to renew and nothing to say."""
    renewed: float = field(default_factory=uptime)
    """When the last answered sync was sent."""
    answered: float = 0.0
    earliest: float = 0.0
    batch_items: int = 0
    failures: int = 0
    refusals: int = 0
    drain: bool = False
