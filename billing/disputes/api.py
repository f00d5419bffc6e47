"""Disputes' doors: customers open and withdraw, respondents answer, operators decide; each takes many."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import ByKey
from billing.disputes import queries
from billing.disputes.answering import answer, say, withdraw
from billing.disputes.bundle import bundle_of
from billing.disputes.deciding import Decision, decide
from billing.disputes.opening import MOST, Opening, open_by_lines, open_disputes
from billing.models import Dispute, DisputedCharge, DisputeMessage, Invoice
from core.errors import NotFound
from core.money import to_micros
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Organization
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, BILLING_WRITE, OPERATOR

DISPUTE: Final = OpenApiParameter("dispute", OpenApiTypes.INT, OpenApiParameter.PATH)
SET: Final = 1000  # disputes that one request answers, withdraws or decides


class NumberField(serializers.IntegerField):
    """A key of PostgreSQL's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=2**63 - 1, **options)


class OpenIn(In):
    """Charges of tasks and of months, or lines of one invoice; not both."""

    charges = serializers.ListField(child=NumberField(), min_length=1, max_length=MOST, required=False)
    period_charges = serializers.ListField(
        child=NumberField(), min_length=1, max_length=MOST, required=False, help_text="of months: GET /period-charges"
    )
    invoice = NumberField(required=False, help_text="whose lines are disputed")
    lines = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**31 - 1), min_length=1, max_length=1000, required=False
    )
    reason = serializers.ChoiceField(Dispute.Reason.choices)
    text = serializers.CharField(max_length=4000)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if ("charges" in data or "period_charges" in data) == ("invoice" in data) or ("invoice" in data) != ("lines" in data):
            raise serializers.ValidationError({"charges": ["either charges, or an invoice and its lines"]})
        return data


class SetIn(In):
    disputes = serializers.ListField(child=NumberField(), min_length=1, max_length=SET)


class AnswerIn(SetIn):
    position = serializers.ChoiceField(Dispute.Position.choices)
    text = serializers.CharField(max_length=4000)


class DecisionIn(In):
    dispute = NumberField()
    outcome = serializers.ChoiceField(Dispute.Outcome.choices)
    amount = DecimalText(required=False, help_text="of an outcome `partly`: what is taken back, without tax")
    text = serializers.CharField(max_length=4000, help_text="why; all parties read it")

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if ("amount" in data) != (data["outcome"] == "partly"):
            raise serializers.ValidationError({"amount": ["an amount goes with the outcome partly, and with no other"]})
        return data


class DecideIn(In):
    decisions = serializers.ListField(child=DecisionIn(), min_length=1, max_length=SET)


class MessageIn(In):
    text = serializers.CharField(max_length=4000)


class DisputeOut(Out):
    """A dispute. Amounts are decimal text, without tax."""

    id = serializers.IntegerField()
    state = serializers.ChoiceField(Dispute.State.choices)
    reason = serializers.ChoiceField(Dispute.Reason.choices)
    position = serializers.ChoiceField(Dispute.Position.choices, allow_blank=True, help_text="the respondent's; empty: no answer")
    outcome = serializers.ChoiceField(Dispute.Outcome.choices, allow_blank=True, help_text="empty: not decided")
    customer = serializers.CharField()
    provider = serializers.CharField(allow_null=True)
    publisher = serializers.CharField(allow_null=True, help_text="null: of charges of months")
    respondent = serializers.CharField(help_text="who shall answer")
    currency = serializers.CharField()
    charges = serializers.IntegerField(help_text="how many")
    disputed = serializers.CharField()
    awarded = serializers.CharField(help_text="what the decision takes back")
    opened_at = serializers.DateTimeField()
    answer_until = serializers.DateTimeField(help_text="without an answer it is then decided for the customer")
    answered_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class DisputesOut(Out):
    disputes = DisputeOut(many=True)


class DisputeMessageOut(Out):
    role = serializers.CharField(help_text=f"one of {', '.join(DisputeMessage.Role.values)}")
    text = serializers.CharField()
    at = serializers.DateTimeField()


class DisputeDocumentOut(DisputeOut):
    messages = DisputeMessageOut(many=True)


class DisputedChargeOut(Out):
    charge = serializers.IntegerField(allow_null=True, help_text="of a task; null: it is of a month")
    period_charge = serializers.IntegerField(allow_null=True, help_text="of a month; null: it is of a task")
    kind = serializers.CharField(help_text="of a task's charge; `period` of a month's")
    meter = serializers.CharField(allow_null=True, help_text="of a month")
    task = serializers.UUIDField(allow_null=True)
    attempt = serializers.IntegerField(allow_null=True)
    pool = serializers.CharField(allow_null=True)
    capability = serializers.CharField(allow_null=True, help_text="of a month: the version whose fees these are")
    state = serializers.ChoiceField(DisputedCharge.State.choices)
    amount = serializers.CharField()
    awarded = serializers.CharField()
    refund = serializers.IntegerField(allow_null=True, help_text="the charge below zero that takes it back")
    period_refund = serializers.IntegerField(allow_null=True, help_text="of a month: the revision that takes it back")
    credit_note = serializers.CharField(allow_null=True)
    invoice = serializers.IntegerField(allow_null=True)
    line = serializers.IntegerField(allow_null=True)


class BundleOut(Out):
    bundle = serializers.DictField()
    digest = serializers.CharField(help_text="SHA-256, hexadecimal, of the canonical bytes of `bundle`")


def shown_to(caller: Caller) -> QuerySet[Dispute]:
    return queries.disputes_shown(organization_speaking(caller))


def dispute_for(caller: Caller, number: int) -> Dispute:
    """The dispute with this number, if the caller may see it."""
    found = shown_to(caller).filter(pk=number).first()
    if found is None:
        raise NotFound("not_found", "no such dispute")
    return found


