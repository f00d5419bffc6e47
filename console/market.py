"""The market as everybody sees it, and a provider's own pools."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from console.pages import Page
from core.errors import NotFound
from marketplace import queries
from marketplace.api.converters import PoolConverter
from marketplace.api.providers import MarketPoolOut, OfferOut, PoolOut
from marketplace.models import Pool
from marketplace.permissions import Scopes
from marketplace.scopes import PROVIDERS_READ, PROVIDERS_WRITE
from marketplace.services import providers

PAGE: Final = 100


class Market(Page):
    """Active pools with today's prices, in the order of their identifiers; `?after=<identifier>`."""

    scopes: ClassVar[Scopes] = {"GET": None}
    template_name = "console/market.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows, more = page_of(request, queries.market_pools(self.caller))
        return self.show({"pools": MarketPoolOut(rows, many=True).data, "more": more})


class Pools(Page):
    """Own pools: state, agent, load, today's offer."""

    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ}
    template_name = "console/pools.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show(self.pools())

    def pools(self) -> dict[str, Any]:
        """A page of pools: each one's document, and the document of its offer."""
        rows, more = page_of(self.request, queries.with_offers_now(queries.pools_of(self.caller)))
        offers = [OfferOut(row.offers_now[0]).data if row.offers_now else None for row in rows]
        return {"pools": list(zip(PoolOut(rows, many=True).data, offers, strict=True)), "more": more}


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
