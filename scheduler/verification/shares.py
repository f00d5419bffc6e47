"""Owners dealt to siblings that look for pools at the same time, so that no two can meet. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection


def dealt(secret: str, salt: str, owners: Collection[int], able: Collection[int], shares: int) -> list[set[int]]:
    """Disjoint shares that hold all owners; those who can take a unit now are dealt first, so that each share has one.

    In an order that follows from the server's secret: no owner can foretell whose result is compared with its own.
    """

    def rank(owner: int) -> tuple[bool, bytes]:
        return owner not in able, hmac.digest(secret.encode(), f"share:{salt}:{owner}".encode(), hashlib.sha256)

    ordered = sorted(owners, key=rank)
    return [set(ordered[place::shares]) for place in range(shares)]
