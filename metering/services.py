"""What metering does: turn ended attempts into usage records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid
from marketplace.models import Task
from metering.cutoffs import no_cutoff_meanwhile
from metering.meters import LARGEST
from metering.models import UsageRecord
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


# What an operator may correct of a usage record, and what it was measured by.
CORRECTABLE: Final = (
    "wall_ms", "core_ms", "held_core_ms", "memory_mib_ms", "accelerator_ms", "bytes_in", "bytes_out",
)  # fmt: skip


def revise(record: UsageRecord, changes: Mapping[str, int]) -> UsageRecord:
    """A correction of a record: the last revision of its attempt with other numbers, as a row of its own.

    Raises Invalid `usage_invalid` with the column in `field`, Conflict `usage_corrected` when somebody else was quicker.
    """
    last = UsageRecord.objects.filter(attempt=record.attempt_id).latest("revision")
    window = (last.ended_at - last.started_at) // timedelta(milliseconds=1)
    for name, value in changes.items():
        most = window if name == "wall_ms" else LARGEST
        if name not in CORRECTABLE or not 0 <= value <= most:
            raise Invalid("usage_invalid", f"a whole number from 0 to {most}", field=name)
    values = {one.attname: getattr(last, one.attname) for one in UsageRecord._meta.concrete_fields if not one.primary_key}
    values |= {"revision": last.revision + 1, "corrects_id": last.pk, "measured_at": timezone.now()}
    values["flags"] = sorted({*last.flags, "corrected"})
    try:
        with transaction.atomic():
            return UsageRecord.objects.create(**{**values, **changes})
    except IntegrityError:
        raise Conflict("usage_corrected", "somebody else has just corrected this record") from None
