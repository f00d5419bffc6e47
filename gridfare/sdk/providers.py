"""Pools: the provider's own, their prices and agents, and the market as everybody sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gridfare.sdk.answers import JoinToken, Offer, Pool, PoolTrust, Region, Window
from gridfare.sdk.http import Calls


class ProviderCalls(Calls):
    """What a provider does with its pools."""

    def regions(self) -> list[Region]:
        return list(self.http.pages("/regions"))

    def market(self, *, limit: int | None = None) -> Iterator[Pool]:
        """Active pools of everybody, each with today's offer, and one's own price there in `own_offer`."""
        return self.http.pages("/market/pools", most=limit)

    def market_prices(
        self, *, pool: str | None = None, resource: str | None = None, hours: int = 24, limit: int = 500
    ) -> list[dict[str, Any]]:
        """What being full has cost, newest first: the dual prices of the matching rounds."""
        answer = self.http.get("/market/prices", pool=pool, resource=resource, hours=hours, limit=limit)
        found: list[dict[str, Any]] = answer["results"]
        return found

    def pools(self, *, limit: int | None = None) -> Iterator[Pool]:
        """The organization's own pools."""
        return self.http.pages("/pools", most=limit)

    def pool(self, identifier: str) -> Pool:
        answer: Pool = self.http.get(f"/pools/{identifier}")
        return answer

    def create_pool(
        self,
        name: str,
        region: str,
        *,
        kind: str | None = None,
        tier: str | None = None,
        bandwidth_mbps: int | None = None,
    ) -> Pool:
        """A pool without machines yet; its agent brings them."""
        optional = {"kind": kind, "tier": tier, "bandwidth_mbps": bandwidth_mbps}
        given = {key: value for key, value in optional.items() if value is not None}
        answer: Pool = self.http.post("/pools", {"name": name, "region": region} | given)
        return answer

    def change_pool(self, identifier: str, **changes: Any) -> Pool:
        """Change name, bandwidth_mbps, benchmark ({type, value} or None), allow_organizations or deny_organizations."""
        answer: Pool = self.http.json("PATCH", f"/pools/{identifier}", json=changes)
        return answer

    def move_pool(self, identifier: str, verb: str) -> Pool:
        """`verb` one of drain, resume, retire; operators also activate, suspend, reinstate."""
        answer: Pool = self.http.post(f"/pools/{identifier}/{verb}", repeatable=True)
        return answer

    def windows(self, identifier: str) -> Iterator[Window]:
        """The pool's maintenance windows, last announced first."""
        return self.http.pages(f"/pools/{identifier}/maintenance")

    def plan_window(self, identifier: str, start: str, end: str, *, category: str = "other", note: str = "") -> Window:
        """Announce maintenance from `start` to `end` (RFC 3339): nothing is placed that would still run then."""
        body = {"start": start, "end": end, "category": category, "note": note}
        answer: Window = self.http.post(f"/pools/{identifier}/maintenance", body)
        return answer

    def take_back_window(self, identifier: str, number: int) -> None:
        """Take a planned window back, or end a running one now."""
        self.http.json("DELETE", f"/pools/{identifier}/maintenance/{number}")

    def reclaim_pool(self, identifier: str, in_s: float = 0, *, for_s: float | None = None) -> Pool:
        """Want the machines back in `in_s` seconds: what runs writes its checkpoint and ends then."""
        body = {"in_s": in_s} | ({} if for_s is None else {"for_s": for_s})
        answer: Pool = self.http.post(f"/pools/{identifier}/reclaim", body, repeatable=True)
        return answer

    def give_back_pool(self, identifier: str) -> Pool:
        """Lend the machines again."""
        answer: Pool = self.http.json("DELETE", f"/pools/{identifier}/reclaim")
        return answer

    def pool_trust(self, identifier: str) -> PoolTrust:
        """Level, reputation, quarantine and quota of an own pool, with what they are made of."""
        answer: PoolTrust = self.http.get(f"/pools/{identifier}/trust")
        return answer

    def lift_quarantine(self, identifier: str) -> PoolTrust:
        """Operators: end a pool's quarantine and lift its quota."""
        answer: PoolTrust = self.http.post(f"/pools/{identifier}/lift")
        return answer

    def audit_pool(self, identifier: str, until: str) -> PoolTrust:
        """Operators: vouch for an independent audit until a moment (RFC 3339)."""
        answer: PoolTrust = self.http.post(f"/pools/{identifier}/audit", {"until": until}, repeatable=True)
        return answer

    def join_token(self, identifier: str) -> JoinToken:
        """A token with which one agent may join this pool, once, within minutes."""
        answer: JoinToken = self.http.post(f"/pools/{identifier}/join-tokens")
        return answer

    def offers(self, identifier: str) -> Iterator[Offer]:
        """The pool's price lists, newest first."""
        return self.http.pages(f"/pools/{identifier}/offers")

    def create_offer(
        self,
        identifier: str,
        basis: str,
        rates: Mapping[str, Any],
        *,
        rules: Mapping[str, Any] | None = None,
        customer: str | None = None,
        currency: str | None = None,
        valid_from: str | None = None,
        valid_to: str | None = None,
    ) -> Offer:
        """A price list from `valid_from` (default: now) on. `rates` = {meter: price}, for example core_second.

        A rate may be an object with tiers, packages or bounds; `rules` has peak, cap, quantum_s, minimum_s: such lists are
        charged when the month is over. {"model": "dynamic", "floor": "0.0001", "ceiling": "0.002", "multiplier": "1"} follows
        the market, task by task. `customer` makes it the own price of an organization.
        """
        prices = {meter: dict(price) if isinstance(price, Mapping) else str(price) for meter, price in rates.items()}
        optional = {"rules": rules, "customer": customer, "currency": currency, "valid_from": valid_from, "valid_to": valid_to}
        given = {key: value for key, value in optional.items() if value is not None}
        answer: Offer = self.http.post(f"/pools/{identifier}/offers", {"basis": basis, "rates": prices} | given)
        return answer
