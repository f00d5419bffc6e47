"""Shapes of the platform's answers, as docs/api.md gives them.

Plain dictionaries, so that members which a newer platform adds stay.

Money is decimal text, times are RFC 3339 in UTC.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired, TypedDict

TaskState = Literal["queued", "running", "delivered", "failed", "cancelled", "expired"]
ENDED: Final = frozenset({"delivered", "failed", "cancelled", "expired"})


class Progress(TypedDict):
    units_total: int
    units_done: int
    fraction: float
    units_running: NotRequired[int]
    units_waiting: NotRequired[int]


class Cost(TypedDict):
    amount: str
    currency: str
    final: bool


class ResultSummary(TypedDict):
    files: int
    bytes: int
    result_hash: str
    manifest_url: str


class Task(TypedDict):
    id: str
    name: str
    capability: str
    inputs: dict[str, Any]
    objective: str
    constraints: dict[str, Any]
    deadline: str | None
    labels: dict[str, str]
    state: TaskState
    reason_class: str | None
    reason: str | None
    progress: Progress
    cost: Cost
    result: ResultSummary | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    cancel_requested: bool
    verify: NotRequired[Any]


class QuotePool(TypedDict):
    pool: str
    region: str
    units: int
    dynamic: NotRequired[dict[str, dict[str, Any]]]


class QuoteOption(TypedDict):
    price: str
    currency: str
    seconds: float
    seconds_p90: float
    start_s: float
    carbon_g: float
    pools: list[QuotePool]


class Quote(TypedDict):
    feasible: int
    cheapest: QuoteOption | None
    fastest: QuoteOption | None
    greenest: QuoteOption | None
    balanced: QuoteOption | None
    excluded: dict[str, int]
    units: int
    tflop: str


class Attempt(TypedDict):
    id: int | str
    state: str
    pool: str
    leased_at: str | None
    started_at: str | None
    ended_at: str | None
    reason_class: str | None
    code: str | None
    detail: str | None
    exit_code: int | None
    saved_at: NotRequired[str | None]


class Unit(TypedDict):
    stage: str
    index: int
    replica: NotRequired[int]
    checked: NotRequired[bool]
    state: str
    pool: str | None
    region: str | None
    tries: int
    params: Any
    attempts: list[Attempt]


class Event(TypedDict):
    seq: int
    kind: str
    data: dict[str, Any]
    at: str


class LogChunk(TypedDict):
    attempt: int | str
    unit: int
    stage: str
    stream: str
    offset: int
    text: str


class ResultFile(TypedDict):
    path: str
    bytes: int
    sha256: str
    media_type: str


class Result(TypedDict):
    task: str
    capability: str
    result_hash: str
    files: list[ResultFile]


class Artifact(TypedDict):
    id: str
    name: str
    bytes: int
    sha256: str
    media_type: str
    created_at: str
    regions: list[str]


class CachesIn(TypedDict):
    region: str
    pools: int


class Copy(TypedDict):
    region: str
    state: str
    bytes: int
    detail: str
    asked_at: str
    expires_at: str


class ArtifactWhere(Artifact):
    caches: list[CachesIn]
    replicas: list[Copy]
    pinned_until: str | None


class Identity(TypedDict):
    user: dict[str, Any]
    organization: dict[str, Any] | None
    role: str | None
    scopes: list[str]


class Key(TypedDict):
    prefix: str
    name: str
    scopes: list[str]
    expires_at: str | None
    key: NotRequired[str]
    created_at: NotRequired[str]
    last_used_at: NotRequired[str | None]
    revoked_at: NotRequired[str | None]


class Region(TypedDict):
    code: str
    gb_code: str | None
    name: str
    name_zh: str
    latitude: str | float
    longitude: str | float


class Pool(TypedDict):
    identifier: str
    name: str
    region: str
    kind: str
    tier: str
    state: str
    instruction_set: str
    cores: int
    memory_mib: int
    disk_mib: int
    accelerators: list[dict[str, Any]]
    executors: list[str]
    fp32_gflops: str | float
    selftest: NotRequired[list[dict[str, Any]]]
    agent: NotRequired[dict[str, Any] | None]
    load: NotRequired[dict[str, int]]
    bandwidth_mbps: NotRequired[int]
    benchmark: NotRequired[dict[str, str] | None]
    offer: NotRequired[dict[str, Any] | None]
    own_offer: NotRequired[dict[str, Any] | None]
    provider: NotRequired[str]
    level: NotRequired[int]
    reputation: NotRequired[Reputation]
    online: NotRequired[bool]
    reclaim_at: NotRequired[str | None]
    reclaim_until: NotRequired[str | None]


class Window(TypedDict):
    number: int
    start: str
    end: str
    category: str
    note: str
    announced_at: str


class Reputation(TypedDict):
    score: float | None
    status: str
    formula: str
    valid: float
    invalid: float
    lost: float
    sample_size: int


class PoolTrust(TypedDict):
    pool: str
    level: int
    level_until: str | None
    level_missing: str
    unproven: bool
    believed_up_to: float | None
    reputation: Reputation
    quarantine: dict[str, Any] | None
    daily_quota: int | None
    versions: list[dict[str, Any]]
    events: list[dict[str, Any]]


class Offer(TypedDict):
    basis: str
    rates: dict[str, str]
    customer: str | None
    per_period: bool
    documents: dict[str, Any]
    rules: dict[str, Any]
    currency: str
    valid_from: str | None
    valid_to: str | None


class JoinToken(TypedDict):
    token: str
    expires_at: str


class CapabilityVersion(TypedDict):
    name: str
    version: str
    state: str
    published_at: str | None
    unstable_since: NotRequired[str | None]
    manifest: NotRequired[dict[str, Any]]
    test_report: NotRequired[list[dict[str, Any]]]


class Capability(TypedDict):
    name: str
    summary: str
    versions: list[CapabilityVersion]


class NetworkNode(TypedDict):
    code: str
    region: str | None
    latitude: float
    longitude: float
    locator: str


class NetworkLink(TypedDict):
    id: int
    source: str
    target: str
    capacity_mbps: int
    free_mbps: float
    latency_p50_ms: float
    latency_p90_ms: float
    latency_counted_ms: float
    jitter_p99_ms: float
    jitter_class: int
    loss: float
    price_per_gb: str
    carbon_g_per_gb: float
    domain: str
    sid: str
    origin: Literal["imported", "operator", "probe"]
    age_s: float
    overlay: bool


class Network(TypedDict):
    at: str
    nodes: list[NetworkNode]
    links: list[NetworkLink]


class Way(TypedDict):
    nodes: list[str]
    links: list[int]
    latency_ms: float
    jitter_ms: float
    jitter_class: int
    mbps: float
    loss: float
    price_per_gb: str
    carbon_g_per_gb: float


class NetworkPath(TypedDict):
    path: Way
    alternatives: list[Way]
    policy: dict[str, Any] | None
    iproute2: str | None
    routers: dict[str, list[str]]
    unsteered: str
    larac_gap_per_gb: float | None


class Booking(TypedDict):
    booking: str
    links: list[int]
    start: str
    end: str
    mbps: int
    kind: Literal["deterministic", "burst"]
    note: str


class Reservation(TypedDict):
    booking: str
    link: int
    start: str
    end: str
    mbps: int
    kind: Literal["deterministic", "burst"]
    note: str
    released_at: str | None


class EventAnswer(TypedDict):
    index: int
    id: str | None
    source: str | None
    status: Literal["accepted", "duplicate", "conflict", "quarantined", "invalid"]
    code: str
    field: str | None
    detail: str


class UsageTaken(TypedDict):
    counts: dict[str, int]
    rows: list[EventAnswer]


class QuarantinedEvent(TypedDict):
    number: int
    provider: str
    reason: Literal["conflict", "too_old"]
    state: Literal["open", "accepted", "refused"]
    document: dict[str, Any]
    occurred_at: str
    received_at: str
    decided_at: str | None
