"""The queue of ended attempts becomes usage records: each once, none twice, whoever measures."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from marketplace.models import Offer
from metering.models import UsageRecord
from metering.services import ended_among, measure
from scheduler.models import Attempt, Ended
from tests.builders_billing import (
    START,
    Market,
    make_attempt,
    make_many_attempts,
    make_market,
    make_need,
    make_task,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def test_a_record_names_all_parties_and_the_lease_it_measures(market: Market) -> None:
    task = make_task(market)
    attempt = make_attempt(market, task, make_need(stage=1))
    assert measure().recorded == 1
    record = UsageRecord.objects.get()
    assert (record.attempt, record.task, record.pool, record.offer) == (attempt, task, market.pool, market.offer)
    parties = (record.organization, record.provider, record.publisher)
    assert parties == (market.alice, market.bob, market.carol)
    assert (record.stage, record.outcome, record.revision) == (1, "valid", 0)
    assert (record.started_at, record.ended_at) == (START, START + timedelta(seconds=10))


def test_measuring_empties_the_queue_oldest_first(market: Market) -> None:
    task, need = make_task(market), make_need()
    attempts = [make_attempt(market, task, need) for _ in range(5)]
    assert measure(limit=2).taken == 2
    assert list(UsageRecord.objects.order_by("id").values_list("attempt_id", flat=True)) == [
        attempt.pk for attempt in attempts[:2]
    ]
    assert (measure(limit=2).taken, measure(limit=2).taken, measure(limit=2).taken) == (2, 1, 0)
    assert not Ended.objects.exists()


def test_a_unit_given_back_unstarted_leaves_no_record(market: Market) -> None:
    make_attempt(market, make_task(market), make_need(), state="released")
    measured = measure()
    assert (measured.taken, measured.recorded, measured.tasks) == (1, 0, [])
    assert not Ended.objects.exists()


def test_an_attempt_queued_again_is_not_recorded_again(market: Market) -> None:
    attempt = make_attempt(market, make_task(market), make_need())
    measure()
    Ended.objects.create(attempt=attempt, at=START)
    measured = measure()
    assert (measured.taken, measured.recorded) == (1, 0)
    assert UsageRecord.objects.count() == 1


def test_an_offer_that_priced_an_attempt_is_used(market: Market) -> None:
    assert not Offer.objects.get(pk=market.offer.pk).used
    make_attempt(market, make_task(market), make_need())
    measure()
    assert Offer.objects.get(pk=market.offer.pk).used


def test_only_tasks_that_ended_ask_for_their_bill(market: Market) -> None:
    open_task, over, settled = make_task(market, "running"), make_task(market), make_task(market, settled_at=START)
    assert ended_among([open_task.pk, over.pk, settled.pk]) == [over.pk]


@pytest.mark.django_db(transaction=True)
def test_two_who_measure_at_once_share_the_queue() -> None:
    market = make_market()
    make_many_attempts(market, make_task(market, units=400), make_need(), 400)
    barrier = threading.Barrier(2)
    recorded: list[int] = []

    def drain() -> None:
        barrier.wait()
        while (measured := measure(limit=40)).taken:
            recorded.append(measured.recorded)
        connection.close()

    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(recorded), UsageRecord.objects.count(), Ended.objects.count()) == (400, 400, 0)


@pytest.mark.django_db(transaction=True)
def test_what_another_has_locked_is_left_to_it() -> None:
    market = make_market()
    task, need = make_task(market), make_need()
    held, free = make_attempt(market, task, need), make_attempt(market, task, need)
    done = threading.Event()
    with transaction.atomic():
        Ended.objects.select_for_update().get(attempt=held)

        def other() -> None:
            measure()
            connection.close()
            done.set()

        threading.Thread(target=other).start()
        assert done.wait(20)
        assert [record.attempt_id for record in UsageRecord.objects.all()] == [free.pk]
    assert Attempt.objects.count() == 2
