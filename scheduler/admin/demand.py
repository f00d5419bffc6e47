"""What units take, as learned, and what was predicted of tasks."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from core.admin import Page, bytes_text, exact
from marketplace.models import Task
from scheduler.models import Pace, Prediction


@admin.register(Pace)
class PacePage(Page):
    columns = (
        "capability_version",
        "stage",
        "variant",
        "pool",
        "mean",
        "deviation",
        "work",
        "memory",
        "result",
        "seen",
        "updated_at",
    )
    joins = ("capability_version__capability__organization",)
    list_filter = (exact("pool__identifier"), exact("capability_version"))
    search_fields = ("pool__identifier", "capability_version__capability__name")

    @admin.display(description="seconds a unit")
    def mean(self, obj: Pace) -> str:
        return f"{obj.seconds / obj.samples:,.3f}"

    @admin.display(description="deviation, s")
    def deviation(self, obj: Pace) -> str:
        """Of the times themselves; around the line it is less where units differ in size."""
        return f"{max(obj.seconds_squared / obj.samples - (obj.seconds / obj.samples) ** 2, 0.0) ** 0.5:,.3f}"

    @admin.display(description="peak MiB, mean / most")
    def memory(self, obj: Pace) -> str:
        return f"{obj.memory_mib / obj.samples:,.0f} / {obj.memory_most:,}"

    @admin.display(description="result a unit")
    def result(self, obj: Pace) -> str:
        return bytes_text(round(obj.bytes_out / obj.samples))

    @admin.display(description="TFLOP a unit")
    def work(self, obj: Pace) -> str:
        return f"{obj.tflop / obj.samples:,.3f}"

    @admin.display(description="samples", ordering="samples")
    def seen(self, obj: Pace) -> str:
        return f"{obj.samples:,.0f}"


@admin.register(Prediction)
class PredictionPage(Page):
    columns = ("task", "made_at", "starts", "ends", "came", "price", "tflop")
    joins = ("task",)
    chain = ("task",)
    search_fields = ("=task",)
    huge = True

    @admin.display(description="start, P50 / P90")
    def starts(self, obj: Prediction) -> str:
        return f"{obj.start_p50_s:,.1f} / {obj.start_p90_s:,.1f} s"

    @admin.display(description="result, P50 / P90")
    def ends(self, obj: Prediction) -> str:
        return f"{obj.finish_p50_s:,.1f} / {obj.finish_p90_s:,.1f} s"

    @admin.display(description="result came in")
    def came(self, obj: Prediction) -> str:
        delivered = obj.task.ended_at if obj.task.state == Task.State.DELIVERED else None
        return f"{(delivered - obj.task.created_at).total_seconds():,.1f} s" if delivered else ""

    def name_of(self, obj: Any) -> str:
        return f"result in {obj.finish_p50_s:,.1f} s"
