"""Credit: what may still be spent, and what is set aside for tasks."""

from __future__ import annotations

from collections.abc import Iterator

from gridfare.sdk.answers import Credit, Hold
from gridfare.sdk.http import Calls


class CreditCalls(Calls):
    """What the organization may spend, and who says so."""

    def credit(self) -> Credit:
        """What may still be spent, per currency: available = limit + prepaid - unpaid - held."""
        found: Credit = self.http.get("/credit")
        return found

    def holds(self, state: str | None = None, *, most: int | None = None) -> Iterator[Hold]:
        """What is, or was, set aside for tasks, newest first. `state`: held, captured or released."""
        return self.http.pages("/credit/holds", most=most, state=state)

    def block(self, organization: str, reason: str, detail: str = "") -> bool:
        """Operators: take no new tasks of an organization. False: it was blocked for this reason already."""
        body = {"organization": organization, "reason": reason, "detail": detail}
        return bool(self.http.post("/credit/blocks", body, repeatable=True)["changed"])

    def lift_block(self, organization: str, reason: str) -> bool:
        """Operators: take its tasks again. False: it was not blocked for this reason."""
        body = {"organization": organization, "reason": reason}
        return bool(self.http.post("/credit/blocks/lift", body, repeatable=True)["changed"])
