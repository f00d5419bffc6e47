"""What programs print: stored in pieces at their byte offsets, bounded per attempt, readable in every state."""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from core.errors import Invalid
from marketplace.models import Agent
from marketplace.stages import VALIDATE, VALIDATES
from scheduler.models import LogChunk
from scheduler.sql import PART, dicts, rows

STREAMS: Final = ("stdout", "stderr", "agent")
MAX_CHUNKS: Final = 1_000
SLACK_BYTES: Final = 65_536  # above log_kib: the agent's own lines and the line that counts what was left out

# Only attempts of this agent, with this fence, that live or have just ended (the last lines follow the report).
_STREAM_ENDS: Final = f"""
SELECT a.id, a.fence, coalesce(max(c.offset + length(c.data)) FILTER (WHERE c.stream = 'stdout'), 0) AS stdout,
       coalesce(max(c.offset + length(c.data)) FILTER (WHERE c.stream = 'stderr'), 0) AS stderr,
       coalesce(max(c.offset + length(c.data)) FILTER (WHERE c.stream = 'agent'), 0) AS agent,
       ({PART}->'limits'->>'log_kib')::bigint * 1024 AS quota
FROM scheduler_attempt a JOIN marketplace_task t ON t.id = a.task_id JOIN scheduler_unit u ON u.id = a.unit_id
LEFT JOIN scheduler_logchunk c ON c.attempt_id = a.id
WHERE a.id = ANY(%s) AND a.agent_id = %s AND (a.ended_at IS NULL OR a.ended_at > now() - interval '10 minutes')
GROUP BY a.id, a.fence, t.plan, u.stage
"""
_READ: Final = """
SELECT c.id, c.attempt_id AS attempt, u.stage, u.index AS unit, c.stream, c."offset", c.data
FROM scheduler_logchunk c JOIN scheduler_attempt a ON a.id = c.attempt_id JOIN scheduler_unit u ON u.id = a.unit_id
WHERE a.task_id = %(task)s AND c.id > %(after)s
  AND (%(attempt)s::bigint IS NULL OR a.id = %(attempt)s) AND (%(unit)s::int IS NULL OR u.index = %(unit)s)
  AND (%(stage)s::int IS NULL OR u.stage = %(stage)s) AND (%(stream)s::text IS NULL OR c.stream = %(stream)s)
ORDER BY c.id LIMIT %(limit)s
"""


@dataclass(frozen=True)
class LogPiece:
    """A piece of one stream of one attempt, beginning at a byte offset."""

    attempt: int
    fence: int
    stream: str
    offset: int
    data: bytes

    @classmethod
    def parse_all(cls, chunks: Any) -> list[LogPiece]:
        """Parse the body of the logs door. Raises Invalid naming the piece at fault."""
        if not isinstance(chunks, list) or len(chunks) > MAX_CHUNKS:
            raise Invalid("invalid_chunks", f"a list of at most {MAX_CHUNKS} chunks", field="chunks")
        return [cls._parse(chunk, f"chunks.{i}") for i, chunk in enumerate(chunks)]

    @classmethod
    def _parse(cls, chunk: Any, at: str) -> LogPiece:
        try:
            numbers = [int(chunk[name]) for name in ("attempt", "fence", "offset")]
            data = base64.b64decode(chunk["data"], validate=True)
            stream = chunk["stream"]
        except (KeyError, TypeError, ValueError, OverflowError, binascii.Error):
            raise Invalid("invalid_chunk", "attempt, fence, stream, offset and base64 data", field=at) from None
        if stream not in STREAMS or not all(0 <= number < 2**63 for number in numbers):
            raise Invalid("invalid_chunk", "an unknown stream or a negative number", field=at)
        return cls(numbers[0], numbers[1], stream, numbers[2], data)


@transaction.atomic
def store_logs(agent: Agent, pieces: list[LogPiece]) -> list[list[Any]]:
    """Append pieces that begin where their stream ends. Returns [attempt, stream, next offset] of every stream named.

    A piece elsewhere is not stored: the answer says where the stream ends. Beyond the quota pieces are counted as
    stored and dropped, so that a program printing gigabytes fills nothing.
    """
    found = {row["id"]: row for row in dicts(_STREAM_ENDS, [sorted({p.attempt for p in pieces}), agent.pk])}
    ends: dict[tuple[int, str], int] = {}
    kept: list[LogChunk] = []
    for piece in pieces:
        row = found.get(piece.attempt)
        if row is None or row["fence"] != piece.fence:
            continue
        key = (piece.attempt, piece.stream)
        end, after = ends.setdefault(key, row[piece.stream]), piece.offset + len(piece.data)
        if piece.offset >= end and after > row["quota"] + SLACK_BYTES:
            ends[key] = after  # dropped; nothing tells the next call so, thus its offset is taken as it comes
        elif piece.offset == end and piece.data:
            kept.append(LogChunk(attempt_id=piece.attempt, stream=piece.stream, offset=end, data=piece.data))
            ends[key] = after
    LogChunk.objects.bulk_create(kept, ignore_conflicts=True)
    _announce(sorted({chunk.attempt_id for chunk in kept}))
    return [[attempt, stream, end] for (attempt, stream), end in sorted(ends.items())]


def _announce(attempts: list[int]) -> None:
    if attempts:
        rows(
            "SELECT pg_notify('gridfare_task', t::text) FROM (SELECT DISTINCT task_id AS t FROM scheduler_attempt "
            "WHERE id = ANY(%s)) x",
            [attempts],
        )


def read_logs(
    task_id: Any, *, after: int, limit: int, names: Sequence[str] = ("unit", "merge"), **only: Any
) -> dict[str, Any]:
    """Pieces in the order they came, after a chunk number; `next` is what to ask for afterwards.

    `only`: attempt, unit (index), stage (its number), stream; None = all. `names`: what the task's stages are called.
    """
    params: dict[str, Any] = defaultdict(lambda: None, only)
    filters = {name: params[name] for name in ("attempt", "unit", "stage", "stream")}
    found = dicts(_READ, {"task": task_id, "after": after, "limit": limit, **filters})
    chunks = [
        {
            "attempt": row["attempt"],
            "unit": row["unit"],
            "stage": VALIDATE if row["stage"] >= VALIDATES else names[row["stage"]],
            "stream": row["stream"],
            "offset": row["offset"],
            "text": bytes(row["data"]).decode("utf-8", "replace"),
        }
        for row in found
    ]
    return {"next": found[-1]["id"] if found else after, "chunks": chunks}
