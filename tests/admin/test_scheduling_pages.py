"""What operators read of scheduling: was the plan good, who is short of what, did predictions hold, whose word is believed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.models import Artifact, Pool, Task
from marketplace.services.replicas import pin
from scheduler.models import Attempt, Decision, Ended, KeptScene, MarketPrice, Need, NetworkLink, Pace, Prediction, Round
from scheduler.services.placing import run_round
from tests.admin.market import a_settled_task, an_open_task, everything, list_of, operator, page_of
from tests.builders import a_pool, alice
from tests.builders_capabilities import an_artifact
from tests.builders_network import a_link
from tests.builders_storage import a_replica
from tests.builders_tasks import a_task
from tests.console.browser import text_of

pytestmark = pytest.mark.django_db


def listed(model: Any, **filters: Any) -> str:
    return text_of(operator().get(list_of(model, **filters)))


def shown(row: Any) -> str:
    return text_of(operator().get(page_of(row)))


def predicted(seconds: float, p90: float) -> Task:
    """A task that was delivered within a second or so, of which this was predicted."""
    task = a_settled_task(1)
    Prediction.objects.filter(task=task).delete()
    times = {"start_p50_s": seconds, "start_p90_s": p90, "finish_p50_s": seconds, "finish_p90_s": p90}
    Prediction.objects.create(task=task, made_at=timezone.now(), price="0.5", tflop="1.5", **times)
    return task


def test_a_round_says_how_far_above_the_bound_its_plan_is() -> None:
    an_open_task(3)
    one = Round.objects.latest("pk")
    assert one.bound is not None
    assert one.cost == pytest.approx(one.bound, rel=1e-3)
    assert "above the bound 0.00%" in shown(one)
    Round.objects.update(cost=1.25, bound=1.0)
    assert "above the bound 25.00%" in shown(one)
    assert f"replay_round {one.pk}" in shown(one)


def test_a_greedy_round_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from scheduler.services import placing

    monkeypatch.setattr(placing, "limits", lambda: {"by": "greedy"})
    an_open_task(2)
    one = Round.objects.latest("pk")
    assert (one.decided_by, one.bound) == ("greedy", None)
    assert "above the bound unknown" in shown(one)


def test_rounds_are_added_up_by_the_hour() -> None:
    now = timezone.now().replace(minute=30)
    fields: dict[str, Any] = {"snapshot": {}, "waiting": 5}
    Round.objects.create(at=now, placed=5, decided_by="optimum", micros=2000, cost=11.0, bound=10.0, **fields)
    Round.objects.create(at=now, placed=2, decided_by="greedy", micros=6000, cost=7.0, **fields)
    Round.objects.create(at=now - timedelta(hours=1), placed=0, decided_by="optimum", micros=1000, **fields)
    page = listed(Round)
    assert f"{now:%Y-%m-%d %H}:00 2 7 3 1 10.00% 4.0 6.0" in page
    assert f"{now - timedelta(hours=1):%Y-%m-%d %H}:00 1 0 5 0 unknown 1.0 1.0" in page


def test_decisions_name_their_pools_and_what_was_asked() -> None:
    an_open_task(3)
    decision = Decision.objects.latest("pk")
    name = Pool.objects.get(pk=decision.placed[0][0]).identifier
    assert f"3 on {name}" in listed(Decision)
    assert f"3 on {name}" in shown(decision.round)
    assert "1 core, 64 MiB" in shown(decision.round)
    assert f"3 on {name}" in shown(decision.need)


def test_a_decision_over_many_pools_names_the_largest_parts() -> None:
    pools = [a_pool() for _ in range(6)]
    an_open_task(1)
    Decision.objects.update(placed=[[pool.pk, place + 1] for place, pool in enumerate(pools)])
    assert f"6 on {pools[5].identifier}" in listed(Decision)
    assert "2 pools more" in listed(Decision)
    assert pools[0].identifier in shown(Decision.objects.get())


def test_needs_say_of_which_capability_they_are() -> None:
    task = an_open_task(1)
    assert f"{task.capability_version} unit 1 core, 64 MiB cheapest" in listed(Need)
    assert str(task.capability_version) in shown(Need.objects.get())


def test_a_scene_leads_to_the_rounds_that_saw_it() -> None:
    an_open_task(1)
    a_task()
    run_round()
    scene = KeptScene.objects.latest("created_at")
    assert "Rounds that saw it" in shown(scene)
    assert page_of(scene.rounds.latest("pk")) in operator().get(page_of(scene)).content.decode()
    found = operator().get(list_of(Round, scene=scene.pk)).context["cl"].result_list
    assert [one.pk for one in found] == list(scene.rounds.order_by("-pk").values_list("pk", flat=True))


def test_full_pools_stand_with_what_they_were_short_of_the_dearest_first() -> None:
    cheap, dear = a_pool(), a_pool()
    now = timezone.now()
    for minutes, pool, price in ((1, cheap, 0.001), (2, dear, 0.3), (3, dear, 0.1), (60 * 25, cheap, 99.0)):
        MarketPrice.objects.create(at=now - timedelta(minutes=minutes), pool=pool, resource="cores", price=price)
    page = listed(MarketPrice)
    assert f"{dear.identifier} ningxia cores 2 0.2 0.3 0.3" in page
    assert f"{cheap.identifier} ningxia cores 1 0.001 0.001 0.001" in page
    assert page.index(f"{dear.identifier} ningxia") < page.index(f"{cheap.identifier} ningxia")


def test_a_round_shows_its_own_prices() -> None:
    an_open_task(1)
    one, pool = Round.objects.latest("pk"), Pool.objects.latest("pk")
    MarketPrice.objects.create(at=one.at, pool=pool, resource="cores", price=0.25)
    assert f"{pool.identifier} ningxia cores 0.25" in shown(one)


def test_predictions_are_held_against_what_came() -> None:
    on_time, late = predicted(60, 120), predicted(0.000001, 0.000002)
    then = timezone.now() - timedelta(minutes=5)
    Task.objects.update(created_at=then, started_at=then + timedelta(seconds=20), ended_at=then + timedelta(seconds=25))
    page = listed(Prediction)
    assert "start 2 50% 50% × 1 1 0 0 0 0 1" in page
    assert "result 2 50% 50% × 1 1 0 0 0 0 1" in page
    assert "held expected cost" in shown(Prediction.objects.get(task=on_time))
    assert "held late cost" in shown(Prediction.objects.get(task=late))


def test_what_was_predicted_of_the_price_stands_beside_the_bill() -> None:
    task = predicted(60, 120)
    assert task.settled_at is not None
    page = shown(Prediction.objects.get(task=task))
    assert "price, expected 0.50 0000 CNY" in page
    assert "TFLOP 1.5" in page


def test_pools_that_are_unproven_are_marked_and_found() -> None:
    proven, unproven = a_pool(kind="community"), a_pool(kind="community")
    Pool.objects.filter(pk=proven.pk).update(level=3)
    a_pool()
    page = listed(Pool, proven="no")
    assert "L0 unproven" in page
    assert unproven.identifier in page
    assert proven.identifier not in page
    assert len(operator().get(list_of(Pool, proven="yes")).context["cl"].result_list) == 2
    assert "standing L0 unproven" in shown(unproven)
    assert "standing L3" in shown(proven)


def test_an_artifact_says_where_its_bytes_are_and_who_keeps_them() -> None:
    artifact = an_artifact(alice(), b"a scene", "scene.obj")
    copy = a_replica(artifact, "guizhou", state="held")
    pin(artifact, None, timezone.now() + timedelta(days=2, hours=1))
    assert copy.pool is not None
    assert f"guizhou a copy {copy.pool.identifier} held" in shown(artifact)
    assert "guizhou held" in listed(Artifact)
    assert f"guizhou acme held {copy.pool.identifier}" in shown(artifact.blob)


def test_what_is_not_yet_measured_stands_with_its_task_and_pool() -> None:
    task = a_settled_task()
    attempt = Attempt.objects.filter(task=task).latest("pk")
    Ended.objects.create(attempt=attempt, at=timezone.now())
    page = listed(Ended)
    assert attempt.pool.identifier in page
    assert "valid" in page


def test_what_was_learned_stands_for_one_unit() -> None:
    everything()
    pace = Pace.objects.latest("pk")
    assert f"seconds a unit {pace.seconds / pace.samples:,.3f}" in shown(pace)


def test_numbers_carry_no_digits_that_say_nothing() -> None:
    a_link("here", "there", price_per_gb="0.5", loss=0.00001)
    page = listed(NetworkLink)
    assert "0.001 % 0.5 Operator" in page
    assert "0.500000" not in page


def test_a_list_as_it_stands_waits_for_a_machine_that_hangs_and_a_filter_does_not() -> None:
    client = operator()
    for filters, limit in (({}, 20_000), ({"q": "7"}, 3_000)):
        with CaptureQueriesContext(connection) as asked:
            client.get(list_of(Ended, **filters))
        assert f"SET LOCAL statement_timeout = {limit}" in [one["sql"] for one in asked]


def statements(row: Any) -> int:
    client = operator()
    with CaptureQueriesContext(connection) as asked:
        assert client.get(page_of(row)).status_code == 200
    return len(asked)


def test_an_artifacts_and_a_blobs_page_ask_no_more_for_more_copies() -> None:
    def with_copies(count: int) -> tuple[int, int]:
        artifact = an_artifact(alice(), f"{count}".encode(), f"{count}.obj")
        for number in range(count):
            a_replica(artifact, f"place-{count}-{number}", state="held")
        return statements(artifact), statements(artifact.blob)

    assert with_copies(2) == with_copies(12)


def test_a_rounds_page_asks_no_more_for_more_decisions_and_prices() -> None:
    an_open_task(1)
    decision, one = Decision.objects.get(), Round.objects.get()
    MarketPrice.objects.create(at=one.at, pool=a_pool(), resource="cores", price=0.1)
    few = [statements(row) for row in (one, decision.need, one.scene)]
    for _ in range(8):
        pool = a_pool()
        Decision.objects.create(round=one, need=decision.need, placed=[[pool.pk, 3]], candidates=[], excluded={})
        MarketPrice.objects.create(at=one.at, pool=pool, resource="cores", price=0.1)
        Round.objects.create(at=one.at, waiting=1, placed=0, decided_by="optimum", micros=1, snapshot={}, scene=one.scene)
    assert [statements(row) for row in (one, decision.need, one.scene)] == few
