"""Charges by period, what proves a charge, what is not billed yet, what months would have cost, contracts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]


class ChargeCalls(Calls):
    """Why one pays what one pays."""

    def charge_evidence(self, number: int) -> Json:
        """What proves the charge of a task: usage record, claim, meters, prices, row of the reason table, split, digest."""
        answer: Json = self.http.get(f"/charges/{number}/evidence")
        return answer

    def period_charges(self, *, most: int | None = None) -> Iterator[Json]:
        """What was charged by month, newest first: peaks, tiers, packages, quanta."""
        return self.http.pages("/period-charges", most=most)

    def period_evidence(self, number: int) -> Json:
        """What proves the charge of a month: records, slots, removed slots, ranks, formula, prices, digest."""
        answer: Json = self.http.get(f"/period-charges/{number}/evidence")
        return answer

    def period_previews(self, *, most: int | None = None) -> Iterator[Json]:
        """What the open month would cost if it ended now, as of last night."""
        return self.http.pages("/period-previews", most=most)

    def unbilled(self) -> list[Json]:
        """Usage that stands on no charge yet, and why."""
        answer: list[Json] = self.http.get("/unbilled")["unbilled"]
        return answer

    def what_if(self, month: str, prices: Sequence[Mapping[str, Any]]) -> Json:
        """What a month (`2026-03`) would have cost: `{basis, rates, rules}` or `{pool}` for each price list to try."""
        answer: Json = self.http.post("/what-if", {"month": month, "prices": list(prices)}, repeatable=True)
        return answer

    def rate_period(self, month: str, organizations: Sequence[str] | None = None, *, final: bool = False) -> Json:
        """Operators only: rate a month; `final` posts it. A second run adds nothing."""
        whose = {} if organizations is None else {"organizations": list(organizations)}
        answer: Json = self.http.post("/period-runs", {"month": month, "final": final} | whose, repeatable=True)
        return answer

    def parked(self, state: str | None = None) -> Iterator[Json]:
        """Operators only: amounts that are not posted until somebody decides. `state` is open, approved or refused."""
        return self.http.pages("/parked", state=state)

    def approve_parked(self, number: int, note: str = "") -> Json:
        """Operators only: post what was parked."""
        answer: Json = self.http.post(f"/parked/{number}/approve", {"note": note})
        return answer

    def refuse_parked(self, number: int, note: str = "") -> Json:
        """Operators only: never post these facts."""
        answer: Json = self.http.post(f"/parked/{number}/refuse", {"note": note})
        return answer

    def correct_usage(self, number: int, **numbers: int) -> Json:
        """Operators only: correct a usage record (core_ms=..., wall_ms=...); the difference is charged."""
        answer: Json = self.http.post(f"/usage/records/{number}/corrections", numbers)
        return answer

    def subscriptions(self, *, most: int | None = None) -> Iterator[Json]:
        """Which pools' own meters the organization pays by, and who pays by those of its pools. Newest first."""
        return self.http.pages("/subscriptions", most=most)

    def subscribe(self, pool: str) -> Json:
        """From now on pay for what this pool reports of the organization."""
        answer: Json = self.http.post("/subscriptions", {"pool": pool})
        return answer

    def unsubscribe(self, number: int) -> Json:
        """End a subscription now; what happened before is charged, whenever it is reported."""
        answer: Json = self.http.json("DELETE", f"/subscriptions/{number}")
        return answer

    def contracts(self, *, most: int | None = None) -> Iterator[Json]:
        """The organization's contracts, newest first; operators see all."""
        return self.http.pages("/contracts", most=most)

    def sign_contract(self, organization: str, **terms: Any) -> Json:
        """Operators only: put a contract in force (zone, currency, credit_limit, platform_basis_points ...)."""
        answer: Json = self.http.post("/contracts", {"organization": organization} | terms)
        return answer
