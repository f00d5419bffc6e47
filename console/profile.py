"""What stands of the buyer on invoices: address and tax number; owners change them."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from rest_framework.exceptions import ValidationError

from console.pages import Page, document_of
from core.errors import DomainError
from marketplace.api.accounts import BillingProfileIn
from marketplace.api.serializers import valid
from marketplace.permissions import Scopes
from marketplace.scopes import ORGANIZATION_READ, ORGANIZATION_WRITE
from marketplace.services import accounts

FIELDS: Final = ("billing_address", "tax_number")


class BillingProfile(Page):
    scopes: ClassVar[Scopes] = {"GET": ORGANIZATION_READ, "POST": ORGANIZATION_WRITE}
    template_name = "console/billing_profile.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show({})

    def post(self, request: HttpRequest) -> HttpResponse:
        given = {name: request.POST[name] for name in FIELDS if name in request.POST}
        try:
            accounts.update_organization(self.caller, valid(BillingProfileIn(data=given)))
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            wrong = {str(problem.get("field")): problem["detail"]}
            return self._show({"errors": wrong, "given": given}, problem["status"])
        return redirect("console:billing-profile")

    def _show(self, more: dict[str, Any], status: int = 200) -> HttpResponse:
        organization = self.caller.acting_for()
        stored = {name: getattr(organization, name) for name in FIELDS}
        return self.show({"given": stored, "name": organization.name} | more, status)
