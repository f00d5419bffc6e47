"""Regions, pools and what they cost: the provider's doors, and the market that everybody sees."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import NotFound
from core.http import KeysetPages
from marketplace import queries
from marketplace.api.converters import IDENTIFIER
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.loads import Load, loads_of
from marketplace.models import Agent, Offer, Organization, Pool, Rate, Region
from marketplace.models.accounts import SLUG
from marketplace.permissions import Scopes
from marketplace.reputations import NEW, reputations_of
from marketplace.scopes import OPERATOR, PROVIDERS_READ, PROVIDERS_WRITE
from marketplace.services import offers, providers
from marketplace.services.offers import Terms

MAX_MBPS: Final = 10_000_000
PRICE: Final = r"^\d{1,18}(\.\d{1,12})?$"


class RegionOut(Out):
    code = serializers.CharField()
    gb_code = serializers.CharField(allow_null=True, help_text="GB/T 2260")
    name = serializers.CharField()
    name_zh = serializers.CharField()
    latitude = serializers.DecimalField(max_digits=8, decimal_places=5)
    longitude = serializers.DecimalField(max_digits=8, decimal_places=5)


class AcceleratorOut(Out):
    model = serializers.CharField()
    count = serializers.IntegerField()
    memory_mib = serializers.IntegerField(required=False)


class SelftestOut(Out):
    code = serializers.CharField()
    status = serializers.ChoiceField(["pass", "warn", "fail"])
    measured = serializers.CharField(required=False)
    needed = serializers.CharField(required=False)
    hint = serializers.CharField(required=False)


class AgentOut(Out):
    name = serializers.CharField()
    version = serializers.CharField()
    seen_at = serializers.DateTimeField(allow_null=True)
    online = serializers.SerializerMethodField()
    status = serializers.DictField(help_text="load, free capacity, temperature, power, where the machine knows them")
    status_at = serializers.DateTimeField(allow_null=True)

    def get_online(self, agent: Agent) -> bool:
        return is_online(agent)


def is_online(agent: Agent) -> bool:
    """Whether the agent's leases live: it was heard of within the time that its pool's class is given."""
    return agent.lease_until is not None and agent.lease_until > timezone.now()


class LoadOut(Out):
    cores_leased = serializers.IntegerField()
    attempts = serializers.IntegerField()


class PoolListSerializer(serializers.ListSerializer[Any]):
    """Asks for the loads of a whole page at once."""

    def to_representation(self, data: Any) -> Any:
        self._context = {**self.context, "loads": loads_of([pool.pk for pool in data])}
        return super().to_representation(data)


class MachineOut(Out):
    """What everybody may know of a pool."""

    identifier = serializers.CharField(help_text="算力标识: region, kind, serial, check character")
    name = serializers.CharField()
    region = serializers.CharField(source="region.code")
    kind = serializers.ChoiceField(Pool.Kind.choices)
    tier = serializers.ChoiceField(Pool.Tier.choices)
    instruction_set = serializers.CharField()
    cores = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_mib = serializers.IntegerField()
    accelerators = AcceleratorOut(many=True)
    executors = serializers.ListField(child=serializers.CharField())
    fp32_gflops = serializers.SerializerMethodField(help_text="whole pool, measured")

    def get_fp32_gflops(self, pool: Pool) -> float:
        return pool.fp32_mflops / 1000


class BenchmarkOut(Out):
    """What a core does, as its provider declares it."""

    type = serializers.ChoiceField(Pool.Benchmark.choices, source="benchmark")
    value = serializers.SerializerMethodField("per_core", help_text="decimal text")

    def per_core(self, pool: Pool) -> str:
        return format(pool.benchmark_per_core.normalize(), "f") if pool.benchmark_per_core else "0"


class BenchmarkIn(In):
    type = serializers.ChoiceField(Pool.Benchmark.choices)
    value = serializers.RegexField(r"^\d{1,8}(\.\d{1,4})?$", help_text="per core, above 0")

    def validate_value(self, given: str) -> Decimal:
        if not (value := Decimal(given)):
            raise serializers.ValidationError("above 0")
        return value


class PoolOut(MachineOut):
    """An own pool."""

    organization = serializers.CharField(source="organization.slug")
    state = serializers.ChoiceField(Pool.State.choices)
    selftest = SelftestOut(many=True)
    agent = serializers.SerializerMethodField()
    load = serializers.SerializerMethodField()
    bandwidth_mbps = serializers.IntegerField()
    benchmark = serializers.SerializerMethodField()
    allow_organizations = serializers.ListField(child=serializers.CharField())
    deny_organizations = serializers.ListField(child=serializers.CharField())
    reclaim_at = serializers.DateTimeField(allow_null=True, help_text="the owner wants the machines back then")
    reclaim_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    verified_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        list_serializer_class = PoolListSerializer

    @extend_schema_field(AgentOut(allow_null=True))
    def get_agent(self, pool: Any) -> Any:
        return AgentOut(pool.live_agents[0]).data if pool.live_agents else None

    @extend_schema_field(BenchmarkOut(allow_null=True))
    def get_benchmark(self, pool: Pool) -> Any:
        return BenchmarkOut(pool).data if pool.benchmark else None

    @extend_schema_field(LoadOut)
    def get_load(self, pool: Pool) -> Any:
        loads = self.context.get("loads")
        loads = loads_of([pool.pk]) if loads is None else loads
        return LoadOut(loads.get(pool.pk, Load())).data


class PoolIn(In):
    name = serializers.CharField(max_length=100)
    region = serializers.RegexField(r"^[a-z0-9-]{1,32}$", help_text="a region's code, for example ningxia")
    kind = serializers.ChoiceField(Pool.Kind.choices, default=Pool.Kind.GENERAL)
    tier = serializers.ChoiceField(Pool.Tier.choices, default=Pool.Tier.CLOUD)
    bandwidth_mbps = serializers.IntegerField(min_value=1, max_value=MAX_MBPS, default=1000)


def _slugs() -> Any:
    slug = serializers.RegexField(SLUG.regex, max_length=63)
    return serializers.ListField(child=slug, max_length=1000, required=False)


class PoolPatchIn(In):
    name = serializers.CharField(max_length=100, required=False)
    tier = serializers.ChoiceField(Pool.Tier.choices, required=False)
    bandwidth_mbps = serializers.IntegerField(min_value=1, max_value=MAX_MBPS, required=False)
    benchmark = BenchmarkIn(required=False, allow_null=True, help_text="for usage records of computing centres; null: none")
    allow_organizations = _slugs()
    deny_organizations = _slugs()


class JoinTokenOut(Out):
    token = serializers.CharField(help_text="shown only now; `gridfare agent join URL TOKEN`")
    expires_at = serializers.DateTimeField()


@extend_schema_field({"oneOf": [{"type": "string", "pattern": PRICE}, {"type": "object", "additionalProperties": {}}]})
class RateIn(serializers.Field[Any, Any, Any, Any]):
    """A flat price as decimal text, or a rate as an object (docs/billing/prices.md)."""

    def to_internal_value(self, data: Any) -> Any:
        return dict(data) if isinstance(data, Mapping) else DecimalText().run_validation(data)

    def to_representation(self, value: Any) -> Any:
        return value


class OfferIn(In):
    basis = serializers.ChoiceField(Offer.Basis.choices)
    rates = serializers.DictField(
        child=RateIn(), allow_empty=False, help_text=f"per meter: {', '.join(Rate.Meter.values)}"
    )
    rules = serializers.DictField(
        required=False, help_text="by period: peak (a policy), cap, quantum_s, minimum_s, events; docs/billing/prices.md"
    )
    valid_from = serializers.DateTimeField(required=False, allow_null=True, help_text="default: now")
    valid_to = serializers.DateTimeField(required=False, allow_null=True, help_text="default: open")
    currency = serializers.RegexField(r"^[A-Z]{3}$", required=False)
    customer = serializers.SlugField(max_length=63, required=False, help_text="an organization's own price; left out: everybody's")


class OfferOut(Out):
    customer = serializers.CharField(
        source="customer.slug", allow_null=True, default=None, help_text="whose own price it is; null: everybody's"
    )
    basis = serializers.ChoiceField(Offer.Basis.choices)
    currency = serializers.CharField()
    rates = serializers.SerializerMethodField(help_text="unit price per meter, decimal text; by period: what quotes count with")
    per_period = serializers.BooleanField(help_text="charged when the month is over, by `documents`")
    documents = serializers.SerializerMethodField(help_text="by period: the rate per meter")
    rules = serializers.DictField(help_text="by period: peak, cap, quantum_s, minimum_s")
    valid_from = serializers.DateTimeField(source="valid.lower")
    valid_to = serializers.DateTimeField(source="valid.upper", allow_null=True)
    used = serializers.BooleanField(help_text="has priced an attempt: never changes any more")

    def get_rates(self, offer: Offer) -> dict[str, str]:
        prices = {rate.meter: rate.unit_price.normalize() for rate in offer.rates.all()}
        return {meter: f"{prices[meter]:f}" for meter in sorted(prices)}

    def get_documents(self, offer: Offer) -> dict[str, Any]:
        return {rate.meter: rate.document for rate in offer.rates.all() if rate.document is not None}


class ReputationOut(Out):
    """How far a pool's results are believed, and why."""

    score = serializers.FloatField(allow_null=True, help_text="probability that a result is right; null: new")
    status = serializers.ChoiceField(["new", "rated"])
    formula = serializers.CharField()
    valid = serializers.FloatField(help_text="right results, recent ones counting more")
    invalid = serializers.FloatField()
    lost = serializers.FloatField()
    sample_size = serializers.IntegerField(help_text="results that were checked")


