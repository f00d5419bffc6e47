"""What every template may ask: `caller`, worked out only where a template looks at it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from console.pages import caller_for
from core.errors import DomainError
from marketplace.auth import Caller


def who(request: HttpRequest) -> dict[str, Any]:
    """`caller`: marketplace.auth.Caller, or something false for somebody unknown."""
    return {"caller": SimpleLazyObject(lambda: _caller(request))}


def _caller(request: HttpRequest) -> Caller | None:
    try:
        return caller_for(request)
    except DomainError:  # a header that names a stranger's organization: the page itself says so
        return None
