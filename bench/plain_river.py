"""The reference of S2: the same rows by plain set-based SQL, one client, nobody to ask and nothing to decide.

Tables of the same shape (columns, checks and indexes copied, no foreign keys) and the same chunks. What the market
does on top of this - HTTP, signatures, JSON, matching, prices, guards, wakes - is what the ratio shows.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import psycopg

CHUNK = 20_000
TABLES = {
    "unit": "scheduler_unit",
    "attempt": "scheduler_attempt",
    "ended": "scheduler_ended",
    "usage": "metering_usagerecord",
    "charge": "billing_charge",
}
EXPAND = """
INSERT INTO plain.unit (id, task_id, stage, index, need_id, state, fence, tries, avoid)
SELECT i, %(task)s, 0, i, 1, 'waiting', 0, 0, '{}' FROM generate_series(%(first)s::int, %(last)s::int) i
"""
MATCH = """
UPDATE plain.unit SET state = 'placed', pool_id = 1, offer_id = 1, decision_id = 1
WHERE id IN (SELECT id FROM plain.unit WHERE state = 'waiting' AND need_id = 1 ORDER BY id LIMIT %(chunk)s)
"""
LEASE = """
WITH leased AS (
  UPDATE plain.unit SET state = 'leased', fence = fence + 1
  WHERE id IN (SELECT id FROM plain.unit WHERE state = 'placed' AND pool_id = 1 ORDER BY id LIMIT %(chunk)s) RETURNING id, fence
)
INSERT INTO plain.attempt (id, unit_id, task_id, pool_id, agent_id, offer_id, need_id, session, fence, state,
                           reason_class, code, detail, leased_at)
SELECT id, id, %(task)s, 1, %(task)s, 1, 1, %(task)s, fence, 'leased', '', '', '', now() FROM leased
"""
SETTLE = """
WITH done AS (
  UPDATE plain.attempt SET state = 'valid', usage = %(usage)s, batch_id = 1, started_at = now(), ended_at = now()
  WHERE id IN (SELECT id FROM plain.attempt WHERE agent_id = %(task)s AND state IN ('leased', 'running') LIMIT %(chunk)s)
  RETURNING id, unit_id
), moved AS (
  UPDATE plain.unit SET state = 'done' FROM done WHERE plain.unit.id = done.unit_id
)
INSERT INTO plain.ended (attempt_id, at) SELECT id, now() FROM done
"""
MEASURE = """
WITH taken AS (
  DELETE FROM plain.ended WHERE attempt_id IN (SELECT attempt_id FROM plain.ended ORDER BY attempt_id LIMIT %(chunk)s)
  RETURNING attempt_id
)
INSERT INTO plain.usage (id, attempt_id, revision, task_id, organization_id, provider_id, publisher_id, pool_id, offer_id,
       capability_version_id, stage, outcome, reason_class, started_at, ended_at, wall_ms, core_ms, held_core_ms,
       memory_mib_ms, accelerator_ms, fp32_gflop, bytes_in, bytes_out, flags, batch_id, measured_at)
SELECT a.id, a.id, 0, a.task_id, 1, 1, 1, 1, 1, 1, 0, a.state, '', a.leased_at, a.ended_at, (a.usage->>'wall_ms')::bigint,
       (a.usage->>'core_ms')::bigint, (a.usage->>'core_ms')::bigint, (a.usage->>'memory_mib_ms')::bigint, 0, 0, 0, 0, '{}', 1, now()
FROM taken JOIN plain.attempt a ON a.id = taken.attempt_id
"""
CHARGE = """
INSERT INTO plain.charge (id, kind, usage_id, task_id, organization_id, provider_id, publisher_id, payer, reason, currency,
       amount_micros, provider_micros, publisher_micros, platform_micros, lines, entry_id, charged_at)
SELECT id, 'usage', id, task_id, 1, 1, 1, 'user', 'valid/delivered', 'CNY', 10, 9, 0, 1,
       %(lines)s, 1, now()
FROM plain.usage WHERE task_id = %(task)s AND id >= %(first)s ORDER BY id LIMIT %(chunk)s
"""
USAGE = '{"wall_ms": 1, "core_ms": 1, "memory_mib_ms": 16, "peak_memory_mib": 16}'
LINES = '[{"meter": "core_second", "quantity": "0.001", "unit_price": "0.01", "amount": "0.00001"}]'


def units_per_second(database_url: str, units: int) -> tuple[float, dict[str, float]]:
    """Push the units through, step by step. Returns units/s over all steps, and of each step."""
    with psycopg.connect(database_url, autocommit=True) as link:
        link.execute("DROP SCHEMA IF EXISTS plain CASCADE; CREATE SCHEMA plain")
        for name, model in TABLES.items():
            link.execute(f"CREATE TABLE plain.{name} (LIKE {model} INCLUDING ALL EXCLUDING IDENTITY)")
        seconds = _steps(link, units)
        charged = link.execute("SELECT count(*) FROM plain.charge").fetchone()
        link.execute("DROP SCHEMA plain CASCADE")
    if charged != (units,):
        raise SystemExit(f"the reference charged {charged} of {units}")
    return units / sum(seconds.values()), {step: units / one for step, one in seconds.items()}


def _steps(link: psycopg.Connection[Any], units: int) -> dict[str, float]:
    chunks = [(first, min(first + CHUNK, units + 1) - 1) for first in range(1, units + 1, CHUNK)]
    task = uuid.uuid4()
    seconds = {}
    steps = {"expand": EXPAND, "match": MATCH, "lease": LEASE, "settle": SETTLE, "measure": MEASURE, "charge": CHARGE}
    for step, statement in steps.items():
        began = time.perf_counter()
        for first, last in chunks:
            given = {"task": task, "first": first, "last": last, "chunk": CHUNK, "usage": USAGE, "lines": LINES}
            link.execute(statement, given)
        seconds[step] = time.perf_counter() - began
    return seconds
