"""Plain rows for what is charged by period: price lists of every kind, and usage at chosen times that was handed over to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from billing.periods import Outcome, rate_periods, safe_cutoff
from billing.services import charge_tasks
from marketplace.models import CapabilityVersion, Offer, Organization, Pool
from marketplace.services.offers import add_rates, read_terms
from metering.models import UsageRecord
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage, make_version

SHANGHAI = ZoneInfo("Asia/Shanghai")
MARCH = date(2026, 3, 1)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    """A local moment of Shanghai, `2026-03-01 08:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def period_offer(
    pool: Pool,
    basis: str,
    rates: Mapping[str, Any],
    rules: Mapping[str, Any] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    customer: Organization | None = None,
    currency: str = "CNY",
) -> Offer:
    """A price list as the API would store it, in force since January 2026 (or [start, end)), or a customer's own."""
    tariff = read_terms(basis, rates, rules or {}, own=customer is not None)
    begin = start or datetime(2026, 1, 1, tzinfo=UTC)
    said: dict[str, Any] = {"per_period": tariff.per_period, "rules": dict(tariff.rules)}
    said |= {"customer": customer, "currency": currency}
    offer = Offer.objects.create(pool=pool, basis=basis, valid=DateTimeTZRange(begin, end), **said)
    add_rates(offer, tariff)
    if customer is not None:
        Offer.objects.filter(pk=offer.pk).update(used=True)
    return offer


def period_market(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any] | None = None, **valid: Any) -> Market:
    """A market whose pool charges by period."""
    market = make_market()
    Offer.objects.filter(pk=market.offer.pk).delete()
    market.offer = period_offer(market.pool, basis, rates, rules, **valid)
    return market


def used(
    market: Market, begin: datetime, seconds: float, cores: int = 1, *, state: str = "delivered", **fields: Any
) -> UsageRecord:
    """One attempt of a task of its own, held from `begin` on; the task has ended and was charged."""
    end = begin + timedelta(seconds=seconds)
    wall = round(seconds * 1000)
    outcome = fields.pop("outcome", "valid")
    terms = {"fee_per_unit": "0"} | terms_of(market.version) | fields.pop("task_terms", {})
    task = make_task(market, state, terms=terms, **fields.pop("task", {}))
    attempt = make_attempt(market, task, make_need(), unit="done", state=outcome, leased_at=begin, ended_at=end)
    numbers = {"wall_ms": wall, "core_ms": wall * cores, "held_core_ms": wall * cores, "memory_mib_ms": 0, "measured_at": end}
    usage = make_usage(market, task, attempt, **(numbers | fields))
    charge_tasks([task.pk])
    return usage


def priced_by_month(market: Market, **fee: Any) -> None:
    """The market's tasks run another version of carol's from now on, which asks these fees by month."""
    market.version = make_version(market.carol, {"fee": {"per_unit": "0", "per_task": "0"} | fee})


def terms_of(version: CapabilityVersion) -> dict[str, Any]:
    """What a task's terms say of a version's fees by month."""
    by_month = {name: rate for name, rate in version.manifest.get("fee", {}).items() if not isinstance(rate, str)}
    return {"fees_by_month": by_month} if by_month else {}


def corrected(usage: UsageRecord, **fields: Any) -> UsageRecord:
    """The same record with other numbers, as a revision measured now."""
    last = UsageRecord.objects.filter(attempt=usage.attempt_id).latest("revision")
    values = {field.attname: getattr(last, field.attname) for field in UsageRecord._meta.concrete_fields if not field.primary_key}
    return UsageRecord.objects.create(
        **(values | {"revision": last.revision + 1, "corrects_id": last.pk, "measured_at": timezone.now()} | fields)
    )


def close(market: Market, month: date = MARCH, cutoff: datetime | None = None) -> Outcome:
    """Rate a month of alice's for good."""
    return rate_periods([market.alice.pk], month, cutoff or safe_cutoff(), final=True)


def amount(text: str) -> int:
    """Micros of decimal text."""
    return int(Decimal(text) * 1_000_000)
