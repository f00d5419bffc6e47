"""The API's description is valid OpenAPI 3.1 and leaves nothing out: errors, keys, bodies, streams."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from marketplace.scopes import PUBLIC
from tests.contracts.test_routes_guarded import methods_of, routes

ERRORS = ("400", "401", "403", "404", "406", "409", "413", "415", "422", "429")
Json = dict[str, Any]


@cache
def described() -> Json:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    return generator.get_schema(request=None, public=True)


def operations() -> dict[str, Json]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described()["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid_and_drawn_without_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    call_command("spectacular", format="openapi-json", file=str(file), validate=True, fail_on_warn=True)
    assert '"openapi": "3.1.0"' in file.read_text()


def test_it_names_every_route_and_no_other() -> None:
    known = {
        f"{method} /api/v1/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)
        for route in routes()
        for method in methods_of(route.view)
    }
    assert set(operations()) == known


def test_every_operation_says_what_it_is_for_and_how_it_fails() -> None:
    names = [operation["operationId"] for operation in operations().values()]
    assert len(names) == len(set(names))
    for label, operation in operations().items():
        assert operation.get("description"), label
        for status in ERRORS:
            content = operation["responses"][status]["content"]
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}, label


def test_everything_but_what_is_public_needs_a_key_or_a_session() -> None:
    public = {f"POST /api/v1/{route.path}" for route in routes() if PUBLIC in route.scopes.values()}
    for label, operation in operations().items():
        expected = None if label in public else [{"key": []}, {"cookieAuth": []}]
        assert operation.get("security") == expected, label
    schemes = described()["components"]["securitySchemes"]
    assert (schemes["key"]["scheme"], schemes["cookieAuth"]["in"]) == ("bearer", "cookie")


def test_every_answer_with_a_body_has_a_shape() -> None:
    for label, operation in operations().items():
        for status, answer in operation["responses"].items():
            if status.startswith("2") and status != "204":
                assert all(content["schema"] for content in answer["content"].values()), (label, status)


@pytest.mark.parametrize(
    ("label", "where", "name"),
    [
        ("POST /api/v1/tasks", "header", "Idempotency-Key"),
        ("PATCH /api/v1/uploads/{id}", "header", "Upload-Offset"),
        ("GET /api/v1/artifacts/{id}/content", "header", "Range"),
        ("GET /api/v1/tasks/{task_id}/result/files/{name}", "header", "Range"),
        ("GET /api/v1/tasks/{task_id}/events", "header", "Last-Event-ID"),
        ("GET /api/v1/tasks/{task_id}/events", "query", "after"),
        *[("GET /api/v1/tasks", "query", name) for name in ("state", "capability", "label", "created_after", "created_before")],
        *[("GET /api/v1/tasks", "query", name) for name in ("limit", "cursor")],
    ],
)
def test_headers_and_filters_are_described(label: str, where: str, name: str) -> None:
    parameters = {(one["in"], one["name"]): one for one in operations()[label]["parameters"]}
    assert parameters[where, name]["schema"]


def test_bytes_and_streams_are_described() -> None:
    found = operations()
    assert set(found["PATCH /api/v1/uploads/{id}"]["requestBody"]["content"]) == {"application/octet-stream"}
    events = found["GET /api/v1/tasks/{task_id}/events"]["responses"]["200"]["content"]
    assert set(events) == {"application/json", "text/event-stream"}
    for label in ("GET /api/v1/artifacts/{id}/content", "GET /api/v1/tasks/{task_id}/result/files/{name}"):
        assert {"200", "206", "304", "307", "416"} <= set(found[label]["responses"]), label


def test_what_a_body_may_not_hold_is_said() -> None:
    schemas = described()["components"]["schemas"]
    bodies = [schema for name, schema in schemas.items() if name.endswith("InRequest")]
    assert len(bodies) > 10
    assert all(schema["additionalProperties"] is False for schema in bodies)
