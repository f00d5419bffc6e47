"""Reconciliations: counters are stored once, runs as often as one likes. A constant number of statements each."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Max

from core.errors import Invalid
from marketplace.models import ApiKey, Organization, Pool
from marketplace.pricing import EXACT
from metering.cutoffs import safe_cutoff
from metering.models import Reconciliation, ReconciliationRow, ReconciliationRun, ReportedCounter
from metering.periods.quantities import POOL_SUMS
from metering.reconciling.comparing import Compared, Name, Status, Tolerance, compare
from metering.reconciling.reading import Counter
from metering.telling import tell_reconciliation

MOST_PERIODS: Final = 1000  # different periods of one upload


def reconcile(
    provider: Organization, counters: Sequence[Counter], tolerance: Tolerance, *, name: str = "", api_key: ApiKey | None = None
) -> ReconciliationRun:
    """Store the counters and compare them with what the platform knows now. All of it or nothing.

    Raises Invalid `counters_invalid` for a pool that is not the provider's, or a customer whom nobody knows.
    """
    pools = dict(Pool.objects.filter(organization=provider).values_list("identifier", "pk"))
    slugs = {one.customer for one in counters} - {""}
    customers = dict(Organization.objects.filter(slug__in=slugs).values_list("slug", "pk"))
    for number, one in enumerate(counters):
        if one.pool not in pools:
            raise Invalid("counters_invalid", "no pool of yours has this identifier", field=f"rows.{number}.pool")
        if one.customer and one.customer not in customers:
            raise Invalid("counters_invalid", "no organization has this short name", field=f"rows.{number}.customer")
    if len({(one.start, one.end) for one in counters}) > MOST_PERIODS:
        raise Invalid("counters_invalid", f"at most {MOST_PERIODS} different periods in one upload", field="rows")
    cutoff = safe_cutoff()
    with transaction.atomic():
        made = Reconciliation.objects.create(
            provider=provider, name=name, absolute=tolerance.absolute, relative=tolerance.relative, api_key=api_key,
            created_at=cutoff,
        )  # fmt: skip
        ReportedCounter.objects.bulk_create(
            ReportedCounter(
                reconciliation=made, pool_id=pools[one.pool], customer_id=customers.get(one.customer), meter=one.meter,
                unit=one.unit, start=one.start, end=one.end, quantity=one.quantity,
            )
            for one in counters
        )  # fmt: skip
        return _run(made, cutoff)


def run_again(made: Reconciliation) -> ReconciliationRun:
    """Compare the same counters with what the platform knows now; the runs before stay as they are."""
    cutoff = safe_cutoff()
    with transaction.atomic():
        return _run(Reconciliation.objects.select_for_update().get(pk=made.pk), cutoff)


def _run(made: Reconciliation, cutoff: datetime) -> ReconciliationRun:
    names = ("pool_id", "customer_id", "meter", "unit", "start", "end")
    theirs = {Name(*row[:6]): row[6] for row in ReportedCounter.objects.filter(reconciliation=made).values_list(*names, "quantity")}
    rows = compare(theirs, sums_of(made.provider_id, theirs, cutoff), Tolerance(made.absolute, made.relative))
    last = ReconciliationRun.objects.filter(reconciliation=made).aggregate(last=Max("number"))["last"] or 0
    tally = Tally(row.status for row in rows)
    counts = {status.value: tally[status] for status in Status}
    run = ReconciliationRun.objects.create(reconciliation=made, number=last + 1, cutoff=cutoff, counts=counts)
    ReconciliationRow.objects.bulk_create(_row(run, row) for row in rows)
    tell_reconciliation(run)
    return run


def sums_of(provider: int, theirs: Mapping[Name, Any], cutoff: datetime) -> dict[Name, tuple[Decimal, int]]:
    """What the platform knows of the provider's pools in the periods and by the meters of these counters. One statement."""
    periods = sorted({(name.start, name.end) for name in theirs})
    given: dict[str, Any] = {"provider": provider, "cutoff": cutoff, "meters": sorted({name.meter for name in theirs})}
    given |= {"begins": [start for start, _ in periods], "ends": [end for _, end in periods]}
    with connection.cursor() as cursor:
        cursor.execute(POOL_SUMS, given)
        found = cursor.fetchall()
    sums: dict[Name, tuple[Decimal, int]] = {}
    for place, pool, customer, meter, unit, quantity, facts in found:
        name = Name(pool, customer, meter, unit, *periods[place - 1])
        before = sums.get(name, (Decimal(0), 0))
        sums[name] = EXACT.add(before[0], quantity), before[1] + facts
    return sums


def _row(run: ReconciliationRun, row: Compared) -> ReconciliationRow:
    name = row.name
    return ReconciliationRow(
        run=run, pool_id=name.pool, customer_id=name.customer, meter=name.meter, unit=name.unit, start=name.start, end=name.end,
        theirs=row.theirs, ours=row.ours, difference=row.difference, facts=row.facts, status=row.status.value,
    )  # fmt: skip
