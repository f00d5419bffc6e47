"""Which pool does which unit, until when, and why.

Rows here grow with units, so ids are plain bigints, states short text, and every index answers a
question that somebody asks in a loop (named beside it).
"""

from __future__ import annotations

from typing import ClassVar, Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from marketplace.stages import VALIDATES

# Rows of Unit and Attempt are written by the ten thousand from values that were just read, and what they name is never
# deleted: checking each foreign key again (`db_constraint`) would double a lease's cost. Unit and task stay checked.


class Need(models.Model):
    """A class of equal need (3-algorithms, matching 1): what the matcher places, instead of single units.

    `key` is the SHA-256 of the canonical `document`: capability version, stage, resources, allowed regions and
    providers, trust, price cap, objective, organization, demand. Shapes in `scheduler/needs.py`.
    """

    key = models.CharField(max_length=64, unique=True)
    document = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)


class KeptScene(models.Model):
    """What rounds saw of the market that rarely changes: pools and offers (`scheduler/scene.py`). Shared by many rounds."""

    digest = models.CharField(max_length=64, primary_key=True)
    document = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.digest[:12]


class Round(models.Model):
    """One run of the matcher: what it saw and how it decided. Replays to the same plan."""

    at = models.DateTimeField()
    waiting = models.PositiveIntegerField()
    placed = models.PositiveIntegerField()
    decided_by = models.CharField(max_length=20)
    micros = models.PositiveBigIntegerField(help_text="time of the pure decision, microseconds")
    cost = models.FloatField(null=True, help_text="of the plan as the program counts it: of what was placed, and of what waits")
    bound = models.FloatField(null=True, help_text="no whole plan costs less; unknown where the plan was made greedily")
    scene = models.ForeignKey(KeptScene, models.PROTECT, null=True, related_name="rounds")
    snapshot = models.JSONField(help_text="the planner's input, what the scene holds left out")


class Decision(models.Model):
    """Where a round put a class, with every candidate's terms, kept for the explanation."""

    round = models.ForeignKey(Round, models.CASCADE, related_name="decisions")
    need = models.ForeignKey(Need, models.CASCADE)
    placed = models.JSONField(help_text="[[pool id, units]]")
    candidates = models.JSONField(help_text="best five, each with its terms in money and seconds")
    excluded = models.JSONField(help_text="pools left out, counted by dimension")
    queued = models.JSONField(default=list, help_text="[[pool id, units]]: full pools for which the rest had better wait")


class MarketPrice(models.Model):
    """What one more of a resource would have saved at a pool in a round: the market's price of its being full.

    A dual price of the round's program, in the market's currency per core, MiB or accelerator, for as long as the units
    that wanted it would have held it. Pools with room left have none.
    """

    at = models.DateTimeField()
    pool = models.ForeignKey("marketplace.Pool", models.CASCADE, db_index=False)
    resource = models.CharField(max_length=100)
    price = models.FloatField(help_text="what dynamic rates follow")

    class Meta:
        indexes: ClassVar = [
            # the public series, and forgetting
            models.Index(fields=["at"], name="market_price_at"),
            models.Index(fields=["pool", "at"], name="market_price_of_pool"),
        ]


