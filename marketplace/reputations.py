"""How far pools are believed. The numbers are the scheduler's, an upper app: it plugs its reader in when it is ready.

from marketplace import reputations
reputations.plug(reputations_of)        # in SchedulerConfig.ready()
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

Reader = Callable[[Collection[int]], Mapping[int, dict[str, Any]]]
NEW: Final[dict[str, Any]] = {"score": None, "status": "new", "formula": "", "valid": 0, "invalid": 0, "lost": 0, "sample_size": 0}
_readers: list[Reader] = []


def plug(reader: Reader) -> None:
    """Make this the reader: pool ids in, their reputations out, in one query; pools without one may be left out."""
    _readers[:] = [reader]


def reputations_of(pool_ids: Collection[int]) -> Mapping[int, dict[str, Any]]:
    """The reputations of these pools; a pool without an entry is new."""
    return _readers[0](pool_ids) if _readers and pool_ids else {}
