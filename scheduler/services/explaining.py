"""Why here, why still waiting, what would it cost: the matcher's own terms, read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Max

from marketplace.models import Pool, Task
from marketplace.stages import stage_name
from scheduler.matching import DIMENSIONS, ClassState, feasible_arcs
from scheduler.models import Decision, Unit
from scheduler.services.opening import held_back
from scheduler.services.predicting import explain_prediction
from scheduler.snapshots import documents_of, market
from scheduler.sql import dicts, rows

MAX_DECISIONS: Final = 20

_BY_POOL: Final = """
SELECT p.identifier AS pool, r.code AS region, u.stage, u.state, count(*) AS units
FROM scheduler_unit u
LEFT JOIN marketplace_pool p ON p.id = u.pool_id LEFT JOIN marketplace_region r ON r.id = p.region_id
WHERE u.task_id = %s GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 4
"""


def explain_task(task: Task) -> dict[str, Any]:
    """Where a task's units are and why; for those that wait, one primary reason and the pools left out by dimension."""
    where = [row | {"part": stage_name(task.plan, row["stage"])} for row in dicts(_BY_POOL, [task.pk])]
    waiting = _waiting(task) or held_back(task)
    return {"where": where, "decisions": _decisions(task), "waiting": waiting, "prediction": explain_prediction(task)}


def _decisions(task: Task) -> list[dict[str, Any]]:
    """For each stage and pool the newest decision that placed units of this task there, with its best candidates."""
    placed = Unit.objects.filter(task=task, decision__isnull=False)
    newest = placed.values("stage", "pool").annotate(newest=Max("decision_id")).order_by("-newest")
    ids = list(newest.values_list("newest", flat=True)[:MAX_DECISIONS])
    found = Decision.objects.filter(id__in=ids).select_related("round", "need").order_by("-id")
    pools = dict(Pool.objects.filter(id__in={p for d in found for p, _ in d.placed}).values_list("id", "identifier"))
    return [
        {
            "at": decision.round.at,
            "stage": stage_name(task.plan, decision.need.document["stage"]),
            "decided_by": decision.round.decided_by,
            "placed": [{"pool": pools[pool_id], "units": units} for pool_id, units in decision.placed],
            "candidates": decision.candidates,
            "excluded": decision.excluded,
        }
        for decision in found
    ]


def _waiting(task: Task) -> dict[str, Any] | None:
    sql = "SELECT need_id, count(*) FROM scheduler_unit WHERE task_id = %s AND state = 'waiting' GROUP BY 1 ORDER BY 1"
    found = rows(sql, [task.pk])
    if not found:
        return None
    need_id, count = found[0]
    one = ClassState(need_id, documents_of([need_id])[need_id], count)
    snapshot = market([one], online_only=True)
    arcs, excluded = feasible_arcs(one, snapshot)
    reason, detail, excluded = _primary(one, bool(arcs), excluded)
    candidates = [dict(arc.terms) for arc in arcs]
    return {
        "units": count,
        "reason": reason,
        "detail": detail,
        "excluded": dict(excluded),
        "candidates": sorted(candidates, key=lambda terms: (terms["cost"], terms["pool"]))[:5],
    }


def _primary(one: ClassState, any_online: bool, excluded: Mapping[str, int]) -> tuple[str, str, Mapping[str, int]]:
    """Exactly one reason, by fixed precedence: pools full, pools away, no pool ever; and whom it leaves out.

    Where no pool fits, those that are away are counted too: their coming back would not help.
    """
    if any_online:
        return "waiting_for_capacity", "pools that can run it are full; it is next in line as they free up", excluded
    arcs, everywhere = feasible_arcs(one, market([one], online_only=False, with_load=False))
    if arcs:
        return "pools_offline", f"{len(arcs)} pools could run it, but their agents have not been heard of", excluded
    if not everywhere:
        return "no_pool_fits", "the market has no active pool", everywhere
    most = min(everywhere, key=lambda dimension: (-everywhere[dimension], DIMENSIONS.index(dimension)))
    return "no_pool_fits", f"no pool of the market fits; most are left out by {most}", everywhere
