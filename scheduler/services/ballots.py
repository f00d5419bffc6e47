"""What is compared of results: the hash over a result's files, and where numbers may differ, the numbers in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from marketplace import storage
from marketplace.policies import Policy
from scheduler.sql import dicts, rows
from scheduler.verification.comparing import MAX_COMPARED, Files, close

# As `delivering.hash_of`: SHA-256 over the sorted lines `path TAB bytes TAB sha256 LF`.
_HASHES: Final = """
SELECT o.attempt_id, encode(sha256(convert_to(string_agg(o.line, '' ORDER BY o.line COLLATE "C"), 'UTF8')), 'hex')
FROM (SELECT attempt_id, path || E'\\t' || bytes || E'\\t' || blob_id || E'\\n' AS line
      FROM scheduler_output WHERE attempt_id = ANY(%s)) o GROUP BY o.attempt_id
"""
_FILES: Final = "SELECT attempt_id, path, blob_id AS sha256, bytes FROM scheduler_output WHERE attempt_id = ANY(%s)"
NOTHING: Final = ""  # a result without files: equal to every other such result


@dataclass
class Ballots:
    """The ballots of attempts, read once; files are read only where hashes differ and a tolerance applies."""

    attempts: list[int]
    hashes: dict[int, str]
    _files: dict[int, Files] | None = None
    _contents: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, attempts: list[int]) -> Ballots:
        return cls(attempts, dict(rows(_HASHES, [attempts])) if attempts else {})

    def of_attempt(self, attempt: int) -> tuple[int, str]:
        return attempt, self.hashes.get(attempt, NOTHING)

    def same(self, policy: Policy, one: tuple[int, str], other: tuple[int, str]) -> bool:
        """Whether two ballots agree by the policy's comparison."""
        if one[1] == other[1]:
            return True
        if policy.tolerance is None:
            return False
        files = self.files()
        return close(policy.tolerance, files.get(one[0], {}), files.get(other[0], {}), self._read)

    def files(self) -> dict[int, Files]:
        """Every attempt's files, one statement however many are asked for."""
        if self._files is None:
            found: dict[int, dict[str, tuple[str, int]]] = {}
            for row in dicts(_FILES, [self.attempts]):
                found.setdefault(row["attempt_id"], {})[row["path"]] = (row["sha256"], row["bytes"])
            self._files = dict(found)
        return self._files

    def _read(self, sha256: str, size: int) -> Any:
        if size > MAX_COMPARED:
            return None
        if sha256 not in self._contents:
            self._contents[sha256] = storage.read_bytes(sha256, size)
        return self._contents[sha256]
