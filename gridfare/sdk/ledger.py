"""The ledger's proof: seals, entries with their paths, and exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from gridfare.sdk.http import Calls
from gridfare.sdk.money_answers import LedgerSeal


class LedgerCalls(Calls):
    """What was posted, and that it is still the same."""

    def ledger_proof(self, *, most: int | None = None) -> Iterator[LedgerSeal]:
        """The chain of seals, from the first. A hash that one keeps proves later that nothing before it changed."""
        return self.http.pages("/ledger/proof", most=most)

    def ledger_entries(self, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The organization's own sealed entries (operators: all), each with the path to the root of its seal."""
        return self.http.pages("/ledger/proof/entries", most=most)

    def export_ledger(self, target: IO[bytes], format: str = "ndjson") -> int:  # noqa: A002  the API's word
        """Write the sealed ledger into an open file, as it comes. Returns how many bytes it has.

        format   `ndjson` for `gridfare verify-ledger`, or what a program of accountants reads
        """
        return self.http.fetch(f"/ledger/export?format={format}", target)
