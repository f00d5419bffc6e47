"""An outcome for disputes: by an operator, or because the respondent did not answer in time. One transaction for a set.

Killed anywhere, nothing of it happened, and the next call does all of it: what is decided is found by its state. Locks: disputes,
months, accounts, tasks, invoices, each in one order; from then on neither invoices, ratings nor corrections move what is decided
about.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing.disputes import sql
from billing.disputes.awards import Award, Item, awarded
from billing.disputes.reversing import Made, take_back
from billing.disputes.states import LIVE
from billing.invoices.closing import LOCK_KEY
from billing.invoices.dunning import follow_blocks
from billing.models import Dispute, DisputeMessage
from billing.periods.runs import RUN_LOCK
from billing.telling import tell_disputes
from core.errors import Conflict, DomainError, Invalid, NotFound
from marketplace.models import User

log = logging.getLogger(__name__)
SILENT: Final = "The respondent did not answer in time: decided for the customer."
NOTHING: Final = Made(None, None, None)
PORTION: Final = 100  # disputes that one transaction of the sweep decides


class Decision(NamedTuple):
    """What is decided about a dispute. `micros`: of an outcome `partly`, what is taken back; `text` becomes the last message."""

    dispute: int
    outcome: str
    text: str
    micros: int | None = None


def decide(decisions: Sequence[Decision], by: User | None, now: datetime | None = None) -> list[Dispute]:
    """Decide disputes, all or none of them. What was decided in the same way before stays as it is.

    Raises NotFound `not_found`, Conflict `dispute_moved`, Invalid `award_invalid`.
    """
    at = now or timezone.now()
    wanted = {decision.dispute: decision for decision in decisions}
    if len(wanted) != len(decisions):
        raise Invalid("dispute_twice", "a dispute is named twice", field="decisions")
    with transaction.atomic():
        held = {one.pk: one for one in Dispute.objects.filter(pk__in=wanted).order_by("pk").select_for_update()}
        fresh = _fresh(wanted, held)
        if fresh:
            _decide(fresh, held, by, at)
    rows = Dispute.objects.select_related("organization", "provider", "publisher", "respondent")
    return list(rows.filter(pk__in=wanted).order_by("pk"))


def _fresh(wanted: Mapping[int, Decision], held: Mapping[int, Dispute]) -> dict[int, Decision]:
    if held.keys() != wanted.keys():
        raise NotFound("not_found", "no such dispute")
    for key, one in held.items():
        if one.state not in LIVE and not _same(one, wanted[key]):
            raise Conflict("dispute_moved", f"dispute {key} is {one.state}", dispute=key)
    return {key: wanted[key] for key, one in held.items() if one.state in LIVE}


def _same(dispute: Dispute, decision: Decision) -> bool:
    return dispute.outcome == decision.outcome and (decision.micros is None or decision.micros == dispute.awarded_micros)


def _decide(fresh: Mapping[int, Decision], held: Mapping[int, Dispute], by: User | None, at: datetime) -> None:
    items = _items(fresh)
    awards = [award for key, mine in groupby(items, attrgetter("dispute")) for award in _awards(fresh[key], list(mine))]
    made = take_back(held, [award for award in awards if award.micros], at)
    found = [(award.item.id, award.micros, *made.get(award.item.id, NOTHING)) for award in awards]
    names = ("items", "awarded", "refunds", "notes", "period_refunds")
    columns: dict[str, Any] = dict(zip(names, (list(column) for column in zip(*found, strict=True)), strict=True))
    sums = _sums(awards)
    told: dict[str, Any] = {"disputes": list(fresh), "outcomes": [one.outcome for one in fresh.values()]}
    told |= {"awarded": [sums[key] for key in fresh], "now": at, "by": by and by.pk}
    with connection.cursor() as cursor:
        cursor.execute(sql.DECIDE_ITEMS, columns)
        cursor.execute(sql.DECIDE, told)
    DisputeMessage.objects.bulk_create(
        DisputeMessage(dispute_id=key, role="platform", author=by, text=one.text, at=at) for key, one in fresh.items()
    )
    follow_blocks()
    tell_disputes(fresh, "decided", at)


def _items(disputes: Mapping[int, Decision]) -> list[Item]:
    """The charges of these disputes, once nobody else moves them."""
    asked: dict[str, Any] = {"disputes": list(disputes), "key": LOCK_KEY, "run": RUN_LOCK}
    found = []
    with connection.cursor() as cursor:
        for lock in (sql.LOCK_MONTHS, sql.LOCK_ACCOUNTS, sql.LOCK_TASKS, sql.LOCK_INVOICES):
            cursor.execute(lock, asked)
        for left in (sql.LEFT, sql.LEFT_OF_MONTHS):
            cursor.execute(left, asked)
            found += [Item(*row) for row in cursor.fetchall()]
    return sorted(found, key=attrgetter("dispute", "id"))


def _awards(decision: Decision, items: Sequence[Item]) -> list[Award]:
    parts = awarded(decision.outcome, decision.micros, [item.left for item in items])
    return [Award(item, micros) for item, micros in zip(items, parts, strict=True)]


def _sums(awards: Sequence[Award]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for award in awards:
        sums[award.item.dispute] = sums.get(award.item.dispute, 0) + award.micros
    return sums


def time_out(now: datetime | None = None) -> int:
    """Decide for the customer what the respondent did not answer in time. Returns how many were decided.

    One that cannot be decided is logged, stays, and stops nobody else.
    """
    at, after, done = now or timezone.now(), 0, 0
    while due := _unanswered(at, after):
        done, after = done + _time_out(due, at), due[-1]
    return done


def _unanswered(at: datetime, after: int) -> list[int]:
    rows = Dispute.objects.filter(state="open", answer_until__lte=at, pk__gt=after).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:PORTION])


def _time_out(disputes: Sequence[int], at: datetime) -> int:
    try:
        with transaction.atomic():
            rows = Dispute.objects.filter(pk__in=disputes, state="open").order_by("pk").select_for_update()
            silent = list(rows.values_list("pk", flat=True))  # who has answered meanwhile waits for an operator
            return len(decide([Decision(key, "upheld", SILENT) for key in silent], None, at))
    except (DatabaseError, DomainError):
        if len(disputes) == 1:
            log.exception("dispute %s cannot be decided", disputes[0])
            return 0
    return sum(_time_out([key], at) for key in disputes)
