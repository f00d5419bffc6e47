"""The API does what its description says: requests drawn from it, right and wrong ones, and every answer checked.

The caller is an operator and owns an organization that is user, provider and publisher with one of everything, whose
ids are put into the description. Each request is rolled back, so that no example depends on another.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from marketplace import storage
from marketplace.models import Organization, User
from marketplace.services.artifacts import begin_upload, blob_received
from marketplace.webhooks.endpoints import ping
from tests import builders as build
from tests.builders_capabilities import an_artifact, sha256_of
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.builders_webhooks import an_endpoint, caller_for
from tests.contracts.test_routes_guarded import methods_of, routes

pytestmark = pytest.mark.django_db
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES: Final = 8
MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
IN_BODIES: Final = [
    ("TaskInRequest", "capability"),
    ("TaskInRequest", "inputs"),
    ("PoolInRequest", "region"),
    ("MemberInRequest", "username"),
    ("OrganizationInRequest", "owner"),
]
Json = dict[str, Any]


@cache
def description() -> Json:
    """The API's description as it is served."""
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    return generator.get_schema(request=None, public=True)


def operations() -> list[str]:
    paths = ((method, route) for route in routes() for method in methods_of(route.view))
    return sorted({f"{method} {route.path}" for method, route in paths})


@pytest.fixture(scope="module")
def one_transaction(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """All requests share one connection, in a transaction of its own; a server would close it after each."""
    signals = (request_finished, request_started)
    with django_db_blocker.unblock(), transaction.atomic():
        for signal in signals:
            signal.disconnect(close_old_connections)
        yield
        transaction.set_rollback(True)
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def known(one_transaction: None) -> Json:
    """One of everything that the caller owns, by the names that the description has for it."""
    caller = build.alice()
    Organization.objects.filter(pk=caller.organization.pk).update(is_provider=True, is_publisher=True)
    User.objects.filter(pk=caller.user.pk).update(is_staff=True)
    pool = build.a_pool(caller)
    version = a_version(caller, outputs=[{"path": "*.txt"}])
    task = run_to_end(a_task(caller, version=version), FakeAgent.of(pool), outputs=[a_file()])
    member = build.alice("member")
    upload = begin_upload(caller.organization, caller.user, name="b", sha256=sha256_of(b"bb"), size=2, media_type="text/plain")
    hook = an_endpoint(caller)
    return {
        "key": build.a_key(caller),
        "webhook": str(hook.pk),
        "delivery": ping(caller_for(caller), hook.pk).pk,
        "task_id": str(task.pk),
        "file": "a.txt",
        "upload": str(upload.pk),
        "artifact": str(an_artifact(caller, b"some bytes").pk),
        "identifier": pool.identifier,
        "org": caller.organization.slug,
        "name": version.capability.name,
        "version": version.version,
        "username": member.user.username,
        "owner": member.user.username,
        "prefix": build.a_key(caller).split("_")[1],
        "capability": str(version),
        "inputs": {"count": 3},
        "region": "ningxia",
    }


def a_file() -> Json:
    """An output that an agent has uploaded."""
    blob = blob_received(storage.put_bytes(b"text"), 4, None)
    return {"path": "a.txt", "bytes": 4, "sha256": blob.pk, "media_type": "text/plain"}


@pytest.fixture(scope="module")
def described(known: Json) -> dict[str, Any]:
    """The operations of the description, by method and path."""
    schema = schemathesis.openapi.from_dict(seeded(description(), known))
    schema.app = get_wsgi_application()
    return {(one := result.ok()).label: one for result in schema.get_all_operations()}


def seeded(document: Json, known: Json) -> Json:
    """The description, where what names an object may only be the one that exists."""
    document = copy.deepcopy(document)
    for path, methods in document["paths"].items():
        for parameter in (one for method in methods.values() for one in method.get("parameters", [])):
            if parameter["in"] == "path":
                parameter["schema"] = _only(parameter["schema"], _value_of(path, parameter["name"], known))
    schemas = document["components"]["schemas"]
    for body, name in IN_BODIES:
        schemas[body]["properties"][name] = _only(schemas[body]["properties"][name], known[name])
    return document


def _value_of(path: str, name: str, known: Json) -> str | None:
    if name == "name" and "/result/" in path:
        return known["file"]
    return known["upload" if "/uploads/" in path else "artifact"] if name == "id" else known.get(name)


def _only(schema: Json, value: Any) -> Json:
    return schema if value is None else {"enum": [value]} | ({"type": "string"} if isinstance(value, str) else {})


def drawn(operation: Any, mode: GenerationMode) -> Iterator[Any]:
    """Cases of one operation, the same ones every time."""
    cases: list[Any] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    return iter(cases)


def told(case: Any, headers: Json) -> list[str]:
    """What is wrong with the answer to a case; nothing it does lasts."""
    with transaction.atomic():
        answer = case.call(headers=headers)
        transaction.set_rollback(True)
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as error:
        return [f"{answer.status_code} {case.as_curl_command()}\n{error}"]
    return []


@pytest.mark.parametrize("label", operations())
def test_every_answer_is_one_that_the_description_names(
    label: str, known: Json, described: dict[str, Any]
) -> None:
    method, path = label.split(" ")
    operation = described[f"{method} {openapi_path(path)}"]
    headers = {"Authorization": f"Bearer {known['key']}"}
    wrong = [text for mode in MODES for case in drawn(operation, mode) for text in told(case, headers)]
    assert not wrong, "\n\n".join(wrong[:3])


def openapi_path(path: str) -> str:
    return "/api/v1/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)
