"""Runs and editions: what there is, and for operators a form that makes a run and a button that publishes it."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, ClassVar, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from console.lists import newest
from console.pages import Page, document_of
from core.errors import DomainError, Invalid, NotFound
from index.analysis.whatif import AGGREGATES, NORMALISERS
from index.method.imputing import RULES
from index.models import IndexRun, WeightSet
from index.running.services import Wanted, publish_edition, run_index
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

PROFILES: Final = ("national", "platform")
CHOICES: Final = {"normalise": NORMALISERS, "aggregate": AGGREGATES, "impute": RULES}
MOST: Final = 18  # digits of a number
_PERIOD: Final = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2]))?").fullmatch


class IndexEditions(Page):
    """Runs that were published, and those that were not, with hashes and what changed. Operators make a run by POST."""

    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    template_name = "console/index/editions.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return editions_page(self, request)

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            run = run_index(_wanted(request), self.caller.user)
        except DomainError as error:
            return editions_page(self, request, error)
        return redirect(f"{reverse('console:index')}?run={run.pk}")


class IndexPublish(Page):
    """Publish a run as the next edition, with what changed."""

    scopes: ClassVar[Scopes] = {"POST": OPERATOR}
    template_name = "console/index/editions.html"

    def post(self, request: HttpRequest, run: int) -> HttpResponse:
        try:
            publish_edition(min(run, 2**63 - 1), request.POST.get("change_note", ""))
        except NotFound:
            raise
        except DomainError as error:
            return editions_page(self, request, error)
        return redirect("console:index-editions")


def editions_page(page: Page, request: HttpRequest, error: DomainError | None = None) -> HttpResponse:
    """The list, with the form as it was filled in where something was refused."""
    runs = IndexRun.objects.defer("inputs", "result", "analysis").select_related("definition", "weights")
    found, before = newest(request, runs)
    context: dict[str, Any] = {"runs": found, "before": before, "profiles": PROFILES, "choices": CHOICES}
    if page.caller.is_operator:
        context["sets"] = WeightSet.objects.select_related("definition").order_by("-pk")[:200]
    if error is None:
        return page.show(context)
    problem = document_of(error)
    wrong = {str(problem.get("field") or "run").removeprefix("parameters."): problem["detail"]}
    return page.show(context | {"errors": wrong, "given": request.POST.dict()}, problem["status"])


def _wanted(request: HttpRequest) -> Wanted:
    """What the form asks for. Invalid `invalid_input`, NotFound `weights_unknown`."""
    given = request.POST
    weights = WeightSet.objects.select_related("definition").filter(pk=_number(given.get("weights", ""), "weights")).first()
    if weights is None:
        raise NotFound("weights_unknown", "choose a set of weights", field="weights")
    if not _PERIOD(given.get("period", "")):
        raise Invalid("invalid_input", "a year, or a month such as 2026-03", field="period")
    asked: dict[str, Any] = {name: given[name] for name in CHOICES if given.get(name)}
    if given.get("base"):
        asked["base"] = _number(given["base"], "base")
    return Wanted(weights, given.get("profile", PROFILES[0]), given["period"], _day(given.get("as_of", "")), parameters=asked)


def _number(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MOST):
        raise Invalid("invalid_input", "a whole number", field=field)
    return int(text)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Invalid("invalid_input", "a date is written as 2023-06-30", field="as_of") from None