def dispute_of(request: Request, number: int) -> Dispute:
    return dispute_for(caller_of(request), number)


def decision_of(given: dict[str, Any]) -> Decision:
    """What a valid DecisionIn says."""
    micros = to_micros(Decimal(given["amount"])) if "amount" in given else None
    return Decision(given["dispute"], given["outcome"], given["text"], micros)


def organization_speaking(caller: Caller) -> Organization | None:
    """For whom a caller speaks in a dispute; None: for the platform."""
    return None if caller.is_operator else caller.acting_for()


def listed(disputes: list[Dispute]) -> dict[str, Any]:
    """Disputes as DisputesOut."""
    return {"disputes": [queries.summary(one) for one in disputes]}


def document(dispute: Dispute) -> dict[str, Any]:
    """A dispute as DisputeDocumentOut."""
    return queries.summary(dispute) | {"messages": queries.messages_of(dispute)}


class DisputesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": BILLING_WRITE}
    serializer_class = DisputeOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return shown_to(caller)

    @extend_schema(operation_id="disputes_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Disputes that the organization has part in (operators: all), oldest first."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([queries.summary(one) for one in page])

    @extend_schema(operation_id="disputes_create", request=OpenIn, responses={201: DisputesOut})
    def post(self, request: Request) -> Response:
        """Dispute charges, or all charges in lines of an invoice: one dispute for each provider and publisher. All or nothing."""
        given, caller = valid(OpenIn(data=request.data)), caller_of(request)
        opening = Opening(caller.acting_for(), given["reason"], given["text"], caller.user)
        if "invoice" not in given:
            made = open_disputes(opening, given.get("charges", ()), months=given.get("period_charges", ()))
        else:
            invoice = Invoice.objects.filter(pk=given["invoice"], organization=opening.organization).first()
            if invoice is None:
                raise NotFound("not_found", "no such invoice", field="invoice")
            made = open_by_lines(opening, invoice, given["lines"])
        found = queries.disputes_shown(opening.organization).filter(pk__in=[one.pk for one in made]).order_by("pk")
        return Response(listed(list(found)), status=201)


class DisputeView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="disputes_retrieve", parameters=[DISPUTE], responses=DisputeDocumentOut)
    def get(self, request: Request, dispute: int) -> Response:
        """A dispute and what was said in it."""
        return Response(document(dispute_of(request, dispute)))


class DisputedChargesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = DisputedChargeOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.items_of(dispute_of(self.request, self.kwargs["dispute"]))

    @extend_schema(operation_id="disputes_charges_list", parameters=[DISPUTE])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The charges of a dispute, and what was taken back of each."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([queries.item(one) for one in page])


class BundleView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="disputes_bundle", parameters=[DISPUTE], responses=BundleOut)
    def get(self, request: Request, dispute: int) -> HttpResponse:
        """The evidence in one file: charges with usage, attempts and prices, messages, outcome, and a digest. Checked offline."""
        found = dispute_of(request, dispute)
        answered = HttpResponse(bundle_of(found), content_type="application/json")
        answered["Content-Disposition"] = f'attachment; filename="dispute-{found.pk}.json"'
        answered["Cache-Control"] = "no-store"
        return answered


class MessagesView(APIView):
    scopes: ClassVar[Scopes] = {"POST": BILLING_WRITE}

    @extend_schema(
        operation_id="disputes_messages_create", parameters=[DISPUTE], request=MessageIn, responses={201: DisputeDocumentOut}
    )
    def post(self, request: Request, dispute: int) -> Response:
        """Say something in a dispute that is not decided yet; all its parties read it."""
        text, caller = valid(MessageIn(data=request.data))["text"], caller_of(request)
        found = dispute_of(request, dispute)
        say(found, organization_speaking(caller), text, caller.user)
        return Response(document(found), status=201)


class AnswerView(APIView):
    scopes: ClassVar[Scopes] = {"POST": BILLING_WRITE}

    @extend_schema(operation_id="disputes_answer", request=AnswerIn, responses=DisputesOut)
    def post(self, request: Request) -> Response:
        """Answer disputes as their respondent: accept or contest them. All or none."""
        given, caller = valid(AnswerIn(data=request.data)), caller_of(request)
        return Response(
            listed(answer(given["disputes"], caller.acting_for(), given["position"], given["text"], caller.user))
        )


class WithdrawView(APIView):
    scopes: ClassVar[Scopes] = {"POST": BILLING_WRITE}

    @extend_schema(operation_id="disputes_withdraw", request=SetIn, responses=DisputesOut)
    def post(self, request: Request) -> Response:
        """Give disputes up. All or none."""
        return Response(listed(withdraw(valid(SetIn(data=request.data))["disputes"], caller_of(request).acting_for())))


class DecideView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="disputes_decide", request=DecideIn, responses=DisputesOut)
    def post(self, request: Request) -> Response:
        """Decide disputes: upheld, partly with an amount, or rejected. All or none; the same decision again changes nothing."""
        decisions = [decision_of(one) for one in valid(DecideIn(data=request.data))["decisions"]]
        return Response(listed(decide(decisions, caller_of(request).user)))


urlpatterns = [
    path("disputes", DisputesView.as_view()),
    path("disputes/answer", AnswerView.as_view()),
    path("disputes/decide", DecideView.as_view()),
    path("disputes/withdraw", WithdrawView.as_view()),
    path("disputes/<int:dispute>", DisputeView.as_view()),
    path("disputes/<int:dispute>/bundle", BundleView.as_view()),
    path("disputes/<int:dispute>/charges", DisputedChargesView.as_view()),
    path("disputes/<int:dispute>/messages", MessagesView.as_view()),
]
