"""Webhooks and events. To check what a receiver was sent: `gridfare.webhooks.verify_webhook`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from gridfare.sdk.http import Calls

Json = dict[str, Any]


class WebhookCalls(Calls):
    """What the organization is told, where, and what became of it."""

    def webhooks(self) -> Iterator[Json]:
        return self.http.pages("/webhooks")

    def webhook(self, webhook: str) -> Json:
        """One webhook: url, types, whether it is enabled and why not, since when it fails."""
        answer: Json = self.http.get(f"/webhooks/{webhook}")
        return answer

    def create_webhook(self, url: str, types: Sequence[str] = ("*",), *, description: str = "") -> Json:
        """A new webhook; its secret is in `secret`, this once. `types`: exact, `family.*` or `*`."""
        answer: Json = self.http.post("/webhooks", {"url": url, "types": list(types), "description": description})
        return answer

    def update_webhook(self, webhook: str, **changes: Any) -> Json:
        """Change `url`, `types`, `description` or `enabled`. Enabling sends what has waited."""
        answer: Json = self.http.json("PATCH", f"/webhooks/{webhook}", json=changes)
        return answer

    def delete_webhook(self, webhook: str) -> None:
        self.http.json("DELETE", f"/webhooks/{webhook}")

    def rotate_webhook(self, webhook: str, *, overlap_hours: int = 24) -> Json:
        """A new secret, in `secret`, this once; the old ones sign along for so many hours."""
        answer: Json = self.http.post(f"/webhooks/{webhook}/rotate", {"overlap_hours": overlap_hours})
        return answer

    def ping_webhook(self, webhook: str, *, wait_s: float = 0) -> Json:
        """Send a `webhook.ping`, and wait up to `wait_s` for what comes of it: the delivery."""
        delivery: Json = self.http.post(f"/webhooks/{webhook}/ping")
        until = time.monotonic() + wait_s
        while delivery["status"] is None and not delivery["error"] and time.monotonic() < until:
            time.sleep(0.25)
            delivery = self.webhook_delivery(webhook, delivery["id"])
        return delivery

    def webhook_deliveries(
        self, webhook: str, *, state: str | None = None, subject: str | None = None, most: int | None = None
    ) -> Iterator[Json]:
        """What was and will be sent, newest first."""
        return self.http.pages(f"/webhooks/{webhook}/deliveries", most=most, state=state, subject=subject)

    def webhook_delivery(self, webhook: str, delivery: int) -> Json:
        """One delivery with the event's `data` and the `log` of its tries."""
        answer: Json = self.http.get(f"/webhooks/{webhook}/deliveries/{delivery}")
        return answer

    def replay_delivery(self, webhook: str, delivery: int) -> Json:
        """Send one again."""
        answer: Json = self.http.post(f"/webhooks/{webhook}/deliveries/{delivery}/replay")
        return answer

    def replay_webhook(self, webhook: str, since: str, *, failed_only: bool = False) -> int:
        """Send everything since a moment (RFC 3339) again, in order. Returns how many deliveries."""
        answer: Json = self.http.post(f"/webhooks/{webhook}/replay", {"since": since, "failed_only": failed_only})
        return int(answer["deliveries"])

    def webhook_types(self) -> list[Json]:
        """The types of events, with examples."""
        answer: list[Json] = self.http.get("/webhooks/types")
        return answer

    def organization_events(self, after: str = "", *, types: Sequence[str] = (), limit: int = 100) -> Json:
        """`{results, after}`: events behind a cursor, oldest first; give `after` of the answer to go on."""
        answer: Json = self.http.get("/events", after=after or None, type=",".join(types) or None, limit=limit)
        return answer
