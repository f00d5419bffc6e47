"""Why here, why still waiting, what would it cost: the matcher's own terms, read back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db.models import Max

from marketplace.models import Pool, Task
from scheduler.matching import DIMENSIONS, ClassDecision, ClassState, Snapshot, decide, feasible_arcs, terms_of
from scheduler.models import Decision, Unit
from scheduler.services.expanding import need_of
from scheduler.services.submitting import Asker, Draft, Request, draft_task, find_version
from scheduler.snapshots import documents_of, market
from scheduler.sql import dicts, rows

MAX_DECISIONS: Final = 20
QUOTE_UNITS: Final = 200_000  # enough to know the price of one; larger tasks are scaled from it

_BY_POOL: Final = """
SELECT p.identifier AS pool, r.code AS region, u.stage, u.state, count(*) AS units
FROM scheduler_unit u
LEFT JOIN marketplace_pool p ON p.id = u.pool_id LEFT JOIN marketplace_region r ON r.id = p.region_id
WHERE u.task_id = %s GROUP BY 1, 2, 3, 4 ORDER BY 3, 1, 4
"""


def explain_task(task: Task) -> dict[str, Any]:
    """Where a task's units are and why; for those that wait, one primary reason and the pools left out by dimension."""
    where = dicts(_BY_POOL, [task.pk])
    return {"where": where, "decisions": _decisions(task), "waiting": _waiting(task)}


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
            "stage": Unit.Stage(decision.need.document["stage"]).label.lower(),
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
    candidates = [terms_of(one, arc, arc.pool.backlog_s) for arc in arcs]
    return {
        "units": count,
        "reason": reason,
        "detail": detail,
        "excluded": dict(excluded),
        "candidates": sorted(candidates, key=lambda terms: (terms["cost"], terms["pool"]))[:5],
    }


def _primary(one: ClassState, any_online: bool, excluded: Counter[str]) -> tuple[str, str, Counter[str]]:
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


@dataclass(frozen=True)
class Quote:
    """Price and time of a task without committing to it."""

    units: int
    tflop: str
    feasible: int
    excluded: dict[str, int]
    options: dict[str, dict[str, Any] | None]


def quote_task(asker: Asker, request: Request) -> Quote:
    """What a task would cost and take, for each objective. Checks the request as submit does; writes nothing."""
    draft = draft_task(asker, request, version=find_version(asker.organization, request.capability))
    stages = range(1 + bool(draft.task.plan["merge_stage"]))
    classes = [_class_of(draft, stage) for stage in stages]
    snapshot = market(classes, online_only=True)
    arcs, excluded = feasible_arcs(classes[0], snapshot)
    options = {objective: _option(draft, objective, snapshot) for objective in ("cheapest", "fastest")}
    units = draft.task.plan["units"]
    tflop = Decimal(str(draft.task.plan["tflop"])) * units
    return Quote(units, str(tflop), len(arcs), dict(excluded), options)


def _class_of(draft: Draft, stage: int) -> ClassState:
    waiting = 1 if stage else min(draft.task.plan["units"], QUOTE_UNITS)
    return ClassState(-1 - stage, need_of(draft.task, stage=stage, bytes_in=draft.bytes_in), waiting)


def _option(draft: Draft, objective: str, snapshot: Snapshot) -> dict[str, Any] | None:
    draft.task.objective = objective
    stages = range(1 + bool(draft.task.plan["merge_stage"]))
    units = [draft.task.plan["units"], 1]
    parts = [_estimate(_class_of(draft, stage), units[stage], snapshot) for stage in stages]
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    fee = Decimal(draft.task.terms["fee_per_unit"]) * units[0]
    fee += Decimal(draft.task.terms["fee_per_task"])
    price = sum((part["price"] for part in known), fee)
    return {
        "price": str(price.quantize(Decimal("0.000001"))),
        "currency": draft.task.terms["currency"],
        "seconds": round(sum(part["seconds"] for part in known), 1),
        "pools": known[0]["pools"],
    }


def _estimate(one: ClassState, units: int, snapshot: Snapshot) -> dict[str, Any] | None:
    """Fill the market with this class alone, as a round would; what does not fit waits its turn at the same pools."""
    decision: ClassDecision = decide(Snapshot([one], snapshot.pools, snapshot.offers, snapshot.pace))[0]
    arcs, _ = feasible_arcs(one, snapshot)
    if not arcs:
        return None
    best = sorted(arcs, key=lambda arc: (terms_of(one, arc, arc.pool.backlog_s)["cost"], arc.pool.identifier))
    placed = {p.pool_id: p.units for p in decision.placements} or {best[0].pool.id: 1}
    used = [arc for arc in arcs if arc.pool.id in placed]
    scale = units / sum(placed.values())
    price = sum((Decimal(str(arc.price)) * placed[arc.pool.id] for arc in used), Decimal(0)) * Decimal(str(scale))
    seconds = max(_seconds(arc, placed[arc.pool.id] * scale) for arc in used)
    pools = [
        {"pool": a.pool.identifier, "region": a.pool.region, "units": round(placed[a.pool.id] * scale)} for a in used
    ]
    return {"price": price, "seconds": seconds, "pools": pools}


def _seconds(arc: Any, units: float) -> float:
    waves = max(1.0, units * arc.share)
    return float(arc.pool.backlog_s + arc.transfer_s + waves * arc.run_s)
