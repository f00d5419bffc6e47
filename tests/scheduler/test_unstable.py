"""A version whose results do not agree, three tasks in a row, is known as unstable."""

from __future__ import annotations

import pytest

from marketplace.models import CapabilityVersion, Task
from scheduler.services.unstable import flag_unstable
from tests.builders import alice, client_of
from tests.builders_tasks import a_task, a_version
from tests.builders_trust import a_checked_version, agents_of, owners_pools, take_turns

pytestmark = pytest.mark.django_db
DIFFERENT = {"bob": b"1\n", "erin": b"2\n", "dave": b"3\n"}


def test_after_three_tasks_without_agreement_a_version_is_unstable_and_a_new_one_is_not() -> None:
    agents = agents_of(owners_pools(*DIFFERENT))
    version = a_checked_version()
    for n in range(1, 4):
        task = take_turns(a_task(version=version, inputs={"count": 2}), agents, DIFFERENT)
        assert (task.state, task.reason_class) == ("failed", "invalid_result")
        version.refresh_from_db()
        assert (version.unstable_since is not None) == (n == 3)
    since = version.unstable_since
    assert take_turns(a_task(version=version), agents).state == "delivered"
    assert flag_unstable([version.pk]) == []
    version.refresh_from_db()
    assert version.unstable_since == since
    newer = CapabilityVersion.objects.create(
        capability=version.capability, version="2.0.0", manifest=version.manifest, digest=version.digest, state="draft"
    )
    assert newer.unstable_since is None


def test_tasks_that_were_delivered_or_failed_otherwise_do_not_count() -> None:
    agents = agents_of(owners_pools("bob", "erin"))
    version = a_checked_version()
    for _ in range(4):
        take_turns(a_task(version=version), agents)
    assert Task.objects.filter(state="delivered").count() == 4
    assert flag_unstable([version.pk]) == []


def test_everybody_can_see_it_in_the_catalogue() -> None:
    version = a_version()
    CapabilityVersion.objects.filter(pk=version.pk).update(unstable_since="2026-01-02T03:04:05Z")
    found = client_of(alice()).get(f"/api/v1/capabilities/{version.capability}").json()
    assert found["versions"][0]["unstable_since"].startswith("2026-01-02T03:04:05")
    assert found["latest"]["unstable_since"].startswith("2026-01-02T03:04:05")
