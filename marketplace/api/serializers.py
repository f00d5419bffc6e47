"""What every serializer of the API shares: inputs refuse what they do not know, and are bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers


class In(serializers.Serializer[Any]):
    """An input. A member that it does not know is an error, so that a misspelt one is not silently lost."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := sorted(set(map(str, data)) - set(self.fields))):
            error = serializers.ErrorDetail("there is no such field", code="unknown_field")
            raise serializers.ValidationError({unknown[0]: [error]})
        return super().to_internal_value(data)


def valid(serializer: In) -> dict[str, Any]:
    """The input as plain values; what is wrong with it becomes a 422 that names the field."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class Out(serializers.Serializer[Any]):
    """An answer."""


class TrueOrFalse(serializers.BooleanField):
    """A JSON boolean and nothing that looks like one."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class DecimalText(serializers.RegexField):
    """An amount or price as decimal text. Numbers are refused: a float has lost digits already."""

    def __init__(self, **options: Any) -> None:
        super().__init__(r"^\d{1,18}(\.\d{1,12})?$", max_length=31, **options)
        self.error_messages["invalid"] = "decimal text with at most 12 places, for example \"0.0001\""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictInput(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says so in the API's description: no additional properties."""

    target_class = "marketplace.api.serializers.In"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | {"additionalProperties": False}
