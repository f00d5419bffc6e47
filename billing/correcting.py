"""Corrected usage of tasks that are charged: what it would have cost, less what was charged, in rows of their own.

A correction is a usage record with a higher revision. Where the offer charges by period the next run sees it by itself
(billing/periods); here are the others. The price, the payer, the publisher's fee and the cap are those of the first charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from billing.models import Charge, JournalEntry
from billing.pricing import CEILING_MICROS, Split, capped, split_of
from billing.services import CHARGING_LOCK, Posting, post
from billing.sql import BY_PERIOD
from core.errors import Conflict, NotFound
from core.money import MICROS, from_micros, to_micros
from marketplace.models import Rate, Task
from marketplace.pricing import Line, Usage, lines_of
from metering.models import UsageRecord
from metering.services import revise

# Corrections that are not charged, the last of each attempt, with what is charged of it so far.
DUE: Final = f"""
SELECT revised.id, first.id, sums.amount, sums.provider, sums.publisher, sums.platform, spent.micros
  FROM metering_usagerecord revised
  JOIN metering_usagerecord base ON base.attempt_id = revised.attempt_id AND base.revision = 0
  JOIN billing_charge first ON first.usage_id = base.id AND first.kind = 'usage'
  CROSS JOIN LATERAL (
       SELECT sum(amount_micros)::bigint AS amount, sum(provider_micros)::bigint AS provider,
              sum(publisher_micros)::bigint AS publisher, sum(platform_micros)::bigint AS platform
         FROM billing_charge charge JOIN metering_usagerecord usage ON usage.id = charge.usage_id
        WHERE charge.task_id = revised.task_id AND usage.attempt_id = revised.attempt_id AND charge.kind <> 'refund') sums
  CROSS JOIN LATERAL (
       SELECT coalesce(sum(amount_micros), 0)::bigint AS micros FROM billing_charge charge
        WHERE charge.task_id = revised.task_id AND charge.payer = 'user') spent
 WHERE revised.id = ANY(%s) AND revised.revision > 0 AND first.reason <> '{BY_PERIOD}'
   AND NOT EXISTS (SELECT FROM billing_charge done JOIN metering_usagerecord newer ON newer.id = done.usage_id
                    WHERE done.task_id = revised.task_id AND newer.attempt_id = revised.attempt_id
                      AND newer.revision >= revised.revision)
 ORDER BY revised.id
"""
SPENT: Final = """
UPDATE marketplace_task task SET cost_micros = (SELECT coalesce(sum(charge.amount_micros), 0) FROM billing_charge charge
       WHERE charge.task_id = task.id AND charge.payer = 'user')
 WHERE task.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A corrected record, the first charge of its attempt, and what is charged of it and of its task's user so far."""

    usage: UsageRecord
    first: Charge
    charged: Split
    amount: int
    spent: int


