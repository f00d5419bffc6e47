"""Why an attempt ended as it did: codes, their reason classes, and the report that says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REASON_OF = {
    "exit_nonzero": "capability_error",
    "killed_by_signal": "capability_error",
    "outputs_missing": "capability_error",
    "time_limit": "limit_exceeded",
    "memory_limit": "limit_exceeded",
    "process_limit": "limit_exceeded",
    "disk_limit": "limit_exceeded",
    "file_limit": "limit_exceeded",
    "output_limit": "limit_exceeded",
    "environment_failed": "node_fault",
    "download_failed": "node_fault",
    "upload_failed": "node_fault",
    "not_asked": "node_fault",
    "lease_unrenewed": "node_fault",
    "agent_stopping": "reclaimed",
    "reclaimed": "reclaimed",
    "owner_returned": "reclaimed",
    "cancelled": "user_cancel",
}
"""Reason class of each code that fails or cancels an attempt; `released` ones carry a code without a class."""

STALE = "stale_lease"
"""The one cause without a report: the platform has written the attempt off."""


class AttemptEnded(Exception):
    """Ends an attempt from anywhere in its course; the reason class follows from the code unless given."""

    def __init__(self, code: str, detail: str = "", reason_class: str | None = None, exit_code: int = 0) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.exit_code = code, detail, exit_code
        self.reason_class = reason_class or REASON_OF.get(code)


class Released(AttemptEnded):
    """The unit goes back unstarted."""


@dataclass(slots=True)
class Usage:
    """What an attempt took; integers in the units of the protocol."""

    prepare_ms: int = 0
    wall_ms: int = 0
    core_ms: int = 0
    memory_mib_ms: int = 0
    peak_memory_mib: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    accelerator_ms: dict[str, int] = field(default_factory=dict)
    joules: int = 0
    """Of the processors, where the machine measures them."""

    def to_json(self) -> dict[str, Any]:
        """Without the empty ones."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}


def one_line(text: str, limit: int = 500) -> str:
    """Printable, on one line, not longer than ``limit`` characters, valid as UTF-8."""
    clean = "".join(c if c.isprintable() else " " for c in text.encode(errors="replace").decode())
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def outcome_of(problem: AttemptEnded) -> str:
    """The report's outcome for an attempt that did not succeed."""
    if isinstance(problem, Released):
        return "released"
    return "cancelled" if problem.code == "cancelled" else "failed"


def failure(attempt: int | str, fence: int, problem: AttemptEnded) -> dict[str, Any]:
    """A report item without usage."""
    released = isinstance(problem, Released)
    item: dict[str, Any] = {"attempt": attempt, "fence": fence, "outcome": outcome_of(problem)}
    if problem.code:
        item["code"] = problem.code
    if not released and problem.reason_class:
        item["reason_class"] = problem.reason_class
    if problem.detail:
        item["detail"] = one_line(problem.detail)
    if problem.exit_code:
        item["exit_code"] = problem.exit_code
    return item
