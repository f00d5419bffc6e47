"""Service levels: what is promised, how days kept it, what came back."""

from __future__ import annotations

from typing import ClassVar

from django.db.models import Q
from django.http import HttpRequest, HttpResponse

from billing.models import SLAMeasurement
from billing.sla.api import SLAMeasurementOut
from billing.sla.terms import terms_seen_by
from console.lists import PAGE, newest
from console.pages import Page
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ


class ServiceLevels(Page):
    """The newest terms that the organization may read (operators: all), and its days, newest first; `?before=<number>`."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/levels.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        mine = None if self.caller.is_operator else self.caller.acting_for()
        days = SLAMeasurement.objects.select_related("terms__pool", "organization")
        if mine is not None:
            days = days.filter(Q(organization=mine) | Q(terms__pool__organization=mine))
        found, before = newest(request, days)
        terms = terms_seen_by(mine).order_by("-pk")[:PAGE]
        return self.show({"terms": terms, "days": SLAMeasurementOut(found, many=True).data, "before": before})
