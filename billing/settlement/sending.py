"""Send what was approved. May be killed between any two statements and begun again.

1. approved -> sent, and the attempt with its key: one statement, committed before anything leaves the house
2. the gateway's order, outside any transaction; after a kill it is repeated under the same key
3. what the gateway said: attempt, payout and entry together

Two senders at once give the same order twice, which a gateway takes as one; the payout's row lets one of them write it down.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from billing.invoices.posting import post
from billing.models import JournalEntry, Payout, PayoutAttempt
from billing.settlement.gateways import GATEWAYS, Answer, Order
from billing.settlement.payables import debits
from billing.settlement.sql import BEGIN
from billing.telling import tell_payout

ACCOUNTS: Final = {"provider": "provider_payable", "publisher": "publisher_payable", "reserve": "provider_reserve"}
log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """How many payouts of a sending ended so."""

    paid: int = 0
    failed: int = 0
    pending: int = 0


def send_payouts(now: datetime | None = None) -> Sent:
    """Send all approved payouts, and ask again about those whose end nobody knows yet."""
    at = now or timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(BEGIN, {"now": at})
    states = [_finish(attempt, _order(attempt), at) for attempt in _open_attempts()]
    return Sent(states.count("paid"), states.count("failed"), states.count("pending"))


def _open_attempts() -> Iterator[PayoutAttempt]:
    rows = PayoutAttempt.objects.filter(state="sent").select_related("payout__organization").order_by("pk")
    return iter(list(rows))


def _order(attempt: PayoutAttempt) -> Answer:
    """What the gateway says; one that cannot be reached is asked again the next time."""
    payout = attempt.payout
    order = Order(attempt.key, payout.organization.slug, payout.amount_micros, payout.currency)
    try:
        return GATEWAYS[settings.PAYOUT_GATEWAY].transfer(order)
    except Exception:  # whatever it is, the money of others goes out
        log.exception("the gateway did not answer order %s", attempt.key)
        return Answer("pending")


def _finish(attempt: PayoutAttempt, answer: Answer, at: datetime) -> str:
    """Write down what the gateway said, once."""
    if answer.state == "pending":
        return answer.state
    with transaction.atomic():
        held = Payout.objects.select_for_update().get(pk=attempt.payout_id)
        told = {"state": answer.state, "reference": answer.reference, "reason": answer.reason, "ended_at": at}
        if not PayoutAttempt.objects.filter(pk=attempt.pk, state="sent").update(**told):
            return answer.state
        if answer.state == "paid":
            held.state, held.entry, held.ended_at, held.reason = "paid", _posted(held, at), at, ""
        else:
            held.state, held.reason = "failed", answer.reason
        held.save(update_fields=["state", "entry", "ended_at", "reason"])
        tell_payout(held, at)
    return answer.state


def _posted(payout: Payout, at: datetime) -> JournalEntry:
    """Debit what was owed to the payee; credit the platform's cash, and what is kept back."""
    shares = dict(payout.lines.values_list("role").annotate(micros=Sum("amount_micros")))
    taken = debits({role: int(micros) for role, micros in shares.items()}, payout.amount_micros)
    sides = [(ACCOUNTS[role], payout.organization_id, micros) for role, micros in sorted(taken.items())]
    return post(f"payout/{payout.pk}", "payout", at, payout.currency, [*sides, ("platform_cash", None, -payout.amount_micros)])
