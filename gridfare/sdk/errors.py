"""What can go wrong, as exceptions: each with a stable `code`, a sentence, and the field at fault."""

from __future__ import annotations

from typing import Any


class GridfareError(Exception):
    """The root of all errors of this package.

    code      stable, lower_snake_case: the platform's own, or one of this client
    detail    one sentence for a person
    field     the input at fault, as a dotted path, or None
    status    HTTP status, or None when no answer came
    document  the whole problem document (RFC 9457), or {}
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        status: int | None = None,
        document: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.status = status
        self.document = document or {}


class Unreachable(GridfareError):
    """No usable answer came: no connection, cut off, or something that is not Gridfare."""


class NotLoggedIn(GridfareError):
    """No address or key is known here, or the key is not (or no longer) valid (401)."""


class NotAllowed(GridfareError):
    """The key is known and may not do this (403)."""


class NotFound(GridfareError):
    """No such thing, or none that this key may see (404)."""


class Refused(GridfareError):
    """The request is wrong (400, 413, 422 and other 4xx)."""


class Conflict(Refused):
    """The thing is in a state that does not allow it (409)."""


class TooMany(GridfareError):
    """Too many requests, also after waiting (429)."""


class PlatformFault(GridfareError):
    """The platform's own fault, also after trying again (5xx)."""


class BadFile(GridfareError):
    """A local file or folder cannot be used."""


class Corrupt(GridfareError):
    """Downloaded bytes are not what the manifest promises, also after a second try."""


class WaitTimeout(GridfareError):
    """The task did not end in time; it goes on. `task` is its last known state."""

    def __init__(self, detail: str, task: Any) -> None:
        super().__init__("wait_timeout", detail)
        self.task = task


class TestsFailed(GridfareError):
    """A capability's tests did not pass, so it was not published. `report` = [{name, state, task, detail}]."""

    def __init__(self, detail: str, report: list[Any]) -> None:
        super().__init__("tests_failed", detail)
        self.report = report


_BY_STATUS: dict[int, type[GridfareError]] = {
    401: NotLoggedIn,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    429: TooMany,
}


def error_of(status: int, document: dict[str, Any], text: str = "") -> GridfareError:
    """The exception for an answer of status ≥ 400. `document` is its problem document, or {} when it has none."""
    kind = _BY_STATUS.get(status, PlatformFault if status >= 500 else Refused)
    detail = document.get("detail") or text.strip()[:200] or f"the platform answered {status}"
    return kind(
        str(document.get("code") or f"http_{status}"),
        str(detail),
        field=document.get("field"),
        status=status,
        document=document,
    )
