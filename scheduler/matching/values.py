"""What the planner looks at and what it answers: plain values, the same ones that are stored with a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.network.values import Route
from scheduler.pace import Fit, Key

# Fixed precedence: a pool left out counts for the first dimension that speaks against it.
DIMENSIONS: Final = (
    "architecture",
    "accelerator",
    "cores",
    "memory",
    "disk",
    "gang",
    "region",
    "provider",
    "policy",
    "trust",
    "network",
    "offer",
    "price",
    "deadline",
    "maintenance",
    "distinct_owner",
    "reserved",
    "failed_before",
)


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool as the planner sees it.

    shares     load now: the sum of its units' dominant needs, 1 when it is full (more when units are fetched ahead)
    backlog_s  work ahead in seconds of the whole pool
    held       what live units hold, [(resource, amount)]; without it every resource is held to the degree of `shares`
    ahead      the part of the room for units fetched ahead that is taken, 0 to 1
    running    groups of units that run, (seconds a unit takes, [(resource, amount held)]): what comes free, and when
    watts      electric power of one busy core
    closes_in_s  what would end later is not placed here (None: open for good)
    probation  its results were wrong: it takes only what is checked
    level  0 to 4, what is known of whoever runs it (scheduler/verification/levels.py)
    unproven   a community pool without the record that operators ask for: what nobody compares is not believed from it
    worth      the same for units that are worth more than this, in money (None: whatever they are worth)
    """

    id: int
    identifier: str
    region: str
    provider: str
    instruction_set: str
    cores: int
    memory_mib: int
    disk_mib: int
    accelerators: tuple[tuple[str, int], ...]
    executors: tuple[str, ...]
    mflops: int
    bandwidth_mbps: int
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    shares: float = 0.0
    backlog_s: float = 0.0
    held: tuple[tuple[str, float], ...] = ()
    ahead: float = 0.0
    running: tuple[tuple[float, tuple[tuple[str, float], ...]], ...] = ()
    watts: float = 10.0
    closes_in_s: float | None = None
    probation: bool = False
    level: int = 0
    unproven: bool = False
    worth: float | None = None


@dataclass(frozen=True, slots=True)
class ClassState:
    """Waiting units of one need. `document` as in needs.py; `avoid` are pools that failed them.

    apart  pools that must never take them: their owners hold a sibling, or have had their say
    age_s  how long the oldest of them has waited, seconds
    """

    need_id: int
    document: Mapping[str, Any]
    waiting: int
    avoid: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Prices:
    """Unit prices of one offer, and the estimates that do not come from the pool itself."""

    offer_id: int
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a round looks at.

    offers   (pool, offers_at) → prices             own      own_prices(need) → pool → prices agreed with the one who asks
    pace     (version, stage, variant, pool) → what units took
    routes   (region, region) → the quickest way between; wide: the one for bulk
    steady   the same by class of jitter asked for, (region, region, class)
    trust    (pool, version) → probability of a valid result
    carbon   region → g CO2 per kWh at this hour    cached   (pool, sha256) pairs: inputs that need no transfer
    places   sha256 → regions that hold a copy of a large input
    budgets  organization → what it may still spend
    carries  link → bytes that it moves in a minute when nothing else is on its way; a larger file takes it for longer
    slack    link → what of that is left
    used     organization → dominant share of the market that its live units hold
    at       seconds since the epoch; deadlines are compared with it
    """

    classes: Sequence[ClassState]
    pools: Sequence[PoolState]
    offers: Mapping[tuple[int, str], Prices]
    pace: Mapping[Key, Fit] = field(default_factory=dict)
    routes: Mapping[tuple[str, str], Route] = field(default_factory=dict)
    wide: Mapping[tuple[str, str], Route] = field(default_factory=dict)
    steady: Mapping[tuple[str, str, int], Route] = field(default_factory=dict)
    trust: Mapping[tuple[int, int], float] = field(default_factory=dict)
    carbon: Mapping[str, float] = field(default_factory=dict)
    cached: frozenset[tuple[int, str]] = frozenset()
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    carries: Mapping[int, float] = field(default_factory=dict)
    slack: Mapping[int, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)
    at: float = 0.0
    own: Mapping[str, Mapping[int, Prices]] = field(default_factory=dict)


def own_prices(document: Mapping[str, Any]) -> str:
    """Under which name a snapshot keeps the own prices of the organization whose need this is, at the moment that prices it."""
    return f"{document['offers_at']} {document['organization']}"


@dataclass(frozen=True, slots=True)
class Arc:
    """A feasible class x pool pair: seconds, money, and every term of its cost."""

    pool: PoolState
    offer_id: int
    share: float
    run_s: float
    run_p90_s: float
    transfer_s: float
    return_s: float
    price: float
    egress: float
    carbon_g: float
    trust: float
    terms: Mapping[str, float]

    @property
    def wait_s(self) -> float:
        """Seconds until a unit that comes next may start."""
        return self.terms["wait_s"]

    @property
    def cost(self) -> float:
        """All terms together, in money."""
        return self.terms["cost"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Units of a class for a pool, as one of the manifest's variants; `ahead` of them are fetched before they can start.

    run_s  how long one is expected to run there
    """

    need_id: int
    avoid: tuple[int, ...]
    pool_id: int
    offer_id: int
    units: int
    ahead: int = 0
    apart: tuple[int, ...] = ()
    variant: int = 0
    run_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class ClassDecision:
    """How one class fared: where it went, the best candidates with their terms, who was left out and why.

    queued  [(pool id, units)]: the full pools for which the rest had better wait
    """

    need_id: int
    avoid: tuple[int, ...]
    placements: tuple[Placement, ...]
    candidates: tuple[dict[str, Any], ...]
    excluded: Mapping[str, int]
    queued: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A round's answer.

    decided_by  optimum: the linear program, rounded; greedy: the time box was up, or asked for
    duals       (pool id, resource) → what one more of it would have saved, in money: the price of being full
    cost        of what was placed and of what waits, as the program counts it; bound: the program's own optimum
    """

    decisions: tuple[ClassDecision, ...]
    decided_by: str
    duals: Mapping[tuple[int, str], float] = field(default_factory=dict)
    cost: float = 0.0
    bound: float = 0.0
