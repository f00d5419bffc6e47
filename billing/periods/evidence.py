"""What proves a charge: from the facts over slots, ranks and formula to the amount and its entry; computed again when asked for.

The stored cutoff gives the same facts as the run had: their digest is compared with the one that was stored then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from billing.models import Charge, PeriodCharge
from billing.periods.events import events_of, spans_of
from billing.periods.fees import RECORDS as FEE_RECORDS
from billing.periods.fees import SHARE, UNITS, Counted, asked_by, counted_of, digest_of, is_used
from billing.periods.portions import Portion, portions_of
from billing.periods.rating import Month, Usage, days_of
from billing.periods.reading import Facts, Listed, facts_of, lines_of, listed_of, rows, windows
from billing.periods.sql import RECORDS
from billing.pricing import ending_of, verdict_of, work_of
from core.money import text_of as money
from marketplace.pricing import METERS_OF, quantities_of
from marketplace.pricing import Usage as TaskUsage
from metering.models import UsageRecord
from metering.peaks import evidence_of

SHOWN: Final = 1000  # records that one answer lists; `facts.count` says how many there are
RECORD: Final = (
    "usage", "attempt", "task", "pool", "outcome", "reason_class", "revision", "began_at", "ended_at", "held_ms", "milli_cores",
    "milli_accelerators", "core_ms", "accelerator_ms", "bytes_moved",
)  # fmt: skip
FEE_RECORD: Final = ("usage", "attempt", "task", "ended_at")  # no usage, no attempt: a whole task
NOTHING: Final = Usage({})


def evidence_of_period(charge: PeriodCharge) -> dict[str, Any]:
    """Everything that the charge follows from, as JSON values."""
    source = _source_of_fees(charge) if charge.version_id else _source(charge)
    return {
        "charge": charge.pk,
        "algorithm": charge.algorithm,
        "organization": charge.organization.slug,
        "provider": charge.provider and charge.provider.slug,
        "publisher": charge.publisher and charge.publisher.slug,
        "pool": charge.pool,
        "capability": charge.capability,
        "payer": charge.payer,
        "meter": charge.meter,
        "period": {"from": charge.period.lower, "to": charge.period.upper, "zone": charge.zone},
        "cutoff": charge.cutoff,
        **source,
        "raw": format(charge.raw.normalize(), "f"),
        "billed": format(charge.billed.normalize(), "f"),
        "formula": charge.evidence["formula"],
        "lines": charge.lines,
        "precise": format(charge.precise, "f"),
        "total": money(charge.total_micros),
        "amount": money(charge.amount_micros),
        "split": {"platform_basis_points": charge.basis_points} | _split(charge),
        "refunds": charge.refunds_id,
        "revisions": _revisions(charge),
        "entry": charge.entry and {"key": charge.entry.key, "posted_at": charge.entry.posted_at},
    }


def _source(charge: PeriodCharge) -> dict[str, Any]:
    """A pool's price list, the records and events that it counted, and their peaks."""
    offer, month = charge.offer_id or 0, month_of(charge)
    months = {charge.organization_id: month}
    found = (one for one in facts_of(months, charge.cutoff) if (one.offer, one.payer) == (offer, charge.payer))
    facts, listed = next(found, None), listed_of([offer])[offer]
    return {
        "unit": listed.price.unit_of(charge.meter),
        "price": {"offer": offer, "contract": charge.contract_id} | listed.price.document(),
        "facts": _facts(charge, facts, months),
        "peaks": _peaks(charge, facts, listed, month),
    }


def _source_of_fees(charge: PeriodCharge) -> dict[str, Any]:
    """A version's fees, and the results, the tasks or the cost of resources that they count."""
    version, months = charge.version_id or 0, {charge.organization_id: month_of(charge)}
    counted = next((one for one in counted_of(months, charge.cutoff) if one.version == version), None)
    portions = _portions(charge, counted, months) if charge.meter == SHARE else []
    asked = {"cutoff": charge.cutoff, "version": version, "whole": charge.meter != "fee_per_unit", "limit": SHOWN}
    records = rows(FEE_RECORDS, windows(months) | asked)
    facts = {"count": counted.quantity(charge.meter) if counted else 0}
    used = counted is not None and is_used(counted, portions, charge.meter)
    facts |= _digests(charge, digest_of(counted, portions, charge.meter) if counted and used else "")
    return {
        "unit": UNITS[charge.meter],
        "price": {"version": version, "contract": charge.contract_id} | asked_by([version])[version].document(),
        "facts": facts | {"records": [dict(zip(FEE_RECORD, row, strict=True)) for row in records], "events": []},
        "of": [one.document() for one in portions],
        "peaks": None,
    }


