"""Disputes about charges: opened by customers, answered by providers, decided by operators; each call takes many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]


class DisputeCalls(Calls):
    """Disputes and their evidence."""

    def disputes(self, *, most: int | None = None) -> Iterator[Json]:
        """Disputes that the organization has part in (operators: all), oldest first."""
        return self.http.pages("/disputes", most=most)

    def dispute(self, dispute: int) -> Json:
        """One dispute and what was said in it."""
        answer: Json = self.http.get(f"/disputes/{dispute}")
        return answer

    def dispute_charges(self, dispute: int, *, most: int | None = None) -> Iterator[Json]:
        """The charges of a dispute, and what was taken back of each."""
        return self.http.pages(f"/disputes/{dispute}/charges", most=most)

    def open_disputes(
        self,
        reason: str,
        text: str,
        *,
        charges: Sequence[int] | None = None,
        period_charges: Sequence[int] | None = None,
        invoice: int | None = None,
        lines: Sequence[int] | None = None,
    ) -> list[Json]:
        """Dispute charges of tasks and months, or lines of an invoice: one dispute for each provider and publisher, all or none."""
        asked: Json = {"reason": reason, "text": text, "charges": charges, "period_charges": period_charges}
        asked |= {"invoice": invoice, "lines": lines}
        return self._posted("/disputes", {name: value for name, value in asked.items() if value is not None})

    def answer_disputes(self, disputes: Sequence[int], position: str, text: str) -> list[Json]:
        """As the respondent: `accepts` or `contests`. All or none."""
        return self._posted("/disputes/answer", {"disputes": list(disputes), "position": position, "text": text})

    def withdraw_disputes(self, disputes: Sequence[int]) -> list[Json]:
        """As the customer: give disputes up. All or none."""
        return self._posted("/disputes/withdraw", {"disputes": list(disputes)})

    def decide_disputes(self, decisions: Sequence[Json]) -> list[Json]:
        """Operators: `[{dispute, outcome: upheld|partly|rejected, amount?, text}]`, all or none. Again, it changes nothing."""
        return self._posted("/disputes/decide", {"decisions": list(decisions)}, repeatable=True)

    def say_in_dispute(self, dispute: int, text: str) -> Json:
        """Add a message, read by all parties."""
        answer: Json = self.http.post(f"/disputes/{dispute}/messages", {"text": text})
        return answer

    def dispute_bundle(self, dispute: int) -> bytes:
        """The evidence in one file; `gridfare.evidence.check` checks it without the platform."""
        return self.http.send("GET", f"/disputes/{dispute}/bundle").content

    def _posted(self, path: str, body: Json, *, repeatable: bool = False) -> list[Json]:
        answer: list[Json] = self.http.post(path, body, repeatable=repeatable)["disputes"]
        return answer
