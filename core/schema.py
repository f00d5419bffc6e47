"""The OpenAPI description: every operation names the problem document it may answer with; it is drawn once to be served."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem document; `code` is stable, `field` is the input at fault.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "field": {"type": ["string", "null"]},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
REASONS = {
    "400": "malformed request",
    "401": "no valid key or session",
    "403": "not allowed",
    "404": "no such thing, or none you may see",
    "406": "no such answer in an accepted type",
    "409": "its state does not allow it",
    "413": "too many bytes",
    "415": "unsupported media type",
    "422": "invalid input",
    "429": "too many requests",
}
OF_DOWNLOADS = {"416": "no byte of the range exists"}


class ProblemSchema(AutoSchema):
    """AutoSchema that adds the problem document to every operation."""

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            name="Problem", type=ResolvedComponent.SCHEMA, object="Problem", schema=PROBLEM
        )
        self.registry.register_on_missing(component)
        for status, reason in (REASONS | (OF_DOWNLOADS if "206" in bodies else {})).items():
            content = {"application/problem+json": {"schema": component.ref}}
            bodies.setdefault(status, {"description": reason, "content": content})
        return bodies


class OnceGenerator(SchemaGenerator):
    """Draws the public description once in a process: it follows from the code alone, takes a second, and anybody may ask."""

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        """The OpenAPI document; not to be changed."""
        return drawn_once() if public else super().get_schema(request, public)  # type: ignore[no-untyped-call]


@cache
def drawn_once() -> dict[str, Any]:
    """What `SchemaGenerator` draws of the public routes."""
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-any-return, no-untyped-call]
