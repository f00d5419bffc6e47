"""Plain rows for metering's and billing's tests and benchmarks: alice asks, bob provides, carol publishes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from marketplace.models import (
    Agent,
    Capability,
    CapabilityVersion,
    Offer,
    Organization,
    Pool,
    Rate,
    Region,
    Task,
)
from metering.models import UsageRecord
from scheduler.models import Attempt, Ended, Need, Unit

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
APPEND_ONLY = ("metering_usagerecord", "billing_charge", "billing_journalentry", "billing_leg")
TERMS = {"platform_basis_points": 500, "fee_per_unit": "0.002", "fee_per_task": "0", "currency": "CNY"}
RATES = {"core_second": "0.0001", "gb_moved": "0.01"}
_serial = itertools.count(1)


@dataclass
class Market:
    """One of each: who asks, who provides with what at which price, who publishes what."""

    alice: Organization
    bob: Organization
    carol: Organization
    pool: Pool
    agent: Agent
    offer: Offer
    version: CapabilityVersion


def make_organization(name: str, **fields: Any) -> Organization:
    return Organization.objects.create(slug=f"{name}-{next(_serial)}", name=name.title(), **fields)


def make_pool(owner: Organization, **fields: Any) -> Pool:
    number = next(_serial)
    region, _ = Region.objects.get_or_create(
        code="ningxia",
        defaults={"name": "Ningxia", "name_zh": "宁夏", "latitude": Decimal("38.47"), "longitude": Decimal("106.27")},
    )
    fields = {"state": "active", "cores": 8, "memory_mib": 16384} | fields
    return Pool.objects.create(
        organization=owner, region=region, identifier=f"TEST-{number}", name=f"pool-{number}", **fields
    )


def make_agent(pool: Pool) -> Agent:
    return Agent.objects.create(pool=pool, public_key=f"{next(_serial):044d}", name="agent", version="1")


def make_offer(
    pool: Pool, basis: str = "consumption", rates: Mapping[str, str] | None = None, currency: str = "CNY"
) -> Offer:
    day = START - timedelta(days=2 * next(_serial))
    valid = DateTimeTZRange(day, day + timedelta(days=1))
    offer = Offer.objects.create(pool=pool, basis=basis, currency=currency, valid=valid)
    prices = RATES if rates is None else rates
    Rate.objects.bulk_create(Rate(offer=offer, meter=meter, unit_price=Decimal(p)) for meter, p in prices.items())
    return offer


def make_version(publisher: Organization, manifest: dict[str, Any] | None = None, **fields: Any) -> CapabilityVersion:
    if "capability" not in fields:
        fields["capability"] = Capability.objects.create(organization=publisher, name=f"render-{next(_serial)}")
    said = {"version": "1.0.0", "manifest": manifest or {}, "digest": "0" * 64, "state": "published", "published_at": START}
    return CapabilityVersion.objects.create(**said | fields)


def make_market(basis: str = "consumption", rates: Mapping[str, str] | None = None) -> Market:
    alice, bob = make_organization("alice"), make_organization("bob", is_provider=True)
    carol = make_organization("carol", is_publisher=True)
    pool = make_pool(bob)
    return Market(alice, bob, carol, pool, make_agent(pool), make_offer(pool, basis, rates), make_version(carol))


def make_task(market: Market, state: str = "delivered", **fields: Any) -> Task:
    """A task; ended states get an end. `terms` are merged over TERMS, `max_price` becomes the constraint."""
    over = state not in {"queued", "running"}
    terms = TERMS | fields.pop("terms", {})
    cap = fields.pop("max_price", None)
    units = fields.pop("units", 1)
    return Task.objects.create(
        organization=market.alice,
        capability_version=market.version,
        request_digest="0" * 64,
        constraints={} if cap is None else {"max_price": cap},
        plan={},
        terms=terms,
        priced_at=fields.pop("priced_at", START),
        state=state,
        units_total=units,
        units_done=units if state == "delivered" else 0,
        created_at=START,
        ended_at=fields.pop("ended_at", START + timedelta(hours=1) if over else None),
        **fields,
    )


def make_need(**document: Any) -> Need:
    need = {"cores": 1, "memory_mib": 256, "disk_mib": 256, "accelerators": []}
    document = {"stage": 0, "need": need, "tflop": "0.5", "run_s": 600} | document
    return Need.objects.create(key=f"{next(_serial):064d}", document=document)


def make_attempt(market: Market, task: Task, need: Need, **fields: Any) -> Attempt:
    """An attempt of a unit of its own (`unit`: its state). Ended ones stand in metering's queue."""
    state = fields.setdefault("state", "valid")
    of_unit = fields.pop("unit", "waiting")
    placed = {} if of_unit == "waiting" else {"pool": market.pool, "offer": market.offer}
    unit = Unit.objects.create(
        task=task, stage=int(need.document["stage"] == 1), index=next(_serial), need=need, state=of_unit, **placed
    )
    live = state in {"leased", "running"}
    defaults = {
        "leased_at": START,
        "ended_at": None if live else START + timedelta(seconds=10),
        "usage": {"wall_ms": 2000, "core_ms": 1500, "memory_mib_ms": 1000, "bytes_in": 10, "bytes_out": 20},
        "offer": market.offer,
    }
    attempt = Attempt.objects.create(
        unit=unit,
        task=task,
        pool=market.pool,
        agent=market.agent,
        need=need,
        session=UUID(int=0),
        fence=1,
        **(defaults | fields),
    )
    if not live:
        Ended.objects.create(attempt=attempt, at=attempt.ended_at)
    return attempt


