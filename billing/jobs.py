"""Billing's jobs, woken when a task ends or is measured, and by a sweep. Thin: `services.py` and `ledger/` do the work."""

from __future__ import annotations

import time
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from billing.credit.proving import prove_credit
from billing.credit.settling import settle_from_wallet
from billing.credit.wallet import expire_grants
from billing.credit.watching import watch_credit
from billing.disputes.deciding import time_out
from billing.exports.requesting import JOB as EXPORT
from billing.exports.running import run_waiting, sweep_exports
from billing.invoices.closing import close_all
from billing.invoices.dunning import climb, follow_blocks
from billing.ledger.proving import prove
from billing.ledger.sealing import rebuild_balances, seal_all
from billing.periods.runs import preview_open_month
from billing.services import charge_task, charge_tasks, refresh_costs, unsettled_tasks
from billing.settlement.sending import send_payouts
from billing.sla.measuring import measure_days
from core.wake import awake, wake
from marketplace.services.credit import push_limits

SECONDS = 60  # a sweep gives its place back after this long; the next one goes on
EXPORT_SECONDS = 4 * 3600  # that writing one file may take
GATHER_SECONDS = 5  # so long a seal waits for more entries
PREVIEW_SECONDS = 10  # so long a recount of the index waits for more charges


@shared_task(name="billing.charge")
def charge_job(task: str) -> None:
    """Charge one ended task. Not ready yet is no error: what makes it ready wakes this again."""
    awake("billing.charge", task)
    if charge_task(UUID(task)):
        wake("billing.seal", delay_s=GATHER_SECONDS)
        wake("index.preview", delay_s=PREVIEW_SECONDS)


@shared_task(name="billing.sweep")
def sweep_job() -> None:
    """Charge what ended and was not charged, then tell open tasks what they cost so far, and do what credit and budgets say."""
    awake("billing.sweep")
    until = time.monotonic() + SECONDS
    tasks = unsettled_tasks()
    while tasks and time.monotonic() < until:
        if charge_tasks(tasks):
            wake("index.preview", delay_s=PREVIEW_SECONDS)
        tasks = unsettled_tasks(after=tasks[-1])
    refresh_costs()
    watch_credit()


@shared_task(name="billing.seal")
def seal_job() -> None:
    """Seal what was posted; woken after charges, and by beat for what a lost wake left."""
    awake("billing.seal")
    seal_all(seconds=SECONDS)


@shared_task(name="billing.prove")
def prove_job() -> None:
    """Every night: end grants, seal what was missed, put back lost balances, and prove the whole ledger and all credit."""
    expire_grants()
    rebuild_balances()
    seal_all(seconds=SECONDS, everything=True)
    prove()
    push_limits()
    prove_credit()


@shared_task(name="billing.close")
def close_job() -> None:
    """Every hour, as months begin at other moments in other zones; then notices for what is overdue.

    On the first of a month unbilled charges of any age are looked for. What is owed is paid from wallets before anybody is noticed.
    """
    close_all(everything=timezone.now().day == 1)
    settle_from_wallet()
    climb()
    follow_blocks()


@shared_task(name="billing.payout")
def payout_job() -> None:
    """Every hour: send what operators approved, and ask again about what the gateway has not answered."""
    send_payouts()


@shared_task(name=EXPORT, soft_time_limit=EXPORT_SECONDS, time_limit=EXPORT_SECONDS + 60)
def export_job() -> None:
    """When an export is asked for, and every few seconds: write what waits, and remove what is over."""
    awake(EXPORT)
    sweep_exports()
    run_waiting(SECONDS)


@shared_task(name="billing.disputes")
def disputes_job() -> None:
    """Every hour: decide for the customer what nobody answered in time."""
    time_out()


@shared_task(name="billing.sla")
def sla_job() -> None:
    """Every hour: measure the days that are over, and give back what providers promised."""
    measure_days()


@shared_task(name="billing.preview")
def preview_job() -> None:
    """Every night: what the open month would cost if it ended now, for everybody whose usage is charged by period."""
    preview_open_month(timezone.now())
