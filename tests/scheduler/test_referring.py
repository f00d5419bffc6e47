"""Tasks whose inputs are results of other tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from core.errors import Invalid
from marketplace.models import Artifact, CapabilityVersion, Task, TaskArtifact
from scheduler.models import Unit
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.drafting import Asker, Request
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import sweep
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.services.quoting import quote_task
from scheduler.stores import store_bytes
from tests.builders import Person, a_pool, alice, mallory
from tests.builders_capabilities import an_artifact
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of

pytestmark = pytest.mark.django_db
INPUTS = {
    "type": "object",
    "properties": {
        "one": {"type": "string", "format": "artifact"},
        "many": {"type": "array", "maxItems": 4, "items": {"type": "string", "format": "artifact"}},
    },
}


def maker() -> CapabilityVersion:
    return a_version(outputs=[{"path": "*.txt", "required": False}])


def taker(**changes: Any) -> CapabilityVersion:
    """Takes one file, and a list that it is split by."""
    return a_version(**{"inputs": INPUTS, "split": {"by": "files", "over": "many"}, "tests": []} | changes)


def a_source(person: Person | None = None, count: int = 3) -> Task:
    """A task of three units, each of which will leave part.txt."""
    return a_task(person, version=maker(), inputs={"count": count})


def deliver(task: Task, agent: FakeAgent) -> None:
    run_round()
    document = agent.beat(want=99).document()
    reports = []
    for attempt, fence, _, index, *_ in document["leases"]:
        store_bytes(f"part {index}".encode())
        output = {"path": "part.txt", "sha256": sha_of(f"part {index}".encode()), "media_type": "text/plain"}
        reports.append({"attempt": attempt, "fence": fence, "outcome": "done", "outputs": [output]})
    agent.report(*reports)
    assert advance_task(task.pk) == "delivered"


def referring(task: Task, path: str = "**", **more: Any) -> Task:
    return a_task(version=more.pop("version", None) or taker(), inputs={"many": {"task": str(task.pk), "path": path}}, **more)


def refused(inputs: dict[str, Any]) -> Invalid:
    with pytest.raises(Invalid) as caught:
        a_task(version=taker(), inputs=inputs)
    return caught.value


def test_a_task_waits_for_the_one_it_names_and_then_takes_its_files() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    task = referring(source)
    assert (task.units_open, task.units_expanded, task.inputs["many"]["task"]) == (0, 0, str(source.pk))
    told = explain_task(task)["waiting"]
    assert told["reason"] == "waiting_for_task"
    assert str(source.pk) in told["detail"]
    assert sweep() == {"expand": [], "advance": []}

    deliver(source, agent)
    assert sweep()["advance"] == [task.pk]
    advance_task(task.pk)
    assert expand_task(task.pk) == 3
    task.refresh_from_db()
    assert [Artifact.objects.get(pk=pk).name for pk in task.inputs["many"]] == [f"units/{n:06d}/part.txt" for n in range(3)]
    run_round()
    leases = agent.beat(want=9).document()["leases"]
    assert [files[0]["sha256"] for *_, files in leases] == [sha_of(f"part {n}".encode()) for n in range(3)]
    assert files_path(leases[0]) == "in/many/units/000000/part.txt"


def files_path(lease: list[Any]) -> str:
    return str(lease[-1][0]["path"])


def test_the_end_of_the_one_wakes_those_that_wait_for_it(wakes: list[tuple[str, str]]) -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    task = referring(source)
    wakes.clear()
    deliver(source, agent)
    assert ("scheduler.advance", str(task.pk)) in wakes


@pytest.fixture
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    from scheduler.services import advancing

    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(advancing, "wake", lambda name, key="", **_: sent.append((name, key)))
    return sent


def test_a_task_that_is_delivered_already_is_taken_at_once() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    deliver(source, agent)
    task = referring(source, "units/000001/*")
    advance_task(task.pk)
    task.refresh_from_db()
    assert (task.units_open, task.units_total, len(task.inputs["many"])) == (None, 1, 1)


def test_references_stand_among_artifacts_in_their_places_and_as_a_single_file() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    deliver(source, agent)
    own = an_artifact(alice(), b"my own", "own.txt")
    listed = [str(own.pk), {"task": str(source.pk), "path": "units/00000[02]/*"}]
    first = {"task": str(source.pk), "path": "units/000001/part.txt"}
    task = a_task(version=taker(), inputs={"one": first, "many": listed})
    advance_task(task.pk)
    task.refresh_from_db()
    names = [Artifact.objects.get(pk=pk).name for pk in task.inputs["many"]]
    assert names == ["own.txt", "units/000000/part.txt", "units/000002/part.txt"]
    paths = TaskArtifact.objects.filter(task=task, field="one").values_list("path", flat=True)
    assert list(paths) == ["in/one/units/000001/part.txt"]


def test_the_same_files_again_are_the_same_artifacts() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    deliver(source, agent)
    for _ in range(2):
        advance_task(referring(source).pk)
    assert Artifact.objects.count() == 3


@pytest.mark.parametrize("ending", ["cancelled", "failed", "expired"])
def test_when_the_one_it_needs_ends_without_a_result_the_task_fails_and_says_why(ending: str) -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    task = referring(source)
    if ending == "cancelled":
        cancel_task(source.pk)
    elif ending == "expired":
        Task.objects.filter(pk=source.pk).update(deadline=timezone.now() - timedelta(seconds=1))
    else:
        run_round()
        agent.beat(want=9)
        agent.failed("capability_error")
    advance_task(source.pk)
    assert sweep()["advance"] == [task.pk]
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert task.reason == f"inputs.many: the task {source.pk} was {ending}, without a result"
    assert task.reason_class == "capability_error"


def test_a_chain_of_tasks_falls_with_its_first() -> None:
    a_pool()
    first = a_source()
    second = referring(first)
    third = referring(second)
    cancel_task(first.pk)
    assert [advance_task(second.pk), advance_task(third.pk)] == ["failed", "failed"]


def test_a_task_that_waits_expires_by_its_own_deadline_and_can_be_cancelled() -> None:
    a_pool()
    source = a_source()
    late, unwanted = referring(source), referring(source)
    Task.objects.filter(pk=late.pk).update(deadline=timezone.now() - timedelta(seconds=1))
    assert sweep()["advance"] == [late.pk]
    assert advance_task(late.pk) == "expired"
    assert cancel_task(unwanted.pk).state == "cancelled"


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"many": {"path": "*.png"}}, "no file of the task"),
        ({"one": {"path": "**"}, "many": {"path": "**"}}, "3 files of the task"),
        ({"many": [{"path": "**"}, {"path": "units/000000/*"}]}, "two files have the same name"),
        ({"many": [{"path": "units/000000/*"}, {"path": "units/000001/*"}, {"path": "units/**"}]}, "too long"),
    ],
)
def test_what_came_and_cannot_be_used_fails_the_task_with_a_sentence(inputs: dict[str, Any], reason: str) -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    named = {"task": str(source.pk)}
    filled = {name: [one | named for one in v] if isinstance(v, list) else v | named for name, v in inputs.items()}
    task = a_task(version=taker(), inputs=filled)
    deliver(source, agent)
    assert advance_task(task.pk) == "failed"
    task.refresh_from_db()
    assert reason in task.reason
    assert (Unit.objects.filter(task=task).count(), Artifact.objects.count()) == (0, 0)


def test_a_strangers_task_and_one_that_does_not_exist_yet_are_equally_unknown() -> None:
    a_pool()
    theirs = a_source(mallory())
    errors = [refused({"many": {"task": str(pk)}}) for pk in (theirs.pk, uuid4())]
    assert {(one.code, one.field, one.detail) for one in errors} == {("unknown_task", "inputs.many.task", "you have no such task")}


def test_a_task_cannot_name_itself_as_nobody_knows_its_id_before_it_is_there() -> None:
    a_pool()
    task = referring(a_source())
    assert not task.references.filter(needs_id=task.pk).exists()
    assert refused({"many": [{"task": "self"}]}).field == "inputs.many.0.task"


def test_a_task_that_has_ended_without_a_result_is_refused_at_once() -> None:
    a_pool()
    source = a_source()
    cancel_task(source.pk)
    error = refused({"one": {"task": str(source.pk)}})
    assert (error.code, error.field) == ("task_without_result", "inputs.one.task")


@pytest.mark.parametrize(
    ("value", "code", "field"),
    [
        ({"task": 7}, "invalid_reference", "inputs.many.task"),
        ({}, "invalid_reference", "inputs.many.task"),
        ({"task": str(uuid4()), "path": 3}, "invalid_reference", "inputs.many"),
        ({"task": str(uuid4()), "path": "../x"}, "unsafe_path", "inputs.many.path"),
        ({"task": str(uuid4()), "glob": "x"}, "invalid_reference", "inputs.many"),
        ([{"task": str(uuid4())}] * 101, "invalid_reference", "inputs"),
        ([["x"]], "invalid_inputs", "inputs.many.0"),
    ],
)
def test_references_of_another_shape_are_errors_of_their_field(value: Any, code: str, field: str) -> None:
    a_pool()
    error = refused({"many": value})
    assert (error.code, error.field) == (code, field)


def test_a_task_that_will_wait_can_be_quoted() -> None:
    a_pool()
    inputs = {"many": {"task": str(a_source().pk)}}
    quote = quote_task(Asker(alice().organization), Request(str(taker()), inputs))
    assert (quote.units, quote.feasible) == (1, 1)


def test_it_is_planned_again_with_the_files_that_came() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    source = a_source()
    version = taker(resources={"cores": 1, "memory_mib": 64, "disk_mib": "64 + input_mib"})
    task = referring(source, version=version)
    assert task.plan["need"]["disk_mib"] == 64
    deliver(source, agent)
    advance_task(task.pk)
    task.refresh_from_db()
    assert task.plan["need"]["disk_mib"] == 65