class MarketListSerializer(serializers.ListSerializer[Any]):
    """Asks for the reputations of a whole page at once."""

    def to_representation(self, data: Any) -> Any:
        self._context = {**self.context, "reputations": reputations_of([pool.pk for pool in data])}
        return super().to_representation(data)


class MarketPoolOut(MachineOut):
    """A pool as the market sees it."""

    provider = serializers.CharField(source="organization.slug")
    level = serializers.IntegerField(help_text="0 to 4, docs/scheduling/verification.md")
    reputation = serializers.SerializerMethodField()
    online = serializers.SerializerMethodField()
    offer = serializers.SerializerMethodField(help_text="everybody's price list")
    own_offer = serializers.SerializerMethodField(help_text="one's own price list there, which stands in its place; null: none")

    class Meta:
        list_serializer_class = MarketListSerializer

    @extend_schema_field(ReputationOut)
    def get_reputation(self, pool: Any) -> Any:
        known = self.context.get("reputations")
        known = reputations_of([pool.pk]) if known is None else known
        return ReputationOut(known.get(pool.pk, NEW)).data

    def get_online(self, pool: Any) -> bool:
        return any(is_online(agent) for agent in pool.live_agents)

    @extend_schema_field(OfferOut(allow_null=True))
    def get_offer(self, pool: Any) -> Any:
        return _offer_of(pool, own=False)

    @extend_schema_field(OfferOut(allow_null=True))
    def get_own_offer(self, pool: Any) -> Any:
        return _offer_of(pool, own=True)


