"""Reports become final states, once, each unit by the reason table; what is not a live lease's own is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.errors import Conflict
from marketplace.models import Agent, Task
from scheduler.models import Attempt, Ended, Output, ReportBatch, Unit
from scheduler.reasons import MAX_FENCE, REPORTABLE
from scheduler.reports import parse_batch
from scheduler.services import settling
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.expiring import expire_leases
from scheduler.services.placing import run_round
from scheduler.services.settling import settle_reports
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of, signed_batch
from tests.scheduler.meanwhile import Running, stopped_after, until_somebody_waits

pytestmark = pytest.mark.django_db
in_transactions = pytest.mark.django_db(transaction=True)
PICTURE = {"path": "frames/1.png", "sha256": sha_of(b"a picture"), "bytes": 9, "media_type": "image/png"}


def at_work(units: int = 1, **manifest: Any) -> FakeAgent:
    """An agent that holds so many units of a new task."""
    pool = a_pool()
    a_task(version=a_version(**manifest), inputs={"count": units})
    run_round()
    agent = FakeAgent.of(pool)
    assert len(agent.beat(want=units).leased) == units
    return agent


def an_item(agent: FakeAgent, **fields: Any) -> dict[str, Any]:
    """A report of the first attempt the agent holds."""
    attempt = min(agent.held)
    return {"attempt": attempt, "fence": agent.held[attempt], "outcome": "done"} | fields


def test_a_done_unit_is_done_its_usage_queued_and_its_task_told() -> None:
    agent = at_work(2)
    settled = agent.done(wall_ms=1500)

    assert (settled.accepted, settled.refused) == (1, [])
    for attempt in Attempt.objects.all():
        assert (attempt.state, attempt.reason_class, attempt.usage["wall_ms"]) == ("valid", "", 1500)
        assert attempt.ended_at is not None
        assert attempt.batch_id == ReportBatch.objects.get().pk
    assert set(Unit.objects.values_list("state", "tries")) == {("done", 0)}
    assert Ended.objects.count() == 2
    assert Task.objects.get().units_done == 2
    assert Task.objects.get().events.filter(kind="task.progress").count() == 1


def test_the_chain_of_batches_is_kept_with_the_agent() -> None:
    agent = at_work(2)
    first, second = sorted(agent.held)
    agent.report({"attempt": first, "fence": 1, "outcome": "done"})
    agent.report({"attempt": second, "fence": 1, "outcome": "done"})
    one, two = ReportBatch.objects.order_by("seq")
    assert (one.prev, one.items, two.prev) == ("", 1, one.digest)
    row = Agent.objects.get()
    assert (row.report_seq, row.report_digest) == (2, two.digest)


def everything() -> list[Any]:
    return [
        list(model.objects.order_by("pk").values())
        for model in (Attempt, Unit, Task, Ended, Output, ReportBatch)
    ]


def test_the_same_batch_again_is_answered_and_changes_nothing() -> None:
    agent = at_work(3)
    items = [{"attempt": a, "fence": f, "outcome": "done"} for a, f in agent.held.items()]
    items[0] |= {"outcome": "failed", "reason_class": "node_fault"}
    agent.report(*items)
    before = everything()

    again = agent.report(*items, repeat=True)

    assert (again.accepted, again.refused) == (1, [])
    assert everything() == before


def test_an_older_fence_another_pools_attempt_and_an_unknown_one_are_refused_and_untouched() -> None:
    agent, other = at_work(2), at_work(1)
    (theirs,) = other.held
    mine = min(agent.held)
    before = list(Attempt.objects.order_by("pk").values())
    items = [{"attempt": mine, "fence": 0}, {"attempt": theirs, "fence": 1}, {"attempt": 999_999, "fence": 1}]

    for outcome in ({"outcome": "done"}, {"outcome": "failed", "reason_class": "node_fault"}, {"outcome": "released"}):
        settled = agent.report(*(item | outcome for item in items))
        assert settled.refused == [(mine, 0), (theirs, 1), (999_999, 1)]

    assert list(Attempt.objects.order_by("pk").values()) == before
    assert set(Unit.objects.values_list("state", flat=True)) == {"leased"}
    assert not Ended.objects.exists()


def test_what_has_ended_cannot_end_again() -> None:
    agent = at_work(1)
    item = an_item(agent)
    agent.report(item | {"outcome": "failed", "reason_class": "reclaimed"})
    assert agent.report(item).refused == [(item["attempt"], 1)]
    assert Attempt.objects.get().state == "failed"
    assert Task.objects.get().units_done == 0


def test_of_two_reports_of_one_lease_in_a_batch_the_first_counts() -> None:
    store_bytes(b"a picture")
    agent = at_work(1)
    failed = an_item(agent, outcome="failed", reason_class="limit_exceeded", code="time_limit")
    settled = agent.report(failed, an_item(agent, outputs=[PICTURE]), an_item(agent, fence=0, outputs=[PICTURE]))

    assert Attempt.objects.get().code == "time_limit"
    assert Ended.objects.count() == 1
    assert not Output.objects.exists()
    assert settled.refused == [(failed["attempt"], 0)]


@pytest.mark.parametrize("reason", REPORTABLE)
@pytest.mark.parametrize("asked_again", [False, True])
def test_a_failed_unit_goes_where_the_reason_table_sends_it(reason: str, asked_again: bool) -> None:
    agent = at_work(1, retry={"capability_error": asked_again})
    agent.failed(reason, code="some_code", detail="told so", exit_code=3)

    attempt, unit = Attempt.objects.get(), Unit.objects.get()
    reason = "node_fault" if reason == "user_cancel" else reason  # not an agent's to say of a failure
    waits = reason in ("node_fault", "reclaimed") or (reason == "capability_error" and asked_again)
    assert (attempt.state, attempt.reason_class, attempt.code, attempt.exit_code) == ("failed", reason, "some_code", 3)
    assert unit.state == ("waiting" if waits else "failed")
    assert unit.tries == (0 if reason == "reclaimed" else 1)
    assert unit.avoid == ([agent.agent.pool_id] if reason in ("node_fault", "reclaimed") else [])
    assert unit.pool_id == (None if waits else agent.agent.pool_id)
    assert (unit.not_before is not None) == (waits and reason != "reclaimed")
    assert Ended.objects.filter(attempt=attempt).exists()
    event = Task.objects.get().events.get(kind="attempt.failed")
    assert (event.data["reason_class"], event.data["detail"], event.data["unit"]) == (reason, "told so", unit.state)
    assert (event.data["stage"], event.data["index"], event.data["pool"]) == ("unit", 0, agent.agent.pool.identifier)


def test_a_unit_fails_for_good_when_its_tries_are_used_up() -> None:
    agent = at_work(1, retry={"max_attempts": 2})
    agent.failed("node_fault")
    Unit.objects.update(not_before=None)
    run_round()
    agent.beat(want=1)
    agent.failed("node_fault")
    unit = Unit.objects.get()
    assert (unit.state, unit.tries, unit.fence, unit.avoid) == ("failed", 2, 2, [agent.agent.pool_id])
    assert advance_task(Task.objects.get().pk) == "failed"


def test_a_result_without_what_it_promised_is_invalid_and_tried_on_another_pool() -> None:
    store_bytes(b"a picture")
    agent = at_work(2, outputs=[{"path": "frames/*.png"}])
    wrong, right = sorted(agent.held)
    agent.report(
        {"attempt": wrong, "fence": 1, "outcome": "done", "outputs": [PICTURE | {"path": "frames/1.jpg"}]},
        {"attempt": right, "fence": 1, "outcome": "done", "outputs": [PICTURE]},
    )

    refused = Attempt.objects.get(pk=wrong)
    assert (refused.state, refused.reason_class, refused.code) == ("failed", "invalid_result", "outputs_missing")
    unit = Unit.objects.get(attempts=refused)
    assert (unit.state, unit.tries, unit.avoid) == ("waiting", 1, [agent.agent.pool_id])
    assert Attempt.objects.get(pk=right).state == "valid"
    assert [(o.attempt_id, o.path, o.bytes) for o in Output.objects.all()] == [(right, "frames/1.png", 9)]


def test_a_file_that_was_named_but_is_not_in_the_store_is_the_nodes_fault() -> None:
    agent = at_work(1)
    agent.report(an_item(agent, outputs=[PICTURE]))
    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.reason_class, attempt.code) == ("failed", "node_fault", "upload_failed")
    assert not Output.objects.exists()


def test_the_books_say_how_large_a_file_is_not_the_agent() -> None:
    store_bytes(b"a picture")
    agent = at_work(1)
    agent.report(an_item(agent, outputs=[PICTURE | {"bytes": 10**15}, PICTURE | {"path": "b", "bytes": -1}, PICTURE]))
    assert set(Output.objects.values_list("path", "bytes")) == {("frames/1.png", 9), ("b", 9)}


@pytest.mark.parametrize("number", [-1, 10**18, 2**63, 1.5, "many", None, True, [], {}])
def test_absurd_counters_do_no_harm(number: Any) -> None:
    agent = at_work(2)
    good, odd = sorted(agent.held)
    names = ("prepare_ms", "wall_ms", "core_ms", "memory_mib_ms", "peak_memory_mib", "bytes_in", "bytes_out")
    usage = dict.fromkeys(names, number) | {"accelerator_ms": {"a100": number}}
    settled = agent.report(
        {"attempt": odd, "fence": 1, "outcome": "done", "usage": usage},
        {"attempt": good, "fence": 1, "outcome": "done", "usage": {"wall_ms": 1}},
    )
    assert settled.refused == []
    for attempt in Attempt.objects.all():
        assert attempt.state == "valid"
        assert attempt.started_at is not None
        assert attempt.leased_at <= attempt.started_at <= (attempt.ended_at or attempt.leased_at)


def test_work_given_back_waits_again_and_only_a_pool_that_cannot_run_it_is_avoided() -> None:
    agent = at_work(2)
    tired, unable = sorted(agent.held)
    agent.report(
        {"attempt": tired, "fence": 1, "outcome": "released", "code": "agent_stopping"},
        {"attempt": unable, "fence": 1, "outcome": "released", "code": "executor_missing"},
    )
    assert set(Attempt.objects.values_list("state", flat=True)) == {"released"}
    units = {u.attempts.get().pk: (u.state, u.tries, u.avoid, u.not_before) for u in Unit.objects.all()}
    assert units == {
        tired: ("waiting", 0, [], None),
        unable: ("waiting", 0, [agent.agent.pool_id], None),
    }
    assert not Task.objects.get().events.filter(kind="attempt.failed").exists()


def test_a_unit_that_nobody_keeps_fails_in_the_end_and_its_task_says_why() -> None:
    agent = at_work(1)
    for _ in range(MAX_FENCE):
        assert Unit.objects.get().state == "leased"
        agent.report(an_item(agent, outcome="released"))
        run_round()
        agent.beat(want=1)
    unit = Unit.objects.get()
    assert (unit.state, unit.fence, unit.tries) == ("failed", MAX_FENCE, 0)
    task = Task.objects.get()
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert task.reason_class == "platform_fault"
    assert "given back" in task.reason


def test_a_cancelled_attempt_of_a_task_that_was_cancelled_ends_its_unit() -> None:
    agent = at_work(1)
    cancel_task(Task.objects.get().pk)
    agent.report(an_item(agent, outcome="cancelled"))
    assert (Attempt.objects.get().state, Attempt.objects.get().reason_class) == ("cancelled", "user_cancel")
    assert Unit.objects.get().state == "cancelled"
    assert advance_task(Task.objects.get().pk) == "cancelled"


def test_an_attempt_that_an_agent_cancelled_by_itself_is_its_fault_and_the_unit_runs_elsewhere() -> None:
    agent = at_work(1)
    agent.report(an_item(agent, outcome="cancelled", usage={"wall_ms": 10**6, "core_ms": 10**6}))
    attempt, unit = Attempt.objects.get(), Unit.objects.get()
    assert (attempt.state, attempt.reason_class, attempt.code) == ("failed", "node_fault", "cancelled")
    assert (unit.state, unit.tries, unit.avoid) == ("waiting", 1, [agent.agent.pool_id])


def test_one_batch_may_speak_of_many_tasks() -> None:
    pool = a_pool()
    tasks = [a_task(inputs={"count": n}) for n in (1, 2, 3)]
    run_round()
    agent = FakeAgent.of(pool)
    agent.beat(want=6)
    agent.done()
    assert [Task.objects.get(pk=task.pk).units_done for task in tasks] == [1, 2, 3]


def test_a_million_units_make_twenty_progress_events() -> None:
    agent = at_work(100)
    for attempt, fence in list(agent.held.items()):
        agent.report({"attempt": attempt, "fence": fence, "outcome": "done"})
    assert Task.objects.get().events.filter(kind="task.progress").count() == 20


def test_an_empty_batch_is_accepted() -> None:
    agent = at_work(1)
    assert agent.report().accepted == 1


def test_of_two_processes_with_one_key_the_second_is_told_instead_of_losing_its_reports() -> None:
    agent = at_work(2)
    row = Agent.objects.get()
    one, two = sorted(agent.held)
    batches = [
        parse_batch(
            signed_batch(row, 1, "", [{"attempt": attempt, "fence": 1, "outcome": "done"}]), last_seq=0, last_digest=""
        )
        for attempt in (one, two)
    ]
    assert batches[0] is not None
    assert batches[1] is not None
    settle_reports(row, batches[0])
    with pytest.raises(Conflict) as caught:
        settle_reports(row, batches[1])
    assert caught.value.code == "broken_chain"
    assert caught.value.data == {"last_seq": 1, "last_digest": batches[0].digest}
    assert Attempt.objects.get(pk=two).state == "leased"


def past_its_lease() -> None:
    Agent.objects.update(lease_until=timezone.now() - timedelta(hours=1))


@in_transactions
def test_a_report_that_is_being_adopted_is_not_lost_to_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = at_work(3)
    past_its_lease()
    with stopped_after(monkeypatch, settling, "add_events", agent.done) as report:
        assert expire_leases()["lost"] == 0
    assert report.result.refused == []
    assert set(Unit.objects.values_list("state", flat=True)) == {"done"}


@in_transactions
def test_a_report_that_comes_while_the_sweep_ends_its_attempt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = at_work(3)
    past_its_lease()
    with stopped_after(monkeypatch, settling, "add_events", expire_leases) as sweep:
        report = Running(agent.done).start()
        until_somebody_waits()
    assert sweep.result["lost"] == 3
    assert len(report.result.refused) == 3
    assert set(Attempt.objects.values_list("state", flat=True)) == {"lost"}
    assert set(Unit.objects.values_list("state", flat=True)) == {"waiting"}
    assert Task.objects.get().units_done == 0
    assert Ended.objects.count() == 3


@in_transactions
def test_cancelling_while_a_report_sends_a_unit_back_leaves_no_unit_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = at_work(2)
    task = Task.objects.get()
    with stopped_after(monkeypatch, settling, "add_events", lambda: agent.failed("reclaimed")):
        cancelling = Running(lambda: cancel_task(task.pk)).start()
        until_somebody_waits()
    assert cancelling.result.state == "cancelled"
    assert set(Unit.objects.values_list("state", flat=True)) == {"cancelled"}
