"""Checkpoints: what running attempts save, and what the next attempt of a unit goes on from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.db import transaction

from core.errors import Invalid
from marketplace.models import Agent
from marketplace.paths import matches, why_unsafe
from scheduler.sql import dicts, rows

MAX_ITEMS: Final = 200
MAX_FILES: Final = 1_000
_MIB: Final = 1 << 20
_INT64: Final = 2**63

_PROMISED: Final = """
SELECT a.id, a.fence, t.plan->'checkpoint'->'paths' AS paths, (t.plan->'limits'->>'disk_mib')::bigint AS disk_mib
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id JOIN marketplace_task t ON t.id = a.task_id
WHERE a.id = ANY(%s) AND a.agent_id = %s AND a.state IN ('leased', 'running') AND u.stage = 0 AND t.plan ? 'checkpoint'
ORDER BY a.id FOR SHARE OF a
"""
_SAVE: Final = """
INSERT INTO scheduler_checkpoint AS c (attempt_id, unit_id, at, number, files, bytes, usage)
SELECT a.id, a.unit_id, now(), 1, s.files::jsonb, s.bytes, s.usage::jsonb
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[]) AS s(attempt, files, bytes, usage)
JOIN scheduler_attempt a ON a.id = s.attempt
ON CONFLICT (attempt_id) DO UPDATE
SET at = excluded.at, number = c.number + 1, files = excluded.files, bytes = excluded.bytes, usage = excluded.usage
"""
# The newest checkpoint of the unit's earlier attempts. After the program itself failed, or its result was refused, nothing
# saved before that is trusted any more: the unit begins anew. Where results are compared, or might be, nobody goes on from what
# another owner saved: a poisoned state would count as the work of whoever goes on, and its author could confirm it.
_RESUME: Final = """
SELECT a.id, c.files
FROM scheduler_attempt a JOIN scheduler_unit u ON u.id = a.unit_id CROSS JOIN LATERAL (
    SELECT c.files, c.attempt_id FROM scheduler_checkpoint c
    WHERE c.unit_id = a.unit_id AND c.attempt_id < a.id AND (u.checked IS FALSE OR EXISTS (
        SELECT FROM scheduler_attempt before JOIN marketplace_pool theirs ON theirs.id = before.pool_id
        JOIN marketplace_pool own ON own.id = a.pool_id
        WHERE before.id = c.attempt_id AND theirs.organization_id = own.organization_id))
    ORDER BY c.attempt_id DESC LIMIT 1
) c
WHERE a.id = ANY(%s) AND NOT EXISTS (
    SELECT 1 FROM scheduler_attempt bad WHERE bad.unit_id = a.unit_id AND bad.id >= c.attempt_id AND bad.id < a.id
    AND (bad.state = 'invalid' OR bad.reason_class IN ('capability_error', 'limit_exceeded', 'invalid_result')))
