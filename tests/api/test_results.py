"""The result of a task: its manifest, its files in whole and in part, and nothing beside them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from marketplace import storage
from marketplace.models import Task
from marketplace.services.artifacts import blob_received
from tests import builders as build
from tests.builders_http import problem_of
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

pytestmark = pytest.mark.django_db
CONTENT = b"0123456789"
HASH = hashlib.sha256(CONTENT).hexdigest()
FILE = {"path": "out/a b.txt", "bytes": 999, "sha256": HASH, "media_type": "text/plain"}


@pytest.fixture
def alice() -> Any:
    return build.client_of(build.alice())


@pytest.fixture
def task() -> Task:
    """Delivered, with one file; what the agent said of its size is not believed."""
    pool = build.a_pool()
    blob_received(storage.put_bytes(CONTENT), len(CONTENT), None)
    version = a_version(outputs=[{"path": "out/*.txt"}])
    return run_to_end(a_task(version=version), FakeAgent.of(pool), outputs=[FILE])


def test_the_manifest_names_every_file_and_one_hash_over_them(alice: Any, task: Task) -> None:
    seen = alice.get(f"/api/v1/tasks/{task.pk}").json()["result"]
    manifest = alice.get(seen["manifest_url"]).json()
    assert manifest["files"] == [FILE | {"bytes": len(CONTENT)}]
    line = f"{FILE['path']}\t{len(CONTENT)}\t{HASH}\n".encode()
    assert manifest["result_hash"] == seen["result_hash"] == hashlib.sha256(line).hexdigest()
    assert (manifest["task"], manifest["capability"]) == (str(task.pk), str(task.capability_version))
    assert (seen["files"], seen["bytes"]) == (1, len(CONTENT))


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        ({}, 200, CONTENT, None),
        ({"Range": "bytes=2-4"}, 206, b"234", "bytes 2-4/10"),
        ({"Range": "bytes=-3"}, 206, b"789", "bytes 7-9/10"),
        ({"Range": "bytes=8-"}, 206, b"89", "bytes 8-9/10"),
        ({"Range": "bytes=2-4", "If-Range": '"other"'}, 200, CONTENT, None),
        ({"Range": "bytes=0-1,4-5"}, 200, CONTENT, None),
    ],
)
def test_a_file_is_read_whole_or_in_part(
    alice: Any, task: Task, headers: dict[str, str], status: int, body: bytes, content_range: str | None
) -> None:
    answer = alice.get(f"/api/v1/tasks/{task.pk}/result/files/out/a%20b.txt", headers=headers)
    assert (answer.status_code, b"".join(answer.streaming_content)) == (status, body)
    assert answer.get("Content-Range") == content_range
    assert (answer["Content-Type"], answer["ETag"]) == ("text/plain", f'"{HASH}"')
    assert answer["Content-Disposition"] == 'attachment; filename="a b.txt"'


def test_a_range_beyond_the_end_and_a_known_file_send_nothing(alice: Any, task: Task) -> None:
    url = f"/api/v1/tasks/{task.pk}/result/files/out/a%20b.txt"
    beyond = alice.get(url, headers={"Range": "bytes=10-"})
    assert problem_of(beyond) == (416, "range_not_satisfiable", "Range")
    assert alice.get(url, headers={"If-None-Match": f'"{HASH}"'}).status_code == 304


@pytest.mark.parametrize("accept", ["text/html", "image/png", "*/*"])
def test_a_file_is_what_it_is_whatever_is_accepted(alice: Any, task: Task, accept: str) -> None:
    answer = alice.get(f"/api/v1/tasks/{task.pk}/result/files/out/a%20b.txt", headers={"Accept": accept})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "name", ["nothing.txt", "out", "../out/a%20b.txt", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "out/a%20b.txt%00"]
)
def test_only_files_of_the_manifest_are_there(alice: Any, task: Task, name: str) -> None:
    answer = alice.get(f"/api/v1/tasks/{task.pk}/result/files/{name}")
    assert problem_of(answer) == (404, "not_found", None)


def test_without_a_result_the_state_is_said(alice: Any) -> None:
    build.a_pool()
    task = a_task()
    for url in (f"/api/v1/tasks/{task.pk}/result", f"/api/v1/tasks/{task.pk}/result/files/a.txt"):
        answer = alice.get(url)
        assert problem_of(answer) == (404, "no_result", None)
        assert "queued" in answer.json()["detail"]
    assert alice.get(f"/api/v1/tasks/{task.pk}").json()["result"] is None


def test_files_of_several_units_stand_in_folders_of_their_own(alice: Any) -> None:
    pool = build.a_pool()
    blob_received(storage.put_bytes(CONTENT), len(CONTENT), None)
    task = a_task(version=a_version(outputs=[{"path": "out/*.txt"}]), inputs={"count": 2})
    run_to_end(task, FakeAgent.of(pool), outputs=[FILE])
    paths = [file["path"] for file in alice.get(f"/api/v1/tasks/{task.pk}/result").json()["files"]]
    assert paths == ["units/000000/out/a b.txt", "units/000001/out/a b.txt"]
