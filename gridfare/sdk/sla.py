"""Service levels: what providers promise, how days kept it, what was given back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]
Steps = Sequence[Sequence[int]]


class SLACalls(Calls):
    """Promises of providers. Thresholds and credits are basis points: 9900 is 99 %."""

    def sla_terms(self, *, most: int | None = None) -> Iterator[Json]:
        """What is promised to everybody and to your organization, newest first."""
        return self.http.pages("/sla/terms", most=most)

    def promise_sla(
        self, pool: str, kind: str, steps: Steps, *, minimum: int = 1, customer: str | None = None,
        first: str | None = None, until: str | None = None,
    ) -> Json:  # fmt: skip
        """Promise something for one of your pools: `deadline` or `availability`, from a day on that has not begun."""
        given = {"pool": pool, "kind": kind, "steps": steps, "minimum": minimum, "customer": customer}
        answer: Json = self.http.post("/sla/terms", given | {"first": first, "until": until})
        return answer

    def end_sla(self, terms: int) -> Json:
        """Promise it no more from tomorrow (UTC) on."""
        answer: Json = self.http.post(f"/sla/terms/{terms}/end", {})
        return answer

    def withdraw_sla(self, terms: int) -> Json:
        """Take back terms that have not begun."""
        answer: Json = self.http.post(f"/sla/terms/{terms}/withdraw", {})
        return answer

    def backtest_sla(self, pool: str, kind: str, steps: Steps, *, minimum: int = 1, days: int = 30) -> Json:
        """What such terms would have cost you over past days. Nothing is written."""
        given = {"pool": pool, "kind": kind, "steps": steps, "minimum": minimum, "days": days}
        answer: Json = self.http.post("/sla/backtest", given)
        return answer

    def sla_measurements(self, *, most: int | None = None) -> Iterator[Json]:
        """How days kept what was promised to your organization, or by it, newest first."""
        return self.http.pages("/sla/measurements", most=most)

    def sla_credits(self, *, most: int | None = None) -> Iterator[Json]:
        """What was given back, task by task, newest first."""
        return self.http.pages("/sla/credits", most=most)
