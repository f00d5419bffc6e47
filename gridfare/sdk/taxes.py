"""Operators: taxes, their rates from when on, and who is asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]


class TaxCalls(Calls):
    """Taxes of invoices."""

    def taxes(self, *, most: int | None = None) -> Iterator[Json]:
        """Which taxes there are, newest first."""
        return self.http.pages("/taxes", most=most)

    def add_tax(self, code: str, name: str) -> Json:
        """A new kind of tax; `name` is what invoices show."""
        answer: Json = self.http.post("/taxes", {"code": code, "name": name})
        return answer

    def tax_rates(self, *, most: int | None = None) -> Iterator[Json]:
        """All rates with the time in which each holds, newest first."""
        return self.http.pages("/tax-rates", most=most)

    def set_tax_rate(
        self, tax: str, percent: str, *, category: str = "standard", region: str | None = None, start: str | None = None
    ) -> Json:
        """Put a rate in force; it ends the one of the same tax, category and region (None: everywhere) before it."""
        given = {"tax": tax, "percent": percent, "category": category, "region": region, "start": start}
        answer: Json = self.http.post("/tax-rates", given)
        return answer

    def tax_assignments(self, *, most: int | None = None) -> Iterator[Json]:
        """Who is asked for which tax, and when, newest first."""
        return self.http.pages("/tax-assignments", most=most)

    def assign_tax(self, tax: str, organization: str, *, category: str = "standard", start: str | None = None) -> Json:
        """Ask an organization for a tax."""
        given = {"tax": tax, "organization": organization, "category": category, "start": start}
        answer: Json = self.http.post("/tax-assignments", given)
        return answer

    def stop_tax(self, assignment: int, *, at: str | None = None) -> Json:
        """Ask an organization for a tax no more."""
        answer: Json = self.http.post(f"/tax-assignments/{assignment}/stop", {"at": at})
        return answer
