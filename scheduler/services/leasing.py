"""Step 4 of the river, lease: an agent's sync renews what it names, hears what to stop, and gets new work.

One row, the agent's, renews every lease it holds: its `lease_until`. Each question below is one statement whatever
the number of units. Only the server's clock counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Conflict
from core.wake import wake
from marketplace.models import Agent, Pool
from marketplace.services.availability import agent_reclaims
from marketplace.services.storekeeping import Orders, fresh_orders
from scheduler.closing import CLOSED_NOW, Closing
from scheduler.closings import closings_of
from scheduler.services.events import add_events
from scheduler.services.fleet import fleet
from scheduler.services.revealing import asked_of
from scheduler.services.settling import end_attempts
from scheduler.services.trusting import allowance, note_leased
from scheduler.specs import lease_rows
from scheduler.sql import dicts, rows

MAX_LEASES: Final = 5_000  # units one answer hands out
PHASES_RUNNING: Final = ("running", "committed", "uploading")

# Joins go by the table's key and nothing else: PostgreSQL's statistics know of no placed units, so it expects a single row of
# every part, and would compare each row of one with each of the other.
_LEASE: Final = f"""
WITH picked AS (
    SELECT id FROM scheduler_unit WHERE pool_id = %(pool)s AND state = 'placed'
      AND EXISTS (SELECT 1 FROM marketplace_pool p WHERE p.id = %(pool)s AND p.state = 'active' AND NOT {CLOSED_NOW})
      AND (NOT %(probation)s OR checked IS NOT FALSE)
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE scheduler_unit u SET state = 'leased', fence = u.fence + 1
    FROM picked WHERE u.id = picked.id
    RETURNING u.id, u.task_id, u.stage, u.index, u.need_id, u.offer_id, u.fence, u.variant, u.checked
), made AS (
    INSERT INTO scheduler_attempt (unit_id, task_id, pool_id, agent_id, offer_id, need_id, variant, session, fence, checked,
                                   state, reason_class, code, detail, leased_at)
    SELECT id, task_id, %(pool)s, %(agent)s, offer_id, need_id, variant, %(session)s, fence, coalesce(checked, false),
           'leased', '', '', '', now()
    FROM leased RETURNING id, unit_id, fence, task_id, variant
), to_judge AS (
    INSERT INTO scheduler_unjudged (unit_id, at) SELECT id, now() FROM leased WHERE checked
)
SELECT made.id AS attempt, made.fence, made.task_id, made.variant, u.id AS unit, u.stage, u.index, u.checked
FROM made JOIN scheduler_unit u ON u.id = made.unit_id ORDER BY u.id
"""
# Live attempts the agent did not name: of this session an answer was lost, of an older one it has forgotten them.
_UNNAMED: Final = """
SELECT a.id AS attempt, a.id, a.fence, a.agent_id, a.task_id, a.variant, a.session, u.stage, u.index
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id
WHERE a.id <> ALL(%s::bigint[]) AND a.agent_id = %s AND a.state IN ('leased', 'running') ORDER BY a.id
"""
_UNKNOWN: Final = """
SELECT h.id, h.fence FROM unnest(%s::bigint[], %s::int[]) AS h(id, fence)
LEFT JOIN scheduler_attempt a
       ON a.id = h.id AND a.fence = h.fence AND a.agent_id = %s AND a.state IN ('leased', 'running')
WHERE a.id IS NULL
"""
_ENDING: Final = """
SELECT a.id, a.fence FROM scheduler_attempt a JOIN marketplace_task t ON t.id = a.task_id
WHERE a.agent_id = %(agent)s AND a.state IN ('leased', 'running')
  AND (t.cancel_requested_at IS NOT NULL OR t.reason_class <> '')
UNION ALL
SELECT a.id, a.fence FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id
WHERE a.agent_id = %(agent)s AND a.state IN ('leased', 'running') AND a.checked AND u.state = 'superseded'
"""
_RUNNING: Final = """
UPDATE scheduler_attempt a
SET state = 'running', started_at = coalesce(a.started_at, now()), progress_ppm = h.progress
FROM unnest(%s::bigint[], %s::int[]) AS h(id, progress)
WHERE a.id = h.id AND a.agent_id = %s AND a.state IN ('leased', 'running')
  AND (a.state = 'leased' OR a.progress_ppm IS DISTINCT FROM h.progress)
"""
_STARTED: Final = """
UPDATE marketplace_task SET state = 'running', started_at = now() WHERE id IN (
    SELECT id FROM marketplace_task WHERE id = ANY(%s) AND state = 'queued' ORDER BY id FOR NO KEY UPDATE
) RETURNING id
"""


@dataclass(frozen=True)
class Held:
    """One attempt the agent names. `progress_ppm` is None when it does not know."""

    attempt: int
    fence: int
    phase: str
    progress_ppm: int | None


@dataclass(frozen=True)
class Beat:
    """What an agent says of itself in a sync, reports aside. `reclaim_in_s`: its owner wants the machine back then."""

    session: UUID
    want: int
    held: list[Held]
    executors: list[str]
    draining: bool = False
    reclaim_in_s: float | None = None


@dataclass
class Answer:
    """What it hears: attempts to stop, work to do, whether its pool drains. `knows`: it drains already.

    `checkpoint` names attempts that should save what they have: the machine goes back to its owner in `back_in_s`.
    `store` has the copies that it is to keep or drop, and what is pinned.
    `reveal` names attempts that are bound to their result and may upload and report it now.
    """

    stop: list[list[Any]] = field(default_factory=list)
    leased: list[dict[str, Any]] = field(default_factory=list)
    checkpoint: list[list[int]] = field(default_factory=list)
    reveal: list[list[int]] = field(default_factory=list)
    back_in_s: float | None = None
    drain: bool = False
    knows: bool = False
    store: Orders = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Nothing that the agent could not also hear later: the poll may wait."""
        telling = self.stop or self.leased or self.reveal or self.store.keys() - {"pin"}
        return not (telling or (self.drain and not self.knows))

    def document(self) -> dict[str, Any]:
        specs, leases = lease_rows(self.leased)
        notice = {"checkpoint": self.checkpoint, "reclaim_in_s": self.back_in_s, "reveal": self.reveal}
        orders = {"store": self.store} if self.store else {}
        return {"stop": self.stop, "drain": self.drain, **notice, **orders, "specs": specs, "leases": leases}


