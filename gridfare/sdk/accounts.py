"""Who one is, keys, and money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gridfare.sdk.answers import Identity, Key
from gridfare.sdk.http import Calls
from gridfare.sdk.money_answers import Statement


class AccountCalls(Calls):
    """The caller's own organization."""

    def me(self) -> Identity:
        """Whose key this is, for which organization, with which role and scopes."""
        answer: Identity = self.http.get("/me")
        return answer

    def set_billing_profile(self, *, address: str | None = None, tax_number: str | None = None) -> dict[str, Any]:
        """Say what stands on the organization's invoices from the next one on; what is None stays as it is."""
        given = {"billing_address": address, "tax_number": tax_number}
        body = {name: text for name, text in given.items() if text is not None}
        organization: dict[str, Any] = self.http.json("PATCH", "/organization", json=body)
        return organization

    def organization(self) -> dict[str, Any]:
        """The caller's organization, with its billing address and tax number."""
        answer: dict[str, Any] = self.http.get("/organization")
        return answer

    def login(self, username: str, password: str, *, organization: str | None = None, name: str | None = None) -> Key:
        """Exchange a password for a new key (`key` in the answer). `organization` when one belongs to several."""
        optional = {"organization": organization, "name": name}
        given = {key: value for key, value in optional.items() if value}
        answer: Key = self.http.post("/keys/login", {"username": username, "password": password} | given)
        return answer

    def keys(self) -> Iterator[Key]:
        return self.http.pages("/keys")

    def create_key(self, name: str, scopes: Sequence[str] = ("*",), *, expires_in_days: int | None = None) -> Key:
        """A new key; its text is in `key`, this once."""
        body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
        if expires_in_days is not None:
            body["expires_in_days"] = expires_in_days
        answer: Key = self.http.post("/keys", body)
        return answer

    def rotate_key(self, prefix: str) -> Key:
        """A new key with the same scopes; the old one lives 24 hours more."""
        answer: Key = self.http.post(f"/keys/{prefix}/rotate")
        return answer

    def revoke_key(self, prefix: str) -> None:
        self.http.json("DELETE", f"/keys/{prefix}")

    def statement(
        self, party: str = "user", *, since: str | None = None, until: str | None = None, group: str | None = None
    ) -> Statement:
        """What was charged or earned as `party` (user, provider, publisher) from `since` to before `until`.

        group  task, capability, pool, day; month: per month, customer and pool, normalised work (FP32) beside money
        """
        answer: Statement = self.http.get("/statements", party=party, group=group, **{"from": since, "to": until})
        return answer

    def statement_csv(
        self, party: str = "user", *, since: str | None = None, until: str | None = None, group: str | None = None
    ) -> str:
        """The same as CSV text."""
        params = {"party": party, "from": since, "to": until, "group": group}
        return self.http.send("GET", "/statements.csv", params=params).text

    def trial_balance(self) -> dict[str, Any]:
        """Operators only: every account of the ledger, and whether it balances."""
        answer: dict[str, Any] = self.http.get("/ledger/trial-balance")
        return answer
