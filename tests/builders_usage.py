"""Usage events for tests: bob's pools report what alice used."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from marketplace.models import Organization, Pool
from metering.events.storing import Taken, take
from metering.models import QuarantinedEvent, ReconciliationRun
from metering.reconciling.comparing import Tolerance
from metering.reconciling.reading import counters_of
from metering.reconciling.running import reconcile

_serial = count(1)
COUNTER = {"meter": "gpu_hour", "unit": "hour", "from": "2026-06-01", "to": "2026-07-01", "quantity": "1"}


def an_event(pool: str | Pool = "TEST-1", customer: str | Organization = "acme", **changes: Any) -> dict[str, Any]:
    """A CloudEvent. `changes` replace members; `data` ones are quantity, unit, labels, value, boot_id, seq, gauge."""
    number = next(_serial)
    data: dict[str, Any] = {"pool": str(pool), "quantity": "1", "unit": "hour"}
    if "value" in changes or "gauge" in changes:
        del data["quantity"]
    names = ("quantity", "unit", "labels", "value", "boot_id", "seq", "gauge")
    data |= {name: changes.pop(name) for name in names if name in changes}
    time = changes.pop("time", timezone.now() - timedelta(minutes=number % 600))
    event = {"specversion": "1.0", "id": f"event-{number}", "source": "/bob/meter", "type": "gpu_hour", "subject": str(customer)}
    return event | {"time": time if isinstance(time, str) else time.isoformat(), "data": data} | changes


def sent(pool: Pool, *events: dict[str, Any]) -> Taken:
    """Taken as the pool's owner sends them."""
    return take(pool.organization, list(events))


def a_kept_event(pool: Pool, customer: Organization) -> QuarantinedEvent:
    """An event of forty days ago, which waits for an operator."""
    sent(pool, an_event(pool, customer, time=timezone.now() - timedelta(days=40)))
    return QuarantinedEvent.objects.latest("pk")


def a_reconciliation(pool: Pool) -> ReconciliationRun:
    """A counter of the pool's owner, compared once."""
    return reconcile(pool.organization, counters_of([COUNTER | {"pool": pool.identifier}], ZoneInfo("UTC")), Tolerance())
