"""Versions whose own results do not agree: after three tasks without a verdict the version is known as unstable.

Somebody lying cannot do that to a version by itself: each such task had results of several owners. The mark stays with
the version, which never changes; a new version begins without it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from scheduler.sql import rows

UNSTABLE_AFTER: Final = 3  # tasks that ended with no_consensus

_FLAG: Final = """
UPDATE marketplace_capabilityversion v SET unstable_since = now()
WHERE v.id = ANY(%s) AND v.unstable_since IS NULL AND %s <= (
    SELECT count(*) FROM marketplace_task t
    WHERE t.capability_version_id = v.id AND (t.ended_at IS NULL OR t.state = 'failed' AND t.reason_class = 'invalid_result')
      AND EXISTS (SELECT FROM scheduler_attempt a WHERE a.task_id = t.id AND a.code = 'no_consensus'))
RETURNING v.id
"""


def flag_unstable(versions: Collection[int]) -> list[int]:
    """Mark those of these versions that have had their third task without agreement. Returns the ones marked now."""
    return sorted(version for (version,) in rows(_FLAG, [sorted(versions), UNSTABLE_AFTER])) if versions else []
