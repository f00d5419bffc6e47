"""The demo's last month: a long task that its customer cancelled half-way, measured, charged and invoiced by the services.

Months close when they are over. Without one that is, a market that has just come up has no invoice to show. Only the task and its
attempts are written here, as rows; what they cost, the invoice and the journal come from the same services as ever.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from billing.invoices.closing import close_all
from billing.invoices.periods import month_of
from billing.models import Tax, TaxAssignment, TaxRate
from billing.services import charge_tasks
from demo.market import ALICE, CAROL, POOLS
from marketplace.models import Agent, Capability, CapabilityVersion, Contract, Offer, Organization, Pool, Rate, Task
from metering.services import measure
from scheduler.models import Attempt, Ended, Need, Unit

NAME: Final = "transcode"
UNITS: Final = 48
CORES: Final = 4
HOURS: Final = 2
HELD: Final = {"cores": CORES, "memory_mib": 4096, "disk_mib": 4096, "accelerators": []}
NEED: Final = {"stage": 0, "need": HELD, "tflop": "40", "run_s": 7200}
PLAN: Final[dict[str, Any]] = {
    "units": 2 * UNITS, "split": {"by": "range"}, "run": ["transcode"], "outputs": [], "need": HELD, "limits": {}, "tflop": "40",
    "merge_stage": None,
}  # fmt: skip
TERMS: Final = {"platform_basis_points": 500, "fee_per_unit": "0.30", "fee_per_task": "0", "currency": "CNY"}


def seed_month() -> bool:
    """Write last month's task and bill it; False when that was done before."""
    publisher, customer = (Organization.objects.get(slug=party.slug) for party in (CAROL, ALICE))
    if Capability.objects.filter(organization=publisher, name=NAME).exists():
        return False
    zone = ZoneInfo(settings.USAGE_ZONE)
    start, _ = month_of(month_of(timezone.now(), zone)[0] - timedelta(days=1), zone)
    _agree(customer, start)
    task = _task(customer, publisher, start)
    _attempts(task, start)
    while measure().taken:
        pass
    charge_tasks([task.pk])
    close_all(organizations=[customer.pk])
    return True


def _agree(customer: Organization, start: datetime) -> None:
    """What was agreed with the customer: months without grace, VAT."""
    valid = DateTimeTZRange(start, None)
    terms: dict[str, Any] = {"zone": settings.USAGE_ZONE, "currency": "CNY", "grace_days": 0, "due_days": 30}
    Contract.objects.create(organization=customer, valid=valid, signed_at=start, **terms)
    tax, _ = Tax.objects.get_or_create(code="vat", defaults={"name": "VAT 增值税"})
    TaxRate.objects.create(tax=tax, percent=Decimal(6), valid=valid)
    TaxAssignment.objects.create(tax=tax, organization=customer, valid=valid)


def _task(customer: Organization, publisher: Organization, start: datetime) -> Task:
    capability = Capability.objects.create(organization=publisher, name=NAME)
    version = CapabilityVersion.objects.create(
        capability=capability, version="0.9.0", manifest={"summary": "films into other formats"}, digest="0" * 64, state="withdrawn"
    )
    return Task.objects.create(
        organization=customer,
        capability_version=version,
        name="东方快车 4K, cancelled half-way",
        labels={"project": "orient express"},
        request_digest="0" * 64,
        plan=PLAN,
        terms=TERMS,
        priced_at=start,
        state=Task.State.CANCELLED,
        reason_class="user_cancel",
        reason="cancelled by its user",
        units_total=2 * UNITS,
        units_done=UNITS,
        created_at=start + timedelta(days=3),
        started_at=start + timedelta(days=3),
        ended_at=start + timedelta(days=9),
    )


def _attempts(task: Task, start: datetime) -> None:
    """Half of the task's units, spread over the pools and six days; each held its cores for two hours."""
    need = Need.objects.get_or_create(key="demo-month".ljust(64, "0"), defaults={"document": NEED})[0]
    pools = [_equipped(pool, start) for pool in Pool.objects.filter(name__in=[one.name for one in POOLS]).order_by("pk")]
    wall = HOURS * 3_600_000
    claim = {"wall_ms": wall, "core_ms": wall * CORES - 90_000, "memory_mib_ms": wall * 3000}
    claim |= {"bytes_in": 4 * 10**8, "bytes_out": 10**8}
    rows = []
    for number in range(UNITS):
        pool, agent, offer = pools[number % len(pools)]
        unit = Unit.objects.create(task=task, stage=0, index=number, need=need, state="done", pool=pool, offer=offer, fence=1)
        begun = task.created_at + timedelta(hours=3 * number)
        rows.append(
            Attempt(
                unit=unit, task=task, pool=pool, agent=agent, need=need, offer=offer, session=UUID(int=0), fence=1, state="valid",
                usage=claim, leased_at=begun, ended_at=begun + timedelta(hours=HOURS),
            )
        )  # fmt: skip
    made = Attempt.objects.bulk_create(rows)
    Ended.objects.bulk_create(Ended(attempt=one, at=one.leased_at + timedelta(hours=HOURS)) for one in made)


def _equipped(pool: Pool, start: datetime) -> tuple[Pool, Agent, Offer]:
    """A pool with the machine and the price that it had then: today's price, until today's offer began."""
    today = Offer.objects.filter(pool=pool, origin=None).order_by("valid").prefetch_related("rates")[0]
    valid = DateTimeTZRange(start, today.valid.lower)
    offer = Offer.objects.create(pool=pool, basis=today.basis, currency=today.currency, valid=valid)
    Rate.objects.bulk_create(Rate(offer=offer, meter=rate.meter, unit_price=rate.unit_price) for rate in today.rates.all())
    key = f"earlier machine of {pool.identifier}".ljust(44, "=")[:44]
    agent = Agent.objects.create(pool=pool, public_key=key, name="earlier", version="0.9.0", retired_at=timezone.now())
    return pool, agent, offer
