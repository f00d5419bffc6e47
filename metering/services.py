"""What metering does: turn ended attempts into usage records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from marketplace.models import Task
from metering.cutoffs import no_cutoff_meanwhile
from metering.sql import MEASURE


@dataclass(frozen=True, slots=True)
class Measured:
    """What one statement did: attempts taken from the queue, records written, the tasks they belong to."""

    taken: int = 0
    recorded: int = 0
    tasks: list[UUID] = field(default_factory=list)


def measure(limit: int = settings.CHUNK) -> Measured:
    """Measure up to `limit` ended attempts, those leased first: a lock and one statement, in one transaction.

    Two callers never meet: each skips what the other has locked. An attempt that was given back unstarted
    (`released`) leaves the queue without a record. Offers that priced one of them become `used`.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        no_cutoff_meanwhile(cursor)
        cursor.execute(MEASURE, {"limit": limit})
        taken, recorded, tasks = cursor.fetchone()
    return Measured(taken, recorded, tasks)


def ended_among(tasks: Iterable[UUID]) -> list[UUID]:
    """Those of the tasks that have ended and wait for their bill."""
    ended = Task.objects.filter(pk__in=list(tasks), settled_at=None, ended_at__isnull=False)
    return list(ended.values_list("pk", flat=True))
