"""Copies of artifacts and the agents that keep them, for tests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from marketplace.models import Agent, Artifact, Pool, Replica
from marketplace.services.storekeeping import Orders, Told, adopt_store, fresh_orders
from tests import builders as build


def a_replica(artifact: Artifact, region: str = "ningxia", *, state: str = "wanted", **fields: Any) -> Replica:
    """A copy of an artifact's bytes in any state."""
    pool = build.a_pool(region=region) if state in ("copying", "held") and "pool" not in fields else None
    defaults: dict[str, Any] = {"pool": pool, "bytes": artifact.blob.bytes, "expires_at": timezone.now() + timedelta(days=30)}
    return Replica.objects.create(
        blob_id=artifact.blob_id,
        region=build.a_region(region),
        organization=artifact.organization,
        state=state,
        **defaults | fields,
    )


def a_store(region: str = "ningxia", *, mib: int = 100, **fields: Any) -> Pool:
    """A pool whose agent offers room."""
    pool = build.a_pool(region=region, **fields)
    tells(pool, mib=mib)
    return pool


def tells(pool: Pool, *kept: str, mib: int = 100, **failed: str) -> Orders:
    """The pool's agent says what it keeps; what it is told."""
    agent = Agent.objects.get(pool=pool, retired_at=None)
    why = {f"{sha256}": text for sha256, text in failed.items()}
    return adopt_store(agent, Told(mib, frozenset(kept), why))


def hears(pool: Pool) -> Orders:
    """What the pool's agent is told without having said anything."""
    return fresh_orders(Agent.objects.get(pool=pool, retired_at=None))
