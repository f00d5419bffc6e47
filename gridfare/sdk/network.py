"""The network between regions: what is known of it, paths, metrics, and (for operators) bookings of bandwidth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gridfare.sdk.answers import Booking, Network, NetworkPath, Reservation
from gridfare.sdk.http import Calls


class NetworkCalls(Calls):
    """Reading the network and booking its links."""

    def network(self) -> Network:
        """Nodes and links with their ages."""
        answer: Network = self.http.get("/network")
        return answer

    def network_path(self, source: str, target: str, *, jitter_class: int | None = None, **wishes: Any) -> NetworkPath:
        """The best path between two regions or nodes.

        `wishes`: mbps, max_latency_ms (then the cheapest within it), max_loss, objective (latency, price or carbon),
        k (paths), max_depth (segments), domain.
        """
        asked = {"from": source, "to": target, "class": jitter_class} | wishes
        answer: NetworkPath = self.http.get("/network/path", **asked)
        return answer

    def network_metrics(self) -> dict[str, Any]:
        """Links and regions in IETF CATS form."""
        answer: dict[str, Any] = self.http.get("/network/metrics")
        return answer

    def reserve(self, **wish: Any) -> Booking:
        """Book bandwidth (operators): links or from and to; mbps and end, mbps and seconds, or bytes and end; kind."""
        answer: Booking = self.http.post("/network/reservations", {k: v for k, v in wish.items() if v is not None})
        return answer

    def reservations(self, *, limit: int | None = None) -> Iterator[Reservation]:
        """Bookings by link, newest first (operators)."""
        return self.http.pages("/network/reservations", most=limit)

    def release(self, booking: str) -> None:
        """Give a booking back, on all its links (operators)."""
        self.http.send("DELETE", f"/network/reservations/{booking}")