def make_usage(market: Market, task: Task, attempt: Attempt, **fields: Any) -> UsageRecord:
    """A usage record as metering would have written it; the attempt leaves the queue."""
    Ended.objects.filter(attempt=attempt).delete()
    defaults = {
        "task": task,
        "organization": task.organization,
        "provider": market.bob,
        "publisher": market.carol,
        "pool": market.pool,
        "offer": attempt.offer,
        "capability_version": task.capability_version,
        "stage": 0,
        "outcome": attempt.state,
        "reason_class": attempt.reason_class,
        "started_at": attempt.leased_at,
        "ended_at": attempt.ended_at,
        "wall_ms": 2000,
        "core_ms": 1500,
        "held_core_ms": 2000,
        "memory_mib_ms": 1000,
        "fp32_gflop": Decimal(0),
        "bytes_in": 0,
        "bytes_out": 0,
        "measured_at": START,
    }
    return UsageRecord.objects.create(attempt=attempt, **(defaults | fields))


_MANY_UNITS = """
WITH units AS (
  INSERT INTO scheduler_unit (task_id, stage, index, need_id, state, pool_id, offer_id, fence, tries, avoid)
  SELECT %(task)s, 0, n, %(need)s, 'done', %(pool)s, %(offer)s, 1, 0, '{}' FROM generate_series(1, %(count)s) n
  RETURNING id
), attempts AS (
  INSERT INTO scheduler_attempt (unit_id, task_id, pool_id, agent_id, offer_id, need_id, session, fence, state,
                                 reason_class, code, detail, usage, leased_at, ended_at)
  SELECT id, %(task)s, %(pool)s, %(agent)s, %(offer)s, %(need)s, %(session)s, 1, %(state)s, '', '', '',
         jsonb_build_object('prepare_ms', 5, 'wall_ms', 1000 + id %% 977, 'core_ms', 900 + id %% 97,
                            'memory_mib_ms', 50000, 'peak_memory_mib', 64, 'bytes_in', 1234, 'bytes_out', 5678),
         %(start)s::timestamptz, %(start)s::timestamptz + interval '5 seconds'
    FROM units
  RETURNING id
)
INSERT INTO scheduler_ended (attempt_id, at) SELECT id, now() FROM attempts
"""


def make_many_attempts(market: Market, task: Task, need: Need, count: int, state: str = "valid") -> None:
    """`count` ended attempts, set-based, in metering's queue."""
    arguments = {"task": task.pk, "need": need.pk, "pool": market.pool.pk, "offer": market.offer.pk}
    arguments |= {"agent": market.agent.pk, "count": count, "session": uuid4(), "state": state, "start": START}
    with connection.cursor() as cursor:
        cursor.execute(_MANY_UNITS, arguments)


def table_counts(tables: Sequence[str] = APPEND_ONLY) -> dict[str, int]:
    """Rows per table: what a repeated run must not change."""
    with connection.cursor() as cursor:
        counts = {}
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
    return counts
