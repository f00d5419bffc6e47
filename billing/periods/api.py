"""Doors of charges: what a month cost, why, what is not charged yet, what waits for a word, and what it would have cost."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Final

from django.db.models import F, Q, QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut, ByKey, EntryOut
from billing.correcting import correct_usage
from billing.models import Charge, ParkedPeriod, PeriodCharge, PeriodPreview
from billing.models.periods import Payer
from billing.periods.deciding import approve, refuse
from billing.periods.evidence import evidence_of_charge, evidence_of_period
from billing.periods.imagining import MOST_PRICES, Candidate, candidate_of, compare
from billing.periods.runs import correct_periods, rate_periods, safe_cutoff
from billing.periods.unbilled import unbilled_of
from core.errors import Invalid, NotFound
from core.http import KeysetPages
from core.money import text_of
from marketplace.api.lists import ListView
from marketplace.api.providers import RateIn
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Offer, Organization, Pool
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR
from metering.services import CORRECTABLE

MAX_BIGINT: Final = 2**63 - 1
NUMBER: Final = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH)


class ServiceOut(Out):
    """[from, to): the calendar month in the customer's zone."""

    to = serializers.DateTimeField(source="upper")

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(source="lower")} | super().get_fields()


class PeriodLineOut(Out):
    kind = serializers.ChoiceField(["usage", "fixed", "minimum", "maximum"])
    quantity = serializers.CharField()
    unit_price = serializers.CharField()
    amount = serializers.CharField()


class PeriodSplitOut(Out):
    provider = AmountOut(source="provider_micros")
    publisher = AmountOut(source="publisher_micros")
    platform = AmountOut(source="platform_micros")


@extend_schema_field(OpenApiTypes.STR)
class PlainOut(serializers.Field[Any, Any, str, Any]):
    """A quantity as decimal text, without zeros at its end."""

    def to_representation(self, value: Any) -> str:
        return format(value.normalize(), "f")


@extend_schema_field(OpenApiTypes.STR)
class WideOut(serializers.Field[Any, Any, str, Any]):
    """Micros that may be beyond 64 bits, as decimal text."""

    def to_representation(self, value: Any) -> str:
        return text_of(int(value))


class PeriodChargeOut(Out):
    """A month of one meter under one price list; a revision adds the difference that late or corrected usage made.

    The list is a pool's, of which the provider has a share, or the fees of a capability's version, of which the publisher has one.
    """

    id = serializers.IntegerField()
    organization = serializers.CharField(source="organization.slug")
    provider = serializers.CharField(source="provider.slug", allow_null=True, default=None)
    publisher = serializers.CharField(source="publisher.slug", allow_null=True, default=None)
    pool = serializers.CharField(allow_null=True)
    capability = serializers.CharField(allow_null=True, help_text="the version whose fees these are")
    payer = serializers.ChoiceField(Payer.choices)
    meter = serializers.CharField()
    period = ServiceOut()
    zone = serializers.CharField()
    revision = serializers.IntegerField()
    base = serializers.IntegerField(source="base_id", allow_null=True)
    refunds = serializers.IntegerField(source="refunds_id", allow_null=True, help_text="the charge a dispute takes this back from")
    raw = PlainOut(help_text="what was measured")
    billed = PlainOut(help_text="what is priced: whole quanta, the peak")
    currency = serializers.CharField()
    total = AmountOut(source="total_micros", help_text="of the month so far, all revisions, less what was refunded")
    amount = AmountOut(source="amount_micros", help_text="what this row adds")
    split = PeriodSplitOut(source="*")
    lines = PeriodLineOut(many=True)
    digest = serializers.CharField(help_text="SHA-256 of the facts")
    entry = EntryOut(allow_null=True)
    rated_at = serializers.DateTimeField()


class PreviewOut(Out):
    """What a month would come to if it ended now."""

    organization = serializers.CharField(source="organization.slug")
    pool = serializers.CharField(allow_null=True)
    capability = serializers.CharField(allow_null=True, help_text="the version whose fees these are")
    payer = serializers.ChoiceField(Payer.choices)
    meter = serializers.CharField()
    period = ServiceOut()
    billed = PlainOut()
    currency = serializers.CharField()
    total = WideOut(source="total_micros")
    cutoff = serializers.DateTimeField()


class Newest(KeysetPages):
    ordering = "-pk"


def periods_of(caller: Caller) -> QuerySet[PeriodCharge]:
    """What the caller's organization owes or earns by period; operators see all."""
    rows = PeriodCharge.objects.select_related(*PeriodCharge.SHOWN)
    if caller.is_operator:
        return rows
    one = caller.acting_for()
    return rows.filter(Q(organization=one) | Q(provider=one) | Q(publisher=one))


def charges_shown_to(caller: Caller) -> QuerySet[Charge]:
    """The charges of tasks that the caller's organization pays or earns by, with all that proves them; operators see all."""
    rows = Charge.objects.select_related("usage__attempt", "usage__pool", "usage__offer", "task", "organization", "entry")
    if caller.is_operator:
        return rows
    one = caller.acting_for()
    return rows.filter(Q(organization=one) | Q(provider=one) | Q(publisher=one))


class PeriodChargesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = PeriodChargeOut
    pagination_class = Newest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return periods_of(caller)

    @extend_schema(operation_id="period_charges_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What was charged by month, newest first: as a user what is owed, as a provider or publisher what is earned."""
        return super().get(request, *args, **kwargs)


class PreviewsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = PreviewOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = PeriodPreview.objects.select_related("organization", "offer__pool", "version__capability__organization")
        return rows if caller.is_operator else rows.filter(organization=caller.acting_for())

    @extend_schema(operation_id="period_previews_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the open month would cost if it ended now, as of last night. Provisional: a peak may still rise."""
        return super().get(request, *args, **kwargs)


EVIDENCE: Final = {"type": "object", "additionalProperties": {}}


class PeriodEvidenceView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="period_charges_evidence", parameters=[NUMBER], responses={200: EVIDENCE})
    def get(self, request: Request, number: int) -> Response:
        """What proves the charge: records, slots, removed slots, ranks, formula, prices, digest (docs/billing/charges.md)."""
        charge = periods_of(caller_of(request)).filter(pk=min(number, MAX_BIGINT)).first()
        if charge is None:
            raise NotFound("not_found", "no such charge")
        return Response(evidence_of_period(charge))


class ChargeEvidenceView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="charges_evidence", parameters=[NUMBER], responses={200: EVIDENCE})
    def get(self, request: Request, number: int) -> Response:
        """What proves the charge of a task: usage record, claim, meters, prices, row of the reason table, split, digest."""
        charge = charges_shown_to(caller_of(request)).filter(pk=min(number, MAX_BIGINT)).first()
        if charge is None:
            raise NotFound("not_found", "no such charge")
        return Response(evidence_of_charge(charge))


class UnbilledRowOut(Out):
    reason = serializers.CharField()
    why = serializers.CharField()
    count = serializers.IntegerField(help_text="records, attempts or amounts")
    since = serializers.DateTimeField(allow_null=True)
    amount = serializers.CharField(allow_null=True, help_text="where it is known")


class UnbilledOut(Out):
    unbilled = UnbilledRowOut(many=True)


class UnbilledView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="unbilled_retrieve", responses=UnbilledOut)
    def get(self, request: Request) -> Response:
        """Usage that stands on no charge, and why. Operators see everybody's."""
        caller = caller_of(request)
        return Response({"unbilled": unbilled_of(None if caller.is_operator else caller.acting_for())})


class ParkedOut(Out):
    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    pool = serializers.CharField(source="subject.offer.pool.identifier")
    meter = serializers.CharField(source="subject.meter")
    payer = serializers.CharField(source="subject.payer")
    period = ServiceOut()
    reason = serializers.ChoiceField(ParkedPeriod.Reason.choices)
    total = WideOut(source="total_micros")
    before = AmountOut(source="before_micros", help_text="what is charged already")
    billed = PlainOut()
    digest = serializers.CharField()
    state = serializers.ChoiceField(ParkedPeriod.State.choices)
    parked_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField()


