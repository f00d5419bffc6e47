"""Credit: what may still be spent, and what is set aside for tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gridfare.sdk.http import Calls
from gridfare.sdk.money_answers import Budget, BudgetAlert, Credit, Grant, Hold, Movement, Threshold, TopUp


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

    def movements(self, *, most: int | None = None) -> Iterator[Movement]:
        """What came into the wallet (above zero) and what left it, newest first."""
        return self.http.pages("/credit/movements", most=most)

    def grants(self, *, most: int | None = None) -> Iterator[Grant]:
        """Credit that the organization was given, newest first, used and expired grants too."""
        return self.http.pages("/credit/grants", most=most)

    def grant(
        self, organization: str, amount: str, expires_at: str, reason: str, *, reference: str, currency: str | None = None
    ) -> Grant:
        """Operators: give credit (decimal text) until a moment (RFC 3339). The same reference is given once."""
        body = {"organization": organization, "amount": amount, "expires_at": expires_at, "reason": reason, "reference": reference}
        given: Grant = self.http.post("/credit/grants", body | _in(currency), repeatable=True)
        return given

    def top_up(self, organization: str, amount: str, *, reference: str, currency: str | None = None) -> TopUp:
        """Operators: record money for a wallet. The same reference, for example the bank's, counts once."""
        body = {"organization": organization, "amount": amount, "reference": reference}
        recorded: TopUp = self.http.post("/credit/top-ups", body | _in(currency), repeatable=True)
        return recorded

    def budgets(self, *, most: int | None = None) -> Iterator[Budget]:
        """The organization's budgets, newest first, closed ones too."""
        return self.http.pages("/budgets", most=most)

    def open_budget(
        self,
        name: str,
        amount: str,
        thresholds: Sequence[Threshold],
        *,
        scope: str = "organization",
        subject: str = "",
        period: str = "month",
    ) -> Budget:
        """A budget of so much (decimal text) for what a scope spends in a month, or in all.

        scope       organization, project, user, key or task; `subject` says which
        thresholds  [{"percent": 80, "action": "notify"}], action: notify, block, pause or stop
        """
        of = {"scope": scope, "subject": subject, "period": period}
        body = {"name": name, "amount": amount, "thresholds": list(thresholds), **of}
        made: Budget = self.http.post("/budgets", body)
        return made

    def change_budget(
        self, number: int, *, name: str | None = None, amount: str | None = None, thresholds: Sequence[Threshold] | None = None
    ) -> Budget:
        """Another name, amount, or other thresholds; what is None stays."""
        body = {"name": name, "amount": amount, "thresholds": None if thresholds is None else list(thresholds)}
        given = {key: value for key, value in body.items() if value is not None}
        changed: Budget = self.http.json("PATCH", f"/budgets/{number}", json=given, repeatable=True)
        return changed

    def close_budget(self, number: int) -> None:
        """It limits nothing any more."""
        self.http.send("DELETE", f"/budgets/{number}")

    def budget_alerts(self, *, most: int | None = None) -> Iterator[BudgetAlert]:
        """Thresholds that were reached, newest first."""
        return self.http.pages("/budgets/alerts", most=most)


def _in(currency: str | None) -> dict[str, str]:
    return {} if currency is None else {"currency": currency}
