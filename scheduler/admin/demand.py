"""What units take, as learned, and what was predicted of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from django.contrib import admin
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, bytes_text, exact, money, panel
from core.admin.cells import number_text
from core.money import to_micros
from marketplace.models import Task
from scheduler.admin.rounds import stage_text
from scheduler.calibration import EDGES, Held, Record, record_of, spread_of
from scheduler.models import Pace, Prediction
from scheduler.services.predicting import held_against


@admin.register(Pace)
class PacePage(Page):
    columns = ("capability_version", "of_stage", "pool", "mean", "work", "memory", "result", "seen", "updated_at")
    joins = ("capability_version__capability__organization",)
    cards = (
        ("Of", ("capability_version", "of_stage", "variant", "pool", "seen", "updated_at")),
        ("A unit takes", ("mean", "work", "speed", "memory", "result")),
        ("Sums that it follows from", ("samples", "tflop", "seconds", "tflop_squared", "product", "seconds_squared", "bytes_out")),
    )
    list_filter = (exact("pool__identifier"), exact("capability_version"))
    search_fields = ("pool__identifier", "capability_version__capability__name")

    @admin.display(description="stage")
    def of_stage(self, obj: Pace) -> str:
        return stage_text(obj.stage) + (f", variant {obj.variant}" if obj.variant else "")

    @admin.display(description="seconds a unit")
    def mean(self, obj: Pace) -> str:
        """Mean and deviation of the times themselves; around the line it is less where units differ in size."""
        mean = obj.seconds / obj.samples
        return f"{mean:,.3f} ± {max(obj.seconds_squared / obj.samples - mean**2, 0.0) ** 0.5:,.3f}"

    @admin.display(description="peak MiB, mean / most")
    def memory(self, obj: Pace) -> str:
        return f"{obj.memory_mib / obj.samples:,.0f} / {obj.memory_most:,}"

    @admin.display(description="result a unit")
    def result(self, obj: Pace) -> str:
        return bytes_text(round(obj.bytes_out / obj.samples))

    @admin.display(description="TFLOP a unit")
    def work(self, obj: Pace) -> str:
        return f"{obj.tflop / obj.samples:,.3f}"

    @admin.display(description="TFLOP a second")
    def speed(self, obj: Pace) -> str:
        return number_text(obj.tflop / obj.seconds) if obj.seconds else ""

    @admin.display(description="samples", ordering="samples")
    def seen(self, obj: Pace) -> str:
        return f"{obj.samples:,.0f}"


def _seconds(p50: float, p90: float) -> str:
    return f"{p50:,.1f} / {p90:,.1f} s"


@admin.register(Prediction)
class PredictionPage(Page):
    columns = ("task", "made_at", "starts", "started", "ends", "came", "held", "costs", "cost")
    joins = ("task",)
    chain = ("task",)
    cards = (
        ("Predicted", ("task", "made_at", "starts", "ends", "costs", "tflop")),
        ("What came", ("started", "came", "held", "cost")),
    )
    search_fields = ("=task",)
    huge = True

    def notes(self) -> list[Panel]:
        return [held_panel()]

    @admin.display(description="start, P50 / P90")
    def starts(self, obj: Prediction) -> str:
        return _seconds(obj.start_p50_s, obj.start_p90_s)

    @admin.display(description="started after")
    def started(self, obj: Prediction) -> str:
        seconds = _since(obj.task, obj.task.started_at)
        return "" if seconds is None else f"{seconds:,.1f} s"

    @admin.display(description="result, P50 / P90")
    def ends(self, obj: Prediction) -> str:
        return _seconds(obj.finish_p50_s, obj.finish_p90_s)

    @admin.display(description="result came in")
    def came(self, obj: Prediction) -> str:
        seconds = _came(obj)
        return "" if seconds is None else f"{seconds:,.1f} s"

    @admin.display(description="held")
    def held(self, obj: Prediction) -> SafeString | str:
        """No later than expected, within what was said of nine of ten, or later."""
        seconds = _came(obj)
        if seconds is None:
            return ""
        return badge("expected" if seconds <= obj.finish_p50_s else "within" if seconds <= obj.finish_p90_s else "late")

    @admin.display(description="price, expected")
    def costs(self, obj: Prediction) -> SafeString:
        return money(to_micros(obj.price), obj.task.terms.get("currency", ""))

    @admin.display(description="cost")
    def cost(self, obj: Prediction) -> SafeString | str:
        return money(obj.task.cost_micros, obj.task.terms.get("currency", "")) if obj.task.settled_at else ""

    def name_of(self, obj: Any) -> str:
        return f"result in {obj.finish_p50_s:,.1f} s"


def _came(obj: Prediction) -> float | None:
    """Seconds from the submit to the result, of a task that delivered one."""
    return _since(obj.task, obj.task.ended_at) if obj.task.state == Task.State.DELIVERED else None


def _since(task: Task, moment: datetime | None) -> float | None:
    return None if moment is None else float((moment - task.created_at).total_seconds())


_SPREAD: Final = (
    f"#< {EDGES[0]:g} ×",
    *(f"#{low:g} to {high:g} ×" for low, high in pairwise(EDGES)),
    f"#> {EDGES[-1]:g} ×",
)


def held_panel() -> Panel:
    """Predictions against what came, of the market's last delivered tasks: how many held, and how far off they were."""
    columns = ("", "#tasks", "#by P50", "#by P90", "#P90 is shown", *_SPREAD)
    held = held_against()
    rows = [_held_line(name, one, record_of(one)) for name, one in (("start", held["start"]), ("result", held["finish"]))]
    note = "By P50 should be half of them, by P90 nine of ten. To the right: how many came after so many times what was expected."
    return Panel("Predicted and actual, last delivered tasks", columns, rows, note=note)


def _held_line(name: str, held: Sequence[Held], record: Record) -> Sequence[Any]:
    shares = ("" if share is None else f"{share:.0%}" for share in (record.within_p50, record.within_p90))
    return (name, record.n, *shares, f"× {record.factor:g}", *spread_of(held))


@panel(Prediction)
def held_of_all(_: Prediction) -> Panel:
    return held_panel()