def correct_usage(number: int, changes: dict[str, int]) -> UsageRecord:
    """Write a correction of a usage record and charge the difference; one by period is charged with its month.

    changes  column -> its right value (metering.services.CORRECTABLE)
    Raises NotFound `usage_unknown`, Conflict `usage_corrected | task_not_settled | usage_refunded`, Invalid `usage_invalid`.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [CHARGING_LOCK])
        base = UsageRecord.objects.select_related("task").filter(pk=number).first()
        if base is None:
            raise NotFound("usage_unknown", "no such usage record")
        task = Task.objects.select_for_update().get(pk=base.task_id)
        if task.settled_at is None:
            raise Conflict("task_not_settled", "the task is not charged yet: correct it afterwards")
        if Charge.objects.filter(Q(kind="refund", usage__attempt=base.attempt_id) | Q(kind="sla"), task=task).exists():
            raise Conflict("usage_refunded", "a part of it was given back, after a dispute or for its service level")
        made = revise(base, changes)
        charge_corrections([made.pk])
    return made


def charge_corrections(records: Sequence[int]) -> int:
    """Charge what these corrections change. Returns how many charges were written; a second call writes none."""
    with transaction.atomic():
        due = _due(records)
        for one in due:
            _charge(one)
        with connection.cursor() as cursor:
            cursor.execute(SPENT, [[one.usage.task_id for one in due]])
    return len(due)


def _due(records: Sequence[int]) -> list[Due]:
    with connection.cursor() as cursor:
        cursor.execute(DUE, [list(records)])
        rows = cursor.fetchall()
    usages = UsageRecord.objects.select_related("task", "offer").in_bulk([row[0] for row in rows])
    charges = Charge.objects.in_bulk([row[1] for row in rows])
    return [Due(usages[row[0]], charges[row[1]], Split(*row[3:6]), row[2], row[6]) for row in rows]


def _charge(due: Due) -> None:
    resource, lines = _resource(due)
    part, fee = capped(resource, _fee(due.first), _left(due))
    cut = part + fee - resource - _fee(due.first)
    split = split_of(part, fee, int(due.usage.task.terms["platform_basis_points"]))
    delta = part + fee - due.amount
    first, usage = due.first, due.usage
    entry = _entry(due) if delta else None
    paid = due.charged
    shares = (split.provider - paid.provider, split.publisher - paid.publisher, split.platform - paid.platform)
    Charge.objects.create(
        kind=Charge.Kind.DELTA, usage=usage, task=usage.task, organization_id=first.organization_id, provider_id=first.provider_id,
        publisher_id=first.publisher_id, payer=first.payer, reason="corrected", currency=first.currency, amount_micros=delta,
        provider_micros=shares[0], publisher_micros=shares[1], platform_micros=shares[2], lines=lines + _cut_lines(cut),
        entry=entry, charged_at=timezone.now(),
    )  # fmt: skip
    if entry is not None:
        post(
            [
                Posting(
                    entry.pk,
                    first.organization_id,
                    first.provider_id,
                    first.publisher_id,
                    first.currency,
                    first.payer,
                    1,
                    delta,
                    *shares,
                )
            ]
        )


def _entry(due: Due) -> JournalEntry:
    memo = f"corrects usage record {due.first.usage_id}"
    return JournalEntry.objects.create(
        key=f"delta/{due.usage.pk}", kind="delta", task=due.usage.task, memo=memo, posted_at=timezone.now()
    )


def _resource(due: Due) -> tuple[int, list[dict[str, str]]]:
    """What the corrected record costs, in micros, and its lines; nobody pays what nobody paid."""
    usage, offer = due.usage, due.usage.offer
    if due.first.payer == Charge.Payer.NOBODY or due.first.reason == "unpriced" or offer is None:
        return 0, []
    rates: dict[str, Decimal] = dict(Rate.objects.filter(offer=offer).values_list("meter", "unit_price"))
    lines = lines_of(offer.basis, rates, counted(usage))
    total = sum((line.amount for line in lines), Decimal(0))
    return min(to_micros(total), CEILING_MICROS), [_line(line) for line in lines] + _fee_lines(due.first)


def counted(usage: UsageRecord) -> Usage:
    """A record as what is priced."""
    return Usage(
        core_ms=usage.core_ms,
        held_core_ms=usage.held_core_ms,
        accelerator_ms=usage.accelerator_ms,
        fp32_gflop=usage.fp32_gflop,
        bytes_moved=usage.bytes_in + usage.bytes_out,
        results=int(usage.outcome == "valid" or (usage.outcome == "superseded" and not usage.reason_class)),
    )


def _line(line: Line) -> dict[str, str]:
    values = (line.quantity, line.unit_price, line.amount)
    return {"meter": line.meter} | dict(
        zip(("quantity", "unit_price", "amount"), (f"{one.normalize():f}" for one in values), strict=True)
    )


def _fee_lines(first: Charge) -> list[dict[str, Any]]:
    return [line for line in first.lines if line["meter"] == "publisher_fee"]


def _cut_lines(cut: int) -> list[dict[str, Any]]:
    """What the task's price cap takes off."""
    text = format(from_micros(cut).normalize(), "f")
    return [{"meter": "price_cap", "quantity": "1", "unit_price": text, "amount": text}] if cut else []


def _fee(first: Charge) -> int:
    return sum(to_micros(Decimal(line["amount"])) for line in _fee_lines(first))


def _left(due: Due) -> int | None:
    """What the price cap leaves for this record: what it has been charged counts as not spent."""
    cap = due.usage.task.constraints.get("max_price")
    if cap is None or due.first.payer != Charge.Payer.USER:
        return None
    return int(Decimal(cap) * MICROS) - (due.spent - due.amount)
