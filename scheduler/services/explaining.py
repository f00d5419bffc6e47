"""Why here, why still waiting, what would it cost: the matcher's own terms, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from django.db.models import Max
from django.utils import timezone

from marketplace.models import Pool, Task
from marketplace.stages import stage_name
from scheduler.matching import DIMENSIONS, Arc, ClassState, Snapshot, feasible_arcs
from scheduler.matching.gangs import roomiest
from scheduler.matching.misses import Miss, nearest
from scheduler.models import Decision, Unit
from scheduler.services.absences import why_away
from scheduler.services.opening import held_back
from scheduler.services.pausing import paused_by
from scheduler.services.predicting import explain_prediction
from scheduler.snapshots import documents_of, market
from scheduler.sql import dicts, rows, scalar

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
    waiting = paused_by(task) or _waiting(task) or held_back(task)
    return {"where": where, "decisions": _decisions(task), "waiting": waiting, "prediction": explain_prediction(task)}


def _decisions(task: Task) -> list[dict[str, Any]]:
    """For each stage and pool the newest decision that placed units of this task there, with its best candidates."""
    placed = Unit.objects.filter(task=task, decision__isnull=False)
    newest = placed.values("stage", "pool").annotate(newest=Max("decision_id")).order_by("-newest")
    ids = list(newest.values_list("newest", flat=True)[:MAX_DECISIONS])
    found = Decision.objects.filter(id__in=ids).select_related("round", "need").order_by("-id")
    pools = dict(Pool.objects.filter(id__in={p for d in found for p, _ in [*d.placed, *d.queued]}).values_list("id", "identifier"))
    return [
        {
            "at": decision.round.at,
            "stage": stage_name(task.plan, decision.need.document["stage"]),
            "decided_by": decision.round.decided_by,
            "placed": [{"pool": pools[pool_id], "units": units} for pool_id, units in decision.placed],
            "candidates": decision.candidates,
            "excluded": decision.excluded,
            "queued": [{"pool": pools[pool_id], "units": units} for pool_id, units in decision.queued if pool_id in pools],
        }
        for decision in found
    ]


# The units of a task that wait, by what the planner tells apart, the largest group first.
_GROUPS: Final = """
SELECT need_id, avoid, apart, count(*), (sum(count(*)) OVER ())::bigint FROM scheduler_unit
WHERE task_id = %s AND state = 'waiting' GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3
"""


def _waiting(task: Task) -> dict[str, Any] | None:
    found = rows(_GROUPS, [task.pk])
    if not found:
        return None
    need_id, avoid, apart, count, everything = found[0]
    age_s = (timezone.now() - task.created_at).total_seconds()
    document = documents_of([need_id])[need_id]
    one = ClassState(need_id, document, count, tuple(avoid), tuple(apart), age_s=max(age_s, 0.0))
    snapshot, everybody = market([one], online_only=True), market([one], online_only=False, eased=True)
    arcs, excluded = feasible_arcs(one, snapshot)
    together = bool(arcs and document.get("gang"))
    why = _gang_waits(one, snapshot, excluded) if together else _primary(one, arcs, excluded, everybody)
    candidates = sorted((dict(arc.terms) for arc in arcs), key=lambda terms: (terms["cost"], terms["pool"]))[:5]
    return {
        "units": everything,
        "reason": why.reason,
        "detail": why.detail,
        "excluded": dict(why.excluded),
        "tasks_ahead": _tasks_ahead(task),
        "misses": [_told(task, miss) for miss in nearest(one, everybody)],
        "candidates": candidates,
    }


@dataclass(frozen=True)
class Why:
    """The one primary reason for which units wait, and the pools it leaves out by dimension."""

    reason: str
    detail: str
    excluded: Mapping[str, int]


def _primary(one: ClassState, arcs: list[Arc], excluded: Mapping[str, int], everybody: Snapshot) -> Why:
    """Exactly one reason, by fixed precedence: no pool ever, pools away, promised to others, full, dear, or next.

    Pools are away unheard of, closed by their owner, or shut out (services/absences.py).
    Where no pool fits, those that are away are counted too: their coming back would not help.
    """
    if arcs:
        return _capacity(arcs, excluded)
    able, everywhere = feasible_arcs(one, everybody)
    if able:
        return Why(*why_away([arc.pool.id for arc in able]), excluded)
    if not everywhere:
        return Why("no_pool_fits", "the market has no active pool", everywhere)
    most = min(everywhere, key=lambda dimension: (-everywhere[dimension], DIMENSIONS.index(dimension)))
    if most == "deadline":
        return Why("deadline_unreachable", "what waits cannot be over before the deadline any more", everywhere)
    return Why("no_pool_fits", f"no pool of the market fits; most are left out by {most}", everywhere)


def _capacity(arcs: list[Arc], excluded: Mapping[str, int]) -> Why:
    """Some pools fit. Are they full, or is waiting for a full one worth more than a free one?"""
    free = [arc for arc in arcs if arc.wait_s == 0]
    if not free:
        told = "pools that can run it are full; it is next in line as they free up"
        return Why("waiting_for_capacity", told, excluded)
    best, first = min(arcs, key=_cost), min(free, key=_cost)
    if best.cost < first.cost:
        told = f"waiting for {best.pool.identifier} costs less than {first.pool.identifier}, which is free"
        return Why("waiting_for_cheaper", told, excluded)
    return Why("next_round", "there is room; the next round places it", excluded)


def _gang_waits(one: ClassState, snapshot: Snapshot, excluded: Mapping[str, int]) -> Why:
    """Some pools could hold the whole gang. Is one free enough now?"""
    pool, room = roomiest(one, snapshot)
    if room >= one.waiting:
        return Why("next_round", "there is room for the whole gang; the next round places it", excluded)
    told = f"its {one.waiting} units start together on one pool; {pool} has most room now, for {room} of them"
    return Why("waiting_for_gang", told, excluded)


def _cost(arc: Arc) -> tuple[float, str]:
    return arc.cost, arc.pool.identifier


_AHEAD: Final = """
SELECT count(*) FROM marketplace_task t WHERE t.state IN ('queued', 'running') AND t.created_at < %s AND EXISTS (
    SELECT 1 FROM scheduler_unit u WHERE u.task_id = t.id AND u.state = 'waiting')
"""


def _tasks_ahead(task: Task) -> int:
    """Older tasks of anybody's that have units waiting too."""
    return int(scalar(_AHEAD, [task.created_at]))


def _told(task: Task, miss: Miss) -> dict[str, Any]:
    """A near miss in the task's own words: caps of a unit become the task's, moments are dates."""
    change = None if miss.change is None else dict(miss.change)
    if change and "unit_cap" in change:
        units, fee = task.units_total, Decimal(task.terms["fee_per_task"])
        whole = Decimal(change.pop("unit_cap")) * units + fee
        change["constraints.max_price"] = str(whole.quantize(Decimal("0.000001"), rounding=ROUND_UP))
    if change and "deadline" in change:
        change["deadline"] = datetime.fromtimestamp(change["deadline"], UTC).replace(microsecond=0).isoformat()
    return {"pool": miss.pool, "region": miss.region, "lacks": list(miss.lacks), "change": change}
