"""Disputes: the list, one with its charges and what was said, and what each party may do about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from rest_framework.exceptions import ValidationError

from billing.disputes import queries
from billing.disputes.answering import answer, say, withdraw
from billing.disputes.api import (
    AnswerIn,
    DecisionIn,
    MessageIn,
    OpenIn,
    decision_of,
    dispute_for,
    document,
    organization_speaking,
    shown_to,
)
from billing.disputes.deciding import decide
from billing.disputes.opening import Opening, open_disputes
from billing.models import Dispute
from console.charges import OneCharge, OnePeriodCharge
from console.lists import newest
from console.pages import Page, document_of
from core.errors import DomainError
from marketplace.api.serializers import valid
from marketplace.auth import Caller
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, BILLING_WRITE, OPERATOR


class DisputeList(Page):
    """Disputes that the organization has part in (operators: all), newest first; `?state=`, `?before=<number>`."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/disputes.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows, state = shown_to(self.caller), request.GET.get("state", "")
        if state in Dispute.State.values:
            rows = rows.filter(state=state)
        found, before = newest(request, rows)
        disputes = [queries.summary(one) for one in found]
        return self.show({"disputes": disputes, "before": before, "states": Dispute.State.values, "chosen": state})


class OneDispute(Page):
    """A dispute, its charges newest first (`?before=<number>`), what was said, and the forms that are open to the caller."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/dispute.html"

    def get(self, request: HttpRequest, dispute: int) -> HttpResponse:
        return self.show(self.facts(dispute_for(self.caller, dispute)))

    def facts(self, dispute: Dispute) -> dict[str, Any]:
        found, before = newest(self.request, queries.items_of(dispute))
        told: dict[str, Any] = {"dispute": document(dispute), "items": [queries.item(one) for one in found], "before": before}
        may, own = queries.open_to(dispute, self.caller.organization, operator=self.caller.is_operator), self.caller.organization
        told |= {"may": may if BILLING_WRITE in self.caller.scopes else frozenset()}
        told |= {"sees_invoice": self.caller.is_operator or own == dispute.organization}
        return told | {"positions": Dispute.Position.values, "outcomes": Dispute.Outcome.values}


class _Form(OneDispute, ABC):
    """What a form does, then the dispute's page; a refusal is told there, with what was filled in."""

    scopes: ClassVar[Scopes] = {"POST": BILLING_WRITE}
    http_method_names = ["post"]
    form = ""

    def post(self, request: HttpRequest, dispute: int) -> HttpResponse:
        found = dispute_for(self.caller, dispute)
        try:
            self.do(found)
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            told = {"form": self.form, "given": request.POST, "problem": problem}
            return self.show(self.facts(dispute_for(self.caller, dispute)) | told, problem["status"])
        return redirect("console:dispute", dispute)

    def filled(self, *names: str) -> dict[str, str]:
        """What stands in these fields of the form; an empty one counts as not given."""
        return {name: self.request.POST[name] for name in names if self.request.POST.get(name)}

    @abstractmethod
    def do(self, dispute: Dispute) -> None:
        """What this form asks for."""


class Answer(_Form):
    form = "answer"

    def do(self, dispute: Dispute) -> None:
        given = valid(AnswerIn(data=self.filled("position", "text") | {"disputes": [dispute.pk]}))
        answer(given["disputes"], self.caller.acting_for(), given["position"], given["text"], self.caller.user)


class Withdraw(_Form):
    form = "withdraw"

    def do(self, dispute: Dispute) -> None:
        withdraw([dispute.pk], self.caller.acting_for())


class Say(_Form):
    form = "say"

    def do(self, dispute: Dispute) -> None:
        text = valid(MessageIn(data=self.filled("text")))["text"]
        say(dispute, organization_speaking(self.caller), text, self.caller.user)


class Decide(_Form):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}
    form = "decide"

    def do(self, dispute: Dispute) -> None:
        given = valid(DecisionIn(data=self.filled("outcome", "amount", "text") | {"dispute": dispute.pk}))
        decide([decision_of(given)], self.caller.user)


def opened(caller: Caller, given: Mapping[str, str], **charges: list[int]) -> int:
    """The dispute that a form on a charge's page asks for."""
    asked = valid(OpenIn(data={name: given.get(name, "") for name in ("reason", "text")} | charges))
    opening = Opening(caller.acting_for(), asked["reason"], asked["text"], caller.user)
    (made,) = open_disputes(opening, asked.get("charges", ()), months=asked.get("period_charges", ()))
    return int(made.pk)


class OpenDispute(OneCharge):
    """The form on a charge's page: a dispute about this charge. A refusal is told there, with what was filled in."""

    scopes: ClassVar[Scopes] = {"POST": BILLING_WRITE}
    http_method_names = ["post"]

    def post(self, request: HttpRequest, number: int) -> HttpResponse:
        charge = self.own(number)
        try:
            return redirect("console:dispute", opened(self.caller, request.POST, charges=[charge.pk]))
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            return self.show(self.facts(charge) | {"given": request.POST, "problem": problem}, problem["status"])


class OpenPeriodDispute(OnePeriodCharge):
    """The same on the page of a month's charge."""

    scopes: ClassVar[Scopes] = {"POST": BILLING_WRITE}
    http_method_names = ["post"]

    def post(self, request: HttpRequest, number: int) -> HttpResponse:
        charge = self.own(number)
        try:
            return redirect("console:dispute", opened(self.caller, request.POST, period_charges=[charge.pk]))
        except (DomainError, ValidationError) as error:
            problem = document_of(error)
            return self.show(self.facts(charge) | {"given": request.POST, "problem": problem}, problem["status"])