def _offer_of(pool: Any, *, own: bool) -> Any:
    """Everybody's price list, or the one that is the caller's own."""
    found = [offer for offer in pool.offers_shown if (offer.customer_id is not None) == own]
    return OfferOut(found[0]).data if found else None


class ByCode(KeysetPages):
    ordering = "code"


class ByIdentifier(KeysetPages):
    ordering = "identifier"


class RegionsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": None}
    serializer_class = RegionOut
    pagination_class = ByCode

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return Region.objects.all()


class MarketPoolsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": None}
    serializer_class = MarketPoolOut
    pagination_class = ByIdentifier

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.market_pools(caller)


class PoolsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ, "POST": PROVIDERS_WRITE}
    serializer_class = PoolOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.pools_of(caller)

    @extend_schema(operation_id="pools_create", request=PoolIn, responses={201: PoolOut})
    def post(self, request: Request) -> Response:
        """Register a pool; it gets its identifier and waits for an agent."""
        given = valid(PoolIn(data=request.data))
        region = given.pop("region")
        organization = caller_of(request).acting_for()
        pool = providers.register_pool(organization, region=region, fields=given)
        return _answer(request, pool, 201)


class PoolView(APIView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ, "PATCH": PROVIDERS_WRITE}

    @extend_schema(operation_id="pools_retrieve", parameters=[IDENTIFIER], responses=PoolOut)
    def get(self, request: Request, identifier: str) -> Response:
        """An own pool with its agent and load."""
        return Response(PoolOut(own_pool(request, identifier)).data)

    @extend_schema(
        operation_id="pools_update", parameters=[IDENTIFIER], request=PoolPatchIn, responses=PoolOut
    )
    def patch(self, request: Request, identifier: str) -> Response:
        """Change what the owner declares."""
        pool = own_pool(request, identifier)
        return _answer(request, providers.update_pool(pool, valid(PoolPatchIn(data=request.data))))