"""


@dataclass(frozen=True, slots=True)
class SavedFile:
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Saved:
    """One checkpoint as an agent tells of it; its files are uploaded already."""

    attempt: int
    fence: int
    files: tuple[SavedFile, ...]
    usage_text: str

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def parse_checkpoints(body: Any) -> list[Saved]:
    """The `checkpoints` of the door. Raises Invalid `invalid_checkpoint` naming the one at fault."""
    if not isinstance(body, list) or len(body) > MAX_ITEMS:
        raise Invalid("invalid_checkpoint", f"a list of at most {MAX_ITEMS} checkpoints", field="checkpoints")
    return [_parse(item, f"checkpoints.{i}") for i, item in enumerate(body)]


def _parse(item: Any, at: str) -> Saved:
    files = item.get("files") if isinstance(item, dict) else None
    if not isinstance(files, list) or not 0 < len(files) <= MAX_FILES:
        raise Invalid("invalid_checkpoint", f"needs 1 to {MAX_FILES} files", field=f"{at}.files")
    named = tuple(_file(one, f"{at}.files.{i}") for i, one in enumerate(files))
    if len({file.path for file in named}) < len(named):
        raise Invalid("invalid_checkpoint", "names a path twice", field=f"{at}.files")
    claim = item.get("usage")
    text = orjson.dumps(claim if isinstance(claim, dict) else {}).decode()
    usage = text if len(text) <= 4_000 and "\\u0000" not in text else "{}"
    return Saved(_whole(item.get("attempt"), at, _INT64), _whole(item.get("fence"), at, 2**31), named, usage)


def _file(one: Any, at: str) -> SavedFile:
    path, sha = (one.get("path"), one.get("sha256")) if isinstance(one, dict) else (None, None)
    if not isinstance(path, str) or len(path) > 300 or why_unsafe(path) or "\x00" in path:
        raise Invalid("invalid_checkpoint", "a path must stay below the working folder", field=f"{at}.path")
    if not isinstance(sha, str) or len(sha) != 64:
        raise Invalid("invalid_checkpoint", "64 hexadecimal digits", field=f"{at}.sha256")
    return SavedFile(path, sha, _whole(one.get("bytes"), at, _INT64))


def _whole(value: Any, at: str, below: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise Invalid("invalid_checkpoint", "whole numbers, not negative", field=at)
    return value


def why_refused(saved: Saved, paths: Collection[str], disk_mib: int, stored: dict[str, int]) -> str:
    """Why a checkpoint is not kept, as a code; "" when it is. `stored` = bytes of blobs that the store has."""
    if any(stored.get(file.sha256) != file.bytes for file in saved.files):
        return "not_uploaded"
    if not all(any(matches(pattern, file.path) for pattern in paths) for file in saved.files):
        return "not_declared"
    return "too_large" if saved.bytes > disk_mib * _MIB else ""


@transaction.atomic
def save_checkpoints(agent: Agent, given: list[Saved]) -> list[tuple[int, int, str]]:
    """Keep the checkpoints of live attempts of this agent. Returns those refused: (attempt, fence, code).

    Codes: stale_lease (or an attempt that has none to save), not_uploaded, not_declared, too_large, unchanged (it is what the
    attempt went on from: no progress, so nothing that a reclaim would pay).
    """
    lives = {(row["id"], row["fence"]): row for row in dicts(_PROMISED, [[one.attempt for one in given], agent.pk])}
    digests = sorted({file.sha256 for one in given for file in one.files})
    begun = {attempt: _as_saved(files) for attempt, files in resume_files([attempt for attempt, _ in lives]).items()}
    stored = dict(rows("SELECT sha256, bytes FROM marketplace_blob WHERE sha256 = ANY(%s)", [digests]))
    kept: dict[int, Saved] = {}
    refused = []
    for one in given:
        live = lives.get((one.attempt, one.fence))
        code = "stale_lease" if live is None else why_refused(one, _loads(live["paths"]), live["disk_mib"], stored)
        if not code and begun.get(one.attempt) == frozenset(one.files):
            code = "unchanged"
        if code:
            refused.append((one.attempt, one.fence, code))
        else:
            kept[one.attempt] = one  # of several of one attempt the last counts
    _save([kept[attempt] for attempt in sorted(kept)])
    return refused


def _save(kept: list[Saved]) -> None:
    if kept:
        files = [orjson.dumps([{"path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in one.files]) for one in kept]
        texts = [text.decode() for text in files]
        rows(_SAVE, [[one.attempt for one in kept], texts, [one.bytes for one in kept], [one.usage_text for one in kept]])


def _as_saved(files: list[dict[str, Any]]) -> frozenset[SavedFile]:
    return frozenset(SavedFile(file["path"], file["sha256"], file["bytes"]) for file in files)


def _loads(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, (str, bytes)) else value


def resume_files(attempts: list[int]) -> dict[int, list[dict[str, Any]]]:
    """What attempts just leased go on from: [{path, sha256, bytes}]; those that begin anew are left out."""
    return {attempt: _loads(files) for attempt, files in rows(_RESUME, [attempts])} if attempts else {}
