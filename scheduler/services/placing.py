"""Step 3 of the river, match: give waiting units to pools.

A round reads a snapshot, lets `matching.plan` decide, and commits with one guarded UPDATE: a unit that is no
longer waiting is not touched and a pool's agent is woken by NOTIFY when the round commits. One round at a
time (an advisory lock that is only tried), so free capacity is never promised twice.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from marketplace.dynamic import Signal, signal_of
from marketplace.services.round_prices import freeze_prices
from scheduler.matching import ClassDecision, Placement, Plan, Snapshot, plan
from scheduler.models import Decision, KeptScene, MarketPrice, Round
from scheduler.scene import Scene, scene
from scheduler.snapshots import WAITING_PER_CLASS, documents_of, market_in, waiting_classes
from scheduler.sql import rows, scalar
from scheduler.stored import snapshot_document, snapshot_from, whole

ROUND_LOCK: Final = 0x67726964  # any constant: "grid"
CHANNEL: Final = "gridfare_pool"
KEEP_ROUNDS: Final = 2_000

# What `picked` locked is waiting until we commit. Asking for the state once more would make PostgreSQL, whose statistics know
# of no waiting units, expect a single row, and compare every unit picked with every unit waiting.
# Of a gang, `whole`, all are placed or none: a unit that has gone, or is held by another step, leaves the rest waiting.
_COMMIT = """
WITH plan AS (
    SELECT * FROM unnest(%(need)s::bigint[], %(avoid)s::text[], %(apart)s::text[], %(pool)s::bigint[], %(offer)s::bigint[],
                         %(decision)s::bigint[], %(after)s::bigint[], %(upto)s::bigint[], %(whole)s::bool[],
                         %(variant)s::smallint[])
        AS p(need_id, avoid, apart, pool_id, offer_id, decision_id, after, upto, whole, variant)
), picked AS (
    SELECT w.id, c.need_id, c.avoid, c.apart, row_number() OVER class AS n, count(*) OVER class_whole AS there
    FROM (SELECT need_id, avoid, apart, max(upto) AS total FROM plan GROUP BY need_id, avoid, apart) c
    CROSS JOIN LATERAL (
        SELECT u.id FROM scheduler_unit u
        WHERE u.state = 'waiting' AND u.need_id = c.need_id AND u.avoid = c.avoid::bigint[]
          AND u.apart = c.apart::bigint[]
          AND (u.not_before IS NULL OR u.not_before <= now()) AND u.task_id NOT IN (SELECT task_id FROM marketplace_taskpause)
        ORDER BY u.id LIMIT c.total FOR UPDATE SKIP LOCKED
    ) w
    WINDOW class_whole AS (PARTITION BY c.need_id, c.avoid, c.apart), class AS (class_whole ORDER BY w.id)
)
UPDATE scheduler_unit u
SET state = 'placed', pool_id = plan.pool_id, offer_id = plan.offer_id, decision_id = plan.decision_id,
    variant = plan.variant
FROM picked JOIN plan ON plan.need_id = picked.need_id AND plan.avoid = picked.avoid AND plan.apart = picked.apart
                     AND picked.n > plan.after AND picked.n <= plan.upto
                     AND (NOT plan.whole OR picked.there >= plan.upto)