class ParkedView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR}
    serializer_class = ParkedOut
    pagination_class = Newest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = ParkedPeriod.objects.select_related("organization", "subject__offer__pool")
        state = self.request.query_params.get("state")
        if state is not None and state not in ParkedPeriod.State.values:
            raise Invalid("invalid_parameter", "state is open, approved or refused", field="state")
        return rows.filter(state=state) if state else rows

    @extend_schema(operation_id="parked_list", parameters=[OpenApiParameter("state", str, enum=ParkedPeriod.State.values)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Amounts that are not posted until somebody decides. Newest first."""
        return super().get(request, *args, **kwargs)


class NoteIn(In):
    note = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class DecideView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}
    approving: bool = True

    def post(self, request: Request, number: int) -> Response:
        """One decision of an operator."""
        note, user = valid(NoteIn(data=request.data or {}))["note"], caller_of(request).user
        decided = (approve if self.approving else refuse)([min(number, MAX_BIGINT)], user, note)
        return Response(ParkedOut(decided[0]).data)


class ApproveView(DecideView):
    @extend_schema(operation_id="parked_approve", request=NoteIn, parameters=[NUMBER], responses=ParkedOut)
    def post(self, request: Request, number: int) -> Response:
        """Post what was parked; facts that have changed since are parked anew instead."""
        return super().post(request, number)


class RefuseView(DecideView):
    approving = False

    @extend_schema(operation_id="parked_refuse", request=NoteIn, parameters=[NUMBER], responses=ParkedOut)
    def post(self, request: Request, number: int) -> Response:
        """Never post these facts."""
        return super().post(request, number)


class MonthIn(In):
    month = serializers.RegexField(r"^[0-9]{4}-(0[1-9]|1[0-2])\Z", help_text="2026-03")

    def validate_month(self, text: str) -> date:
        if not "1970" <= text[:4] <= "9000":
            raise serializers.ValidationError("a year from 1970 to 9000")
        return date.fromisoformat(f"{text}-01")


class RunIn(MonthIn):
    organizations = serializers.ListField(
        child=serializers.SlugField(max_length=63), required=False, max_length=10_000, help_text="all when left out"
    )
    final = serializers.BooleanField(default=False, help_text="post; otherwise only previews are written")


class RunOut(Out):
    charges = serializers.IntegerField(help_text="posted, or previews written")
    parked = serializers.IntegerField()


class RunsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="period_runs_create", request=RunIn, responses=RunOut)
    def post(self, request: Request) -> Response:
        """Rate a month; `final` posts it, and corrects the months before. A second run adds nothing."""
        given = valid(RunIn(data=request.data))
        found = (
            Organization.objects.all()
            if "organizations" not in given
            else Organization.objects.filter(slug__in=given["organizations"])
        )
        numbers, cutoff = sorted(found.values_list("pk", flat=True)), safe_cutoff()
        done = [rate_periods(numbers, given["month"], cutoff, final=given["final"])]
        if given["final"]:
            done.append(correct_periods(numbers, given["month"], cutoff))
        return Response({"charges": sum(one.charges for one in done), "parked": sum(one.parked for one in done)})


class PriceIn(In):
    """A price list: of one's own making, or that of a pool as it is now."""

    name = serializers.CharField(max_length=80, required=False)
    pool = serializers.CharField(max_length=40, required=False, help_text="a pool's present price list, or one's own there")
    basis = serializers.ChoiceField(Offer.Basis.choices, required=False)
    rates = serializers.DictField(child=RateIn(), required=False)
    rules = serializers.DictField(required=False)


class WhatIfIn(MonthIn):
    prices = serializers.ListField(child=PriceIn(), min_length=1, max_length=MOST_PRICES)


class WhatIfView(APIView):
    scopes: ClassVar[Scopes] = {"POST": BILLING_READ}

    @extend_schema(operation_id="what_if", request=WhatIfIn, responses={200: EVIDENCE})
    def post(self, request: Request) -> Response:
        """What a month would have cost under other prices or bases: by the engine that charges, and nothing is written."""
        organization = caller_of(request).acting_for()
        given = valid(WhatIfIn(data=request.data))
        candidates = [_candidate(organization, number, price) for number, price in enumerate(given["prices"])]
        return Response(compare(organization, given["month"], candidates))


def _candidate(organization: Organization, number: int, given: dict[str, Any]) -> Candidate:
    place = f"prices.{number}"
    if "pool" in given:
        pool = Pool.objects.filter(identifier=given["pool"]).exclude(state=Pool.State.RETIRED).first()
        asked = Q(customer=None) | Q(customer=organization)  # one's own price stands in the list's place
        listed = Offer.objects.filter(asked, pool=pool, origin=None, valid__contains=timezone.now()).prefetch_related("rates")
        offer = None if pool is None else listed.order_by(F("customer").asc(nulls_last=True)).first()
        if offer is None:
            raise NotFound("pool_unknown", "no such pool with a price", field=f"{place}.pool")
        rates = {r.meter: r.document or format(r.unit_price, "f") for r in offer.rates.all()}
        return candidate_of(given.get("name") or given["pool"], offer.basis, rates, offer.rules)
    if "basis" not in given or "rates" not in given:
        raise Invalid("rates_invalid", "a price list has a basis and rates, or names a pool", field=place)
    return candidate_of(given.get("name") or given["basis"], given["basis"], given["rates"], given.get("rules", {}))


class CorrectionIn(In):
    """The right numbers; what is left out stays. Whole numbers, in the record's units."""

    def get_fields(self) -> dict[str, Any]:
        return {name: serializers.IntegerField(min_value=0, max_value=MAX_BIGINT, required=False) for name in CORRECTABLE}


class CorrectionOut(Out):
    usage = serializers.IntegerField(source="pk")
    attempt = serializers.IntegerField(source="attempt_id")
    revision = serializers.IntegerField()
    corrects = serializers.IntegerField(source="corrects_id")


class CorrectionsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(
        operation_id="usage_corrections_create", request=CorrectionIn, parameters=[NUMBER], responses={201: CorrectionOut}
    )
    def post(self, request: Request, number: int) -> Response:
        """Correct a usage record: a revision is written, and the difference is charged (by period: with the next run)."""
        changes = valid(CorrectionIn(data=request.data))
        if not changes:
            raise Invalid("usage_invalid", f"name at least one of {', '.join(CORRECTABLE)}")
        return Response(CorrectionOut(correct_usage(min(number, MAX_BIGINT), changes)).data, status=201)


urlpatterns = [
    path("charges/<int:number>/evidence", ChargeEvidenceView.as_view()),
    path("period-charges", PeriodChargesView.as_view()),
    path("period-charges/<int:number>/evidence", PeriodEvidenceView.as_view()),
    path("period-previews", PreviewsView.as_view()),
    path("period-runs", RunsView.as_view()),
    path("parked", ParkedView.as_view()),
    path("parked/<int:number>/approve", ApproveView.as_view()),
    path("parked/<int:number>/refuse", RefuseView.as_view()),
    path("unbilled", UnbilledView.as_view()),
    path("usage/records/<int:number>/corrections", CorrectionsView.as_view()),
    path("what-if", WhatIfView.as_view()),
]
