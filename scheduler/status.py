"""The status that agents tell with a sync, parsed and bounded. Pure. Everything in it is a claim."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from core.errors import Invalid
from marketplace.services.storekeeping import ORDERS_AT_ONCE, Told

MOST_CACHED: Final = 200
MOST_KEPT: Final = 20_000
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# name → the largest value that is kept; what is unknown is left out by the agent
LARGEST: Final = {
    "load1": 1_000_000,
    "free_cores": 10_000_000,
    "free_memory_mib": 2**31 - 1,
    "free_disk_mib": 2**40,
    "temperature_c": 200,
    "power_w": 10_000_000,
}
Cached = list[tuple[str, int]]


def parse_status(body: Any) -> tuple[dict[str, float], Cached | None] | None:
    """(numbers by name, blobs held) of `status`; None when none was sent, blobs None when it says nothing of them.

    Later agents may say more; what this version does not know is not kept. Raises Invalid `invalid_status`.
    """
    if body is None:
        return None
    if not isinstance(body, dict):
        raise Invalid("invalid_status", "an object", field="status")
    numbers = {name: _number(body[name], name) for name in LARGEST if body.get(name) is not None}
    return numbers, None if body.get("cache") is None else _cached(body["cache"])


def _number(value: Any, name: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not -100 <= value <= LARGEST[name]:
        raise Invalid("invalid_status", f"a number, at most {LARGEST[name]}", field=f"status.{name}")
    return float(value) if isinstance(value, float) else int(value)


def _cached(value: Any) -> Cached:
    if not isinstance(value, list) or len(value) > MOST_CACHED:
        raise Invalid("invalid_status", f"a list of at most {MOST_CACHED} blobs", field="status.cache")
    found: dict[str, int] = {}
    for index, one in enumerate(value):
        sha, size = (one.get("sha256"), one.get("bytes")) if isinstance(one, dict) else (None, None)
        known = isinstance(sha, str) and DIGEST.fullmatch(sha)
        if not known or not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
            raise Invalid("invalid_status", "{sha256, bytes}", field=f"status.cache.{index}")
        found[str(sha)] = size
    return sorted(found.items())


def parse_store(body: Any) -> Told | None:
    """`store` of a sync: {mib, kept: [sha256], failed: [[sha256, why]]}; None when none was sent. Raises `invalid_store`."""
    if body is None:
        return None
    if not isinstance(body, dict):
        raise Invalid("invalid_store", "an object", field="store")
    mib, kept, failed = body.get("mib"), body.get("kept", []), body.get("failed", [])
    if not isinstance(mib, int) or isinstance(mib, bool) or not 0 <= mib < 2**31:
        raise Invalid("invalid_store", "MiB, not negative", field="store.mib")
    if not isinstance(kept, list) or len(kept) > MOST_KEPT or not all(map(_is_digest, kept)):
        raise Invalid("invalid_store", f"a list of at most {MOST_KEPT} SHA-256", field="store.kept")
    if not isinstance(failed, list) or len(failed) > ORDERS_AT_ONCE or not all(map(_is_failure, failed)):
        raise Invalid("invalid_store", "a list of [SHA-256, why]", field="store.failed")
    return Told(mib, frozenset(kept), {sha256: why[:200].replace("\0", "") for sha256, why in failed})


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None


def _is_failure(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_digest(value[0]) and isinstance(value[1], str)
