"""What payees get: their shares of charges, and payouts; for operators runs, approval and sending."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]


class SettlementCalls(Calls):
    """Payables and payouts."""

    def payables(
        self, party: str = "provider", *, since: str | None = None, until: str | None = None, most: int | None = None
    ) -> Iterator[Json]:
        """The organization's shares as a `provider` or `publisher`, charge by charge, and how each stands."""
        return self.http.pages("/payables", most=most, party=party, **{"from": since, "to": until})

    def period_payables(
        self, party: str = "provider", *, since: str | None = None, until: str | None = None, most: int | None = None
    ) -> Iterator[Json]:
        """The organization's shares, as a `provider` or `publisher`, of what is charged by period, and how each stands."""
        return self.http.pages("/payables/periods", most=most, party=party, **{"from": since, "to": until})

    def payables_csv(self, party: str = "provider", *, since: str | None = None, until: str | None = None) -> str:
        """The same as CSV."""
        asked = {"party": party, "from": since, "to": until}
        params = {name: value for name, value in asked.items() if value is not None}
        return self.http.send("GET", "/payables.csv", params=params).text

    def payouts(self, *, most: int | None = None) -> Iterator[Json]:
        """The organization's payouts (operators: all), oldest first."""
        return self.http.pages("/payouts", most=most)

    def payout(self, payout: int) -> Json:
        """One payout and the attempts to send it."""
        answer: Json = self.http.get(f"/payouts/{payout}")
        return answer

    def payout_lines(self, payout: int, *, most: int | None = None) -> Iterator[Json]:
        """What a payout pays: shares with their charge, of a task and attempt or of a period."""
        return self.http.pages(f"/payouts/{payout}/lines", most=most)

    def reserves(self, *, most: int | None = None) -> Iterator[Json]:
        """What was kept back of the organization's payouts (operators: everybody's) and what became of it, newest first."""
        return self.http.pages("/reserves", most=most)

    def reserve_balances(self) -> list[Json]:
        """What is kept back of the organization's payouts, by currency."""
        answer: list[Json] = self.http.get("/reserves/balances")
        return answer

    def reserve_terms(self, *, most: int | None = None) -> Iterator[Json]:
        """Terms of the organization's reserve (operators: everybody's), newest first."""
        return self.http.pages("/reserve-terms", most=most)

    def agree_reserve(
        self, organization: str, basis_points: int, days: int, *, starts_at: str | None = None, note: str = ""
    ) -> Json:
        """Operators: what is kept back of a payee's payouts, and for how long, from a moment on (None: now)."""
        given: Json = {"organization": organization, "basis_points": basis_points, "days": days, "note": note}
        given |= {} if starts_at is None else {"starts_at": starts_at}
        answer: Json = self.http.post("/reserve-terms", given)
        return answer

    def run_payouts(self) -> Json:
        """Operators: gather all that is due into draft payouts. Repeated, it finds nothing more."""
        answer: Json = self.http.post("/payout-runs", {}, repeatable=True)
        return answer

    def send_payouts(self) -> Json:
        """Operators: send all approved payouts now. Repeated, it sends nothing twice."""
        answer: Json = self.http.post("/payouts/send", {}, repeatable=True)
        return answer

    def approve_payout(self, payout: int) -> Json:
        """Operators: let a draft go out with the next sending."""
        answer: Json = self.http.post(f"/payouts/{payout}/approve", {})
        return answer

    def retry_payout(self, payout: int) -> Json:
        """Operators: let a failed payout go out again, as a new attempt."""
        answer: Json = self.http.post(f"/payouts/{payout}/retry", {})
        return answer

    def cancel_payout(self, payout: int, reason: str) -> Json:
        """Operators: give a payout up before any money moved; its lines wait for the next run."""
        answer: Json = self.http.post(f"/payouts/{payout}/cancel", {"reason": reason})
        return answer
