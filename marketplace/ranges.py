"""Ranges of bytes: the header's grammar, and streams that ASGI takes chunk by chunk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import parse_etags

from core.errors import DomainError

_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class Unsatisfiable(Exception):
    """No byte of the range exists."""


class RangeRefused(DomainError):
    """The range lies beyond the end (416)."""

    status = 416


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of a Range header over `size` bytes, None to send everything (RFC 9110, 14.2).

    One range is honoured; several, or what is no byte range, are ignored as the RFC allows. Raises
    Unsatisfiable.

    >>> parse_range("bytes=-3", 10)
    (7, 10)
    """
    match = _RANGE.fullmatch((header or "").strip().lower())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise Unsatisfiable
    return start, end


class Streamed(StreamingHttpResponse):
    """A stream that ASGI takes chunk by chunk; Django would first collect a plain iterator into a list."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = iter(self)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk


def is_current(request: HttpRequest, etag: str) -> bool:
    """Does the caller already have these bytes (If-None-Match)?"""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in known or any(one.removeprefix("W/") == etag for one in known)


def wanted_range(request: HttpRequest, etag: str, size: int) -> tuple[int, int] | None:
    """The range to send: only for GET, and only while If-Range still names these bytes."""
    condition = request.headers.get("If-Range", etag).strip()
    if request.method != "GET" or condition != etag:
        return None
    try:
        return parse_range(request.headers.get("Range"), size)
    except Unsatisfiable:
        detail = f"there are {size} bytes"
        raise RangeRefused("range_not_satisfiable", detail, field="Range", bytes=size) from None
