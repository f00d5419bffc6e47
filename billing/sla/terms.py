"""What is promised: by providers, for their pools, from a day on. Never changed, only ended - or withdrawn before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Q, QuerySet
from django.utils import timezone

from billing.models import SLATerms
from billing.sla.deciding import Steps, checked
from core.errors import Conflict, Invalid, NotFound
from marketplace.models import Organization, Pool, User


@dataclass(frozen=True, slots=True)
class Draft:
    """Terms that are to hold from a day (UTC) on, until another (None: until they are ended)."""

    pool: Pool
    kind: str
    steps: Steps
    customer: int | None = None
    minimum: int = 1
    first: date | None = None
    until: date | None = None


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def promise(drafts: Sequence[Draft], by: User | None, now: datetime | None = None) -> list[SLATerms]:
    """Put terms in force, all of them or none. They begin with a day that has not begun, so that nobody promises what is past.

    Raises Invalid `sla_steps_invalid | sla_days_invalid | sla_kind_invalid`, Conflict `sla_terms_overlap`.
    """
    at = now or timezone.now()
    made = [_terms(draft, by, at) for draft in drafts]
    try:
        with transaction.atomic():
            return SLATerms.objects.bulk_create(made)
    except IntegrityError as error:
        if "sla_terms_do_not_overlap" not in str(error):
            raise
        detail = "terms of this kind hold for this pool and customer then: end them first"
        raise Conflict("sla_terms_overlap", detail, field="first") from None


def _terms(draft: Draft, by: User | None, at: datetime) -> SLATerms:
    tomorrow = at.astimezone(UTC).date() + timedelta(days=1)
    first = draft.first or tomorrow
    if first < tomorrow:
        raise Invalid("sla_days_invalid", "terms begin tomorrow (UTC) or later", field="first")
    if draft.until is not None and draft.until <= first:
        raise Invalid("sla_days_invalid", "terms end after the day that they begin with", field="until")
    if draft.kind not in SLATerms.Kind.values:
        raise Invalid("sla_kind_invalid", f"one of {', '.join(SLATerms.Kind.values)}", field="kind")
    if draft.minimum < 1:
        raise Invalid("sla_days_invalid", "at least one", field="minimum")
    valid = DateTimeTZRange(midnight(first), draft.until and midnight(draft.until))
    fields: dict[str, Any] = {"minimum": draft.minimum, "valid": valid, "made_at": at, "made_by": by}
    return SLATerms(pool=draft.pool, kind=draft.kind, customer_id=draft.customer, steps=checked(draft.steps), **fields)


def end(terms: SLATerms, now: datetime | None = None) -> SLATerms:
    """Promise nothing any more from tomorrow (UTC) on; terms that have not begun are withdrawn instead.

    Raises Conflict `sla_terms_over`.
    """
    at = now or timezone.now()
    tomorrow = midnight(at.astimezone(UTC).date() + timedelta(days=1))
    begun = Q(valid__startswith__lt=tomorrow) & (Q(valid__endswith__gt=tomorrow) | Q(valid__upper_inf=True))
    valid = DateTimeTZRange(terms.valid.lower, tomorrow)
    if not SLATerms.objects.filter(begun, pk=terms.pk, withdrawn_at=None).update(valid=valid):
        raise Conflict("sla_terms_over", "these terms are over then, or have not begun")
    terms.refresh_from_db()
    return terms


def withdraw(terms: SLATerms, by: User | None, now: datetime | None = None) -> SLATerms:
    """Take back what has not begun: it promises nothing, others may hold in its place. Repeated, the first time stays.

    Raises Conflict `sla_terms_begun`.
    """
    at = now or timezone.now()
    waits = SLATerms.objects.filter(pk=terms.pk, withdrawn_at=None, valid__startswith__gt=at)
    moved = waits.update(withdrawn_at=at, withdrawn_by=by)
    terms.refresh_from_db()
    if not moved and terms.withdrawn_at is None:
        raise Conflict("sla_terms_begun", "these terms have begun: end them")
    return terms


def terms_seen_by(organization: Organization | None) -> QuerySet[SLATerms]:
    """Terms that one may read: of its pools, its own, and everybody's of pools that admit it; None: all, for operators."""
    rows = SLATerms.objects.select_related("pool__organization", "customer")
    if organization is None:
        return rows
    slug = [organization.slug]
    admitted = Q(pool__allow_organizations=[]) | Q(pool__allow_organizations__contains=slug)
    everybodys = Q(customer=None) & admitted & ~Q(pool__deny_organizations__contains=slug)
    return rows.filter(everybodys | Q(customer=organization) | Q(pool__organization=organization))


def own_pool(identifier: str, organization: Organization) -> Pool:
    """Raises NotFound `pool_unknown`."""
    pool = Pool.objects.filter(identifier=identifier, organization=organization).first()
    if pool is None:
        raise NotFound("pool_unknown", "your organization has no such pool", field="pool")
    return pool
