"""What names look like in paths. Anything else is no route at all, so no odd character reaches a query."""

from __future__ import annotations

from typing import Final

from django.urls import register_converter
from django.urls.converters import StringConverter
from drf_spectacular.utils import OpenApiParameter


class PoolConverter(StringConverter):
    """A pool's identifier (算力标识)."""

    regex = r"[0-9X][0-9]{5}-[GISC]-[0-9A-Z]{6,10}-[0-9A-Z]"


class KeyConverter(StringConverter):
    """A key's prefix."""

    regex = "[a-z0-9]{8,16}"


class UsernameConverter(StringConverter):
    """A person's name, as Django allows it."""

    regex = r"[\w.@+-]{1,150}"


register_converter(PoolConverter, "pool")
register_converter(KeyConverter, "key")
register_converter(UsernameConverter, "username")


def _in_path(name: str, pattern: str) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "string", "pattern": f"^{pattern}$"}, OpenApiParameter.PATH)


IDENTIFIER: Final = _in_path("identifier", PoolConverter.regex)
PREFIX: Final = _in_path("prefix", KeyConverter.regex)
USERNAME: Final = _in_path("username", "[A-Za-z0-9_.@+-]{1,150}")
