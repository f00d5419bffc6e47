"""Writing exports: under a lease, in constant memory, with progress. Killed anywhere, the next try begins anew.

    claim (running, one try more) -> write a local file, telling progress -> store it under this try's name -> ready

The store's file of a try that did not finish is removed when the export ends, so that none is left behind. The number of a
try is its fence: somebody who lost the lease and still writes cannot finish, and removes what he stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing.exports.kinds import KINDS, ascii_rows
from billing.exports.sources import Question, Row
from billing.exports.writers import Written, write
from billing.models import Export
from billing.telling import tell_export
from core.errors import DomainError
from marketplace import spool, storage

log = logging.getLogger(__name__)
TRIES: Final = 5
AT_A_TIME: Final = 2  # jobs that write: others wait, or exports would take all workers
LEASE: Final = timedelta(minutes=5)  # also for the first row of a long statement, before which there is no progress to tell
_TELL_EVERY: Final = 1.0  # seconds
_LOCK: Final = 0x67_66_65_72  # advisory: claims of jobs, one at a time, so that AT_A_TIME holds

_FREE: Final = "(state = 'requested' OR state = 'running' AND lease_until < %(now)s) AND tries < %(tries)s"
_CLAIM: Final = f"""
UPDATE billing_export SET state = 'running', tries = tries + 1, rows = 0, lease_until = %(now)s + %(lease)s,
       started_at = coalesce(started_at, %(now)s)
 WHERE id = (SELECT id FROM billing_export WHERE {_FREE} AND (%(id)s::uuid IS NULL OR id = %(id)s)
             ORDER BY tries, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
_BUSY: Final = "SELECT count(*) FROM billing_export WHERE state = 'running' AND lease_until >= %s"


class Lost(Exception):
    """Somebody else has the export now."""


def run_now(export: Export) -> Export:
    """Write an export that nobody has begun, here and now; returned as it is then."""
    if (claimed := _claim(export.pk)) is not None:
        _run(claimed)
    return Export.objects.select_related("organization").get(pk=export.pk)


def run_waiting(seconds: float) -> int:
    """Write what waits, one after the other, until so many seconds have gone by. Returns how many were taken on."""
    until, taken = time.monotonic() + seconds, 0
    while time.monotonic() < until and (export := _claim_for_a_job()) is not None:
        _run(export)
        taken += 1
    return taken


def _claim_for_a_job() -> Export | None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_BUSY, [timezone.now()])
        return _claim() if cursor.fetchone()[0] < AT_A_TIME else None


def _claim(pk: UUID | None = None) -> Export | None:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, _arguments(pk))
        found = cursor.fetchone()
    return Export.objects.select_related("organization").get(pk=found[0]) if found else None


def _arguments(pk: UUID | None) -> dict[str, Any]:
    return {"id": pk, "now": timezone.now(), "lease": LEASE, "tries": TRIES}


def _run(export: Export) -> None:
    """One try. What cannot be written ever fails at once; what went wrong this time is tried again later."""
    path = spool.folder() / f"export-{export.pk}-{export.tries}.part"
    try:
        _finish(export, _written(export, path), path)
    except Lost:
        log.info("export %s is somebody else's now", export.pk)
    except DomainError as error:
        _fail(export, f"{error.code}: {error.detail}")
    except Exception as error:
        log.exception("export %s, try %s", export.pk, export.tries)
        reason = f"try {export.tries}: {type(error).__name__}"
        if export.tries >= TRIES:
            _fail(export, f"given up after {export.tries} tries; the last ended with {type(error).__name__}")
        else:
            _mine(export).update(reason=reason, lease_until=timezone.now() + timedelta(seconds=10 * export.tries))
    finally:
        path.unlink(missing_ok=True)


def _written(export: Export, path: Path) -> Written:
    kind = KINDS[export.kind]
    window = export.starts_at, export.ends_at
    question = Question(export.party, export.organization, *window, export.currency, export.group_by, export.site, export.in_ascii)
    rows = _told(export, kind.rows(question))
    columns = kind.table.columns
    with path.open("wb") as file:
        return write(export.format, columns, ascii_rows(columns, rows) if export.in_ascii else rows, file, export.schema)


def _told(export: Export, rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows; how many there were is told about once a second, which also renews the lease."""
    at = time.monotonic() + _TELL_EVERY
    for count, row in enumerate(rows, 1):
        yield row
        if count % 1000 == 0 and time.monotonic() >= at:
            at = time.monotonic() + _TELL_EVERY
            if not _mine(export).update(rows=count, lease_until=timezone.now() + LEASE):
                raise Lost


def _mine(export: Export) -> Any:
    return Export.objects.filter(pk=export.pk, state="running", tries=export.tries)


def _finish(export: Export, written: Written, path: Path) -> None:
    """Store the file, then say that it is ready: what is ready has a file, whatever happens between the two."""
    storage.keep_file(path, export.stored)
    now = timezone.now()
    fields: dict[str, Any] = {"rows": written.rows, "bytes": written.size, "sha256": written.digest.hex(), "reason": ""}
    fields |= {"ended_at": now, "expires_at": now + timedelta(days=settings.EXPORT_DAYS)}
    with transaction.atomic():
        done = _mine(export).update(state="ready", **fields)
        if done:
            tell_export(Export.objects.get(pk=export.pk), now)
    if not done:
        storage.forget_file(export.stored)
        raise Lost
    _forget(export, export.tries - 1)


def _fail(export: Export, reason: str) -> None:
    _forget(export, export.tries)
    now = timezone.now()
    with transaction.atomic():
        if _mine(export).update(state="failed", reason=reason[:300], ended_at=now):
            tell_export(Export.objects.get(pk=export.pk), now)


def _forget(export: Export, up_to: int) -> None:
    """Remove what this many tries may have stored."""
    for number in range(1, up_to + 1):
        storage.forget_file(Export(pk=export.pk, tries=number).stored)


def sweep_exports() -> int:
    """Give up what was tried too often, and remove the files whose time is over: first the file, then it is said.

    Returns how many; a few at a time, the rest is for the next sweep.
    """
    now = timezone.now()
    stuck = Export.objects.filter(state="running", lease_until__lt=now, tries__gte=TRIES)
    for export in stuck[:100]:
        _fail(export, f"given up after {export.tries} tries, each of which broke off")
    over = list(Export.objects.filter(state="ready", expires_at__lte=now).order_by("expires_at")[:100])
    for export in over:
        _forget(export, export.tries)
    return Export.objects.filter(pk__in=[one.pk for one in over], state="ready").update(state="expired")