def _portions(charge: PeriodCharge, counted: Counted | None, months: Mapping[int, Month]) -> list[Portion]:
    """What a share is of: the month's price lists are rated again, as the run did."""
    if counted is None:
        return []
    lines = lines_of(months, charge.cutoff, final=True)
    return portions_of(months, charge.cutoff, [counted.version], lines).get(counted.place, [])


def _digests(charge: PeriodCharge, now: str) -> dict[str, Any]:
    """The digest that was charged, that of the same facts now, and whether it is the same."""
    return {"digest": charge.digest, "digest_now": now, "matches": now == charge.digest}


def month_of(charge: PeriodCharge) -> Month:
    """The month that was charged."""
    zone = ZoneInfo(charge.zone)
    return Month(charge.period.lower.astimezone(zone).date(), zone, charge.period.lower, charge.period.upper)


def _facts(charge: PeriodCharge, facts: Facts | None, months: Mapping[int, Month]) -> dict[str, Any]:
    asked = {"cutoff": charge.cutoff, "offer": charge.offer_id, "payer": charge.payer, "limit": SHOWN}
    found = rows(RECORDS, windows(months) | asked)
    return {
        "count": facts.count if facts else 0,
        **_digests(charge, facts.digest if facts else ""),
        "records": [dict(zip(RECORD, row, strict=True)) for row in found],
        "events": _events(charge, months),
    }


def _events(charge: PeriodCharge, months: Mapping[int, Month]) -> list[dict[str, Any]]:
    if charge.payer != PeriodCharge.Payer.USER:
        return []
    return events_of([span for span in spans_of(months) if span.offer == charge.offer_id], charge.cutoff, SHOWN)


def _peaks(charge: PeriodCharge, facts: Facts | None, listed: Listed, month: Month) -> dict[str, Any] | None:
    """The slots of every day on which anything was held, and each peak with the slots that were removed above it."""
    price = listed.price
    if price.policy is None or "peaks" not in charge.evidence:
        return None
    usage = facts.usage if facts else NOTHING
    days, calendar = days_of(price, charge.meter, usage, month, listed.active(month.zone))
    caps = [] if price.cap is None else [price.cap] * len(calendar.days)
    return {
        "steps_of_a_unit": price.scale,
        "policy": price.policy.document(),
        "days": [{"local_day": day.local_day.isoformat(), "slots": list(day.slots)} for day in days],
        "found": evidence_of(price.policy, days, calendar, month.zone, caps),
    }


def _split(charge: PeriodCharge) -> dict[str, str]:
    shares = {"provider": charge.provider_micros, "publisher": charge.publisher_micros, "platform": charge.platform_micros}
    return {party: money(micros) for party, micros in shares.items()}


def _revisions(charge: PeriodCharge) -> list[dict[str, Any]]:
    """The base and all revisions of it, oldest first: what they add is the total, which is `precise` less what was refunded."""
    base = charge.base_id or charge.pk
    found = PeriodCharge.objects.filter(subject=charge.subject_id, period=charge.period).order_by("revision")
    return [
        {
            "charge": one.pk,
            "revision": one.revision,
            "amount": money(one.amount_micros),
            "total": money(one.total_micros),
            "precise": format(one.precise, "f"),
            "refunds": one.refunds_id,
            "cutoff": one.cutoff,
        }
        for one in found
        if base in {one.pk, one.base_id}
    ]


