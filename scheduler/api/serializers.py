"""Shapes of the task API: what comes in (`…In`), what goes out (`…Out`)."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.money import text_of
from marketplace.api.serializers import In
from marketplace.models import Task
from scheduler.queries import running_units


class NetworkIn(In):
    """The class of the way from the user to the pool."""

    jitter_class = serializers.IntegerField(min_value=0, max_value=3, help_text="0 deterministic … 3 best effort")
    max_latency_s = serializers.FloatField(min_value=0, required=False)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so it cannot be declared like the others."""
        return {"from": serializers.CharField(max_length=63), **super().get_fields()}


class ConstraintsIn(In):
    """Where a task may run and what it may cost at most."""

    regions = serializers.ListField(child=serializers.CharField(max_length=63), required=False, max_length=100)
    providers = serializers.ListField(child=serializers.CharField(max_length=63), required=False, max_length=100)
    exclude_providers = serializers.ListField(
        child=serializers.CharField(max_length=63), required=False, max_length=100
    )
    max_price = serializers.DecimalField(
        max_digits=20, decimal_places=6, min_value=Decimal("0.000001"), required=False
    )
    min_trust = serializers.DecimalField(
        max_digits=5, decimal_places=4, min_value=Decimal(0), max_value=Decimal(1), required=False,
        help_text="lowest probability of a valid result of a pool, 0 to 1",
    )  # fmt: skip
    min_level = serializers.IntegerField(
        min_value=0, max_value=4, required=False, help_text="lowest level of a pool, 0 to 4 (docs/scheduling/verification.md)"
    )
    accept_unproven = serializers.BooleanField(
        required=False,
        help_text="believe single results of community pools that have no record yet (docs/scheduling/verification.md)",
    )
    weights = serializers.DictField(
        child=serializers.FloatField(), required=False,
        help_text="own objective: price (factor), hour and kilogram (CNY for an hour, for a kilogram of CO2), risk (factor)",
    )  # fmt: skip
    network = NetworkIn(required=False)


class TaskIn(In):
    """A task as asked for."""

    capability = serializers.RegexField(
        r"^[a-z][a-z0-9-]{0,62}/[a-z][a-z0-9-]{0,62}(@[0-9A-Za-z.+-]{1,40})?$", help_text="organization/name[@version]"
    )
    inputs = serializers.DictField(required=False, default=dict)
    objective = serializers.ChoiceField(Task.Objective.choices, default="cheapest")
    constraints = ConstraintsIn(required=False)
    deadline = serializers.DateTimeField(required=False, allow_null=True, default_timezone=UTC)
    labels = serializers.DictField(child=serializers.CharField(max_length=200, allow_blank=True), required=False)
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    verify = serializers.JSONField(
        required=False, help_text="stronger checks than the capability's own: exact, or {quorum: {of, need}}"
    )

    def validate_labels(self, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) > 32 or any(not 0 < len(key) <= 63 for key in labels):
            raise serializers.ValidationError("at most 32 labels, names of 1 to 63 characters")
        return labels

    def validate_deadline(self, deadline: datetime | None) -> datetime | None:
        if deadline is not None and deadline.year > 9000:
            raise serializers.ValidationError("too far in the future")
        return deadline


class ProgressOut(serializers.Serializer[Any]):
    units_total = serializers.IntegerField()
    units_done = serializers.IntegerField()
    units_running = serializers.IntegerField(help_text="held by an agent now")
    units_waiting = serializers.IntegerField(help_text="neither done nor running; 0 when the task has ended")
    fraction = serializers.FloatField()


class CostOut(serializers.Serializer[Any]):
    amount = serializers.CharField()
    currency = serializers.CharField()
    final = serializers.BooleanField()


class ResultOut(serializers.Serializer[Any]):
    files = serializers.IntegerField()
    bytes = serializers.IntegerField()
    result_hash = serializers.CharField()
    manifest_url = serializers.CharField()


class TaskListSerializer(serializers.ListSerializer[Any]):
    """Asks what runs for a whole page at once."""

    def to_representation(self, data: Any) -> Any:
        self._context = {**self.context, "running": running_units([task.pk for task in data])}
        return super().to_representation(data)


class TaskOut(serializers.ModelSerializer[Task]):
    """A task as its owner sees it."""

    capability = serializers.CharField(source="capability_version")
    progress = serializers.SerializerMethodField()
    cost = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField()
    cancel_requested = serializers.SerializerMethodField()
    verify = serializers.SerializerMethodField()

    class Meta:
        model = Task
        fields = (
            "id",
            "name",
            "kind",
            "capability",
            "inputs",
            "objective",
            "constraints",
            "deadline",
            "verify",
            "labels",
            "state",
            "reason_class",
            "reason",
            "progress",
            "cost",
            "result",
            "cancel_requested",
            "created_at",
            "started_at",
            "ended_at",
        )
        read_only_fields = fields
        list_serializer_class = TaskListSerializer

    @extend_schema_field(ProgressOut)
    def get_progress(self, task: Task) -> dict[str, Any]:
        total, done, running = task.units_total, task.units_done, self._running(task)
        waiting = 0 if task.ended_at else max(0, total - done - running)
        counts = {"units_total": total, "units_done": done, "units_running": running, "units_waiting": waiting}
        return counts | {"fraction": round(done / total, 4)}

    def _running(self, task: Task) -> int:
        known: dict[Any, int] | None = self.context.get("running")
        return (running_units([task.pk]) if known is None else known).get(task.pk, 0)

    @extend_schema_field(CostOut)
    def get_cost(self, task: Task) -> dict[str, Any]:
        cost = text_of(task.cost_micros)
        return {"amount": cost, "currency": task.terms["currency"], "final": task.cost_final}

    @extend_schema_field(ResultOut(allow_null=True))
    def get_result(self, task: Task) -> dict[str, Any] | None:
        result = getattr(task, "result", None) if task.state == Task.State.DELIVERED else None
        if result is None:
            return None
        url = f"/api/v1/tasks/{task.pk}/result"
        counts = {"files": result.files, "bytes": result.bytes, "result_hash": result.result_hash}
        return counts | {"manifest_url": url}

    @extend_schema_field(serializers.JSONField(help_text="none, or the completed policy"))
    def get_verify(self, task: Task) -> Any:
        return task.plan.get("verify", "none")

    @extend_schema_field(serializers.BooleanField())
    def get_cancel_requested(self, task: Task) -> bool:
        return task.cancel_requested_at is not None


