"""The types of events, as data: what each tells, with an example of its `data`. docs/webhooks.md is compared with it by a test.

A type is `family.name`. Apps above declare theirs at start (`declare`), as imports point down only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

FAMILIES: Final = ("task", "budget", "invoice", "payout", "payment", "dispute", "export", "webhook", "sla", "reconciliation")
EVERYTHING: Final = "*"
PING: Final = "webhook.ping"
DISABLED: Final = "webhook.disabled"
_TYPE: Final = re.compile(rf"(?:{'|'.join(FAMILIES)})(?:\.[a-z][a-z0-9_]*)+")

# What data of every event of a task holds; its ending adds more.
TASK_DATA: Final[Mapping[str, Any]] = {
    "id": "0196f0c2-7d6e-7c52-9f2e-6f4a0f3c1d11",
    "name": "frames of May",
    "kind": "user",
    "state": "delivered",
    "capability": "gridfare/render@1.0.0",
    "labels": {"project": "may"},
    "reason_class": "",
    "reason": "",
    "units_total": 24,
    "units_done": 24,
    "cost": {"amount": "1.284000", "currency": "CNY", "final": False},
    "created_at": "2026-05-02T08:00:00.000000Z",
    "ended_at": "2026-05-02T08:04:11.250000Z",
}


@dataclass(frozen=True)
class EventType:
    """One type: its name, when it is told, and an example of its data."""

    name: str
    tells: str
    example: Mapping[str, Any]


def _task(name: str, tells: str, **more: Any) -> EventType:
    return EventType(f"task.{name}", tells, {**TASK_DATA, **more})


_BAD: Final = {"state": "failed", "units_done": 23, "reason_class": "capability_error", "reason": "unit 7: exit code 1"}
_declared: Final[dict[str, EventType]] = {}


def declare(types: Iterable[EventType]) -> None:
    """Make types known, so that endpoints may ask for them by name. ValueError for a name that is no type's."""
    for one in types:
        if not is_type(one.name):
            raise ValueError(f"{one.name!r} is not the name of a type")
        _declared[one.name] = one


def declared() -> list[EventType]:
    """All known types, by name."""
    return [_declared[name] for name in sorted(_declared)]


def is_type(name: str) -> bool:
    """True for a name that a type may have."""
    return len(name) <= 64 and _TYPE.fullmatch(name) is not None


def unknown_wishes(wishes: Iterable[str]) -> list[str]:
    """Those that ask for nothing there is: neither `*`, nor `family.*`, nor a declared type."""
    known = {EVERYTHING, *(f"{family}.*" for family in FAMILIES), *_declared}
    return sorted(set(wishes) - known)


declare(
    [
        _task("delivered", "the result is stored", files=24, result_hash="5b2c…"),
        _task("failed", "a unit failed for good, or nothing can run it", **_BAD),
        _task("cancelled", "the user's wish, once nothing of it runs", state="cancelled", reason_class="user_cancel"),
        _task("expired", "its deadline passed first", state="expired", reason_class="deadline"),
        _task("settled", "all of its use is charged: the cost is final", cost={**TASK_DATA["cost"], "final": True}),
        EventType(PING, "somebody asked for a trial of this endpoint", {"endpoint": "0196f0c2-…", "message": "it works"}),
        EventType(
            DISABLED,
            "an endpoint of the organization was turned off; sent to its others",
            {"endpoint": "0196f0c2-…", "url": "https://example.com/hook", "because": "it answered 410 Gone"},
        ),
    ]
)
