"""Scalars as ranges of themselves: an exclusion constraint on them needs no btree_gist."""

from __future__ import annotations

from django.db.models import Func, Value
from django.db.models.functions import Coalesce


def alone(column: str | Coalesce) -> Func:
    """A number as a range of itself: what is the same overlaps, what differs does not."""
    return Func(column, column, Value("[]"), function="int8range")
