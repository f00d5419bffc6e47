"""Errors of the domain. One class, a stable code, an HTTP status: `core.http` turns them into RFC 9457 documents.

A code is part of the API: it never changes its meaning. `docs/errors.md` lists them all.
"""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """Something the caller asked for cannot be done.

    code    stable, lower_snake_case
    detail  one sentence for a person
    field   the input at fault, as a dotted path, or None
    data    further members of the problem document (JSON values)
    """

    status = 400

    def __init__(self, code: str, detail: str, *, field: str | None = None, **data: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.data = data


class Malformed(DomainError):
    """The request cannot be read at all (400)."""

    status = 400


class Invalid(DomainError):
    """The input is wrong, wherever it comes from (422)."""

    status = 422


class NotAllowed(DomainError):
    """The caller is known, and may not (403)."""

    status = 403


class NotFound(DomainError):
    """No such thing, or none that the caller may see (404)."""

    status = 404


class Conflict(DomainError):
    """The thing is no longer in a state that allows it (409)."""

    status = 409


class PaymentRequired(DomainError):
    """What is owed, held or blocked leaves no room for more (402)."""

    status = 402


class OverLimit(DomainError):
    """A quota or a limit would be passed (413 for bytes, 429 for rates, else 403)."""

    status = 403


class TooLarge(DomainError):
    """More bytes than allowed (413)."""

    status = 413


class Unauthorized(DomainError):
    """Nobody we know (401)."""

    status = 401
