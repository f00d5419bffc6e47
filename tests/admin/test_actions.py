"""Actions are doors to services: they do what the service does and repeat its refusals."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from marketplace.models import ApiKey, CapabilityVersion, Pool, Task
from scheduler.models import PoolEvent
from tests.admin.market import a_settled_task, an_open_task, list_of, operator, page_of
from tests.builders import a_key, a_pool, alice
from tests.builders_tasks import a_version

pytestmark = pytest.mark.django_db


def take(client: Client, action: str, *rows: Any, page: bool = False) -> list[str]:
    """Take an action on rows; what the operator is told."""
    data = {"action": action, "index": "0", "_selected_action": [row.pk for row in rows]}
    data |= {"_page": str(rows[0].pk)} if page else {}
    answer = client.post(list_of(type(rows[0])), data, follow=True)
    assert answer.status_code == 200
    if page:
        assert answer.redirect_chain[-1][0] == page_of(rows[0])
    return [str(message) for message in answer.context["messages"]]


def fresh(row: Any) -> Any:
    return type(row).objects.get(pk=row.pk)


def test_pools_are_drained_and_resumed() -> None:
    client, pools = operator(), [a_pool(), a_pool()]
    assert take(client, "drain", *pools) == ["2 told to drain"]
    assert {fresh(pool).state for pool in pools} == {"draining"}
    assert take(client, "resume", pools[0], page=True) == ["1 resumed"]
    assert fresh(pools[0]).state == "active"


def test_a_refusal_is_told_in_the_services_words() -> None:
    client, pool = operator(), a_pool(state="registered")
    assert take(client, "activate", pool) == [f"{pool.identifier}: a pool that is registered cannot activate"]
    assert fresh(pool).state == "registered"


def test_a_pools_page_offers_what_its_state_allows() -> None:
    offered = operator().get(page_of(a_pool(state="suspended"))).context["gf"]["verbs"]
    assert [name for name, _ in offered] == ["retire", "reinstate"]


def test_an_organization_is_suspended_and_readmitted() -> None:
    client, row = operator(), alice().organization
    assert take(client, "suspend", row, page=True) == ["1 suspended"]
    assert fresh(row).suspended_at is not None
    assert take(client, "suspend", row) == ["0 suspended"]
    assert take(client, "readmit", row) == ["1 readmitted"]
    assert fresh(row).suspended_at is None


def test_keys_are_revoked() -> None:
    a_key(alice())
    key = ApiKey.objects.get()
    assert take(operator(), "revoke", key) == ["1 revoked"]
    assert fresh(key).revoked_at is not None


def test_a_version_is_trusted_deprecated_and_withdrawn() -> None:
    client, version = operator(), a_version(trusted=False)
    take(client, "trust", version)
    assert fresh(version).trusted
    take(client, "distrust", version)
    assert not fresh(version).trusted
    take(client, "deprecate", version)
    assert fresh(version).state == CapabilityVersion.State.DEPRECATED
    take(client, "withdraw", version, page=True)
    assert fresh(version).state == CapabilityVersion.State.WITHDRAWN


def test_a_task_is_cancelled_and_an_ended_one_is_not() -> None:
    client, task = operator(), an_open_task()
    assert take(client, "cancel", task, page=True) == ["1 asked to stop"]
    assert fresh(task).state == Task.State.CANCELLED
    assert "delivered already" in take(client, "cancel", a_settled_task())[0]


def test_what_operators_did_is_written_down() -> None:
    pool = a_pool()
    take(operator(), "drain", pool)
    done = LogEntry.objects.get()
    assert (done.user.username, done.object_repr, done.get_change_message()) == ("olga", str(pool), "told to drain")


def test_nobody_else_takes_an_action() -> None:
    pool, client = a_pool(), Client()
    client.force_login(alice().user)
    answer = client.post(list_of(Pool), {"action": "suspend", "index": "0", "_selected_action": pool.pk})
    assert answer["Location"].startswith("/admin/login/")
    assert fresh(pool).state == "active"


def test_an_action_needs_the_forms_token() -> None:
    pool, client = a_pool(), Client(enforce_csrf_checks=True)
    client.force_login(a_staff_user())
    data = {"action": "suspend", "index": "0", "_selected_action": pool.pk}
    assert client.post(list_of(Pool), data).status_code == 403
    assert fresh(pool).state == "active"


def a_staff_user() -> Any:
    from tests.builders import olga

    return olga().user


def test_an_operator_vouches_for_an_audit_of_a_year() -> None:
    pool = a_pool()
    (told,) = take(operator(), "vouch", pool, page=True)
    until = fresh(pool).audited_until
    assert told == f"1 audited until {until:%Y-%m-%d}"
    assert 364 <= (until - timezone.now()).days <= 365
    assert PoolEvent.objects.filter(pool=pool, kind="audited").count() == 1
