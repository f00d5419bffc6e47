"""A unit and its siblings, as a look at them sees it: rows read together, and what the look wants written."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from marketplace.models import Task
from marketplace.policies import Policy
from marketplace.stages import VALIDATES
from scheduler.sql import dicts

OPEN: Final = ("waiting", "placed")
PENDING: Final = ("blocked", "waiting", "placed", "leased")

_MEMBERS: Final = f"""
SELECT m.id, m.task_id, m.stage, m.index, m.replica, m.state, m.need_id, m.pool_id, m.apart,
       r.attempt_id AS rechecks
FROM (SELECT DISTINCT task_id, stage %% {VALIDATES} AS stage, index FROM scheduler_unit WHERE id = ANY(%s)) g
JOIN scheduler_unit m ON m.task_id = g.task_id AND m.stage IN (g.stage, g.stage + {VALIDATES}) AND m.index = g.index
LEFT JOIN scheduler_recheck r ON r.unit_id = m.id
ORDER BY m.task_id, m.stage, m.index, m.replica
"""
_ATTEMPTS: Final = """
SELECT a.id, a.unit_id, a.task_id, a.pool_id, a.state, a.reason_class, a.code, a.detail, a.variant,
       p.organization_id AS owner, p.instruction_set, c.state AS commitment, c.at < now() - interval '10 minutes' AS waited
FROM scheduler_attempt a JOIN marketplace_pool p ON p.id = a.pool_id
LEFT JOIN scheduler_commitment c ON c.attempt_id = a.id
WHERE a.checked AND a.unit_id = ANY(%s) ORDER BY a.id
"""


@dataclass(frozen=True)
class Context:
    """What a group's task says: its policy, its version, and whether it wants no more results."""

    policy: Policy
    version: int
    stopping: bool
    task: Task

    @property
    def known(self) -> UUID | None:
        """The task that holds the known answers, for a canary."""
        reference = self.task.plan.get("known")
        return UUID(reference) if reference else None


@dataclass
class Group:
    """A unit's siblings in the order of their replicas, with their checked attempts; and validators' tries with theirs."""

    task: UUID
    context: Context
    members: list[dict[str, Any]]
    validators: list[dict[str, Any]]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    tries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def decided(self) -> bool:
        return any(member["state"] == "done" for member in self.members)

    def in_state(self, *states: str) -> list[dict[str, Any]]:
        return [member for member in self.members if member["state"] in states]

    def reported(self) -> list[dict[str, Any]]:
        """Results that wait for their verdict; one that broke its commitment is no result."""
        return [one for one in self.attempts if one["state"] == "reported" and one["commitment"] != "broken"]

    def broken(self) -> list[dict[str, Any]]:
        """What was reported though its attempt was bound to another result."""
        return [one for one in self.attempts if one["state"] == "reported" and one["commitment"] == "broken"]

    def voters(self) -> list[dict[str, Any]]:
        """The reported attempts that vote, in the order of their replicas: one for each owner."""
        order = {member["id"]: member["replica"] for member in self.members}
        first: dict[int, dict[str, Any]] = {}
        for attempt in sorted(self.reported(), key=lambda one: order[one["unit_id"]]):
            first.setdefault(attempt["owner"], attempt)
        return list(first.values())

    def owners(self) -> set[int]:
        """Owners who hold a sibling, or have had their say."""
        said = ("leased", "running", "reported", "valid", "invalid", "superseded")
        return {a["owner"] for a in self.attempts if a["state"] in said or a["reason_class"] == "capability_error"}

    def no_judges(self) -> set[int]:
        """Owners who may not validate: who gave a result, and who says that the validator failed."""
        return self.owners() | {a["owner"] for a in self.tries if a["reason_class"] == "capability_error"}


@dataclass
class Steps:
    """What a look decided, as columns of the statements that write it."""

    units: list[tuple[int, str, str, int]] = field(default_factory=list)  # id, state, apart, need
    asked: list[tuple[int, str, int, int, int]] = field(default_factory=list)  # a sibling, apart, need, replica, stage
    verdicts: list[tuple[int, str, str, str, str]] = field(default_factory=list)  # attempt, state, reason, code, detail
    reveals: list[int] = field(default_factory=list)  # attempts that are bound and may show their result
    rechecked: list[tuple[int, str]] = field(default_factory=list)  # units that ran a delivered result again, and the outcome
    stopped: set[int] = field(default_factory=set)  # pools that run what nobody needs any more
    absolved: list[dict[str, Any]] = field(default_factory=list)  # attempts that blamed a capability which works


def groups_of(units: list[int]) -> list[Group]:
    """The groups that these units belong to, with what decides them: four statements, however many there are."""
    members: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in dicts(_MEMBERS, [units]):
        members[row["task_id"], row["stage"] % VALIDATES, row["index"]].append(row)
    contexts = _contexts({task for task, _, _ in members})
    groups = [Group(key[0], contexts[key[0]], *_apart(listed)) for key, listed in members.items()]
    lists = {member["id"]: group.attempts for group in groups for member in group.members}
    lists |= {member["id"]: group.tries for group in groups for member in group.validators}
    for attempt in dicts(_ATTEMPTS, [list(lists)]):
        lists[attempt["unit_id"]].append(attempt)
    return groups


def _apart(rows_of_group: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(siblings, validators) of a group."""
    validators = [row for row in rows_of_group if row["stage"] >= VALIDATES]
    return [row for row in rows_of_group if row["stage"] < VALIDATES], validators


def _contexts(tasks: set[UUID]) -> dict[UUID, Context]:
    return {
        task.pk: Context(
            Policy.of(task.plan.get("verify")),
            task.capability_version_id,
            task.ended_at is not None or task.cancel_requested_at is not None or bool(task.reason_class),
            task,
        )
        for task in Task.objects.filter(pk__in=tasks).select_related("organization", "capability_version")
    }
