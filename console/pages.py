"""The base of every page: who may come in, and how errors look to a person."""

from __future__ import annotations

from typing import Any, ClassVar, Final, cast

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode
from django.views import View
from rest_framework.exceptions import APIException

from core.errors import DomainError, Invalid
from core.http import problem_of
from marketplace.auth import Caller, session_caller
from marketplace.models import User
from marketplace.permissions import Scopes, may

# Everything a page needs comes from here; pictures and films of results may come from the object store.
_FROM_STORE: Final = " https:" if settings.ARTIFACT_BUCKET else ""
POLICY: Final = (
    f"default-src 'self'; img-src 'self' data:{_FROM_STORE}; media-src 'self'{_FROM_STORE}; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Page(View):
    """A page for people who are logged in. `scopes` says per method what the caller must hold, as the API's views do.

    Somebody unknown is sent to the log-in; who may not come in sees a page that says why (403, 404).
    """

    scopes: ClassVar[Scopes] = {}
    template_name = ""
    http_method_names = ["get", "head", "post"]
    caller: Caller

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            return self.http_method_not_allowed(request)
        if not request.user.is_authenticated:
            return redirect_to_login(_come_back(request))
        try:
            self._admit(request)
            answer = super().dispatch(request, *args, **kwargs)
        except (DomainError, APIException) as error:
            answer = problem_page(request, error)
        return sealed(answer)

    def _admit(self, request: HttpRequest) -> None:
        self.caller = caller = cast("Caller", caller_for(request))
        may(caller, self.scopes["GET" if request.method == "HEAD" else request.method or ""])
        for values in (request.GET, request.POST):
            if any("\x00" in text for name in values for text in (name, *values.getlist(name))):
                raise Invalid("invalid_text", "text may not hold the character U+0000")

    def show(self, context: dict[str, Any], status: int = 200) -> HttpResponse:
        """The page's template with these values."""
        return render(self.request, self.template_name, context, status=status)


def caller_for(request: HttpRequest) -> Caller | None:
    """The caller behind a page's session, worked out once per request; None for somebody unknown."""
    if not isinstance(request.user, User):
        return None
    caller: Caller | None = getattr(request, "page_caller", None)
    if caller is None:
        caller = session_caller(request, request.user)
        request.page_caller = caller  # type: ignore[attr-defined]
    return caller


def sealed(answer: HttpResponseBase) -> HttpResponseBase:
    """A personal page: kept by nobody, framed by nobody, with nothing from elsewhere."""
    add_never_cache_headers(answer)
    answer.headers.setdefault("Content-Security-Policy", POLICY)
    return answer


def problem_page(request: HttpRequest, error: Exception) -> HttpResponse:
    """What a refusal looks like. Who must choose an organization first is asked to."""
    problem = document_of(error)
    if problem["code"] == "organization_required":
        return redirect(f"{reverse('console:organization')}?{urlencode({'next': _come_back(request)})}")
    return render(request, "console/problem.html", {"problem": problem}, status=problem["status"])


def document_of(error: Exception) -> dict[str, Any]:
    """The problem document that the API would answer with."""
    answer = problem_of(error)
    if answer is None:
        raise error
    return cast("dict[str, Any]", answer.data)


def _come_back(request: HttpRequest) -> str:
    """Where to go on afterwards: a page that can be opened again, never one that does something."""
    return request.get_full_path() if request.method in ("GET", "HEAD") else settings.LOGIN_REDIRECT_URL