WHERE u.id = picked.id
RETURNING u.pool_id
"""


def run_round() -> int | None:
    """Place what can be placed now. Returns the units placed, None when another round is running."""
    with transaction.atomic():
        if not scalar("SELECT pg_try_advisory_xact_lock(%s)", [ROUND_LOCK]):
            return None
        classes = waiting_classes(WAITING_PER_CLASS)
        if not classes:
            return 0
        known = scene()
        snapshot = market_in(known, classes)
        began = time.perf_counter_ns()
        planned = plan(snapshot, **limits())
        micros = (time.perf_counter_ns() - began) // 1000
        return _commit(known, snapshot, planned, micros)


def limits() -> dict[str, Any]:
    """What operators set: the time box and the age bound."""
    return {"time_box_s": settings.PLANNER_TIME_BOX_S, "age_bound_s": float(settings.PLANNER_AGE_BOUND_S)}


def _commit(known: Scene, snapshot: Snapshot, planned: Plan, micros: int) -> int:
    placing = [one for one in planned.decisions if one.placements]
    if not placing:
        return 0
    this, ids = _record(known, snapshot, planned, placing, micros)
    frozen = freeze_prices(signals_of(planned), this.pk, this.at)
    gangs = {one.need_id for one in snapshot.classes if one.document.get("gang")}
    placed = rows(_COMMIT, _parameters(placing, ids, gangs, frozen))
    for pool_id in sorted({pool_id for (pool_id,) in placed}):
        notify_pool(pool_id)
    return len(placed)


def signals_of(planned: Plan) -> dict[int, Signal]:
    """List → what the plan says of its pool: shadow prices, and the mean expected run time of the units placed there."""
    shadows: dict[int, dict[str, float]] = defaultdict(dict)
    for (pool, resource), price in planned.duals.items():
        shadows[pool][resource] = price
    seconds: dict[int, float] = defaultdict(float)
    units, pool_of = Counter[int](), {}
    for one in (placement for decision in planned.decisions for placement in decision.placements):
        pool_of[one.offer_id] = one.pool_id
        seconds[one.pool_id] += one.run_s * one.units
        units[one.pool_id] += one.units
    return {offer: signal_of(seconds[pool] / units[pool], shadows[pool]) for offer, pool in pool_of.items()}


def _parameters(
    placing: list[ClassDecision], ids: list[int], gangs: set[int], frozen: Mapping[int, int]
) -> dict[str, list[Any]]:
    """The plan as columns; `after` and `upto` number the units of a class from 1 in the order of their ids.

    frozen   lists with dynamic rates → what they cost in this round, which stands in their place
    """
    columns: dict[str, list[Any]] = {
        name: [] for name in ("need", "avoid", "apart", "pool", "offer", "decision", "after", "upto", "whole", "variant")
    }
    for decision, decision_id in zip(placing, ids, strict=True):
        after = 0
        for placement in decision.placements:
            _append(columns, placement, decision_id, after, whole=placement.need_id in gangs)
            columns["offer"][-1] = frozen.get(placement.offer_id, placement.offer_id)
            after += placement.units
    return columns


def _append(columns: dict[str, list[Any]], placement: Placement, decision_id: int, after: int, *, whole: bool) -> None:
    row = {
        "need": placement.need_id,
        "avoid": "{" + ",".join(map(str, placement.avoid)) + "}",
        "apart": "{" + ",".join(map(str, placement.apart)) + "}",
        "pool": placement.pool_id,
        "offer": placement.offer_id,
        "decision": decision_id,
        "after": after,
        "upto": after + placement.units,
        "variant": placement.variant,
        "whole": whole,
    }
    for name, value in row.items():
        columns[name].append(value)


def _record(
    known: Scene, snapshot: Snapshot, planned: Plan, placing: list[ClassDecision], micros: int
) -> tuple[Round, list[int]]:
    """Store the round with its whole input, the decisions and the prices, for the explanation, for replay and for the market."""
    this = Round.objects.create(
        at=timezone.now(),
        waiting=sum(one.waiting for one in snapshot.classes),
        placed=sum(p.units for one in placing for p in one.placements),
        decided_by=planned.decided_by,
        micros=micros,
        cost=planned.cost,
        bound=planned.bound or None,  # none of a greedy plan
        scene=_keep_scene(known),
        snapshot=snapshot_document(snapshot, known.states) | {"limits": limits()},
    )
    MarketPrice.objects.bulk_create(
        MarketPrice(at=this.at, pool_id=pool_id, resource=resource, price=price)
        for (pool_id, resource), price in sorted(planned.duals.items())
    )
    made = Decision.objects.bulk_create(
        Decision(
            round=this,
            need_id=one.need_id,
            placed=[[p.pool_id, p.units] for p in one.placements],
            candidates=list(one.candidates),
            excluded=dict(one.excluded),
            queued=[[pool_id, units] for pool_id, units in one.queued],
        )
        for one in placing
    )
    return this, [decision.pk for decision in made]


def _keep_scene(known: Scene) -> KeptScene:
    """The row of what rarely changes, made with the first round that saw it so."""
    if not KeptScene.objects.filter(digest=known.digest).exists():
        KeptScene.objects.bulk_create([KeptScene(digest=known.digest, document=known.document)], ignore_conflicts=True)
    return KeptScene(digest=known.digest)


def replay_round(this: Round) -> list[ClassDecision]:
    """Decide a stored round again from its snapshot: what it decided, if the code has not changed since."""
    needs = documents_of(need for need, *_ in this.snapshot["classes"])
    document = this.snapshot
    if this.scene is not None:
        document = whole(document, this.scene.document, (needs[need]["offers_at"] for need, *_ in document["classes"]))
    again = plan(snapshot_from(document, needs), by=this.decided_by, **this.snapshot["limits"] | {"time_box_s": 3600.0})
    return [one for one in again.decisions if one.placements]


def notify_pool(pool_id: int) -> None:
    """Wake the long poll of a pool's agent when this transaction commits. PostgreSQL folds repeats."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(pool_id)])


_FORGET_DECISIONS: Final = """
DELETE FROM scheduler_decision d WHERE d.round_id <= %s AND NOT EXISTS (
    SELECT 1 FROM scheduler_unit u JOIN marketplace_task t ON t.id = u.task_id
    WHERE u.decision_id = d.id AND t.ended_at IS NULL)
"""
_FORGET_ROUNDS: Final = """
DELETE FROM scheduler_round r WHERE r.id <= %s
AND NOT EXISTS (SELECT 1 FROM scheduler_decision d WHERE d.round_id = r.id) RETURNING r.id
"""


_FORGET_SCENES: Final = """
DELETE FROM scheduler_keptscene s WHERE NOT EXISTS (SELECT 1 FROM scheduler_round r WHERE r.scene_id = s.digest)
"""


def forget_old_prices(keep_days: int = 30) -> int:
    """Housekeeping: prices are kept for a month."""
    gone, _ = MarketPrice.objects.filter(at__lt=timezone.now() - timedelta(days=keep_days)).delete()
    return gone


@transaction.atomic
def forget_old_rounds(keep: int = KEEP_ROUNDS) -> int:
    """Housekeeping: keep the last rounds, and older ones that placed units of a task still open. Returns the rounds gone."""
    last = Round.objects.order_by("-id").values_list("id", flat=True)[keep : keep + 1].first()
    if last is None:
        return 0
    rows(_FORGET_DECISIONS, [last])
    gone = len(rows(_FORGET_ROUNDS, [last]))
    rows(_FORGET_SCENES)
    return gone