@transaction.atomic
def keep_in_touch(agent: Agent, beat: Beat) -> Answer:
    """Renew, reconcile, and lease. The agent's row lock makes its syncs one after the other."""
    _renew(agent, beat)
    agent_reclaims(agent.pool, beat.reclaim_in_s)
    answer = _notice(agent.pool, beat)
    _mark_running(agent, beat.held)
    answer.leased = _reconcile(agent, beat)
    answer.stop, answer.reveal = _stops(agent, beat), _reveals(agent, beat)
    answer.store = fresh_orders(agent)
    if beat.want > len(answer.leased) and agent.pool.state == Pool.State.ACTIVE and not (answer.drain or beat.draining):
        answer.leased += lease_units(agent, beat.session, min(beat.want - len(answer.leased), MAX_LEASES))
    return answer


@transaction.atomic
def look_again(agent: Agent, beat: Beat) -> Answer:
    """The second look of a long poll: what to stop, and work that has come meanwhile. Renews nothing.

    A poll that its agent has left behind (it restarted, or was replaced) hears nothing and takes nothing.
    """
    present = Agent.objects.filter(pk=agent.pk, session=beat.session, retired_at=None).select_related("pool").first()
    if present is None:
        return Answer()
    answer = _notice(present.pool, beat)
    answer.stop, answer.reveal = _stops(agent, beat), _reveals(agent, beat)
    answer.store = fresh_orders(present)
    if beat.want > 0 and present.pool.state == Pool.State.ACTIVE and not (answer.drain or beat.draining):
        answer.leased = lease_units(agent, beat.session, min(beat.want, MAX_LEASES))
    return answer


def _notice(pool: Pool, beat: Beat) -> Answer:
    """What the pool's state and its closing mean for the agent: no new work, and when the machine goes back."""
    closing = closings_of([pool]).get(pool.pk, Closing())
    drains = pool.state == Pool.State.DRAINING or closing.closed
    answer = Answer(drain=drains, knows=beat.draining, back_in_s=closing.back_in_s)
    if closing.back_in_s is not None:
        answer.checkpoint = [[one.attempt, one.fence] for one in beat.held]
    return answer


def _renew(agent: Agent, beat: Beat) -> None:
    """One clock counts, the database's: the sweep that ends leases compares with the same."""
    now = timezone.now()
    lease = timedelta(seconds=fleet.lease_s(agent.pool))
    changed = Agent.objects.filter(pk=agent.pk, retired_at=None).update(
        session=beat.session, seen_at=Now(), lease_until=Now() + lease
    )
    if not changed:
        raise Conflict("agent_retired", "another agent has joined this pool in your place")
    came_back = agent.lease_until is None or agent.lease_until < now
    if came_back:  # its pool counts as open again, so waiting units may go there
        wake("scheduler.match")
    if beat.executors and beat.executors != agent.pool.executors:
        Pool.objects.filter(pk=agent.pool_id).update(executors=beat.executors)


def _mark_running(agent: Agent, held: list[Held]) -> None:
    running = [one for one in held if one.phase in PHASES_RUNNING]
    if running:
        rows(_RUNNING, [[one.attempt for one in running], [one.progress_ppm for one in running], agent.pk])


def _reconcile(agent: Agent, beat: Beat) -> list[dict[str, Any]]:
    """Attempts of this session that were not named are leased again; those of an older one are lost."""
    unnamed = dicts(_UNNAMED, [[one.attempt for one in beat.held], agent.pk])
    forgotten = [row for row in unnamed if row["session"] != beat.session]
    if forgotten:
        end_attempts(forgotten, code="agent_restarted", detail="the agent restarted without it")
    return [row for row in unnamed if row["session"] == beat.session]


def _stops(agent: Agent, beat: Beat) -> list[list[Any]]:
    stale = rows(_UNKNOWN, [[one.attempt for one in beat.held], [one.fence for one in beat.held], agent.pk])
    ending = rows(_ENDING, {"agent": agent.pk})
    return [[*row, "stale_lease"] for row in stale] + [[*row, "user_cancel"] for row in ending]


def _reveals(agent: Agent, beat: Beat) -> list[list[int]]:
    """Repeated until the agent's words show that it has heard: it no longer waits then."""
    return asked_of(agent, [one.attempt for one in beat.held if one.phase == "committed"])


def lease_units(agent: Agent, session: UUID, limit: int) -> list[dict[str, Any]]:
    """Lease up to `limit` units placed on the agent's pool; their tasks run from now on."""
    allowed = allowance(agent, limit)
    params: dict[str, Any] = {"pool": agent.pool_id, "agent": agent.pk, "session": session, "limit": allowed.units}
    params |= {"notice": settings.RECLAIM_NOTICE_SECONDS, "probation": allowed.probation}
    leased = dicts(_LEASE, params) if allowed.units else []
    note_leased(agent, leased, allowed)
    tasks = sorted({row["task_id"] for row in leased})
    if tasks:
        started = rows(_STARTED, [tasks])
        add_events((task, "task.started", {"pool": agent.pool.identifier}) for (task,) in sorted(started))
    return leased
