"""What is known of a capability version's demand beyond its manifest: read from what finished attempts taught (`Pace`)."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum

from scheduler.models import Pace
from scheduler.pace import typical_bytes


def learned_bytes(version_id: int) -> dict[int, int]:
    """Stage → bytes that one of its units is likely to leave, over all pools and variants; stages never seen are left out."""
    sums = Pace.objects.filter(capability_version=version_id).values("stage").annotate(Sum("bytes_out"), Sum("samples"))
    return {row["stage"]: typical_bytes(row["bytes_out__sum"], row["samples__sum"]) for row in sums.order_by("stage")}


def is_known(version_id: int) -> bool:
    """Has a unit of the version's first stage ever been measured, anywhere?"""
    return Pace.objects.filter(capability_version=version_id, stage=0).exists()


def with_results(plan: dict[str, Any], learned: dict[int, int]) -> dict[str, Any]:
    """The plan with the bytes that its units' results are likely to weigh, where its manifest does not say.

    Plans of versions that nothing was learned of stay as they are.
    """
    merge = plan["merge_stage"]
    stages = [_with(part, learned.get(number)) for number, part in enumerate(plan.get("stages", ()), start=1)]
    return (
        _with(plan, learned.get(0))
        | {"merge_stage": merge and _with(merge, learned.get(1))}
        | ({"stages": stages} if stages else {})
    )


def _with(part: dict[str, Any], size: int | None) -> dict[str, Any]:
    return part | {"bytes_out": size} if size and "bytes_out" not in part else part
