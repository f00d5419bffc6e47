"""The first page says where the river stands still, since when, and whether the ledger balances."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.disputes.answering import answer
from config import river
from config.dashboard import ledger
from core.admin import limited
from marketplace.models import Agent, Task
from scheduler.models import Attempt, Round, Unit, Unjudged
from scheduler.services.placing import run_round
from tests.admin.market import a_settled_task, an_open_task, everything, operator
from tests.builders import a_pool, a_user, alice
from tests.builders_billing import make_market
from tests.builders_disputes import a_dispute, decided
from tests.builders_exports import an_export
from tests.builders_settlement import DAY, a_share
from tests.builders_tasks import FakeAgent, a_task

pytestmark = pytest.mark.django_db


def standing() -> dict[str, tuple[str, str]]:
    """Of every step: how many rows wait there, and its state."""
    return {one.step.key: (one.number, one.state) for one in river.river(most=river.COUNTED)}


def made_earlier(task: Task, minutes: float) -> None:
    """As if the task had been submitted, and its last event had happened, so long ago."""
    at = timezone.now() - timedelta(minutes=minutes)
    Task.objects.filter(pk=task.pk).update(created_at=at)
    task.events.update(at=at)


def test_a_river_without_work_is_well() -> None:
    a_settled_task()
    assert set(standing().values()) == {("0", "ok")}


def test_every_step_counts_what_waits_for_it() -> None:
    a_pool()  # what no pool could ever run is refused
    a_task(inputs={"count": 3}, expanded=False)
    assert standing()["expand"] == ("1", "busy")
    a_task(inputs={"count": 2})
    assert standing()["match"] == ("2", "busy")
    an_open_task(4)
    assert standing()["fetch"] == ("6", "busy")
    everything()
    assert standing()["measure"] == ("1", "busy")


def test_a_step_is_late_when_its_oldest_row_waits_too_long() -> None:
    a_pool()
    made_earlier(a_task(expanded=False), minutes=2)
    page = operator().get("/admin/")
    assert standing()["expand"] == ("1", "late")
    assert page.context["first_late"] == "expand 拆解"
    assert page.context["river"][0]["age"].startswith("2 min")


def test_a_long_queue_is_late_only_when_it_stands_still() -> None:
    a_pool()
    made_earlier(a_task(inputs={"count": 2}), minutes=11)
    assert standing()["match"] == ("2", "late")
    run_round()
    made_earlier(a_task(inputs={"count": 3}), minutes=11)
    assert (standing()["match"], standing()["fetch"]) == (("3", "busy"), ("2", "busy"))
    Round.objects.update(at=timezone.now() - timedelta(minutes=11))
    assert (standing()["match"], standing()["fetch"]) == (("3", "late"), ("2", "late"))


def test_open_tasks_with_a_step_that_nobody_took_are_seen() -> None:
    running, failed, wished, overdue = (an_open_task(1) for _ in range(4))
    assert standing()["advance"] == ("0", "ok")
    Unit.objects.filter(task=failed).update(state=Unit.State.FAILED)
    Task.objects.filter(pk=wished.pk).update(cancel_requested_at=timezone.now())
    Task.objects.filter(pk=overdue.pk).update(deadline=timezone.now() - timedelta(minutes=1))
    assert standing()["advance"] == ("3", "busy")
    made_earlier(failed, minutes=6)
    assert standing()["advance"] == ("3", "late")
    made_earlier(running, minutes=60)
    assert standing()["advance"] == ("3", "late")


def test_leases_past_their_time_are_seen() -> None:
    agent = FakeAgent.of(a_pool())
    an_open_task(1)
    for one in Agent.objects.all():
        FakeAgent(one).beat(want=5)
    assert Attempt.objects.exists()
    assert standing()["lease"] == ("0", "ok")
    Agent.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
    assert standing()["lease"] == ("1", "late")
    page = operator().get("/admin/scheduler/attempt/?lease=late")
    assert len(page.context["cl"].result_list) == 1
    assert agent.agent.retired_at is None


def test_ended_tasks_without_their_bill_are_seen() -> None:
    task = a_settled_task()
    Task.objects.filter(pk=task.pk).update(settled_at=None)
    assert standing()["charge"] == ("1", "busy")


def test_disputes_without_an_answer_or_a_decision_are_seen() -> None:
    market, now = make_market(), timezone.now()
    charges = [a_share(market, 1_000_000, at=now - 16 * DAY) for _ in range(3)]
    a_dispute(market, charges[0], at=now - DAY)
    assert standing()["dispute"] == ("0", "ok")
    answered = a_dispute(market, charges[1], at=now - 5 * DAY)
    answer([answered.pk], market.bob, "contests", "no", a_user("bobs"), now - 4 * DAY)
    assert standing()["dispute"] == ("1", "late"), "it waits a day too long for an operator"
    decided(answered, "rejected", at=now)
    assert standing()["dispute"] == ("0", "ok")
    a_dispute(market, charges[2], at=now - 14 * DAY - timedelta(minutes=1))
    assert standing()["dispute"] == ("1", "busy"), "nobody answered"


def test_exports_that_stand_still_are_seen() -> None:
    organization, now = alice().organization, timezone.now()
    an_export(organization)
    an_export(organization, "running", now, kind="usage")
    assert standing()["export"] == ("2", "busy")
    an_export(organization, "running", now - timedelta(minutes=20), kind="ledger")
    assert standing()["export"] == ("3", "late")


def test_counting_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river, "COUNTED", 3)
    a_pool()
    a_task(inputs={"count": 9})
    assert standing()["match"] == ("3+", "busy")


def test_every_link_of_the_river_leads_to_a_list_that_answers() -> None:
    client = operator()
    for step in river.STEPS:
        answer = client.get(f"/admin/{step.where}")
        assert answer.status_code == 200, step.where


def test_the_first_page_asks_no_more_for_more_rows() -> None:
    client = operator()

    def counted() -> int:
        with CaptureQueriesContext(connection) as queries:
            page = client.get("/admin/")
        assert page.status_code == 200
        return len(queries)

    everything()
    before = counted()
    everything()
    an_open_task()
    assert counted() == before <= 96


def test_the_ledger_balances() -> None:
    a_settled_task()
    assert ledger().state == "good"


def test_a_proof_of_the_ledger_that_failed_is_an_alarm() -> None:
    everything()  # with an alarm
    assert (ledger().state, ledger().value) == ("bad", "alarm")


def test_a_read_that_takes_too_long_is_given_up() -> None:
    assert limited("SELECT pg_sleep(2)", seconds=0.05) is None
    assert limited("SELECT 7") == [(7,)]


def test_a_step_that_cannot_be_counted_in_time_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: Any = river.Step("slow", "slow", "rows", "SELECT now() AS since, pg_sleep(1)", timedelta(0))
    monkeypatch.setattr(river, "limited", lambda sql: limited(sql, seconds=0.05))
    found = river.backlog_of(slow)
    assert (found.number, found.state) == ("too many", "late")


def test_results_that_nobody_compares_are_late_after_a_minute() -> None:
    unit = an_open_task().unit_set.first()
    Unjudged.objects.create(unit=unit, at=timezone.now() - timedelta(seconds=10))
    assert standing()["verify"] == ("1", "busy")
    Unjudged.objects.update(at=timezone.now() - timedelta(minutes=2))
    assert standing()["verify"] == ("1", "late")
