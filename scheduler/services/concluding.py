"""Publishing a version: its tests begin as tasks, and when they have ended the publishing is concluded."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from marketplace.models import CapabilityVersion, Task
from marketplace.services.capabilities import begin_tests, conclude_tests, tests_of
from scheduler.services.submitting import submit_tests


@transaction.atomic
def publish_version(version: CapabilityVersion) -> CapabilityVersion:
    """Put a draft under test: its test cases are submitted as tasks, or nothing happens at all.

    Raises Conflict for a version that is not a draft, Invalid for a test case that no pool could run.
    """
    testing = begin_tests(version)
    submit_tests(testing, [(case.name, case.inputs) for case in tests_of(testing)])
    return testing


def conclude_tests_of(task_id: UUID | str | None) -> None:
    """Conclude the version that a test task belongs to; without one, sweep over all versions under test."""
    if task_id is None:
        testing = CapabilityVersion.objects.filter(state=CapabilityVersion.State.TESTING)
        versions = list(testing.values_list("id", flat=True)[:100])
    else:
        tests = Task.objects.filter(pk=task_id, kind=Task.Kind.TEST)
        versions = list(tests.values_list("capability_version_id", flat=True))
    for version_id in versions:
        conclude_tests(version_id)
