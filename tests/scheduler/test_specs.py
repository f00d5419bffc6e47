"""What an agent is told of a unit."""

from __future__ import annotations

from typing import Any

import pytest

from marketplace.models import Blob
from scheduler.services.placing import run_round
from scheduler.specs import shared_spec
from tests.builders import a_pool, alice
from tests.builders_capabilities import PINNED, a_program, an_artifact
from tests.builders_capabilities import a_version as a_full_version
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of

pytestmark = pytest.mark.django_db


def leased(units: int, **task: Any) -> dict[str, Any]:
    """The document an agent gets for a task of so many units."""
    agent = FakeAgent.of(a_pool())
    a_task(**task)
    run_round()
    document = agent.beat(want=units).document()
    assert len(document["leases"]) == units
    return document


def test_a_spec_says_everything_that_the_protocol_promises() -> None:
    version = a_full_version(program=a_program(), requirements=PINNED, inputs={"type": "object"}, split=None, demand={"tflop": "1"})
    document = leased(1, version=version)
    (spec,) = document["specs"].values()
    assert set(spec) == {
        "id", "task", "stage", "total", "capability", "trusted", "program", "environment", "run", "env", "inputs", "files",
        "outputs", "limits", "need",
    }  # fmt: skip
    program = Blob.objects.get(pk=version.program_id)
    assert spec["program"] == {"sha256": program.pk, "bytes": program.bytes}
    assert spec["environment"] == {"requirements": PINNED, "sha256": sha_of(PINNED.encode())}
    assert (spec["stage"], spec["total"], spec["capability"], spec["trusted"]) == ("unit", 1, str(version), False)
    assert set(spec["limits"]) == {
        "run_s", "memory_mib", "processes", "file_mib", "disk_mib", "output_mib", "log_kib", "grace_s",
    }  # fmt: skip
    assert spec["need"] == {"cores": 1, "memory_mib": 128, "disk_mib": 64, "accelerators": []}


def test_units_differ_by_their_index_and_parameters_only() -> None:
    document = leased(3, inputs={"count": 3})
    assert [lease[3:] for lease in document["leases"]] == [[i, {"value": i}, None] for i in range(3)]
    (spec,) = document["specs"].values()
    assert (spec["program"], spec["environment"], spec["files"]) == (None, None, [])


def files_version(**changes: Any) -> Any:
    schema = {
        "type": "object",
        "properties": {
            "files": {"type": "array", "items": {"type": "string", "format": "artifact"}},
            "common": {"type": "string", "format": "artifact"},
        },
    }
    return a_version(inputs=schema, tests=[], demand={"tflop": "1"}, **changes)


def test_files_of_the_task_are_named_once_for_all_its_units() -> None:
    a, b = (an_artifact(alice(), text, name) for text, name in ((b"a", "a.txt"), (b"bb", "b.txt")))
    version = files_version(split={"by": "range", "stop": "2"})
    document = leased(2, version=version, inputs={"files": [str(b.pk), str(a.pk)]})
    (spec,) = document["specs"].values()
    assert spec["files"] == [
        {"path": "in/files/a.txt", "sha256": sha_of(b"a"), "bytes": 1},
        {"path": "in/files/b.txt", "sha256": sha_of(b"bb"), "bytes": 2},
    ]
    assert [lease[5] for lease in document["leases"]] == [None, None]


def test_a_split_by_files_gives_each_unit_its_own_and_what_all_share() -> None:
    owned = [an_artifact(alice(), f"{n}".encode(), f"{n}.txt") for n in range(3)]
    shared = an_artifact(alice(), b"for all", "all.txt")
    version = files_version(split={"by": "files", "over": "files", "chunk": "2"})
    inputs = {"files": [str(one.pk) for one in owned], "common": str(shared.pk)}
    document = leased(2, version=version, inputs=inputs)
    (spec,) = document["specs"].values()
    assert spec["files"] == []
    paths = [[file["path"] for file in lease[5]] for lease in document["leases"]]
    assert paths == [
        ["in/files/0.txt", "in/files/1.txt", "in/common/all.txt"],
        ["in/files/2.txt", "in/common/all.txt"],
    ]


def test_a_spec_is_read_once_per_process(django_assert_num_queries: Any) -> None:
    a_pool()
    task = a_task()
    first = shared_spec(task.pk, 0)
    with django_assert_num_queries(0):
        assert shared_spec(task.pk, 0) == first
