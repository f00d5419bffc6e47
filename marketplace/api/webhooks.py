"""Webhooks: endpoints, their secrets, what was sent to them, and the events themselves for those who would rather ask."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid
from core.outbound import MOST_URL
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, TrueOrFalse, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import WebhookDelivery, WebhookEndpoint
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, ORGANIZATION_WRITE
from marketplace.webhooks import endpoints, replaying
from marketplace.webhooks.reading import MOST, events_after
from marketplace.webhooks.types import declared, unknown_wishes

MOST_HOURS: Final = 24 * 30
_SHOWN_ONCE: Final = "the secret that requests are signed with; shown only now"


class TypesField(serializers.ListField):
    """Types of events: exact, `family.*` or `*`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=serializers.CharField(max_length=64), min_length=1, max_length=100, **options)


class WebhookIn(In):
    url = serializers.CharField(max_length=MOST_URL, trim_whitespace=False)
    types = TypesField(default=["*"], help_text="for example task.delivered, invoice.* or *")
    description = serializers.CharField(max_length=200, default="", allow_blank=True)


class WebhookPatchIn(In):
    url = serializers.CharField(max_length=MOST_URL, trim_whitespace=False, required=False)
    types = TypesField(required=False)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    enabled = TrueOrFalse(required=False)


class WebhookOut(Out):
    id = serializers.UUIDField()
    organization = serializers.CharField(source="organization.slug")
    url = serializers.CharField()
    types = serializers.ListField(child=serializers.CharField())
    description = serializers.CharField()
    enabled = serializers.SerializerMethodField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    disabled_because = serializers.CharField(help_text="why the platform turned it off; empty when its owner did")
    failing_since = serializers.DateTimeField(allow_null=True, help_text="its first failure since the last success")
    delivered_at = serializers.DateTimeField(allow_null=True, help_text="when something last reached it")
    secrets = serializers.SerializerMethodField(help_text="how many secrets sign")
    created_at = serializers.DateTimeField()

    def get_enabled(self, endpoint: WebhookEndpoint) -> bool:
        return endpoint.disabled_at is None

    def get_secrets(self, endpoint: WebhookEndpoint) -> int:
        return len(endpoint.secrets.all())


class IssuedWebhookOut(WebhookOut):
    secret = serializers.CharField(help_text=_SHOWN_ONCE)


class WebhookRotateIn(In):
    overlap_hours = serializers.IntegerField(
        min_value=0, max_value=MOST_HOURS, default=endpoints.OVERLAP_HOURS, help_text="so long the old secrets sign along"
    )


class WebhookReplayIn(In):
    since = serializers.DateTimeField(help_text="events written from then on")
    failed_only = TrueOrFalse(default=False, help_text="only what was given up")


class WebhookReplayedOut(Out):
    deliveries = serializers.IntegerField(help_text="how many will be sent")


class WebhookDeliveryOut(Out):
    id = serializers.IntegerField()
    event = serializers.UUIDField(source="event.id", help_text="what `webhook-id` says")
    type = serializers.CharField(source="event.type")
    subject = serializers.CharField()
    state = serializers.CharField(help_text="pending, sending, delivered or given_up")
    tries = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True, help_text="of the last answer")
    error = serializers.CharField(help_text="why the last try had no answer")
    due_at = serializers.DateTimeField(help_text="when it is tried (again)")
    ended_at = serializers.DateTimeField(allow_null=True)
    written_at = serializers.DateTimeField(source="event.written_at")


class WebhookTryOut(Out):
    request_id = serializers.UUIDField()
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField()
    detail = serializers.CharField()
    answer = serializers.CharField(help_text="its first 1,024 bytes")
    ms = serializers.IntegerField()


