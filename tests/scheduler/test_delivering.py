"""The result: which files it lists, and a hash that depends on them alone."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import storage
from marketplace.models import Pool, Result, Task
from scheduler.models import Output, Unit
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.delivering import deliver_task, hash_of, result_files
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of

MERGE = {"run": ["merge"], "outputs": [{"path": "film.mp4"}]}


def a_file(path: str, content: bytes) -> dict[str, Any]:
    store_bytes(content)
    return {"path": path, "sha256": sha_of(content), "bytes": len(content), "media_type": "text/plain"}


def worked(units: int, *, backwards: bool = False, **manifest: Any) -> Task:
    """A task whose units are done on a new pool, each with a file of its own, and whose merge is done if it has one."""
    Pool.objects.filter(state="active").update(state="draining")
    agent = FakeAgent.of(a_pool())
    task = a_task(version=a_version(outputs=[{"path": "part.txt"}], **manifest), inputs={"count": units})
    run_round()
    leased = agent.beat(want=units).leased
    for row in reversed(leased) if backwards else leased:
        output = a_file("part.txt", f"part {row['index']}".encode())
        agent.report({"attempt": row["attempt"], "fence": row["fence"], "outcome": "done", "outputs": [output]})
    if "merge" in manifest:
        advance_task(task.pk)
        run_round()
        agent.beat(want=1)
        agent.done(outputs=[a_file("film.mp4", b"a film")])
    return Task.objects.get(pk=task.pk)


def delivered(task: Task) -> Result:
    assert advance_task(task.pk) == "delivered"
    return Result.objects.get(task=task)


@pytest.mark.django_db
def test_the_result_of_one_unit_is_its_files() -> None:
    task = worked(1)
    result = delivered(task)
    assert [f["path"] for f in result_files(task)] == ["part.txt"]
    assert (result.files, result.bytes) == (1, len(b"part 0"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("manifest", "paths"),
    [
        ({}, ["units/000000/part.txt", "units/000001/part.txt"]),
        ({"merge": MERGE}, ["film.mp4"]),
        ({"merge": MERGE | {"keep_units": True}}, ["film.mp4", "units/000000/part.txt", "units/000001/part.txt"]),
    ],
    ids=["no merge", "a merge", "a merge that keeps its units"],
)
def test_files_of_several_units_stand_below_their_index(manifest: dict[str, Any], paths: list[str]) -> None:
    task = worked(2, **manifest)
    result = delivered(task)
    manifest_json = orjson.loads(storage.read_bytes(result.manifest_id, 100_000))
    assert [f["path"] for f in manifest_json["files"]] == paths
    assert manifest_json["result_hash"] == result.result_hash == hash_of(manifest_json["files"])
    assert (manifest_json["task"], manifest_json["capability"]) == (str(task.pk), str(task.capability_version))
    for file in manifest_json["files"]:
        assert sha_of(storage.read_bytes(file["sha256"], 1_000)) == file["sha256"]


@pytest.mark.django_db
def test_equal_work_has_an_equal_hash_on_whatever_pool_in_whatever_order_and_time() -> None:
    first = delivered(worked(3))
    second = delivered(worked(3, backwards=True))
    assert first.result_hash == second.result_hash
    assert first.manifest_id != second.manifest_id  # the manifest names its task
    assert delivered(worked(2)).result_hash != first.result_hash


files = st.lists(
    st.fixed_dictionaries(
        {
            "path": st.text("abc/.", min_size=1, max_size=9),
            "bytes": st.integers(0, 10**12),
            "sha256": st.text("0f", min_size=4, max_size=4),
        }
    ),
    unique_by=lambda file: file["path"],
)


@given(files, st.randoms(use_true_random=False))
def test_the_hash_does_not_depend_on_the_order_of_the_list(listed: list[dict[str, Any]], chance: random.Random) -> None:
    mixed = list(listed)
    chance.shuffle(mixed)
    assert hash_of(mixed) == hash_of(listed)
    for file in listed:
        assert hash_of([file | {"bytes": file["bytes"] + 1}, *[f for f in listed if f is not file]]) != hash_of(listed)


@pytest.mark.django_db
def test_files_of_attempts_that_were_not_valid_are_no_part_of_it() -> None:
    agent = FakeAgent.of(a_pool())
    task = a_task(version=a_version(outputs=[{"path": "part.txt"}]))
    run_round()
    agent.beat(want=1)
    agent.failed("reclaimed")
    failed = Unit.objects.get().attempts.get()
    lost = a_file("part.txt", b"half of it")
    Output.objects.create(attempt=failed, task=task, path="part.txt", blob_id=lost["sha256"], bytes=10, media_type="")
    run_round()
    agent.beat(want=1)
    agent.done(outputs=[a_file("part.txt", b"all of it")])
    assert [f["sha256"] for f in result_files(task)] == [sha_of(b"all of it")]


@pytest.mark.django_db
def test_delivering_twice_is_one_delivery() -> None:
    task = worked(2)
    result = delivered(task)
    assert deliver_task(task) is False
    assert Result.objects.get() == result
    assert Task.objects.get().events.filter(kind="task.delivered").count() == 1


@pytest.mark.django_db
def test_what_the_user_has_cancelled_is_not_delivered() -> None:
    task = worked(2)
    cancel_task(task.pk)
    assert deliver_task(task) is False
    assert not Result.objects.exists()


@pytest.mark.django_db
def test_a_result_may_be_empty() -> None:
    agent = FakeAgent.of(a_pool())
    task = a_task()
    run_round()
    agent.beat(want=1)
    agent.done()
    result = delivered(task)
    assert (result.files, result.bytes, result.result_hash) == (0, 0, hash_of([]))
