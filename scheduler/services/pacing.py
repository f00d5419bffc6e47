"""The paces' one statement, part of those that end attempts: what was measured is added to the sums of `scheduler/pace.py`."""

from __future__ import annotations

from typing import Final

PACE_MEMORY: Final = 200.0  # samples that what was learned before counts for, at most


def teach_pace(ended: str, which: str) -> str:
    """The statement that adds what was measured to the paces, of the rows of `ended` for which `which` holds.

    `ended` has need_id, variant, pool_id, wall_ms (claimed), held_ms (by the server's clock), peak_mib and bytes_out.
    """
    return f"""
    INSERT INTO scheduler_pace AS p (capability_version_id, stage, variant, pool_id, samples, tflop, seconds, tflop_squared,
                                     product, seconds_squared, memory_mib, memory_most, bytes_out, updated_at)
    SELECT (n.document->>'version')::bigint, (n.document->>'stage')::int, took.variant, took.pool_id, sum(took.samples),
           sum(took.samples * x.tflop), sum(took.seconds), sum(took.samples * x.tflop * x.tflop),
           sum(took.seconds * x.tflop), sum(took.squared), sum(least(took.peaks, took.samples * x.memory)),
           max(least(took.peak, x.memory)), sum(took.bytes_out), now()
    FROM (SELECT need_id, variant, pool_id, count(*) AS samples, sum(s) AS seconds, sum(s * s) AS squared,
                 sum(peak_mib) AS peaks, max(peak_mib) AS peak, sum(bytes_out) AS bytes_out
          FROM (SELECT *, greatest(least(wall_ms, held_ms), 0)::float / 1000 AS s FROM {ended} WHERE {which}) each
          GROUP BY need_id, variant, pool_id) took
    JOIN scheduler_need n ON n.id = took.need_id
    CROSS JOIN LATERAL (SELECT coalesce(n.document->'variants'->took.variant, '{{}}') AS own) v
    CROSS JOIN LATERAL (SELECT coalesce(v.own->>'tflop', n.document->>'tflop')::float,
                               (coalesce(v.own->'need', n.document->'need')->>'memory_mib')::int) x(tflop, memory)
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (capability_version_id, stage, variant, pool_id) DO UPDATE
    SET (samples, tflop, seconds, tflop_squared, product, seconds_squared, memory_mib, memory_most, bytes_out, updated_at) = (
        SELECT p.samples * kept + excluded.samples, p.tflop * kept + excluded.tflop,
               p.seconds * kept + excluded.seconds, p.tflop_squared * kept + excluded.tflop_squared,
               p.product * kept + excluded.product, p.seconds_squared * kept + excluded.seconds_squared,
               p.memory_mib * kept + excluded.memory_mib, greatest(p.memory_most, excluded.memory_most),
               p.bytes_out * kept + excluded.bytes_out, now()
        FROM (SELECT least(1.0, %(memory)s / p.samples) AS kept) AS older)"""