class JoinTokensView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}

    @extend_schema(
        operation_id="pools_join_token",
        parameters=[IDENTIFIER],
        request=None,
        responses={201: JoinTokenOut},
    )
    def post(self, request: Request, identifier: str) -> Response:
        """A single-use token for `gridfare agent join`; lives 15 minutes."""
        pool, user = own_pool(request, identifier), caller_of(request).user
        token, expires_at = providers.create_join_token(pool, user)
        return Response(JoinTokenOut({"token": token, "expires_at": expires_at}).data, status=201)


class VerbView(APIView):
    scopes: ClassVar[Scopes] = {}
    verb = ""

    @extend_schema(parameters=[IDENTIFIER], request=None, responses=PoolOut)
    def post(self, request: Request, identifier: str) -> Response:
        """Move the pool along its states; a pool that is there already stays."""
        return _answer(request, providers.move_pool(own_pool(request, identifier), self.verb))


class OffersView(ListView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ, "POST": PROVIDERS_WRITE}
    serializer_class = OfferOut

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.offers_of(own_pool(self.request, self.kwargs["identifier"]))

    @extend_schema(operation_id="pools_offers_list", parameters=[IDENTIFIER])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The pool's price lists, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="pools_offers_create",
        parameters=[IDENTIFIER],
        request=OfferIn,
        responses={201: OfferOut},
    )
    def post(self, request: Request, identifier: str) -> Response:
        """A new price list; an open-ended one ends the one before it."""
        pool = own_pool(request, identifier)
        given = valid(OfferIn(data=request.data))
        if "customer" in given:
            given["customer"] = _customer(given["customer"])
        offer = offers.publish_offer(pool, Terms(**given))
        return Response(OfferOut(offer).data, status=201)


def _customer(slug: str) -> Organization:
    found = Organization.objects.filter(slug=slug, is_user=True).first()
    if found is None:
        raise NotFound("organization_unknown", "no such customer", field="customer")
    return found


def own_pool(request: Request, identifier: str) -> Pool:
    """The caller's pool of this identifier; NotFound `pool_unknown` for a stranger's."""
    pool = queries.pools_of(caller_of(request)).filter(identifier=identifier).first()
    if pool is None:
        raise NotFound("pool_unknown", "no such pool")
    return pool


def _answer(request: Request, pool: Pool, status: int = 200) -> Response:
    return Response(PoolOut(own_pool(request, pool.identifier)).data, status=status)


def _verb(name: str) -> Any:
    scope = OPERATOR if providers.VERBS[name].operators_only else PROVIDERS_WRITE
    return path(f"pools/<pool:identifier>/{name}", VerbView.as_view(verb=name, scopes={"POST": scope}))


urlpatterns = [
    path("regions", RegionsView.as_view()),
    path("market/pools", MarketPoolsView.as_view()),
    path("pools", PoolsView.as_view()),
    path("pools/<pool:identifier>", PoolView.as_view()),
    path("pools/<pool:identifier>/join-tokens", JoinTokensView.as_view()),
    path("pools/<pool:identifier>/offers", OffersView.as_view()),
    *[_verb(name) for name in providers.VERBS],
]
