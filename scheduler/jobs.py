"""The scheduler's Celery jobs: thin, repeatable, safe to lose. Each lifts its mark, then calls a service."""

from __future__ import annotations

from celery import shared_task

from core.wake import awake, wake
from scheduler.services.advancing import advance_task
from scheduler.services.canaries import plant_canaries
from scheduler.services.concluding import conclude_tests_of
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import expire_leases as expire
from scheduler.services.expiring import sweep as find_work
from scheduler.services.judging import judge_units
from scheduler.services.placing import forget_old_prices, forget_old_rounds, run_round
from scheduler.services.predicting import predict_task
from scheduler.services.rechecking import recheck_caught
from scheduler.services.revealing import remind_of_commitments
from scheduler.services.standing import review_levels

MAX_ROUNDS = 200
AGAIN_S = 0.2  # a round takes a second at most: looked for again so soon


@shared_task(name="scheduler.expand")
def expand(task_id: str) -> None:
    awake("scheduler.expand", task_id)
    expand_task(task_id)
    match()
    predict_task(task_id)  # placing never waits for it


@shared_task(name="scheduler.match")
def match() -> None:
    """Rounds until nothing more can be placed. A wake that comes meanwhile finds the mark lifted and is sent again."""
    awake("scheduler.match")
    for _ in range(MAX_ROUNDS):
        placed = run_round()
        if placed is None:  # what was written since that one looked may have to wait for the next
            wake("scheduler.match", delay_s=AGAIN_S)
        if not placed:
            return


@shared_task(name="scheduler.judge")
def judge() -> None:
    """Looks until the queue is empty; what another step holds just now has its own wake."""
    awake("scheduler.judge")
    for _ in range(MAX_ROUNDS):
        if not judge_units():
            return


@shared_task(name="scheduler.advance")
def advance(task_id: str) -> None:
    awake("scheduler.advance", task_id)
    advance_task(task_id)


@shared_task(name="scheduler.conclude")
def conclude(task_id: str) -> None:
    awake("scheduler.conclude", task_id)
    conclude_tests_of(task_id)


@shared_task(name="scheduler.expire_leases")
def expire_leases() -> None:
    expire()


@shared_task(name="scheduler.housekeep")
def housekeep() -> None:
    """Every ten minutes: rounds keep their whole input, so old ones are let go; and pools that are due get a canary."""
    recheck_caught()
    forget_old_rounds()
    forget_old_prices()
    plant_canaries()


@shared_task(name="scheduler.recheck")
def recheck() -> None:
    """What pools that were caught have delivered unchecked."""
    awake("scheduler.recheck")
    recheck_caught()


@shared_task(name="scheduler.review_levels")
def review_pool_levels() -> None:
    """Every hour, and when a pool was measured or moved: levels end with what they rest on."""
    awake("scheduler.review_levels")
    review_levels()


@shared_task(name="scheduler.sweep")
def sweep() -> None:
    """What makes the river correct; the wakes only make it quick."""
    remind_of_commitments()
    judge()
    work = find_work()
    for task_id in work["expand"]:
        expand_task(task_id)
    if work["expand"]:
        match()
    for task_id in work["expand"]:
        predict_task(task_id)
    for task_id in work["advance"]:
        advance_task(task_id)
    conclude_tests_of(None)