def evidence_of_charge(charge: Charge) -> dict[str, Any]:
    """Everything that a task's charge follows from, as JSON values."""
    usage, task = charge.usage, charge.task
    return {
        "charge": charge.pk,
        "kind": charge.kind,
        "task": task.pk,
        "organization": charge.organization.slug,
        "provider": charge.provider and charge.provider.slug,
        "publisher": charge.publisher.slug,
        "ending": ending_of(task.state, task.reason_class),
        "usage": usage and _usage(usage),
        "digest": usage and digest_of_usage(usage),
        "meters": usage and _meters(usage),
        "price": usage and usage.offer and _price(usage),
        "terms": task.terms,
        "priced_at": task.priced_at,
        "max_price": task.constraints.get("max_price"),
        "payer": charge.payer,
        "reason": charge.reason,
        "reason_row": usage and _verdict(charge, usage),
        "lines": charge.lines,
        "amount": money(charge.amount_micros),
        "split": {
            "platform_basis_points": int(task.terms["platform_basis_points"]),
            "provider": money(charge.provider_micros),
            "publisher": money(charge.publisher_micros),
            "platform": money(charge.platform_micros),
        },
        "entry": charge.entry and {"key": charge.entry.key, "posted_at": charge.entry.posted_at},
    }


def _usage(usage: UsageRecord) -> dict[str, Any]:
    """The record, and what the machine had claimed before it was clamped."""
    names = (
        "revision",
        "stage",
        "outcome",
        "reason_class",
        "wall_ms",
        "core_ms",
        "held_core_ms",
        "memory_mib_ms",
        "accelerator_ms",
    )
    numbers = {
        name: getattr(usage, name)
        for name in (*names, "bytes_in", "bytes_out", "joules", "flags", "started_at", "ended_at", "measured_at")
    }
    found = {"record": usage.pk, "attempt": usage.attempt_id, "pool": usage.pool.identifier, "report": usage.batch_id}
    return found | numbers | {"fp32_gflop": format(usage.fp32_gflop.normalize(), "f"), "claimed": usage.attempt.usage}


def digest_of_usage(usage: UsageRecord) -> str:
    """SHA-256, hexadecimal, of the record's columns as JSON with sorted members, moments in UTC."""
    columns = {field.attname: getattr(usage, field.attname) for field in UsageRecord._meta.concrete_fields}
    return hashlib.sha256(orjson.dumps(columns, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z, default=str)).hexdigest()


def _meters(usage: UsageRecord) -> dict[str, str]:
    counted = usage.outcome == "valid" or (usage.outcome == "superseded" and not usage.reason_class)
    values = TaskUsage(
        core_ms=usage.core_ms,
        held_core_ms=usage.held_core_ms,
        accelerator_ms=usage.accelerator_ms,
        fp32_gflop=usage.fp32_gflop,
        bytes_moved=usage.bytes_in + usage.bytes_out,
        results=int(counted),
    )
    counts = quantities_of(values)
    known = METERS_OF.get(usage.offer.basis, counts) if usage.offer else ()
    return {meter: format(quantity.normalize(), "f") for meter, quantity in counts.items() if meter in known}


def _price(usage: UsageRecord) -> dict[str, Any]:
    offer = usage.offer
    assert offer is not None  # noqa: S101 asked by who looked
    rates = {rate.meter: rate.document or format(rate.unit_price.normalize(), "f") for rate in offer.rates.all()}
    shown = offer.origin or offer  # a round's prices are of the list that the pool showed
    valid = {"from": shown.valid.lower, "to": shown.valid.upper}
    market = {"market": offer.market} if offer.market else {}
    return {
        "offer": shown.pk,
        "basis": offer.basis,
        "currency": offer.currency,
        "rates": rates,
        "rules": offer.rules,
        "valid": valid,
    } | market


def _verdict(charge: Charge, usage: UsageRecord) -> dict[str, Any]:
    """The row and the column of the reason table, and what stands there (billing/pricing.py)."""
    work, ending = work_of(usage.outcome, usage.reason_class), ending_of(charge.task.state, charge.task.reason_class)
    verdict = verdict_of(work, ending, charge.task.kind)
    return {"work": work, "ending": ending, "payer": verdict.payer, "fee": verdict.fee}
