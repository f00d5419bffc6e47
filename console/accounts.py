"""Logging in and out, choosing an organization, and the keys of one's programs."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request

from console.pages import Page, document_of, sealed
from core.errors import DomainError, NotFound
from marketplace import queries
from marketplace.api.accounts import KeyIn, KeyOut
from marketplace.api.serializers import valid
from marketplace.api.throttles import LoginByAddress, LoginByName
from marketplace.auth import CHOSEN
from marketplace.permissions import Scopes
from marketplace.scopes import ALL_SCOPES, EVERYTHING, ORGANIZATION_READ, ORGANIZATION_WRITE
from marketplace.services import accounts

MOST = 200  # organizations and keys that a page shows
LIVES = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "no end"))


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class LogIn(LoginView):
    """Name and password. Counted together with the API's log-ins, so guessing here is no quicker."""

    template_name = "console/login.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return sealed(super().dispatch(request, *args, **kwargs))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if (wait := seconds_to_wait(request)) is None:
            return super().post(request, *args, **kwargs)
        context = self.get_context_data(form=self.form_class(request), wait=wait)
        return self.response_class(
            request, self.template_name, context, status=429, headers={"Retry-After": str(wait)}, using=self.template_engine
        )


def seconds_to_wait(request: HttpRequest) -> int | None:
    """None when the password may be tried; otherwise how long the API's brakes on log-ins say to wait."""
    asked = Request(request, parsers=[FormParser(), MultiPartParser()])
    brakes = [brake() for brake in (LoginByName, LoginByAddress)]
    held = [brake for brake in brakes if not brake.allow_request(asked, None)]
    return int(max(brake.wait() or 0 for brake in held)) + 1 if held else None


class ChooseOrganization(Page):
    """For whom one acts, where there is a choice. Kept in the session; X-Organization says otherwise for one request."""

    scopes: ClassVar[Scopes] = {"GET": None, "POST": None}
    template_name = "console/organization.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = queries.organizations_of(self.caller).order_by("slug")[:MOST]
        return self.show({"organizations": rows, "next": request.GET.get("next", "")})

    def post(self, request: HttpRequest) -> HttpResponse:
        slug, following = request.POST.get("organization", ""), request.POST.get("next", "")
        if not queries.organizations_of(self.caller).filter(slug=slug).exists():
            raise NotFound("organization_unknown", "you have no part in that organization", field="organization")
        request.session[CHOSEN] = slug
        safe = url_has_allowed_host_and_scheme(following, allowed_hosts={request.get_host()}, require_https=request.is_secure())
        return redirect(following if safe else settings.LOGIN_REDIRECT_URL)


class Keys(Page):
    """The organization's keys; owners make new ones, which are shown once."""

    scopes: ClassVar[Scopes] = {"GET": ORGANIZATION_READ, "POST": ORGANIZATION_WRITE}
    template_name = "console/keys.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show({})

    def post(self, request: HttpRequest) -> HttpResponse:
        days = request.POST.get("expires_in_days") or None
        given = {"name": request.POST.get("name", ""), "scopes": request.POST.getlist("scopes"), "expires_in_days": days}
        try:
            issued = accounts.create_key(self.caller, **({"expires_in_days": None} | valid(KeyIn(data=given))))
        except (DomainError, ValidationError) as error:
            return self._refused(error)
        return self._show({"issued": issued}, status=201)

    def _refused(self, error: Exception) -> HttpResponse:
        problem = document_of(error)
        errors = {str(problem.get("field") or "name").partition(".")[0]: problem["detail"]}
        return self._show({"errors": errors, "given": self.request.POST}, status=problem["status"])

    def _show(self, more: dict[str, Any], status: int = 200) -> HttpResponse:
        found = queries.keys_of(self.caller).order_by("-pk")[:MOST]
        held = sorted(ALL_SCOPES & self.caller.scopes)
        context = {"keys": KeyOut(found, many=True).data, "held": held, "lives": LIVES, "everything": EVERYTHING}
        return self.show(context | more, status)


class RevokeKey(Page):
    scopes: ClassVar[Scopes] = {"POST": ORGANIZATION_WRITE}

    def post(self, request: HttpRequest, prefix: str) -> HttpResponse:
        accounts.revoke_key(self.caller, prefix)
        return redirect("console:keys")
