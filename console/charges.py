"""Charges of whole months, what is not charged yet and why, and what proves a charge."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from billing.disputes.opening import can_be_disputed
from billing.disputes.queries import dispute_about
from billing.models import Charge, Dispute, PeriodCharge, PeriodPreview
from billing.periods.api import PeriodChargeOut, PreviewOut, charges_shown_to, periods_of
from billing.periods.evidence import evidence_of_charge, evidence_of_period
from billing.periods.unbilled import unbilled_of
from console.lists import newest
from console.pages import Page
from console.peaks import drawn
from core.errors import NotFound
from marketplace.auth import Caller
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, BILLING_WRITE
from metering.periods import zone_of

MOST: Final = 200  # previews that a page shows
RECORDS: Final = 100  # records of usage that a page lists


class ChargeList(Page):
    """What was charged by month, newest first (`?before=<number>`), what the open month comes to, and what is not charged yet."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/charges.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        whose = None if self.caller.is_operator else self.caller.acting_for()
        found, before = newest(request, periods_of(self.caller))
        joins = ("organization", "offer__pool", "version__capability__organization")
        previews = PeriodPreview.objects.select_related(*joins).order_by("pk")
        shown = (previews if whose is None else previews.filter(organization=whose))[:MOST]
        context = {"months": [month_of(one) for one in found], "before": before, "unbilled": unbilled_of(whose)}
        return self.show(context | {"previews": [preview_of(one) for one in shown]})


def month_of(charge: PeriodCharge) -> dict[str, Any]:
    """A charge as the API tells it, with the name of its month."""
    return dict(PeriodChargeOut(charge).data) | {"month": local_month(charge.period.lower, charge.zone)}


def preview_of(preview: PeriodPreview) -> dict[str, Any]:
    zone = zone_of(preview.organization).key
    return dict(PreviewOut(preview).data) | {"month": local_month(preview.period.lower, zone)}


def local_month(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m}"


def doubts_of(charge: Charge | PeriodCharge, caller: Caller) -> dict[str, Any]:
    """The dispute that a charge is in, and what a caller who may open one may name as its reason."""
    dispute, own = dispute_about(charge), charge.organization == caller.organization
    doubts = own and BILLING_WRITE in caller.scopes and dispute is None and can_be_disputed(charge, timezone.now())
    return {"dispute": dispute, "reasons": Dispute.Reason.values if doubts else ()}


class OneCharge(Page):
    """A charge of a task with all that it follows from: what was claimed and counted, prices, who pays and why, the split."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/charge.html"

    def get(self, request: HttpRequest, number: int) -> HttpResponse:
        return self.show(self.facts(self.own(number)))

    def own(self, number: int) -> Charge:
        """The charge, if this caller may see it; a stranger's is NotFound."""
        charge = charges_shown_to(self.caller).filter(pk=number).first()
        if charge is None:
            raise NotFound("not_found", "no such charge")
        return charge

    def facts(self, charge: Charge) -> dict[str, Any]:
        own = charge.organization == self.caller.organization
        told = {"proof": evidence_of_charge(charge), "charge": charge, "mine": self.caller.is_operator or own}
        return told | doubts_of(charge, self.caller)


class OnePeriodCharge(Page):
    """A month of a meter with its slots, those that were removed, ranks, formula, prices and digest."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/period_charge.html"

    def get(self, request: HttpRequest, number: int) -> HttpResponse:
        return self.show(self.facts(self.own(number)))

    def own(self, number: int) -> PeriodCharge:
        """The charge, if this caller may see it; a stranger's is NotFound."""
        charge = periods_of(self.caller).filter(pk=number).first()
        if charge is None:
            raise NotFound("not_found", "no such charge")
        return charge

    def facts(self, charge: PeriodCharge) -> dict[str, Any]:
        proof = evidence_of_period(charge)
        peaks = proof["peaks"] and drawn(proof["peaks"], charge.zone)
        told = {"proof": proof, "charge": charge, "peaks": peaks, "records": proof["facts"]["records"][:RECORDS]}
        return told | doubts_of(charge, self.caller)
