"""A plan becomes unit rows: in chunks, once, however often it is interrupted."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.models import Task
from scheduler.models import Need, Unit
from scheduler.needs import key_of
from scheduler.services import expanding
from scheduler.services.advancing import cancel_task
from scheduler.services.expanding import expand_task
from tests.builders import a_pool, alice, mallory
from tests.builders_capabilities import an_artifact
from tests.builders_tasks import a_task, a_version
from tests.scheduler.meanwhile import Running, stopped_after, until_somebody_waits

pytestmark = pytest.mark.django_db
MERGE = {"run": ["merge"], "outputs": [{"path": "all.txt"}]}


def bare(count: int, **manifest: Any) -> Task:
    """A task without units."""
    a_pool()
    return a_task(version=a_version(**manifest), inputs={"count": count}, expanded=False)


def indexes(task: Task, stage: int = 0) -> list[int]:
    return list(Unit.objects.filter(task=task, stage=stage).order_by("index").values_list("index", flat=True))


def test_every_unit_waits_and_the_merge_is_blocked() -> None:
    task = bare(10, merge=MERGE)
    assert expand_task(task.pk) == 11
    assert indexes(task) == list(range(10))
    assert set(Unit.objects.values_list("stage", "state", "fence", "tries")) == {(0, "waiting", 0, 0), (1, "blocked", 0, 0)}
    task.refresh_from_db()
    assert task.units_expanded == task.units_total == 11


def test_more_than_two_hundred_thousand_units_come_in_three_statements() -> None:
    task = bare(200_001, merge=MERGE)
    with CaptureQueriesContext(connection) as seen:
        assert expand_task(task.pk) == 200_002
    inserts = [query for query in seen.captured_queries if "INSERT INTO scheduler_unit" in query["sql"]]
    assert len(inserts) == 4  # three chunks and the merge
    assert Unit.objects.filter(task=task, stage=0).count() == 200_001
    assert indexes(task, stage=1) == [0]


@pytest.mark.parametrize(("units", "chunk"), [(1, 1), (6, 3), (7, 3), (5, 6), (6, 6), (6, 1)])
@pytest.mark.parametrize("merge", [None, MERGE])
def test_chunks_meet_without_gap_or_overlap(
    units: int, chunk: int, merge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expanding, "CHUNK", chunk)
    task = bare(units, **({"merge": merge} if merge else {}))
    assert expand_task(task.pk) == units + bool(merge)
    assert indexes(task) == list(range(units))
    assert expand_task(task.pk) == units + bool(merge)
    assert Unit.objects.count() == units + bool(merge)


def test_what_was_interrupted_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanding, "CHUNK", 4)
    task = bare(10, merge=MERGE)
    real = expanding._insert

    def killed(*args: Any) -> None:
        real(*args)
        if args[4] == 4:
            raise SystemExit

    monkeypatch.setattr(expanding, "_insert", killed)
    with pytest.raises(SystemExit):
        expand_task(task.pk)
    assert indexes(task) == [0, 1, 2, 3]  # the second chunk was rolled back with its count
    monkeypatch.setattr(expanding, "_insert", real)
    assert expand_task(task.pk) == 11
    assert indexes(task) == list(range(10))


def test_a_cancelled_task_gets_no_units() -> None:
    task = bare(10)
    Task.objects.filter(pk=task.pk).update(cancel_requested_at="2026-01-01T00:00:00Z")
    assert expand_task(task.pk) == 0
    assert expand_task("00000000-0000-7000-8000-000000000000") == 0
    assert not Unit.objects.exists()


def test_equal_needs_are_one_class_and_different_ones_are_not() -> None:
    a_pool()
    version = a_version()
    for fields in ({}, {"inputs": {"count": 5}}, {"name": "another"}):
        a_task(version=version, **fields)
    assert Need.objects.count() == 1
    a_task(version=version, objective="fastest")
    a_task(version=version, constraints={"regions": ["ningxia"]})
    a_task(version=version, constraints={"max_price": "1"})
    a_task(mallory(), version=version)
    a_task()
    assert Need.objects.count() == 6
    for need in Need.objects.all():
        assert need.key == key_of(need.document)


def test_the_cap_of_a_task_is_shared_by_its_units_after_its_fee() -> None:
    a_pool()
    version = a_version(merge=MERGE, fee={"per_task": "0.4", "per_unit": "0.01"})
    a_task(version=version, inputs={"count": 3}, constraints={"max_price": "2"})
    documents = {need.document["stage"]: need.document for need in Need.objects.all()}
    assert documents[0]["cap"] == documents[1]["cap"] == "0.400000000000"
    assert documents[0]["fee"] == "0.01"


def test_the_bytes_of_all_input_files_are_part_of_the_need() -> None:
    a_pool()
    inputs = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "artifact"}, "count": {"type": "integer", "default": 1}},
    }
    artifact = an_artifact(alice(), b"x" * 12_345)
    version = a_version(inputs=inputs, tests=[])
    a_task(version=version, inputs={"file": str(artifact.pk), "count": 1})
    assert Need.objects.get().document["bytes_in"] == 12_345


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_set_of_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanding, "CHUNK", 6)
    task = bare(10)
    with stopped_after(monkeypatch, expanding, "_insert", lambda: expand_task(task.pk)) as first:
        second = Running(lambda: expand_task(task.pk)).start()
        until_somebody_waits()
    assert first.result == second.result == 10
    assert indexes(task) == list(range(10))


@pytest.mark.django_db(transaction=True)
def test_a_task_cancelled_while_it_expands_keeps_no_unit_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanding, "CHUNK", 6)
    task = bare(10)
    with stopped_after(monkeypatch, expanding, "_insert", lambda: expand_task(task.pk)) as first:
        cancelling = Running(lambda: cancel_task(task.pk)).start()
        until_somebody_waits()
    assert cancelling.result.state in ("queued", "cancelled")
    assert first.result in (0, 10)
    assert cancel_task(task.pk).state == "cancelled"
    assert not Unit.objects.exclude(state="cancelled").exists()
