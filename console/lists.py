"""Lists of rows that are numbered as they came: the newest first, a page at a time."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest

PAGE: Final = 40
_MOST_DIGITS: Final = 18  # a number that PostgreSQL's bigint holds


def newest(request: HttpRequest, rows: QuerySet[Any], size: int = PAGE, by: str = "pk") -> tuple[list[Any], str]:
    """The page of rows that `?before=` asks for, and what the next one is asked with; that is empty on the last.

    What is no number counts as not given.
    """
    text = request.GET.get("before", "")
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        rows = rows.filter(**{f"{by}__lt": int(text)})
    found = list(rows.order_by(f"-{by}")[: size + 1])
    return found[:size], str(getattr(found[size - 1], by)) if len(found) > size else ""
