"""What a user asked for, and what became of it."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q

from core.ids import uuid7


class Task(models.Model):
    """One result somebody is waiting for.

        QUEUED ──► RUNNING ──► DELIVERED     the result is stored and may be charged
          │           ├──────► FAILED        a unit failed for good; `reason_class` says why
          │           ├──────► CANCELLED     the user's wish, once no attempt lives any more
          └───────────┴──────► EXPIRED       its deadline passed first

    QUEUED may end in every way RUNNING may. The arrows are MOVES, taken by guarded UPDATEs only; terminal
    states never move. Cancelling is a wish (`cancel_requested_at`). What is refused at submit is an error
    answer, not a row. `settled_at` is pushed down by billing when every usage record of an ended task is charged.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DELIVERED = "delivered"
        FAILED = "failed"
        CANCELLED = "cancelled"
        EXPIRED = "expired"

    MOVES: Final = {
        "queued": {"running", "delivered", "failed", "cancelled", "expired"},
        "running": {"delivered", "failed", "cancelled", "expired"},
        "delivered": set(),
        "failed": set(),
        "cancelled": set(),
        "expired": set(),
    }

    class Kind(models.TextChoices):
        USER = "user"
        TEST = "test", "test of a capability's version: the platform pays"

    class Objective(models.TextChoices):
        CHEAPEST = "cheapest"
        FASTEST = "fastest"
        GREENEST = "greenest"
        BALANCED = "balanced"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("Organization", models.PROTECT, related_name="tasks")
    user = models.ForeignKey("User", models.SET_NULL, null=True)
    api_key = models.ForeignKey("ApiKey", models.SET_NULL, null=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001  unique where there is one
    request_digest = models.CharField(max_length=64)
    kind = models.CharField(max_length=4, choices=Kind.choices, default=Kind.USER)
    capability_version = models.ForeignKey("CapabilityVersion", models.PROTECT, related_name="tasks")
    name = models.CharField(max_length=200, blank=True)
    inputs = models.JSONField(default=dict, help_text="validated, defaults filled in")
    objective = models.CharField(max_length=10, choices=Objective.choices, default=Objective.CHEAPEST)
    constraints = models.JSONField(default=dict, help_text="regions, providers, max_price; see submitting.py")
    labels = models.JSONField(default=dict, help_text="{text: text}, the user's own, filterable")
    plan = models.JSONField(help_text="decomposition (拆解): split, totals, needs, demand; see splitting.py")
    terms = models.JSONField(help_text="price snapshot: fees, platform share, see submitting.py")
    priced_at = models.DateTimeField(help_text="offers valid at this moment price the task, for ever")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    reason_class = models.CharField(max_length=20, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    units_total = models.PositiveIntegerField(help_text="merge included")
    units_done = models.PositiveIntegerField(default=0)
    units_index = models.JSONField(null=True, blank=True, help_text="{sha256, bytes} of the merge's in/units.json")
    units_expanded = models.PositiveIntegerField(default=0)
    units_open = models.PositiveIntegerField(
        null=True, blank=True,
        help_text="units that may exist by now: 0 while it waits for another task, 1 while a probe runs, else its stages so far",
    )  # fmt: skip
    probing_until = models.DateTimeField(
        null=True, blank=True, help_text="its first unit runs alone, to be measured, until it is done or until then"
    )
    cost_micros = models.BigIntegerField(default=0, help_text="pushed down by billing: so far, or final")
    cost_final = models.BooleanField(default=False)
    deadline = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "idempotency_key"], name="task_request_once"),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], ended_at__isnull=True)
                | Q(state__in=["delivered", "failed", "cancelled", "expired"], ended_at__isnull=False),
                name="task_ended_at_iff_ended",
            ),
            models.CheckConstraint(
                condition=~Q(state="delivered") | Q(units_done=models.F("units_total")),
                name="task_delivered_is_whole",
            ),
            models.CheckConstraint(
                condition=Q(units_done__lte=models.F("units_total")), name="task_progress_within_total"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="task_pages"),
            models.Index(fields=["id"], condition=Q(state__in=["queued", "running"]), name="task_open"),
            # asked by the sweep that charges what ended
            models.Index(
                fields=["id"],
                condition=Q(settled_at__isnull=True) & ~Q(state__in=["queued", "running"]),
                name="task_unsettled",
            ),
            # service levels: what was settled on a day; a range of it is of settled tasks only
            models.Index(fields=["settled_at"], condition=Q(settled_at__isnull=False), name="task_settled"),
            # how good predictions were: the last ones delivered
            models.Index(fields=["-ended_at"], condition=Q(state="delivered"), name="task_delivered"),
            # months: whose fees are charged by them; no other task is in it
            models.Index(
                fields=["organization", "settled_at"], condition=Q(terms__has_key="fees_by_month"), name="task_with_fees_by_month"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class TaskEvent(models.Model):
    """What happened to a task, in order. `seq` counts from 1 per task; readers ask for what came after a seq."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=40)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "seq"], name="event_seq_once_per_task")]


class TaskArtifact(models.Model):
    """An input file of a task: what its attempts may read, at `path` below the working folder."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="files")
    artifact = models.ForeignKey("Artifact", models.PROTECT)
    path = models.CharField(max_length=300)
    field = models.CharField(max_length=100, help_text="the input that names it")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "path"], name="task_file_path_once")]


class TaskReference(models.Model):
    """An input of a task that is the result of another: it waits for that one (`units_open` is 0) and then gets its files.

    A cycle is impossible: a task can name only tasks that were there before it.
    """

    task = models.ForeignKey(Task, models.CASCADE, related_name="references")
    needs = models.ForeignKey(Task, models.PROTECT, related_name="needed_by")
    field = models.CharField(max_length=100, help_text="the input that names it")
    position = models.PositiveIntegerField(default=0, help_text="in a list of several")
    path = models.CharField(max_length=300, help_text="glob over the paths of the other's result")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "field", "position"], name="task_reference_once")]


class Result(models.Model):
    """What was delivered: a list of files. `result_hash` covers paths, sizes and digests only, not node or time."""

    task = models.OneToOneField(Task, models.CASCADE, primary_key=True)
    manifest = models.ForeignKey("Blob", models.PROTECT, help_text="manifest.json in the store")
    result_hash = models.CharField(max_length=64)
    files = models.PositiveIntegerField()
    bytes = models.BigIntegerField()
    region = models.ForeignKey("Region", models.PROTECT, null=True)
    created_at = models.DateTimeField()