class Unit(models.Model):
    """A part of a task that runs by itself.

        BLOCKED ──► WAITING ──► PLACED ──► LEASED ──► DONE
        (a merge)      ▲           │          │
                       └───────────┴──────────┘  lost, failed with tries left, pool gone

    A unit whose result is checked (`checked`) has siblings: rows of the same task, stage and index that differ in
    `replica`, each for a pool of another owner. One of them becomes DONE, the others SUPERSEDED.

        LEASED ──► REPORTED ──► DONE | SUPERSEDED      the verdict over all siblings (services/verifying.py)
           └─────► BLOCKED ──► WAITING                 tried again once no sibling looks for a pool

    Every state that is not final may become FAILED or CANCELLED. `fence` grows with each lease; a write that
    carries an older one is refused. What a unit computes follows from its task's plan and `index`.
    """

    class State(models.TextChoices):
        BLOCKED = "blocked"
        WAITING = "waiting"
        PLACED = "placed"
        LEASED = "leased"
        REPORTED = "reported"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"
        SUPERSEDED = "superseded"

    _ENDS: Final = {"failed", "cancelled", "superseded"}
    MOVES: Final = {
        "blocked": {"waiting", *_ENDS},
        "waiting": {"placed", *_ENDS},
        "placed": {"leased", "waiting", *_ENDS},
        "leased": {"done", "reported", "waiting", "blocked", *_ENDS},
        "reported": {"done", *_ENDS},
        "done": set(),
        "failed": set(),
        "cancelled": set(),
        "superseded": set(),
    }

    class Stage(models.IntegerChoices):
        """The first two; stages of a manifest's own go on counting, and their plan names them (`marketplace/stages.py`)."""

        UNIT = 0
        MERGE = 1
        VALIDATE = VALIDATES, "Validate"  # a program that compares results of a unit of stage 0; its replicas are tries
        VALIDATE_MERGE = VALIDATES + 1, "Validate"

    task = models.ForeignKey("marketplace.Task", models.CASCADE, db_index=False)
    stage = models.PositiveSmallIntegerField(choices=Stage.choices, default=Stage.UNIT)
    index = models.PositiveIntegerField()
    replica = models.PositiveSmallIntegerField(default=0, db_default=0)
    checked = models.BooleanField(
        null=True, default=False, db_default=False, help_text="waits for a verdict; unknown: drawn when it is leased"
    )
    need = models.ForeignKey(Need, models.PROTECT, db_index=False, db_constraint=False)
    state = models.CharField(max_length=10, choices=State.choices)
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, null=True, db_index=False, db_constraint=False)
    decision = models.ForeignKey(Decision, models.SET_NULL, null=True, db_index=False, db_constraint=False)
    offer = models.ForeignKey("marketplace.Offer", models.PROTECT, null=True, db_index=False, db_constraint=False)
    fence = models.PositiveIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(default=0, help_text="ended attempts that count")
    avoid = ArrayField(models.BigIntegerField(), default=list, help_text="pools that failed it")
    apart = ArrayField(
        models.BigIntegerField(), default=list, db_default=[], help_text="pools of owners that must not take it, ever"
    )
    not_before = models.DateTimeField(null=True)
    variant = models.PositiveSmallIntegerField(db_default=0, help_text="of the manifest's variants the one its pool runs, from 0")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "stage", "index", "replica"], name="unit_once_per_task"),
            models.CheckConstraint(
                condition=~Q(state__in=["placed", "leased"]) | Q(pool__isnull=False), name="unit_placed_has_pool"
            ),
        ]
        indexes: ClassVar = [
            # the matcher: waiting units by class
            models.Index(fields=["need", "id"], condition=Q(state="waiting"), name="unit_waiting"),
            # the lease: what is placed on my pool
            models.Index(fields=["pool", "id"], condition=Q(state="placed"), name="unit_placed"),
            # the sweep of units that only another owner may take
            models.Index(fields=["id"], condition=Q(state="waiting") & ~Q(apart=[]), name="unit_apart"),
            # the end of a task: has any unit failed for good?
            models.Index(fields=["task"], condition=Q(state="failed"), name="unit_failed"),
        ]


class ReportBatch(models.Model):
    """A batch of reports as the agent signed it: a chain of digests per agent (see docs/protocol.md)."""

    agent = models.ForeignKey("marketplace.Agent", models.PROTECT)
    seq = models.BigIntegerField()
    prev = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)
    signature = models.CharField(max_length=88)
    items = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "report batches"
        constraints: ClassVar = [models.UniqueConstraint(fields=["agent", "seq"], name="report_batch_once")]


class Attempt(models.Model):
    """One try of one unit on one pool, under a lease.

        LEASED ──► RUNNING ──► REPORTED ──► VALID | INVALID
           └──────────┴───► VALID (nothing to verify) | FAILED | LOST | RELEASED | CANCELLED | SUPERSEDED

    The lease runs out with its agent's `lease_until`: one row renews them all. A unit has one live attempt at a time.
    """

    class State(models.TextChoices):
        LEASED = "leased"
        RUNNING = "running"
        REPORTED = "reported"
        VALID = "valid"
        INVALID = "invalid"
        FAILED = "failed"
        LOST = "lost"
        RELEASED = "released"
        CANCELLED = "cancelled"
        SUPERSEDED = "superseded"

    _ENDS: Final = {"valid", "failed", "lost", "released", "cancelled", "superseded"}
    MOVES: Final = {
        "leased": {"running", "reported", *_ENDS},
        "running": {"reported", *_ENDS},
        "reported": {"valid", "invalid", "superseded"},
        "valid": set(),
        "invalid": set(),
        "failed": set(),
        "lost": set(),
        "released": set(),
        "cancelled": set(),
        "superseded": set(),
    }
    LIVE: Final = ("leased", "running")

    unit = models.ForeignKey(Unit, models.CASCADE, related_name="attempts", db_index=False)
    task = models.ForeignKey("marketplace.Task", models.CASCADE, db_index=False)
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, db_index=False, db_constraint=False)
    agent = models.ForeignKey("marketplace.Agent", models.PROTECT, db_index=False, db_constraint=False)
    offer = models.ForeignKey("marketplace.Offer", models.PROTECT, null=True, db_index=False, db_constraint=False)
    need = models.ForeignKey(Need, models.PROTECT, db_index=False, db_constraint=False)
    variant = models.PositiveSmallIntegerField(db_default=0, help_text="of the manifest's variants the one that ran, from 0")
    session = models.UUIDField(help_text="the agent's process it was leased to")
    fence = models.PositiveIntegerField()
    checked = models.BooleanField(default=False, db_default=False, help_text="its result waits for a verdict")
    state = models.CharField(max_length=10, choices=State.choices, default=State.LEASED)
    progress_ppm = models.PositiveIntegerField(null=True)
    reason_class = models.CharField(max_length=20, blank=True, default="")
    code = models.CharField(max_length=30, blank=True, default="")
    detail = models.CharField(max_length=500, blank=True, default="")
    exit_code = models.IntegerField(null=True)
    usage = models.JSONField(null=True, help_text="the agent's claim, as signed")
    batch = models.ForeignKey(ReportBatch, models.PROTECT, null=True, db_index=False, db_constraint=False)
    leased_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["unit"], condition=Q(state__in=["leased", "running"]), name="attempt_one_live_per_unit"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["leased", "running"], ended_at__isnull=True)
                | ~Q(state__in=["leased", "running"]) & Q(ended_at__isnull=False),
                name="attempt_ended_at_iff_ended",
            ),
        ]
        indexes: ClassVar = [
            # sync and the expiry sweep: what this agent holds
            models.Index(fields=["agent"], condition=Q(state__in=["leased", "running"]), name="attempt_live"),
            # the verdict: a unit's checked attempts
            models.Index(fields=["unit"], condition=Q(checked=True), name="attempt_checked"),
            # the lease of a pool on probation: a result that waits for its verdict
            models.Index(fields=["pool"], condition=Q(state="reported"), name="attempt_reported"),
            # a pool's wrong results of the last day
            models.Index(fields=["pool", "ended_at"], condition=Q(state="invalid"), name="attempt_invalid"),
            # measuring, charging and the task's pages
            models.Index(fields=["task", "id"], name="attempt_of_task"),
        ]


