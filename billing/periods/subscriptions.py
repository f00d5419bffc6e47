"""A customer's word that what a pool reports of it is paid for; taken and taken back, never for the past."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from billing.models import Subscription
from core.errors import Conflict, NotFound
from marketplace.models import Organization, Pool, User


def subscribe(organization: Organization, identifier: str, user: User | None, now: datetime | None = None) -> Subscription:
    """From now on, until it is ended. Raises NotFound `pool_unknown`, Conflict `subscribed_already`."""
    pool = Pool.objects.filter(identifier=identifier).exclude(state=Pool.State.RETIRED).first()
    if pool is None:
        raise NotFound("pool_unknown", "no such pool", field="pool")
    valid = DateTimeTZRange(now or timezone.now(), None)
    try:
        with transaction.atomic():
            return Subscription.objects.create(organization=organization, pool=pool, valid=valid, begun_by=user)
    except IntegrityError as error:
        if "subscriptions_do_not_overlap" not in str(error):
            raise
        raise Conflict("subscribed_already", "what this pool reports is paid for already", field="pool") from None


def unsubscribe(subscription: Subscription, user: User | None, now: datetime | None = None) -> Subscription:
    """From now on nothing more; what happened before is paid for, whenever it is reported. Raises Conflict `subscription_ended`."""
    start, end = subscription.valid.lower, now or timezone.now()
    open_one = Subscription.objects.filter(pk=subscription.pk, valid__endswith=None)
    if not open_one.update(valid=DateTimeTZRange(start, max(end, start + timedelta(microseconds=1))), ended_by=user):
        raise Conflict("subscription_ended", "this subscription has ended")
    return Subscription.objects.select_related("organization", "pool").get(pk=subscription.pk)
