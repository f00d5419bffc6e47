"""Canaries: test cases with a known answer, run by one pool as if they were anybody's units, paid by the platform.

The answer is what the version's own test delivered when it was published, compared by two owners (only versions whose
results are compared exactly have such answers). A pool on probation gets one to come back with; a pool that is new gets
one for every hundred units it has done, at least. To the agent a canary is a task like any other. `only` in its plan
keeps the units of all its stages to that pool, those too that come into being later (services/expanding.py): what a stage
reads of the one before is the pool's own, which had the known answer by then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from marketplace.models import CapabilityVersion, Pool, Task
from marketplace.policies import Policy
from marketplace.stages import stages_of
from scheduler.matching import ClassState, could_take
from scheduler.scene import state_of
from scheduler.services.drafting import Asker, Draft, Request, draft_task
from scheduler.services.expanding import expand_task, need_of
from scheduler.services.submitting import save_task
from scheduler.snapshots import open_pools
from scheduler.sql import dicts, rows
from scheduler.verification.levels import ENOUGH_RESULTS

SHARE: Final = 0.01  # of a new pool's work
PER_RUN: Final = 20
ONE_RESULT: Final = Policy(compare="exact")

# How much a pool has done, how many of its results were checked, its canaries so far, and whether one is under way.
_WORK: Final = """
SELECT p.id, coalesce((SELECT sum(samples) FROM scheduler_pace WHERE pool_id = p.id), 0) AS done,
       coalesce((SELECT sum(samples) FROM scheduler_trust WHERE pool_id = p.id), 0) AS checked,
       count(t.id) AS canaries, count(t.id) FILTER (WHERE t.ended_at IS NULL) AS open
FROM marketplace_pool p
LEFT JOIN marketplace_task t ON t.kind = 'test' AND t.labels->>'canary' = p.identifier
WHERE p.id = ANY(%s) GROUP BY p.id ORDER BY p.id
"""
_ANSWERS: Final = """
SELECT u.task_id, u.stage, u.index, a.id FROM scheduler_unit u
JOIN scheduler_attempt a ON a.unit_id = u.id AND a.task_id = u.task_id AND a.state = 'valid'
WHERE u.task_id = ANY(%s) AND u.state = 'done'
"""


def plant_canaries() -> int:
    """Give canaries to pools that are due one, where a test case with a known answer fits them. Returns how many."""
    pools = {pool.pk: pool for pool in open_pools(online_only=True)}
    due = [pools[row["id"]] for row in dicts(_WORK, [list(pools)]) if is_due(pools[row["id"]], row)]
    answers = known_answers() if due else []
    return sum(_plant(pool, answers) for pool in due[:PER_RUN])


def is_due(pool: Pool, work: dict[str, Any]) -> bool:
    """`work`: done, checked (results), canaries (so far), open (under way)."""
    if work["open"]:
        return False
    if pool.quarantined_until is not None:
        return True
    return bool(work["checked"] < ENOUGH_RESULTS and work["canaries"] < math.ceil(float(work["done"]) * SHARE))


def known_answers() -> list[Task]:
    """Delivered tests of published versions whose results are compared exactly, the newest first."""
    tests = Task.objects.filter(kind=Task.Kind.TEST, state=Task.State.DELIVERED, labels__has_key="test")
    tests = tests.filter(capability_version__state=CapabilityVersion.State.PUBLISHED, plan__verify__compare="exact")
    return list(tests.select_related("capability_version__capability__organization").order_by("-pk")[:100])


def _plant(pool: Pool, answers: Iterable[Task]) -> bool:
    """Hand in the first test case that fits the pool, for this pool alone."""
    state = state_of(pool)
    for answer in answers:
        version = answer.capability_version
        asker = Asker(version.capability.organization)
        request = Request(str(version), answer.inputs, labels={"canary": pool.identifier}, name=answer.name)
        draft = draft_task(asker, request, version=version)
        draft.task.plan |= {"verify": ONE_RESULT.document(), "known": str(answer.pk), "only": pool.pk}
        stages = range(len(stages_of(draft.task.plan)))
        needs = [ClassState(0, need_of(draft.task, stage=n, inputs=draft.inputs), 1) for n in stages]
        if all(could_take(one, state) for one in needs):
            _hand_in(draft)
            return True
    return False


@transaction.atomic
def _hand_in(draft: Draft) -> None:
    draft.task.kind = Task.Kind.TEST
    expand_task(save_task(draft).pk)


def answers_to(references: set[UUID]) -> dict[tuple[UUID, int, int], int]:
    """The attempts that gave the known answers: (reference task, stage, index) -> attempt. One statement."""
    if not references:
        return {}
    return {(task, stage, index): attempt for task, stage, index, attempt in rows(_ANSWERS, [sorted(references)])}
