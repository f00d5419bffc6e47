"""Switches that make the agent misbehave, for tests of the platform. Never set on a machine that earns money.

``GRIDFARE_CHAOS`` holds comma separated ``name=number`` pairs:

- ``drop_heartbeats=0.3``: share of syncs that are not sent (the agent sleeps a second instead);
- ``corrupt_results=1``: share of attempts whose results get their first byte flipped before they are hashed;
- ``break_commitments=1``: share of attempts that show another result than the one they committed to;
- ``inflate_usage=10``: factor on every counter of a report;
- ``quicken_probes=100``: the network seems so many times quicker than it is;
- ``lose_answers=0.2``: share of syncs whose answer is thrown away, as if the connection broke;
- ``fail_units=0.1``: share of attempts reported failed without running.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Chaos:
    """Shares between 0 and 1, and a factor; all neutral by default."""

    drop_heartbeats: float = 0.0
    corrupt_results: float = 0.0
    break_commitments: float = 0.0
    inflate_usage: float = 1.0
    quicken_probes: float = 1.0
    lose_answers: float = 0.0
    fail_units: float = 0.0

    @classmethod
    def from_environment(cls) -> Chaos:
        """Read GRIDFARE_CHAOS; raises ValueError for a name that is not known."""
        pairs = [item.partition("=") for item in os.environ.get("GRIDFARE_CHAOS", "").split(",") if item]
        values = {name.strip(): float(value) for name, _, value in pairs}
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise ValueError(f"GRIDFARE_CHAOS does not know {sorted(unknown)}")
        return cls(**values)

    def strikes(self, share: float) -> bool:
        """Whether it happens this time."""
        return share > 0 and random.random() < share

    def corrupt(self, folder: str, paths: list[str]) -> None:
        """Flip the first byte of results."""
        for path in paths:
            with open(f"{folder}/{path}", "r+b") as file:
                first = file.read(1) or b"\0"
                file.seek(0)
                file.write(bytes([first[0] ^ 0xFF]))

    def inflate(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Claim more than was used."""
        if self.inflate_usage == 1.0:
            return usage
        return {k: int(v * self.inflate_usage) if isinstance(v, int) else v for k, v in usage.items()}

    def quicken(self, probe: dict[str, Any]) -> dict[str, Any]:
        """Claim a better network than was measured."""
        if self.quicken_probes == 1.0:
            return probe
        trips = [max(1, int(trip / self.quicken_probes)) for trip in probe["rtt_us"]]
        return {**probe, "rtt_us": trips, "transfer_us": max(1, int(probe["transfer_us"] / self.quicken_probes))}
