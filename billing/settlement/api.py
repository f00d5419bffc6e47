"""Payees' doors: the shares they have and how each stands, their payouts; operators gather, approve, send, cancel and retry."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import ByKey, MomentField
from billing.models import Payout, PayoutAttempt, PayoutLine
from billing.settlement import payouts, queries
from billing.settlement.queries import Period
from billing.settlement.sending import send_payouts
from core.errors import NotFound
from core.money import text_of
from marketplace.api.artifacts import AnyAccept
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Organization
from marketplace.permissions import Scopes
from marketplace.ranges import Streamed
from marketplace.scopes import BILLING_READ, OPERATOR

PARTIES: Final = [(one.value, one.label) for one in (PayoutLine.Role.PROVIDER, PayoutLine.Role.PUBLISHER)]
PAYOUT: Final = OpenApiParameter("payout", OpenApiTypes.INT, OpenApiParameter.PATH)
ASKED: Final = [
    OpenApiParameter("party", str, required=True, enum=[name for name, _ in PARTIES]),
    OpenApiParameter("from", str, description="charged from: a day or a moment, included"),
    OpenApiParameter("to", str, description="a day or a moment, excluded"),
]


class PayablesIn(In):
    """The query of a payee's shares."""

    party = serializers.ChoiceField(PARTIES)
    to = MomentField(required=False)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": MomentField(required=False)}  # a keyword cannot be an attribute


class PayableOut(Out):
    """A share of a charge, of its task and attempt, and how it stands."""

    charge = serializers.IntegerField()
    kind = serializers.CharField()
    task = serializers.UUIDField()
    attempt = serializers.IntegerField(allow_null=True)
    capability = serializers.CharField()
    pool = serializers.CharField(allow_null=True)
    units = serializers.IntegerField(help_text="valid units")
    core_seconds = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.CharField(help_text="of the charge")
    share = serializers.CharField(help_text="what the payee gets of it")
    state = serializers.CharField(help_text=f"one of {', '.join(queries.STANDINGS)}; unpaid: the customer has not paid yet")
    due_at = serializers.DateTimeField(allow_null=True, help_text="when it may go out; null while the customer has not paid")
    payout = serializers.IntegerField(allow_null=True)
    charged_at = serializers.DateTimeField()


class PeriodPayableOut(Out):
    """A payee's share of a charge by period, and how it stands: of a pool's price list, or of a capability's fees."""

    period_charge = serializers.IntegerField()
    revision = serializers.IntegerField(help_text="0: the month's charge; others correct it")
    refunds = serializers.IntegerField(allow_null=True, help_text="the charge from which a dispute takes this back")
    pool = serializers.CharField(allow_null=True)
    capability = serializers.CharField(allow_null=True, help_text="whose fees these are, a publisher's")
    meter = serializers.CharField()
    to = serializers.DateTimeField()
    currency = serializers.CharField()
    amount = serializers.CharField(help_text="of the charge")
    share = serializers.CharField(help_text="what the payee gets of it")
    state = serializers.CharField(help_text=f"one of {', '.join(queries.STANDINGS)}")
    due_at = serializers.DateTimeField(allow_null=True)
    payout = serializers.IntegerField(allow_null=True)
    charged_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField()}  # a keyword cannot be an attribute


def _asked(request: Request) -> tuple[Organization, str, Period]:
    """Whose shares are asked for, as what, and of when."""
    given = valid(PayablesIn(data={key: value for key, value in request.query_params.items() if key in {"party", "from", "to"}}))
    return caller_of(request).acting_for(), given["party"], Period(given.get("from"), given.get("to"))


class PayablesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = PayableOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.shares_of(*_asked(self.request))

    @extend_schema(operation_id="payables_list", parameters=ASKED)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the organization gets as a provider or publisher, charge by charge, and when each share may go out."""
        page = self.paginate_queryset(self.get_queryset()) or []
        role, now = request.query_params["party"], timezone.now()
        return self.get_paginated_response([queries.line_of(charge, role, now) for charge in page])


class PeriodPayablesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = PeriodPayableOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        organization, role, period = _asked(self.request)
        return queries.period_shares_of(organization, role, period)

    @extend_schema(operation_id="payables_periods_list", parameters=ASKED)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What a provider or publisher gets of charges by period, and when each share may go out."""
        page, now = self.paginate_queryset(self.get_queryset()) or [], timezone.now()
        return self.get_paginated_response([queries.period_line_of(charge, now) for charge in page])


class PayablesFileView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="payables_export",
        parameters=ASKED,
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="a header and the lines")},
    )
    def get(self, request: Request) -> Any:
        """All shares, of tasks and of periods, as CSV; text that a spreadsheet would run as a formula begins with an apostrophe."""
        organization, role, period = _asked(request)
        answer = Streamed(queries.csv_of(organization, role, period), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="payables-{role}.csv"'
        answer["Cache-Control"] = "no-store"
        return answer


class PayoutOut(Out):
    """A payout. Amounts are decimal text."""

    id = serializers.IntegerField()
    run = serializers.IntegerField()
    organization = serializers.CharField()
    currency = serializers.CharField()
    exact = serializers.CharField(help_text="the sum of its lines")
    withheld = serializers.CharField(help_text="what is kept back of it for a while; a line below zero")
    amount = serializers.CharField(help_text="what is sent: with what earlier payouts left over, in whole minor units")
    lines = serializers.IntegerField()
    state = serializers.ChoiceField(Payout.State.choices)
    reason = serializers.CharField()
    approved_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class PayoutAttemptOut(Out):
    number = serializers.IntegerField()
    key = serializers.CharField()
    state = serializers.ChoiceField(PayoutAttempt.State.choices)
    reference = serializers.CharField()
    reason = serializers.CharField()
    begun_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class PayoutDocumentOut(PayoutOut):
    attempts = PayoutAttemptOut(many=True)


class PayoutLineOut(Out):
    share = serializers.IntegerField()
    charge = serializers.IntegerField(source="charge_id", allow_null=True, help_text="of a task")
    period_charge = serializers.IntegerField(source="period_charge_id", allow_null=True, help_text="of a period")
    withheld = serializers.IntegerField(source="withholding_id", allow_null=True, help_text="kept back: a reserve's number")
    released = serializers.IntegerField(
        source="release.withholding_id", allow_null=True, default=None, help_text="released of the reserve with this number"
    )
    role = serializers.CharField(help_text="provider, publisher, or reserve: what is kept back")
    task = serializers.UUIDField(source="charge.task_id", allow_null=True, default=None)
    attempt = serializers.IntegerField(source="charge.usage.attempt_id", allow_null=True, default=None)
    amount = serializers.SerializerMethodField()

    def get_amount(self, line: PayoutLine) -> str:
        return text_of(line.amount_micros)


class ByShare(ByKey):
    ordering = "share"


def summary(payout: Payout) -> dict[str, Any]:
    """A payout as PayoutOut."""
    names = ("id", "run_id", "currency", "state", "reason", "approved_at", "sent_at", "ended_at")
    told = {name.removesuffix("_id"): getattr(payout, name) for name in names}
    amounts = {"exact": text_of(payout.exact_micros), "amount": text_of(payout.amount_micros), "lines": payout.lines_count}
    kept = getattr(payout, "withholding", None)
    amounts |= {"withheld": text_of(kept.amount_micros if kept else 0)}
    return told | amounts | {"organization": payout.organization.slug}


def document(payout: Payout) -> dict[str, Any]:
    """A payout as PayoutDocumentOut."""
    names = ("number", "key", "state", "reference", "reason", "begun_at", "ended_at")
    return summary(payout) | {"attempts": list(payout.attempts.order_by("number").values(*names))}


def shown_to(caller: Caller) -> QuerySet[Payout]:
    return queries.payouts_shown(None if caller.is_operator else caller.acting_for())


def payout_of(request: Request, number: int) -> Payout:
    found = shown_to(caller_of(request)).filter(pk=number).first()
    if found is None:
        raise NotFound("not_found", "no such payout")
    return found


class PayoutsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = PayoutOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return shown_to(caller)

    @extend_schema(operation_id="payouts_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's payouts (operators: all), oldest first."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([summary(payout) for payout in page])


class PayoutView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="payouts_retrieve", parameters=[PAYOUT], responses=PayoutDocumentOut)
    def get(self, request: Request, payout: int) -> Response:
        """A payout and the attempts to send it."""
        return Response(document(payout_of(request, payout)))


class PayoutLinesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = PayoutLineOut
    pagination_class = ByShare

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return payout_of(self.request, self.kwargs["payout"]).lines.select_related("charge__usage", "release")

    @extend_schema(operation_id="payouts_lines_list", parameters=[PAYOUT])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What a payout pays: each share with its charge, be it of a task and an attempt or of a period."""
        return super().get(request, *args, **kwargs)


class PayoutRunOut(Out):
    run = serializers.IntegerField(allow_null=True, help_text="null: nothing was due")
    payouts = PayoutOut(many=True)


class PayoutRunsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="payout_runs_create", request=None, responses={201: PayoutRunOut})
    def post(self, request: Request) -> Response:
        """Gather all that is due into draft payouts, one per payee and currency. Repeated, it finds nothing more."""
        run = payouts.gather(by=caller_of(request).user)
        made = run.payouts.select_related("organization", "withholding").order_by("pk") if run else []
        return Response({"run": run.pk if run else None, "payouts": [summary(payout) for payout in made]}, status=201)


class SendingOut(Out):
    paid = serializers.IntegerField()
    failed = serializers.IntegerField()
    pending = serializers.IntegerField(help_text="the gateway has not answered; asked again every hour")


class SendView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="payouts_send", request=None, responses=SendingOut)
    def post(self, request: Request) -> Response:
        """Send all approved payouts now. Repeated, it sends nothing twice."""
        return Response(send_payouts()._asdict())


class ApproveView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="payouts_approve", parameters=[PAYOUT], request=None, responses=PayoutDocumentOut)
    def post(self, request: Request, payout: int) -> Response:
        """Let a draft go out with the next sending."""
        return Response(document(payouts.approve(payout_of(request, payout), caller_of(request).user)))


class RetryView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="payouts_retry", parameters=[PAYOUT], request=None, responses=PayoutDocumentOut)
    def post(self, request: Request, payout: int) -> Response:
        """Let a failed payout go out again, as a new attempt."""
        return Response(document(payouts.retry(payout_of(request, payout), caller_of(request).user)))


class CancelIn(In):
    reason = serializers.CharField(max_length=300)


class CancelView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="payouts_cancel", parameters=[PAYOUT], request=CancelIn, responses=PayoutDocumentOut)
    def post(self, request: Request, payout: int) -> Response:
        """Give a payout up before any money moved; its lines wait for the next run."""
        reason = valid(CancelIn(data=request.data))["reason"]
        return Response(document(payouts.cancel(payout_of(request, payout), reason)))


urlpatterns = [
    path("payables", PayablesView.as_view()),
    path("payables/periods", PeriodPayablesView.as_view()),
    path("payables.csv", PayablesFileView.as_view()),
    path("payout-runs", PayoutRunsView.as_view()),
    path("payouts", PayoutsView.as_view()),
    path("payouts/send", SendView.as_view()),
    path("payouts/<int:payout>", PayoutView.as_view()),
    path("payouts/<int:payout>/lines", PayoutLinesView.as_view()),
    path("payouts/<int:payout>/approve", ApproveView.as_view()),
    path("payouts/<int:payout>/cancel", CancelView.as_view()),
    path("payouts/<int:payout>/retry", RetryView.as_view()),
]
