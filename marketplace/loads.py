"""How busy pools are. The numbers are the scheduler's, an upper app: it plugs its reader in when it is ready.

    from marketplace import loads
    loads.plug(loads_of)        # in SchedulerConfig.ready()
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple


class Load(NamedTuple):
    """Cores held by live leases, and live attempts."""

    cores_leased: int = 0
    attempts: int = 0


Reader = Callable[[Collection[int]], Mapping[int, Load]]
_readers: list[Reader] = []


def plug(reader: Reader) -> None:
    """Make this the reader: pool ids in, their loads out, in one query; idle pools may be left out."""
    _readers[:] = [reader]


def loads_of(pool_ids: Collection[int]) -> Mapping[int, Load]:
    """The loads of these pools; a pool without an entry is idle."""
    return _readers[0](pool_ids) if _readers and pool_ids else {}