class Ended(models.Model):
    """The queue of ended attempts that metering has not measured yet: written with the end, deleted with the record."""

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "attempt not yet measured"
        verbose_name_plural = "attempts not yet measured"


class Output(models.Model):
    """A file that a valid attempt left: part of its task's result, or an input of its merge."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="outputs")
    task = models.ForeignKey("marketplace.Task", models.CASCADE, db_index=False)
    path = models.CharField(max_length=300)
    blob = models.ForeignKey("marketplace.Blob", models.PROTECT, db_index=False)
    bytes = models.BigIntegerField()
    media_type = models.CharField(max_length=100)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["attempt", "path"], name="output_path_once")]
        indexes: ClassVar = [models.Index(fields=["task", "blob"], name="output_of_task")]


class LogChunk(models.Model):
    """A piece of a program's output, at its byte offset."""

    attempt = models.ForeignKey(Attempt, models.CASCADE, related_name="log_chunks")
    stream = models.CharField(max_length=6)
    offset = models.BigIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["attempt", "stream", "offset"], name="log_chunk_once")
        ]


class Prediction(models.Model):
    """What the planner's model promised of a task when it was expanded: seconds from the submit, expected and P90.

    Never changed: held against what came, it says how far predictions can be trusted (`scheduler/calibration.py`).
    """

    task = models.OneToOneField("marketplace.Task", models.CASCADE, primary_key=True)
    made_at = models.DateTimeField()
    start_p50_s = models.FloatField(help_text="until its first unit starts")
    start_p90_s = models.FloatField()
    finish_p50_s = models.FloatField(help_text="until its result is there")
    finish_p90_s = models.FloatField()
    price = models.DecimalField(max_digits=20, decimal_places=6, help_text="expected, fees included; an estimate, never charged")
    tflop = models.DecimalField(max_digits=30, decimal_places=12, help_text="FP32 work of all units")


class Pace(models.Model):
    """What a capability version's units take on a pool: sums over finished attempts (`scheduler/pace.py`).

    Once more than a few hundred samples are in, older ones count less, so that a pool that changed is noticed.
    """

    capability_version = models.ForeignKey("marketplace.CapabilityVersion", models.CASCADE)
    stage = models.PositiveSmallIntegerField()
    variant = models.PositiveSmallIntegerField(db_default=0, help_text="its number in the manifest, from 0")
    pool = models.ForeignKey("marketplace.Pool", models.CASCADE)
    samples = models.FloatField()
    tflop = models.FloatField(help_text="sum, FP32 TFLOP")
    seconds = models.FloatField(help_text="sum of wall times")
    tflop_squared = models.FloatField()
    product = models.FloatField(help_text="sum of TFLOP x seconds")
    seconds_squared = models.FloatField(db_default=0)
    memory_mib = models.FloatField(db_default=0, help_text="sum of the units' peaks, as agents claim, at most what was reserved")
    memory_most = models.PositiveIntegerField(db_default=0, help_text="the highest of these peaks, MiB")
    bytes_out = models.FloatField(db_default=0, help_text="sum of the outputs' bytes, as stored")
    updated_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["capability_version", "stage", "variant", "pool"], name="pace_once")
        ]
