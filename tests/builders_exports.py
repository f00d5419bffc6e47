"""What exports are of: a market with a charged task, an event, and files that were asked for."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from billing.exports.requesting import Wanted, request_export
from billing.exports.running import run_now
from billing.models import Export
from billing.services import charge_task
from marketplace.models import Organization, Task
from tests import builders as build
from tests.builders_billing import (
    Market,
    make_agent,
    make_attempt,
    make_need,
    make_offer,
    make_pool,
    make_task,
    make_usage,
    make_version,
)

ALWAYS: Final = {"from": "2020-01-01", "to": "2100-01-01"}


def the_casts_market() -> Market:
    """Alice asks, bob provides, carol publishes: 0.1 CNY a core second and 0.02 CNY a unit, a tenth of it the platform's."""
    parties = (build.alice().organization, build.bob().organization, build.carol().organization)
    pool = make_pool(parties[1])
    return Market(*parties, pool, make_agent(pool), make_offer(pool, rates={"core_second": "0.1"}), make_version(parties[2]))


def a_charged_task(market: Market, units: int = 1, **usage: Any) -> Task:
    task = make_task(market, units=units, terms={"fee_per_unit": "0.02", "platform_basis_points": 1000})
    need = make_need()
    for _ in range(units):
        make_usage(market, task, make_attempt(market, task, need), **{"core_ms": 1234} | usage)
    assert charge_task(task.pk)
    return task


def asked(person: Any, kind: str, **body: Any) -> Any:
    """The answer to a request for an export of everything there ever was."""
    return build.client_of(person).post("/api/v1/exports", ALWAYS | {"kind": kind} | body)


def fetched(person: Any, answer: Any) -> bytes:
    """The file of an export that was answered as ready."""
    found = build.client_of(person).get(f"/api/v1/exports/{answer.json()['id']}/file")
    assert found.status_code == 200, found.json()
    return b"".join(found.streaming_content)


def rows_in(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode())))


def an_export(organization: Organization | None, state: str = "requested", now: datetime | None = None, **wanted: Any) -> Export:
    """An export led to a state as the services lead it there, or as near as they do."""
    end = now or timezone.now()
    fields = {"kind": "charges", "start": end - timedelta(days=400), "end": end, "is_operator": organization is None}
    export, _ = request_export(organization, None, Wanted(**fields | ({"party": "all"} if organization is None else {}) | wanted))
    if state in {"ready", "expired"}:
        export = run_now(export)
    lease = {"lease_until": end + timedelta(minutes=5)}
    if state in {"running", "failed"}:
        Export.objects.filter(pk=export.pk).update(state="running", tries=1, started_at=end, **lease)
    if state == "failed":
        Export.objects.filter(pk=export.pk).update(state="failed", reason="broken", ended_at=end)
    if state == "expired":
        Export.objects.filter(pk=export.pk).update(state="expired")
    export.refresh_from_db()
    return export
