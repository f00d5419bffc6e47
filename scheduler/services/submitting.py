"""Step 1 of the river, submit: a request becomes a task, or an error that names the field at fault.

Nothing is written before everything is checked; then task, input files, the first event and the hold of what it may cost are
one transaction.
An idempotency key makes the submit repeatable: same body, same task; another body is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import IntegrityError, transaction

from core.errors import Conflict, Invalid, NotAllowed
from core.wake import wake
from marketplace.models import CapabilityVersion, Organization, Task, TaskArtifact, TaskReference
from marketplace.services.credit import place_hold
from scheduler.services.drafting import Asker, Draft, Request, draft_task, find_version
from scheduler.services.events import add_events
from scheduler.services.refusing import refuse_hopeless, refuse_late


def submit_task(asker: Asker, request: Request, *, idempotency_key: str | None = None) -> tuple[Task, bool]:
    """Accept a task. Returns it and whether it is new.

    Raises Invalid (422) naming the field, NotAllowed (403) for an organization that may not ask, PaymentRequired (402) and
    Conflict (409) where credit or a budget has no room for what it may cost.
    """
    if (known := _replayed(asker, request, idempotency_key)) is not None:
        return known, False
    _check_standing(asker.organization)
    draft = draft_task(asker, request, version=find_version(asker.organization, request.capability))
    draft.task.idempotency_key = idempotency_key
    draft = replace(draft, price_p90=refuse_hopeless(draft))
    refuse_late(draft)
    try:
        return save_task(draft), True
    except IntegrityError as error:
        if "task_request_once" not in str(error):
            raise
        known = _replayed(asker, request, idempotency_key)
        if known is None:
            raise Conflict("idempotency_in_progress", "the same request is being handled; repeat it") from None
        return known, False


@dataclass(frozen=True)
class TestRun:
    """A test case to submit. `confirms`: the task it runs again, away from the owners (slugs) in `without`."""

    __test__ = False

    name: str
    inputs: dict[str, Any]
    confirms: str = ""
    without: Sequence[str] = ()

    def request(self, version: CapabilityVersion) -> Request:
        labels = {"test": self.name} | ({"confirms": self.confirms} if self.confirms else {})
        constraints = {"exclude_providers": list(self.without)} if self.without else {}
        return Request(str(version), self.inputs, constraints=constraints, labels=labels, name=f"test of {version}: {self.name}")


def submit_tests(version: CapabilityVersion, runs: list[TestRun]) -> list[Task]:
    """Submit a version's test cases as tasks of its publisher, paid by the platform. Returns the tasks.

    Raises Invalid for a case that no pool could run; one that confirms another is left out then.
    """
    asker = Asker(version.capability.organization)
    drafts = [draft for run in runs if (draft := _drafted(asker, run, version)) is not None]
    with transaction.atomic():
        return [save_task(draft) for draft in drafts]


def _drafted(asker: Asker, run: TestRun, version: CapabilityVersion) -> Draft | None:
    try:
        return _test_draft(asker, run.request(version), version)
    except Invalid:
        if run.confirms:
            return None
        raise


def _test_draft(asker: Asker, request: Request, version: CapabilityVersion) -> Draft:
    """A test, checked. Where only pools could run it whose word alone is not enough, it takes their word.

    A test shows its publisher whether the program runs there. Nobody pays by it but the platform, nobody is blamed by
    it, and what nobody compares is no known answer: there is nothing to protect, and a young market has no other pools.
    """
    draft = draft_task(asker, request, version=version)
    try:
        refuse_hopeless(draft)
    except Invalid as refused:
        if not refused.data.get("excluded", {}).get("trust"):
            raise
        taking = request.constraints | {"accept_unproven": True}
        draft = draft_task(asker, replace(request, constraints=taking), version=version)
        refuse_hopeless(draft)
    draft.task.kind = Task.Kind.TEST
    return draft


def _replayed(asker: Asker, request: Request, key: str | None) -> Task | None:
    if key is None:
        return None
    if not 0 < len(key) <= 200:
        raise Invalid("invalid_idempotency_key", "1 to 200 characters, please", field="Idempotency-Key")
    task = Task.objects.filter(organization=asker.organization, idempotency_key=key).first()
    if task is not None and task.request_digest != request.digest():
        raise Invalid("idempotency_mismatch", "this key was used for another request", field="Idempotency-Key")
    return task


def _check_standing(organization: Organization) -> None:
    if organization.suspended_at is not None:
        raise NotAllowed("organization_suspended", "this organization is suspended")
    if not organization.is_user:
        raise NotAllowed("not_a_user", "this organization does not submit tasks")


@transaction.atomic
def save_task(draft: Draft) -> Task:
    """Write a checked task with its files, its first event and its hold; what comes next is woken."""
    task = draft.task
    task.save(force_insert=True)
    TaskArtifact.objects.bulk_create(draft.files)
    TaskReference.objects.bulk_create(draft.references)
    add_events([(task.pk, "task.submitted", {"units": task.units_total})])
    place_hold(task, draft.price_p90)  # last: others of the organization wait for it from here on
    wake("scheduler.advance" if draft.references else "scheduler.expand", str(task.pk))
    return task
