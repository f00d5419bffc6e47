"""What metering tells those who listen (docs/webhooks.md): a provider's counters that do not agree with the platform's."""

from __future__ import annotations

from typing import Any, Final

from marketplace.webhooks.outbox import Event, publish
from marketplace.webhooks.types import EventType
from metering.models import ReconciliationRun
from metering.reconciling.comparing import AGREE

_RUN: Final = {
    "reconciliation": 6,
    "run": 2,
    "name": "June",
    "provider": "bobs-pools",
    "relative": "0.01",
    "absolute": "0.5",
    "cutoff": "2026-07-02T08:04:11.250000Z",
    "counts": {"matched": 41, "within": 3, "off": 2, "missing_here": 0, "missing_there": 1},
}
TYPES: Final = [EventType("reconciliation.off", "a run found counters out of tolerance, or that one side does not have", _RUN)]


def tell_reconciliation(run: ReconciliationRun) -> int:
    """Tell the provider, who alone may read it, of a run whose counters do not all agree. Each run once."""
    if not any(count for status, count in run.counts.items() if status not in AGREE):
        return 0
    made = run.reconciliation
    data: dict[str, Any] = {"reconciliation": made.pk, "run": run.number, "name": made.name, "provider": made.provider.slug}
    data |= {name: f"{getattr(made, name).normalize():f}" for name in ("relative", "absolute")}
    data |= {"cutoff": run.cutoff, "counts": run.counts}
    subject = f"reconciliation/{made.pk}"
    return publish([Event(made.provider_id, "reconciliation.off", subject, data, run.cutoff, f"{subject}/{run.number}")])
