"""The paces' one statement, part of those that end attempts: what was measured is added to the sums of `scheduler/pace.py`."""

from __future__ import annotations

from typing import Final

PACE_MEMORY: Final = 200.0  # samples that what was learned before counts for, at most


def teach_pace(took: str) -> str:
    """The statement that adds what was measured to the paces. `took` selects need_id, pool_id, samples, seconds."""
    return f"""
    INSERT INTO scheduler_pace AS p (capability_version_id, stage, pool_id, samples, tflop, seconds, tflop_squared,
                                     product, updated_at)
    SELECT (n.document->>'version')::bigint, (n.document->>'stage')::int, took.pool_id, sum(took.samples),
           sum(took.samples * x.tflop), sum(took.seconds), sum(took.samples * x.tflop * x.tflop),
           sum(took.seconds * x.tflop), now()
    FROM ({took}) took
    JOIN scheduler_need n ON n.id = took.need_id CROSS JOIN LATERAL (SELECT (n.document->>'tflop')::float) x(tflop)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (capability_version_id, stage, pool_id) DO UPDATE
    SET (samples, tflop, seconds, tflop_squared, product, updated_at) = (
        SELECT p.samples * kept + excluded.samples, p.tflop * kept + excluded.tflop,
               p.seconds * kept + excluded.seconds, p.tflop_squared * kept + excluded.tflop_squared,
               p.product * kept + excluded.product, now()
        FROM (SELECT least(1.0, %(memory)s / p.samples) AS kept) AS older)"""
