"""Reading tables that may hold millions of rows: nothing is counted to the end, nothing runs for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.core.paginator import Paginator
from django.db import OperationalError, connection, models, transaction
from django.utils.functional import cached_property
from psycopg.errors import QueryCanceled

COUNTED: Final = 10_000  # rows that are counted one by one
PAGES: Final = 200  # pages that can be turned: beyond, every page reads all that comes before it
PATIENCE: Final = 3.0  # seconds, for what somebody asked that no index may answer
KEY_ORDER: Final = 20.0  # for a list as it stands, read in the order of its keys: slow only where the machine hangs

_ESTIMATE: Final = "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass"


@contextmanager
def at_most(seconds: float = PATIENCE) -> Iterator[None]:
    """A transaction whose statements are cancelled after so many seconds (OperationalError)."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
        yield
        cursor.execute("SET LOCAL statement_timeout TO DEFAULT")


def was_cancelled(error: OperationalError) -> bool:
    """Did PostgreSQL stop the statement because it took too long?"""
    return isinstance(error.__cause__, QueryCanceled)


def limited(sql: str, params: Sequence[Any] = (), *, seconds: float = PATIENCE) -> list[tuple[Any, ...]] | None:
    """The rows of a read, or None when it would have taken too long."""
    try:
        with at_most(seconds), connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()
    except OperationalError as error:
        if was_cancelled(error):
            return None
        raise


class BoundedPaginator(Paginator):
    """Pages of a list without counting all of it.

    Up to COUNTED rows are counted exactly. Beyond, a whole table's number is PostgreSQL's own estimate, and a
    filtered list's is COUNTED with `more` set. Only the first PAGES pages can be turned; filters find the rest.
    """

    more = False
    template_name = "admin/pages.html"

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        bounded = _bounded_count(rows)
        if bounded is not None and bounded <= COUNTED:
            return bounded
        self.more = True
        whole = not rows.query.where
        return max(_estimate(rows.model), COUNTED) if whole else COUNTED

    @property
    def told(self) -> str:
        """The number in words that do not promise more than was counted."""
        if not self.more:
            return f"{self.count:,}"
        return f"more than {COUNTED:,}" if self.count == COUNTED else f"about {self.count:,}"

    @cached_property
    def num_pages(self) -> int:
        return min(super().num_pages, PAGES)


def _bounded_count(rows: models.QuerySet[Any]) -> int | None:
    """Called within the list's own time limit."""
    try:
        with transaction.atomic():
            return rows.order_by().values("pk")[: COUNTED + 1].count()
    except OperationalError as error:
        if was_cancelled(error):
            return None
        raise


def _estimate(model: type[models.Model]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_ESTIMATE, [model._meta.db_table])
        return int(cursor.fetchone()[0])
