"""HTTP manners shared by every door: JSON in and out, keyset pages, RFC 9457 problem documents."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, ValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings

from core.errors import DomainError, Invalid, Malformed

log = logging.getLogger(__name__)
PROBLEM_TYPE = "application/problem+json"


class JSONRenderer(BaseRenderer):
    """JSON through orjson: decimals as text, dates in RFC 3339 with Z."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


class JSONParser(BaseParser):
    """JSON through orjson, which refuses NaN, bad UTF-8 and endless nesting. NUL characters are refused too.

    No more is read than a request may have: the library reads a body as a stream, past Django's own bound.
    """

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(most + 1)
        if len(body) > most:
            raise RequestDataTooBig
        return parse_json(body)


def parse_json(body: bytes) -> Any:
    """Parse a request's body, or raise Malformed (400). PostgreSQL cannot store U+0000, so it is refused here."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("parse_error", f"the body is not JSON: {error}") from None
    if b"\\u0000" in body and _has_nul(data):
        raise Invalid("invalid_text", "text may not hold the character U+0000")
    return data


def _has_nul(data: Any) -> bool:
    if isinstance(data, str):
        return "\x00" in data
    if isinstance(data, dict):
        return any(_has_nul(key) or _has_nul(value) for key, value in data.items())
    return isinstance(data, list) and any(_has_nul(item) for item in data)


class KeysetPages(CursorPagination):
    """Pages by keyset: `?limit=` (at most 500) and the opaque `cursor` in `next` and `previous`."""

    ordering = "-pk"
    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"

    def get_page_size(self, request: Any) -> int:
        """Rows of a page: `?limit=` cut to the most there may be. Invalid `invalid_parameter` for no such number."""
        text = request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
            raise Invalid("invalid_parameter", "limit is a whole number, at least 1", field="limit")
        return min(int(text), self.max_page_size)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The two parameters of every list."""
        limit = {"type": "integer", "minimum": 1, "description": f"at most so many rows; cut to {self.max_page_size}"}
        cursor = {"type": "string", "description": "what `next` or `previous` of a page names"}
        named = {self.page_size_query_param: limit, self.cursor_query_param: cursor}
        return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in named.items()]

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """As the library draws it, in OpenAPI 3.1's words, and with what is always there."""
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {"next": link, "previous": link, "results": schema}
        return {"type": "object", "required": list(properties), "properties": properties}

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any] | None:
        """A page. Invalid `invalid_cursor` for a cursor that nobody was ever given."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (exceptions.NotFound, ValidationError, ValueError, DataError):
            raise Invalid("invalid_cursor", "no page begins with this cursor", field="cursor") from None


def problem(status: int, code: str, detail: str, *, field: str | None = None, **data: Any) -> dict[str, Any]:
    """An RFC 9457 problem document. `code` is stable; `field` is the input at fault."""
    document = {"type": f"urn:gridfare:error:{code}", "title": code.replace("_", " "), "status": status}
    document |= {"code": code, "detail": detail}
    if field is not None:
        document["field"] = field
    return document | data


def problem_of(error: Exception, context: dict[str, Any] | None = None) -> Response | None:
    """DRF's exception handler: every expected exception becomes a problem document."""
    if isinstance(error, DomainError):
        return _answer(problem(error.status, error.code, error.detail, field=error.field, **error.data))
    if isinstance(error, OperationalError | InterfaceError):
        return _database_away(error)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return _answer(problem(413, "body_too_large", "the request's body is too large"))
    if isinstance(error, exceptions.ValidationError):
        return _answer(_invalid_input(error))
    if isinstance(error, exceptions.APIException):
        return _of_api_exception(error)
    return None


def _database_away(error: Exception) -> Response:
    """The database restarts, or broke off what it was doing: nothing was written, and soon it may be asked again."""
    log.warning("the database does not answer: %s", error)
    answer = _answer(problem(503, "database_away", "the database cannot be reached just now; repeat the request"))
    answer["Retry-After"] = "1"
    return answer


def _of_api_exception(error: exceptions.APIException) -> Response:
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else "error"
    answer = _answer(problem(error.status_code, code, str(error.detail)))
    if (wait := getattr(error, "wait", None)) is not None:
        answer["Retry-After"] = str(int(wait) + 1)
    if (header := getattr(error, "auth_header", None)) is not None:
        answer["WWW-Authenticate"] = header
    return answer


def _invalid_input(error: exceptions.ValidationError) -> dict[str, Any]:
    errors = list(_flatten(error.detail))
    first: dict[str, Any] = errors[0] if errors else {"field": None, "detail": "invalid"}
    return problem(422, "invalid_input", str(first["detail"]), field=first["field"], errors=errors)


def _flatten(detail: Any, path: str = "") -> Iterator[dict[str, Any]]:
    if isinstance(detail, dict):
        for key, value in detail.items():
            own = path if key == api_settings.NON_FIELD_ERRORS_KEY else f"{path}.{key}".lstrip(".")
            yield from _flatten(value, own)
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            nested = isinstance(value, (dict, list))
            yield from _flatten(value, f"{path}.{index}".lstrip(".") if nested else path)
    else:
        yield {"field": path or None, "code": getattr(detail, "code", "invalid"), "detail": str(detail)}


def _answer(document: dict[str, Any]) -> Response:
    return Response(document, status=document["status"], content_type=PROBLEM_TYPE)


def json_answer(data: Any, status: int = 200) -> HttpResponse:
    """A plain JSON answer for doors outside DRF."""
    return HttpResponse(orjson.dumps(data, default=str), status=status, content_type="application/json")


REFUSED: Final = (DomainError, OperationalError, InterfaceError)
"""What doors outside DRF answer with a problem document: refusals, and a database that is away."""


def problem_answer(error: DomainError | OperationalError | InterfaceError) -> HttpResponse:
    """One of REFUSED as an answer for doors outside DRF."""
    if not isinstance(error, DomainError):
        return _outside_drf(_database_away(error))
    document = problem(error.status, error.code, error.detail, field=error.field, **error.data)
    return HttpResponse(orjson.dumps(document, default=str), status=error.status, content_type=PROBLEM_TYPE)


def _outside_drf(answer: Response) -> HttpResponse:
    headers = {"Retry-After": answer["Retry-After"]}
    content = orjson.dumps(answer.data)
    return HttpResponse(content, status=answer.status_code, content_type=PROBLEM_TYPE, headers=headers)


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Django's handler404."""
    return JsonResponse(problem(404, "not_found", "no such thing"), status=404, content_type=PROBLEM_TYPE)


def method_not_allowed(request: HttpRequest, *allowed: str) -> HttpResponse:
    """405 for doors outside DRF."""
    document = problem(405, "method_not_allowed", f"this path does not know {request.method}")
    return JsonResponse(document, status=405, content_type=PROBLEM_TYPE, headers={"Allow": ", ".join(allowed)})


def bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Django's handler400, which also hears of bodies that are too large."""
    if isinstance(exception, RequestDataTooBig):
        document = problem(413, "body_too_large", "the request's body is too large")
        return JsonResponse(document, status=413, content_type=PROBLEM_TYPE)
    return JsonResponse(problem(400, "bad_request", "the request is malformed"), status=400, content_type=PROBLEM_TYPE)


def server_error(request: HttpRequest) -> JsonResponse:
    """Django's handler500: our fault, said without details."""
    document = problem(500, "platform_fault", "something broke on our side; it has been logged")
    return JsonResponse(document, status=500, content_type=PROBLEM_TYPE)