class WebhookDeliveryDetailOut(WebhookDeliveryOut):
    data = serializers.JSONField(source="event.data")  # type: ignore[assignment]  # the library has a property of this name
    log = serializers.SerializerMethodField(help_text="the last hundred tries, newest first")

    def get_log(self, delivery: WebhookDelivery) -> list[dict[str, Any]]:
        return [dict(WebhookTryOut(one).data) for one in delivery.log.order_by("-pk")[:100]]


class EventTypeOut(Out):
    name = serializers.CharField()
    tells = serializers.CharField()
    example = serializers.JSONField(help_text="of `data`")


class ToldEventOut(Out):
    id = serializers.UUIDField(help_text="what `webhook-id` says when it is sent")
    type = serializers.CharField()
    subject = serializers.CharField()
    timestamp = serializers.DateTimeField()
    data = serializers.JSONField()  # type: ignore[assignment]  # the same


class ToldEventsOut(Out):
    results = ToldEventOut(many=True)
    after = serializers.CharField(help_text="go on with this")


class ToldEventsIn(In):
    after = serializers.CharField(max_length=40, default="", allow_blank=True, help_text="`after` of the last answer")
    type = serializers.CharField(max_length=500, default="", allow_blank=True, help_text="types with commas; `family.*` too")
    limit = serializers.IntegerField(min_value=1, max_value=MOST, default=100)


def issued(answer: endpoints.Issued) -> Response:
    """201 with the secret's text."""
    answer.endpoint.secret = answer.secret  # type: ignore[attr-defined]
    return Response(IssuedWebhookOut(answer.endpoint).data, status=201)


class WebhooksView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": ORGANIZATION_WRITE}
    serializer_class = WebhookOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return endpoints.endpoints_of(caller)

    @extend_schema(operation_id="webhooks_create", request=WebhookIn, responses={201: IssuedWebhookOut})
    def post(self, request: Request) -> Response:
        """A new endpoint with its first secret. At most 20."""
        return issued(endpoints.create_endpoint(caller_of(request), **valid(WebhookIn(data=request.data))))


class WebhookView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "PATCH": ORGANIZATION_WRITE, "DELETE": ORGANIZATION_WRITE}

    @extend_schema(operation_id="webhooks_retrieve", responses=WebhookOut)
    def get(self, request: Request, webhook: Any) -> Response:
        """One endpoint."""
        return Response(WebhookOut(endpoints.endpoint_of(caller_of(request), webhook)).data)

    @extend_schema(operation_id="webhooks_update", request=WebhookPatchIn, responses=WebhookOut)
    def patch(self, request: Request, webhook: Any) -> Response:
        """Change it, turn it off or on. Turning on sends what has waited."""
        given = valid(WebhookPatchIn(data=request.data))
        return Response(WebhookOut(endpoints.update_endpoint(caller_of(request), webhook, **given)).data)

    @extend_schema(operation_id="webhooks_delete", responses={204: None})
    def delete(self, request: Request, webhook: Any) -> Response:
        """Away with it, its deliveries and their log."""
        endpoints.delete_endpoint(caller_of(request), webhook)
        return Response(status=204)


class RotateView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ORGANIZATION_WRITE}

    @extend_schema(operation_id="webhooks_rotate", request=WebhookRotateIn, responses={201: IssuedWebhookOut})
    def post(self, request: Request, webhook: Any) -> Response:
        """A new secret; the old ones sign along for a while."""
        given = valid(WebhookRotateIn(data=request.data))
        return issued(endpoints.rotate_secret(caller_of(request), webhook, overlap_hours=given["overlap_hours"]))


class PingView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ORGANIZATION_WRITE}

    @extend_schema(operation_id="webhooks_ping", request=None, responses={202: WebhookDeliveryOut})
    def post(self, request: Request, webhook: Any) -> Response:
        """Send a `webhook.ping` to this endpoint; ask for the delivery to see what came of it."""
        return Response(WebhookDeliveryOut(endpoints.ping(caller_of(request), webhook)).data, status=202)