class QuoteOptionOut(serializers.Serializer[Any]):
    price = serializers.CharField()
    currency = serializers.CharField()
    seconds = serializers.FloatField(help_text="until the result, expected")
    seconds_p90 = serializers.FloatField(help_text="that nine of ten do not exceed")
    start_s = serializers.FloatField(help_text="until the first unit starts")
    carbon_g = serializers.FloatField(help_text="grams of CO2, estimated")
    pools = serializers.ListField(
        child=serializers.DictField(), help_text="pool, region, units; dynamic, by meter, where the price follows the market"
    )


class QuoteOut(serializers.Serializer[Any]):
    units = serializers.IntegerField()
    tflop = serializers.CharField()
    feasible = serializers.IntegerField()
    excluded = serializers.DictField(child=serializers.IntegerField())
    cheapest = QuoteOptionOut(allow_null=True)
    fastest = QuoteOptionOut(allow_null=True)
    greenest = QuoteOptionOut(allow_null=True)
    balanced = QuoteOptionOut(allow_null=True)
    own = QuoteOptionOut(allow_null=True, required=False, help_text="by the weights of `constraints.weights`")


class AttemptOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    state = serializers.CharField()
    pool = serializers.CharField()
    leased_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    progress = serializers.FloatField(allow_null=True)
    reason_class = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()
    exit_code = serializers.IntegerField(allow_null=True)
    saved_at = serializers.DateTimeField(allow_null=True, help_text="its last checkpoint: what the next attempt goes on from")


class UnitOut(serializers.Serializer[Any]):
    id = serializers.IntegerField(help_text="what `after` takes")
    stage = serializers.CharField()
    index = serializers.IntegerField()
    replica = serializers.IntegerField(help_text="0, and a number for each further result of the same unit")
    checked = serializers.BooleanField(help_text="its result is compared with those of its siblings")
    state = serializers.CharField()
    pool = serializers.CharField(allow_null=True)
    region = serializers.CharField(allow_null=True)
    tries = serializers.IntegerField()
    params = serializers.DictField()
    attempts = AttemptOut(many=True)


class UnitsOut(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True, help_text="path of the next page")
    previous = serializers.CharField(allow_null=True, help_text="always null: pages only go forward")
    results = UnitOut(many=True)


class EventOut(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    kind = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # a field named as an attribute of serializers
    at = serializers.DateTimeField()


class LogChunkOut(serializers.Serializer[Any]):
    attempt = serializers.IntegerField()
    unit = serializers.IntegerField()
    stage = serializers.CharField()
    stream = serializers.CharField()
    offset = serializers.IntegerField()
    text = serializers.CharField()


class LogsOut(serializers.Serializer[Any]):
    next = serializers.IntegerField()
    chunks = LogChunkOut(many=True)


class FileOut(serializers.Serializer[Any]):
    path = serializers.CharField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    media_type = serializers.CharField()


class ManifestOut(serializers.Serializer[Any]):
    task = serializers.UUIDField()
    capability = serializers.CharField()
    result_hash = serializers.CharField()
    files = FileOut(many=True)


class WhereOut(serializers.Serializer[Any]):
    pool = serializers.CharField(allow_null=True)
    region = serializers.CharField(allow_null=True)
    stage = serializers.IntegerField()
    part = serializers.CharField(help_text="the stage's name")
    state = serializers.CharField()
    units = serializers.IntegerField()


class PredictedOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    start_p50_s = serializers.FloatField(help_text="seconds from the submit until the first unit starts, expected")
    start_p90_s = serializers.FloatField(help_text="that nine of ten tasks do not exceed, corrected by the record")
    finish_p50_s = serializers.FloatField(help_text="until the result is there")
    finish_p90_s = serializers.FloatField()
    price = serializers.CharField(help_text="expected, fees included; not what is charged")
    currency = serializers.CharField()
    tflop = serializers.CharField(help_text="FP32 TFLOP of all units")


class ActualOut(serializers.Serializer[Any]):
    start_s = serializers.FloatField(allow_null=True)
    finish_s = serializers.FloatField(allow_null=True, help_text="null until it is delivered")


class RecordOut(serializers.Serializer[Any]):
    """How predictions of the market's last tasks turned out."""

    tasks = serializers.IntegerField()
    within_p50 = serializers.FloatField(allow_null=True, help_text="share that came no later than expected")
    within_p90 = serializers.FloatField(allow_null=True, help_text="share that came within P90, uncorrected")
    factor = serializers.FloatField(help_text="what P90 is multiplied by, so that it would have held for nine of ten of them")


class CalibrationOut(serializers.Serializer[Any]):
    start = RecordOut()
    finish = RecordOut()


class PredictionOut(serializers.Serializer[Any]):
    predicted = PredictedOut()
    actual = ActualOut()
    calibration = CalibrationOut()


class ExplanationOut(serializers.Serializer[Any]):
    where = WhereOut(many=True)
    decisions = serializers.ListField(child=serializers.DictField())
    waiting = serializers.DictField(allow_null=True)
    prediction = PredictionOut(allow_null=True)
