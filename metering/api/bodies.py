"""Bodies that are not one JSON object: read as bytes, no more than a request may have, into a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.parsers import BaseParser


class BodyParser(BaseParser):
    """`read` makes the list of the bytes; it raises Invalid."""

    read: Callable[[bytes], Sequence[Any]]

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(most + 1)
        if len(body) > most:
            raise RequestDataTooBig
        return type(self).read(body)
