"""Publishing a version: its tests begin as tasks, and when they have ended the publishing is concluded.

A test that failed by the word of one owner runs once more, on pools of other owners: nobody alone keeps a program from being
listed (marketplace/services/publishing.py). Where no other owner's pool could run it, or none takes it in time, the word stands.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from core.wake import wake
from marketplace.models import CapabilityVersion, Task
from marketplace.services.publishing import begin_tests, conclude_tests, failed_tests, tests_of
from scheduler.services.submitting import TestRun, submit_tests
from scheduler.sql import rows

CONFIRM_WITHIN: Final = timedelta(minutes=10)  # no other owner was free: then one has to be enough
# Owners who ran a task to an end of any kind; a task that two of them have seen fail needs no third.
_RAN_BY: Final = """
SELECT a.task_id, array_agg(DISTINCT o.slug) FROM scheduler_attempt a
JOIN marketplace_pool p ON p.id = a.pool_id JOIN marketplace_organization o ON o.id = p.organization_id
WHERE a.task_id = ANY(%s) AND a.state IN ('valid', 'invalid', 'failed', 'reported', 'lost') GROUP BY a.task_id
"""
_GIVE_UP: Final = """
UPDATE marketplace_task SET cancel_requested_at = now()
WHERE kind = 'test' AND state = 'queued' AND labels ? 'confirms' AND cancel_requested_at IS NULL AND created_at < %s
RETURNING id
"""


@transaction.atomic
def publish_version(version: CapabilityVersion) -> CapabilityVersion:
    """Put a draft under test: its test cases are submitted as tasks, or nothing happens at all.

    Raises Conflict for a version that is not a draft, Invalid for a test case that no pool could run.
    """
    testing = begin_tests(version)
    submit_tests(testing, [TestRun(case.name, case.inputs) for case in tests_of(testing)])
    return testing


def conclude_tests_of(task_id: UUID | str | None) -> None:
    """Conclude the version that a test task belongs to; without one, sweep over all versions under test."""
    if task_id is None:
        give_up_confirming()
        testing = CapabilityVersion.objects.filter(state=CapabilityVersion.State.TESTING)
        versions = list(testing.values_list("id", flat=True)[:100])
    else:
        tests = Task.objects.filter(pk=task_id, kind=Task.Kind.TEST)
        versions = list(tests.values_list("capability_version_id", flat=True))
    for version_id in versions:
        confirm_failures(version_id)
        conclude_tests(version_id)


@transaction.atomic
def confirm_failures(version_id: int) -> int:
    """Run again, away from who saw them fail, the tests that failed by one owner's word. Returns how many.

    The version's row is held, so that two who look at once do not both submit.
    """
    under_test = CapabilityVersion.objects.filter(pk=version_id, state=CapabilityVersion.State.TESTING)
    version = under_test.select_for_update().first()
    if version is None:
        return 0
    failed = failed_tests(version)
    owners: dict[Any, list[str]] = dict(rows(_RAN_BY, [[task.pk for task in failed.values()]])) if failed else {}
    doubted = {name: task for name, task in failed.items() if len(owners.get(task.pk, ())) == 1}
    inputs = {case.name: case.inputs for case in tests_of(version)} if doubted else {}
    again = [TestRun(name, inputs[name], str(task.pk), owners[task.pk]) for name, task in doubted.items()]
    return len(submit_tests(version, again))


def give_up_confirming() -> int:
    """Confirming runs that nobody took in time are cancelled, and the first word stands. Returns how many."""
    given_up = rows(_GIVE_UP, [timezone.now() - CONFIRM_WITHIN])
    if given_up:
        wake("scheduler.sweep")
    return len(given_up)
