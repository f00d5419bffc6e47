"""A day is measured once it is over: facts of server rows, what terms say to them, and what is given back.

    day over --> measured      one transaction: SLADay, measurements, credits with their charges and entries

May be killed anywhere and begun again: the day's row is written with all the rest, and is why nothing is written twice. Two at
once: one waits for the other's row, and finds the day measured. Locks: the day, then its tasks by number.

A credit is a charge of kind `sla`, below zero, one for each task: the customer's next invoice has it as a line of its own month,
with tax; the whole of it is the provider's, whose next payout is less by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from billing.models import Charge, JournalEntry, SLACredit, SLADay, SLAMeasurement, SLATerms
from billing.services import Posting, post
from billing.sla.deciding import credit_of, digest_of, least_of, share_of
from billing.sla.sql import FACTS, IN_FORCE, LOCK_TASKS
from billing.sla.terms import midnight
from billing.telling import tell_sla_credits
from core.money import text_of
from marketplace.models import Task

MARGIN: Final = timedelta(hours=1)  # a task's settling is seen when its transaction commits
LOOK_BACK: Final = 30  # days that the sweep makes up for
NAMED: Final = 100  # tasks that the evidence names


class Facts(NamedTuple):
    """What a day was under terms for a customer. A row of `sql.FACTS`; `paid` goes with `tasks`, in micros."""

    terms: int
    organization: int
    currency: str
    kind: str
    good: int
    total: int
    tasks: list[UUID]
    paid: list[int]
    missed: list[UUID]


class Given(NamedTuple):
    """What is given back of a task, in micros, more than nothing."""

    task: UUID
    micros: int


def measure_days(now: datetime | None = None) -> int:
    """Measure the days that are over and were not measured, the earliest first. Returns how many credits were given."""
    at = now or timezone.now()
    last = (at - MARGIN).astimezone(UTC).date()
    days = [last - timedelta(days=back) for back in range(LOOK_BACK, 0, -1)]
    known = set(SLADay.objects.filter(day__in=days).values_list("day", flat=True))
    return sum(measure(day, at) for day in days if day not in known)


def measure(day: date, now: datetime) -> int:
    """Measure a day, once. Returns how many credits were given."""
    with transaction.atomic():
        _, fresh = SLADay.objects.get_or_create(day=day, defaults={"measured_at": now})
        if not fresh:
            return 0
        span = {"start": midnight(day), "end": midnight(day + timedelta(days=1))}
        with connection.cursor() as cursor:
            cursor.execute(LOCK_TASKS.format(terms=IN_FORCE), span)
        return _give(day, facts_of(IN_FORCE, span), now)


def facts_of(terms: str, given: dict[str, Any]) -> list[Facts]:
    """What the days from `start` to before `end` were under terms, by the statement that finds these."""
    with connection.cursor() as cursor:
        cursor.execute(FACTS.format(terms=terms), given)
        return [Facts(*row) for row in cursor.fetchall()]


def _give(day: date, found: Sequence[Facts], now: datetime) -> int:
    terms = {one.pk: one for one in SLATerms.objects.select_related("pool").filter(pk__in={fact.terms for fact in found})}
    taken: dict[tuple[int, UUID], int] = defaultdict(int)  # two promises of a pool give back at most all of a task
    measured = [(fact, *_decided(fact, terms[fact.terms], taken)) for fact in found]
    rows = SLAMeasurement.objects.bulk_create(
        _measurement(day, fact, terms[fact.terms], credit, given, now) for fact, credit, given in measured
    )
    pairs = [
        (row, terms[row.terms_id], one) for row, (_, _, given) in zip(rows, measured, strict=True) for one in given
    ]
    _credit(pairs, now)
    tell_sla_credits([row for row in rows if row.credit_micros], now)
    return len(pairs)


def _decided(fact: Facts, terms: SLATerms, taken: dict[tuple[int, UUID], int]) -> tuple[int, list[Given]]:
    credit = credit_of(terms.steps, fact.good, fact.total, least_of(terms.kind, terms.minimum))
    given = []
    for task, paid in zip(fact.tasks, fact.paid, strict=True) if credit else ():
        place = (terms.pool_id, task)
        micros = min(share_of(paid, credit), paid - taken[place])
        if micros > 0:
            taken[place] += micros
            given.append(Given(task, micros))
    return credit, given


def _measurement(
    day: date, fact: Facts, terms: SLATerms, credit: int, given: Sequence[Given], now: datetime
) -> SLAMeasurement:
    evidence = {
        "day": f"{day}", "pool": terms.pool.identifier, "kind": terms.kind, "steps": terms.steps, "minimum": terms.minimum,
        "good": fact.good, "total": fact.total, "credit_basis_points": credit,
        "tasks": len(fact.tasks), "missed": [str(task) for task in fact.missed[:NAMED]], "missed_count": len(fact.missed),
        "credits": [{"task": str(one.task), "micros": one.micros} for one in given[:NAMED]],
    }  # fmt: skip
    return SLAMeasurement(
        terms=terms, day=day, organization_id=fact.organization, currency=fact.currency, good=fact.good, total=fact.total,
        credit_basis_points=credit, covered_micros=sum(fact.paid), credit_micros=sum(one.micros for one in given),
        evidence=evidence, digest=digest_of(evidence), measured_at=now,
    )  # fmt: skip


def _credit(pairs: Iterable[tuple[SLAMeasurement, SLATerms, Given]], now: datetime) -> None:
    """The charges below zero and their entries: the customer owes less, and the provider gets less."""
    pairs = list(pairs)
    tasks = Task.objects.filter(pk__in={one.task for _, _, one in pairs})
    publishers = dict(tasks.values_list("pk", "capability_version__capability__organization"))
    entries = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"sla/{row.pk}/{one.task}", kind="sla", task_id=one.task, memo=f"SLA of {row.day}", posted_at=now)
        for row, _, one in pairs
    )
    charges = Charge.objects.bulk_create(
        Charge(
            kind=Charge.Kind.SLA, task_id=one.task, organization_id=row.organization_id, provider_id=terms.pool.organization_id,
            publisher_id=publishers[one.task], payer="user", reason=f"sla/{terms.kind}", currency=row.currency,
            amount_micros=-one.micros, provider_micros=-one.micros, entry=entry, charged_at=now,
            lines=[{"meter": "sla_credit", "quantity": "1", "unit_price": text_of(-one.micros), "amount": text_of(-one.micros)}],
        )
        for (row, terms, one), entry in zip(pairs, entries, strict=True)
    )  # fmt: skip
    post(
        Posting(one.entry_id, one.organization_id, one.provider_id, one.publisher_id, one.currency, "user", 1,
                one.amount_micros, one.provider_micros, 0, 0)
        for one in charges
    )  # fmt: skip
    SLACredit.objects.bulk_create(
        SLACredit(measurement=row, task_id=one.task, charge=charge) for (row, _, one), charge in zip(pairs, charges, strict=True)
    )
