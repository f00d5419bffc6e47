"""Endpoints: what can happen to them. Views have checked the caller's scope; these keep the rules that hold for every door."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from core.ids import uuid7
from core.outbound import url_problem
from core.wake import wake
from marketplace.auth import Caller
from marketplace.models import Organization, WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookSecret
from marketplace.queries import owned
from marketplace.webhooks.outbox import JOB
from marketplace.webhooks.signing import new_secret, seal
from marketplace.webhooks.types import PING, unknown_wishes

MOST_ENDPOINTS: Final = 20
MOST_SECRETS: Final = 5
OVERLAP_HOURS: Final = 24


@dataclass(frozen=True)
class Issued:
    """An endpoint with a secret just made; `secret` is shown this once."""

    endpoint: WebhookEndpoint
    secret: str


def endpoints_of(caller: Caller) -> QuerySet[WebhookEndpoint]:
    """The endpoints of the caller's organization; an operator sees everybody's."""
    return owned(WebhookEndpoint.objects.select_related("organization").prefetch_related("secrets"), caller)


def endpoint_of(caller: Caller, endpoint_id: UUID) -> WebhookEndpoint:
    """One of them. Raises NotFound `webhook_unknown`."""
    found = endpoints_of(caller).filter(pk=endpoint_id).first()
    if found is None:
        raise NotFound("webhook_unknown", "no such webhook")
    return found


def create_endpoint(caller: Caller, *, url: str, types: Sequence[str], description: str = "") -> Issued:
    """A new endpoint of the caller's organization, with its first secret.

    Raises Invalid `webhook_url_refused` or `webhook_type_unknown`, Conflict `too_many_webhooks`.
    """
    _check(url, types)
    organization = caller.acting_for()
    with transaction.atomic():
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)  # so that two at once are counted
        if WebhookEndpoint.objects.filter(organization=organization).count() >= MOST_ENDPOINTS:
            raise Conflict("too_many_webhooks", f"an organization has at most {MOST_ENDPOINTS} webhooks")
        endpoint = WebhookEndpoint.objects.create(
            organization=organization, url=url, types=sorted(set(types)), description=description, created_by=caller.user
        )
        return Issued(endpoint, _new_secret(endpoint))


def _check(url: str | None, types: Collection[str] | None) -> None:
    if url is not None and (problem := url_problem(url, private=settings.WEBHOOK_PRIVATE)):
        raise Invalid("webhook_url_refused", problem, field="url")
    if types is not None and (unknown := unknown_wishes(types)):
        raise Invalid("webhook_type_unknown", f"no event is of the type {unknown[0]}", field="types")


def _new_secret(endpoint: WebhookEndpoint) -> str:
    secret = new_secret()
    WebhookSecret.objects.create(endpoint=endpoint, sealed=seal(secret))
    return secret


def update_endpoint(
    caller: Caller,
    endpoint_id: UUID,
    *,
    url: str | None = None,
    types: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given. Enabling sends what has waited, in order; it forgets the failures and the notice.

    Raises NotFound `webhook_unknown`, Invalid as `create_endpoint`.
    """
    endpoint = endpoint_of(caller, endpoint_id)
    _check(url, types)
    given = {"url": url, "types": sorted(set(types)) if types is not None else None, "description": description}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with transaction.atomic():
        if changes:
            WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**changes)
        if enabled is not None:
            (enable if enabled else disable)([endpoint.pk])
    return endpoint_of(caller, endpoint_id)


def enable(endpoints: Iterable[UUID]) -> int:
    """Turn on those that are off; what has waited is due at once. Returns how many."""
    listed = list(endpoints)
    with transaction.atomic():
        off = WebhookEndpoint.objects.filter(pk__in=listed, disabled_at__isnull=False)
        moved = off.update(disabled_at=None, disabled_because="", failing_since=None, troubled=False)
        waits = WebhookDelivery.objects.filter(endpoint__in=listed, state=WebhookDelivery.State.PENDING)
        waits.filter(due_at__gt=timezone.now()).update(due_at=timezone.now())
        wake(JOB)
    return moved


def disable(endpoints: Iterable[UUID]) -> int:
    """Turn off those that are on, by somebody's wish. Returns how many. What is under way still arrives."""
    on = WebhookEndpoint.objects.filter(pk__in=list(endpoints), disabled_at__isnull=True)
    return on.update(disabled_at=timezone.now(), disabled_because="")


def delete_endpoint(caller: Caller, endpoint_id: UUID) -> None:
    """Away with it, its secrets and its deliveries. Raises NotFound `webhook_unknown`."""
    endpoint_of(caller, endpoint_id).delete()


def rotate_secret(caller: Caller, endpoint_id: UUID, *, overlap_hours: int = OVERLAP_HOURS) -> Issued:
    """A new secret. The old ones sign along for `overlap_hours` more (0: none does), so that receivers can change over.

    Raises NotFound `webhook_unknown`, Conflict `too_many_secrets`: those of quick rotations are still alive.
    """
    endpoint, now = endpoint_of(caller, endpoint_id), timezone.now()
    until = now + timedelta(hours=overlap_hours)
    with transaction.atomic():
        WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        secrets = WebhookSecret.objects.filter(endpoint=endpoint)
        secrets.filter(expires_at__lte=now).delete()
        if overlap_hours == 0:
            secrets.delete()
        elif secrets.count() >= MOST_SECRETS:
            raise Conflict("too_many_secrets", f"{MOST_SECRETS} secrets are alive; end them with an overlap of 0 hours")
        secrets.filter(expires_at__isnull=True).update(expires_at=until)
        secret = _new_secret(endpoint)
    return Issued(endpoint_of(caller, endpoint_id), secret)


def ping(caller: Caller, endpoint_id: UUID) -> WebhookDelivery:
    """Send a `webhook.ping` to this endpoint alone, whatever types it wants.

    Raises NotFound `webhook_unknown`, Conflict `webhook_disabled`.
    """
    endpoint, now = endpoint_of(caller, endpoint_id), timezone.now()
    if endpoint.disabled_at is not None:
        raise Conflict("webhook_disabled", "this webhook is disabled; enable it first")
    number = uuid7()  # each ping is a subject of its own: it waits for nothing
    with transaction.atomic():
        event = WebhookEvent.objects.create(
            organization_id=endpoint.organization_id,
            type=PING,
            subject=f"webhook/{endpoint.pk}/{number}",
            data={"endpoint": str(endpoint.pk), "message": "it works"},
            occurred_at=now,
            key=f"ping/{number}",
            written_at=now,
        )
        delivery = WebhookDelivery.objects.create(event=event, endpoint=endpoint, subject=event.subject, due_at=now)
        wake(JOB)
    return delivery
