"""Copies as agents hear of them and tell of them (docs/protocol.md): orders out, what is kept in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.wake import wake
from marketplace.models import Agent, CachedBlob, Pin, Replica
from marketplace.services.replicas import JOB, give_up

ORDERS_AT_ONCE: Final = 64
Orders = dict[str, list[Any]]


@dataclass(frozen=True)
class Told:
    """What an agent tells of its store. mib: offered. kept: contents it holds. failed: sha256 → why it could not be fetched."""

    mib: int
    kept: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)


def fresh_orders(agent: Agent) -> Orders:
    """Copies given to the agent's pool that it was not told of yet; one statement, for agents that offer room."""
    if not agent.store_mib:
        return {}
    mine = Replica.objects.filter(pool_id=agent.pool_id, state="copying", told_at__isnull=True)
    return _orders(mine)


def _orders(rows: Any) -> Orders:
    """Mark them as told: [[sha256, bytes, until_ms]], each content once."""
    found = list(rows.order_by("pk").values_list("pk", "blob_id", "bytes", "expires_at")[:ORDERS_AT_ONCE])
    if not found:
        return {}
    Replica.objects.filter(pk__in=[row[0] for row in found], state="copying").update(told_at=Now())
    keep: dict[str, tuple[int, datetime]] = {}
    for _, sha256, size, until in found:
        keep[sha256] = (size, max(until, keep.get(sha256, (0, until))[1]))
    return {"keep": [[sha256, size, _ms(until)] for sha256, (size, until) in keep.items()]}


@transaction.atomic
def adopt_store(agent: Agent, told: Told) -> Orders:
    """Take over what an agent tells of its store; the answer has what to keep, what to drop, and what is pinned.

    Contents that nobody wishes any more are dropped. Constant in statements.
    """
    Agent.objects.select_for_update(no_key=True).get(pk=agent.pk)  # what it tells is taken over in the order in which it told it
    if told.mib != agent.store_mib:
        Agent.objects.filter(pk=agent.pk).update(store_mib=told.mib)
        agent.store_mib = told.mib
        wake(JOB)
    mine = Replica.objects.filter(pool_id=agent.pool_id, state__in=["copying", "held"])
    _adopt_kept(agent, mine, told)
    wished = set(mine.filter(blob_id__in=told.kept).values_list("blob_id", flat=True))
    orders = _orders(mine.filter(state="copying").exclude(blob_id__in=told.kept))
    if unwished := sorted(told.kept - wished):
        orders["drop"] = unwished
    return orders


def _adopt_kept(agent: Agent, mine: Any, told: Told) -> None:
    """COPYING → HELD for what is there; what was held and is not named has been lost and is copied anew; failures count."""
    arrived = mine.filter(state="copying", blob_id__in=told.kept)
    arrived.update(state="held", detail="", changed_at=Now())
    lost = mine.filter(state="held").exclude(blob_id__in=told.kept)
    if lost.update(state="wanted", pool=None, told_at=None, detail="its pool no longer has it", changed_at=Now()):
        wake(JOB)
    if give_up(mine, told.failed):
        wake(JOB)
    _note_kept(agent, mine)


def _note_kept(agent: Agent, mine: Any) -> None:
    """What near-data placement reads."""
    held = dict(mine.filter(state="held").values_list("blob_id", "bytes"))
    known = CachedBlob.objects.filter(pool_id=agent.pool_id, kept=True)
    known.exclude(sha256__in=held).delete()
    now = timezone.now()
    rows = [CachedBlob(pool_id=agent.pool_id, sha256=sha, bytes=size, seen_at=now, kept=True) for sha, size in held.items()]
    CachedBlob.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["pool", "sha256"], update_fields=["bytes", "seen_at", "kept"]
    )


def pins_of(sha256s: Collection[str]) -> Orders:
    """Which of these contents somebody has pinned: {"pin": [[sha256, until_ms]]}; an empty list says that none is."""
    found: dict[str, datetime] = {}
    rows = Pin.objects.filter(blob_id__in=list(sha256s), until__gt=Now()).order_by("until")
    found.update(rows.values_list("blob_id", "until"))
    return {"pin": [[sha256, _ms(until)] for sha256, until in sorted(found.items())]}


def may_fetch(agent: Agent, sha256: str) -> int | None:
    """The bytes of a copy that this agent's pool is to keep; None when it is not."""
    mine = Replica.objects.filter(Q(state="copying") | Q(state="held"), pool_id=agent.pool_id, blob_id=sha256)
    size: int | None = mine.values_list("bytes", flat=True).first()
    return size


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
