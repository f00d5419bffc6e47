"""The market as everybody sees it, and a provider's own pools."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from console.pages import Page
from core.errors import NotFound
from marketplace import queries
from marketplace.api.converters import PoolConverter
from marketplace.api.providers import MarketPoolOut, OfferOut, PoolOut
from marketplace.models import MaintenanceWindow, Pool
from marketplace.permissions import Scopes
from marketplace.scopes import PROVIDERS_READ, PROVIDERS_WRITE, TASKS_READ
from marketplace.services import providers
from scheduler.queries import market_prices
from scheduler.scene import is_unproven

PAGE: Final = 100
SCARCE: Final = 10  # prices that a page shows


class Market(Page):
    """Active pools with today's prices, in the order of their identifiers; `?after=<identifier>`."""

    scopes: ClassVar[Scopes] = {"GET": None}
    template_name = "console/market.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows, more = page_of(request, queries.market_pools(self.caller))
        scarce = scarcest() if TASKS_READ in self.caller.scopes else []
        return self.show({"pools": MarketPoolOut(rows, many=True).data, "more": more, "scarce": scarce})


def scarcest() -> list[dict[str, Any]]:
    """The last price of each resource of each pool that was full within an hour, the dearest first."""
    found = market_prices(timezone.now() - timedelta(hours=1), pool=None, resource=None, limit=500)
    last = {(one["pool"], one["resource"]): one for one in reversed(found)}
    return sorted(last.values(), key=lambda one: -one["price"])[:SCARCE]


class Pools(Page):
    """Own pools: state, standing, agent, load, today's offer, and when each is closed."""

    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ}
    template_name = "console/pools.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show(self.pools())

    def pools(self) -> dict[str, Any]:
        """A page of pools: each one's document, and the document of its offer."""
        ahead = MaintenanceWindow.objects.filter(period__endswith__gt=timezone.now()).order_by("period")
        pools = queries.with_offers_now(queries.pools_of(self.caller)).prefetch_related(Prefetch("windows", ahead, "windows_ahead"))
        rows, more = page_of(self.request, pools)
        offers = [OfferOut(row.offers_now[0]).data if row.offers_now else None for row in rows]
        standings = [(row, is_unproven(row), row.windows_ahead[:1]) for row in rows]
        return {"pools": list(zip(PoolOut(rows, many=True).data, offers, standings, strict=True)), "more": more}


class JoinToken(Pools):
    """A token for `gridfare agent join`, shown on this answer and never again."""

    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}
    http_method_names = ["post"]

    def post(self, request: HttpRequest, identifier: str) -> HttpResponse:
        pool = queries.pools_of(self.caller).filter(identifier=identifier).first()
        if pool is None:
            raise NotFound("pool_unknown", "no such pool")
        token, until = providers.create_join_token(pool, self.caller.user)
        shown = {"token": token, "until": until, "joining": pool, "base_url": settings.BASE_URL}
        return self.show(self.pools() | shown, status=201)


def page_of(request: HttpRequest, pools: Any) -> tuple[list[Any], str]:
    """The page of pools after `?after=`, and the identifier to go on after, or nothing."""
    after = request.GET.get("after", "")
    rows = pools.order_by("identifier")
    if re.fullmatch(PoolConverter.regex, after):
        rows = rows.filter(identifier__gt=after)
    found: list[Pool] = list(rows[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].identifier if len(found) > PAGE else ""