class ReplayView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ORGANIZATION_WRITE}

    @extend_schema(operation_id="webhooks_replay", request=WebhookReplayIn, responses={202: WebhookReplayedOut})
    def post(self, request: Request, webhook: Any) -> Response:
        """Send everything since a moment again, and what the endpoint was never sent, in order."""
        given = valid(WebhookReplayIn(data=request.data))
        endpoint = endpoints.endpoint_of(caller_of(request), webhook)
        count = replaying.replay_since(endpoint, given["since"], failed_only=given["failed_only"])
        return Response({"deliveries": count}, status=202)


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]  # the library has no types
    state = filters.ChoiceFilter(choices=WebhookDelivery.State.choices)
    subject = filters.CharFilter(max_length=120)


class DeliveriesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = WebhookDeliveryOut
    filterset_class = DeliveryFilter

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return replaying.deliveries_of(endpoints.endpoint_of(caller, self.kwargs["webhook"]))

    @extend_schema(operation_id="webhooks_deliveries")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What was and will be sent to an endpoint, newest first."""
        return super().get(request, *args, **kwargs)


class DeliveryView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="webhooks_delivery", responses=WebhookDeliveryDetailOut)
    def get(self, request: Request, webhook: Any, delivery: int) -> Response:
        """One delivery with the event's data and its log."""
        return Response(WebhookDeliveryDetailOut(replaying.delivery_of(caller_of(request), webhook, delivery)).data)


class ReplayDeliveryView(APIView):
    scopes: ClassVar[Scopes] = {"POST": ORGANIZATION_WRITE}

    @extend_schema(operation_id="webhooks_delivery_replay", request=None, responses={202: WebhookDeliveryOut})
    def post(self, request: Request, webhook: Any, delivery: int) -> Response:
        """Send it again; one that waits for its next try is due now, one under way is left alone."""
        caller = caller_of(request)
        replaying.replay_deliveries([replaying.delivery_of(caller, webhook, delivery).pk])
        return Response(WebhookDeliveryOut(replaying.delivery_of(caller, webhook, delivery)).data, status=202)


class TypesView(APIView):
    scopes: ClassVar[Scopes] = {"GET": None}

    @extend_schema(operation_id="webhooks_types", responses=EventTypeOut(many=True))
    def get(self, request: Request) -> Response:
        """The types of events that there are, with examples."""
        return Response(EventTypeOut(declared(), many=True).data)


class EventsView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="events_list", parameters=[ToldEventsIn], responses=ToldEventsOut)
    def get(self, request: Request) -> Response:
        """What happened, oldest first, for those who ask instead of being told: the same events, in an order that is final."""
        given = valid(ToldEventsIn(data=request.query_params.dict()))
        types = [one.strip() for one in given["type"].split(",") if one.strip()]
        if unknown := unknown_wishes(types):
            raise Invalid("webhook_type_unknown", f"no event is of the type {unknown[0]}", field="type")
        organization = caller_of(request).acting_for()
        page = events_after(organization.pk, given["after"], types=[] if "*" in types else types, most=given["limit"])
        return Response(ToldEventsOut({"results": page.events, "after": page.after}).data)


urlpatterns = [
    path("events", EventsView.as_view()),
    path("webhooks", WebhooksView.as_view()),
    path("webhooks/types", TypesView.as_view()),
    path("webhooks/<uuid:webhook>", WebhookView.as_view()),
    path("webhooks/<uuid:webhook>/rotate", RotateView.as_view()),
    path("webhooks/<uuid:webhook>/ping", PingView.as_view()),
    path("webhooks/<uuid:webhook>/replay", ReplayView.as_view()),
    path("webhooks/<uuid:webhook>/deliveries", DeliveriesView.as_view()),
    path("webhooks/<uuid:webhook>/deliveries/<int:delivery>", DeliveryView.as_view()),
    path("webhooks/<uuid:webhook>/deliveries/<int:delivery>/replay", ReplayDeliveryView.as_view()),
]
