"""Reads that several doors share. Every row reaches a view through one of these, scoped to its caller."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from django.db import models
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from marketplace.auth import Caller
from marketplace.dynamic import MEMBERS, MODEL
from marketplace.models import Agent, ApiKey, Artifact, Membership, Offer, Organization, Pool, Rate

M = TypeVar("M", bound=models.Model)


def owned(rows: QuerySet[M], caller: Caller, *, by: str = "organization") -> QuerySet[M]:
    """The rows that belong to the caller's organization; an operator sees everybody's, a stranger none."""
    if caller.is_operator:
        return rows
    return rows.filter(**{by: caller.organization}) if caller.organization else rows.none()


def organizations_of(caller: Caller) -> QuerySet[Organization]:
    """All for an operator, otherwise those the person is a member of."""
    rows = Organization.objects.select_related("region")
    return rows if caller.is_operator else rows.filter(memberships__user=caller.user)


def artifacts_of(caller: Caller) -> QuerySet[Artifact]:
    """The organization's artifacts that are not deleted, with their blobs."""
    return owned(Artifact.objects.filter(deleted_at__isnull=True).select_related("blob", "organization"), caller)


def members_of(organization: Organization) -> QuerySet[Membership]:
    """The members, with their users."""
    return Membership.objects.filter(organization=organization).select_related("user")


def keys_of(caller: Caller) -> QuerySet[ApiKey]:
    """The keys of the caller's organization that are not revoked."""
    rows = ApiKey.objects.select_related("user").filter(revoked_at__isnull=True)
    return rows.filter(organization=caller.acting_for())


def pools_of(caller: Caller) -> QuerySet[Pool]:
    """The caller's own pools, each with its live agent in `live_agents`."""
    return owned(with_agent(Pool.objects.select_related("organization", "region")), caller)


def with_agent(pools: QuerySet[Pool]) -> QuerySet[Pool]:
    """Loads the live agent, if any, as the list `live_agents`."""
    live = Agent.objects.filter(retired_at__isnull=True)
    return pools.prefetch_related(Prefetch("agents", queryset=live, to_attr="live_agents"))


def market_pools(caller: Caller) -> QuerySet[Pool]:
    """Active pools of everybody that the caller may use, with the offers valid now in `offers_shown`: the list, and its own."""
    rows = Pool.objects.filter(state=Pool.State.ACTIVE, organization__suspended_at__isnull=True)
    if not caller.is_operator:
        slug = caller.organization.slug if caller.organization else ""
        admitted = Q(allow_organizations=[]) | Q(allow_organizations__contains=[slug])
        rows = rows.filter(admitted).exclude(deny_organizations__contains=[slug])
    whose = Q(customer=None) | Q(customer=caller.organization) if caller.organization else Q(customer=None)
    shown = Offer.objects.filter(whose, origin=None, valid__contains=timezone.now())
    offers = Prefetch("offers", queryset=shown.select_related("customer").prefetch_related("rates"), to_attr="offers_shown")
    return with_agent(rows.select_related("organization", "region")).prefetch_related(offers)


def with_offers_now(pools: QuerySet[Pool]) -> QuerySet[Pool]:
    """Loads the offer valid now, if any, as the list `offers_now`."""
    offers = Offer.objects.filter(origin=None, valid__contains=timezone.now(), customer=None).prefetch_related("rates")
    return pools.prefetch_related(Prefetch("offers", queryset=offers, to_attr="offers_now"))


def dynamic_prices(pools: Collection[str], customer: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Of these pools (identifiers): their dynamic rates now, {pool: {meter: {multiplier, floor, ceiling, last, at}}}.

    `last` is what the last round that placed something there made of it, at `at`; None where there was none. Pools where the
    customer (a short name) has its own prices are left out. One statement where no rate is dynamic, else two.
    """
    now = timezone.now()
    own = Offer.objects.filter(pool=OuterRef("offer__pool"), customer__slug=customer, valid__contains=now)
    listed = Rate.objects.filter(of_round=False, offer__pool__identifier__in=list(pools), offer__origin=None, offer__customer=None)
    listed = listed.filter(offer__valid__contains=now, offer__per_period=False, document__model=MODEL).exclude(Exists(own))
    rates = list(listed.order_by("meter").values_list("offer__pool__identifier", "offer", "meter", "document"))
    frozen = Offer.objects.filter(origin__in={offer for _, offer, _, _ in rates}).order_by("origin", "-round").distinct("origin")
    markets = dict(frozen.values_list("origin", "market")) if rates else {}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for pool, offer, meter, document in rates:
        market: Any = markets.get(offer)
        last = {"last": market and market["rates"][meter]["price"], "at": market and market["at"]}
        bounds: Any = document
        found.setdefault(pool, {})[meter] = {name: bounds[name] for name in MEMBERS} | last
    return found


def offers_of(pool: Pool) -> QuerySet[Offer]:
    """The pool's offers, with their rates."""
    return Offer.objects.filter(pool=pool, origin=None).select_related("customer").prefetch_related("rates")
