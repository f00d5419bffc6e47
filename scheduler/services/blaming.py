"""A capability is blamed when two owners' pools agree: who else could run it, the confirming run, and its outcome.

A pool that says "the capability failed" sets its unit apart from its owner's pools. If another owner's pool says so too,
the task fails by it; if the other one succeeds, the first was a node's fault. Nobody pays for either (billing/pricing.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from core.wake import wake
from marketplace.models import Pool
from scheduler.matching import ClassState, feasible_arcs
from scheduler.services.trusting import note_lost
from scheduler.snapshots import documents_of, market
from scheduler.sql import dicts, rows

CONFIRM_WITHIN: Final = timedelta(minutes=10)  # no other owner was free to confirm it: then one has to be enough
STRANDED_PER_SWEEP: Final = 5_000

_SET_APART: Final = """
UPDATE scheduler_unit u
SET apart = ARRAY(SELECT p.id FROM marketplace_pool p JOIN marketplace_pool own ON own.id = v.pool
                  WHERE p.organization_id = own.organization_id ORDER BY p.id),
    not_before = now()
FROM unnest(%s::bigint[], %s::bigint[]) AS v(unit, pool) WHERE u.id = v.unit AND u.state = 'waiting'
"""
_WERE_APART: Final = "SELECT id FROM scheduler_unit WHERE id = ANY(%s) AND apart <> '{}'"
_ABSOLVED: Final = """
SELECT a.id, a.task_id, a.pool_id FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id
WHERE a.task_id = ANY(%s) AND u.id = ANY(%s) AND a.state = 'failed' AND a.reason_class = 'capability_error'
"""
_NODE_FAULT: Final = """
UPDATE scheduler_attempt SET reason_class = 'node_fault' WHERE id = ANY(%s) AND reason_class = 'capability_error'
"""
_APART: Final = """
SELECT id, need_id, apart, checked IS TRUE AS checked, not_before < now() - %s AS late FROM scheduler_unit
WHERE state = 'waiting' AND apart <> '{}' ORDER BY id LIMIT %s
"""
# A sibling that nobody can give is given up: its group decides without it, or fails if it has no result at all.
_STRAND: Final = """
WITH stranded AS (
    SELECT u.id, NOT u.checked OR NOT EXISTS (
           SELECT FROM scheduler_unit s WHERE s.task_id = u.task_id AND s.stage = u.stage AND s.index = u.index
             AND s.state IN ('leased', 'reported')) AS alone
    FROM scheduler_unit u WHERE u.id = ANY(%s) AND u.state = 'waiting' ORDER BY u.id FOR NO KEY UPDATE SKIP LOCKED
), queued AS (
    INSERT INTO scheduler_unjudged (unit_id, at) SELECT id, now() FROM stranded WHERE NOT alone
)
UPDATE scheduler_unit u SET state = CASE WHEN stranded.alone THEN 'failed' ELSE 'superseded' END
FROM stranded WHERE u.id = stranded.id RETURNING u.task_id, stranded.alone
"""


def runs_elsewhere(accused: Iterable[dict[str, Any]]) -> dict[tuple[int, int], bool]:
    """Whether a pool of another owner could run it now, by (need, pool). Rows hold need_id and pool_id."""
    pairs = {(row["need_id"], row["pool_id"]) for row in accused}
    if not pairs:
        return {}
    classes = [ClassState(need, document, 1) for need, document in documents_of({n for n, _ in pairs}).items()]
    snapshot = market(classes, with_load=False)
    able = {one.need_id: {arc.pool.provider for arc in feasible_arcs(one, snapshot)[0]} for one in classes}
    owners = dict(Pool.objects.filter(pk__in={p for _, p in pairs}).values_list("pk", "organization__slug"))
    return {(need, pool): bool(able[need] - {owners[pool]}) for need, pool in pairs}


def follow_accusations(ended: list[dict[str, Any]]) -> None:
    """Units whose capability was accused go to another owner; where it works, who accused it is found out."""
    accusing = [row for row in ended if row["reason"] == "capability_error" and row["unit_state"] == "waiting"]
    accusing = [row for row in accusing if not row["counts"]]  # one that counts is the capability's own wish for a retry
    if accusing:
        rows(_SET_APART, [[row["unit_id"] for row in accusing], [row["pool_id"] for row in accusing]])
    again = [row for row in ended if row["unit_state"] == "done" and row["fence"] > 1]
    if not again:
        return
    units = [u for (u,) in rows(_WERE_APART, [[row["unit_id"] for row in again]])]
    if units:
        absolve(dicts(_ABSOLVED, [sorted({row["task_id"] for row in again}), units]))


def absolve(attempts: list[dict[str, Any]]) -> None:
    """These attempts blamed a capability that works elsewhere: the fault was their node's. Rows: id, task_id, pool_id."""
    if attempts:
        rows(_NODE_FAULT, [sorted(row["id"] for row in attempts)])
        note_lost(attempts)


@transaction.atomic
def strand_units() -> int:
    """The sweep of units that only other owners may take: those that nobody could ever take are given up.

    A confirming run that found nobody within ten minutes is given up as well: the accusation stands.
    """
    waiting = dicts(_APART, [CONFIRM_WITHIN, STRANDED_PER_SWEEP])
    if not waiting:
        return 0
    hopeless = _hopeless(waiting)
    given_up = [row["id"] for row in waiting if row["id"] in hopeless or (row["late"] and not row["checked"])]
    ended = rows(_STRAND, [given_up]) if given_up else []
    for task in sorted({str(task) for task, alone in ended if alone}):
        wake("scheduler.advance", task)
    if any(not alone for _, alone in ended):
        wake("scheduler.judge")
    return len(ended)


def _hopeless(waiting: list[dict[str, Any]]) -> set[int]:
    """Units that no pool of the market could take, be it away or full for the moment."""
    kinds: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for row in waiting:
        kinds[row["need_id"], tuple(row["apart"])].append(row["id"])
    documents = documents_of({need for need, _ in kinds})
    classes = [ClassState(need, documents[need], 1, (), apart) for need, apart in kinds]
    snapshot = market(classes, online_only=False, with_load=False)
    listed = zip(classes, kinds.values(), strict=True)
    return {unit for one, units in listed if not feasible_arcs(one, snapshot)[0] for unit in units}
