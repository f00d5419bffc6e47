"""Uploads that resume, artifacts, quotas: through the API, as a client sees them."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvicorn
from django.db import connection
from django.utils import timezone

from core.errors import Conflict, Invalid, TooLarge
from marketplace import spool, storage
from marketplace.models import Artifact, Blob, BlobPlace, Organization, Upload
from marketplace.services import artifacts
from tests import builders as build
from tests.builders_capabilities import an_artifact, send_bytes, sha256_of, upload_through

pytestmark = pytest.mark.django_db
DATA = b"0123456789" * 1000
EMPTY = sha256_of(b"")


@pytest.fixture(autouse=True)
def store(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    backend = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "store")},
    }
    settings.STORAGES = {**settings.STORAGES, "default": backend}


def begin(client: Any, data: bytes = DATA, name: str = "data.bin", **fields: Any) -> Any:
    wanted = {"name": name, "sha256": sha256_of(data), "bytes": len(data)}
    return client.post("/api/v1/uploads", {**wanted, **fields})


def test_an_upload_becomes_an_artifact_that_can_be_read_listed_and_deleted() -> None:
    client = build.client_of(build.alice())
    begun = begin(client, name="scene/car.obj", media_type="model/obj")
    assert (begun.status_code, begun.json()["offset"], begun.json()["artifact"]) == (201, 0, None)
    done = send_bytes(client, begun.json()["id"], 0, DATA)
    assert (done.status_code, done.json()["offset"]) == (200, len(DATA))
    url = f"/api/v1/artifacts/{done.json()['artifact']}"
    shown = client.get(url).json()
    assert {key: shown[key] for key in ("name", "bytes", "sha256", "media_type")} == {
        "name": "scene/car.obj", "bytes": len(DATA), "sha256": sha256_of(DATA), "media_type": "model/obj",
    }  # fmt: skip
    assert client.get(f"{url}/content").getvalue() == DATA
    assert client.get(f"{url}/content", headers={"Range": "bytes=-3"}).getvalue() == b"789"
    assert [row["id"] for row in client.get("/api/v1/artifacts").json()["results"]] == [shown["id"]]
    assert client.delete(url).status_code == 204
    assert [client.get(url).status_code, client.delete(url).status_code] == [404, 404]
    assert client.get("/api/v1/artifacts").json()["results"] == []


def test_a_region_is_noted_for_near_data_scheduling() -> None:
    alice = build.alice()
    Organization.objects.filter(pk=alice.organization.pk).update(region=build.a_region("shanghai"))
    client = build.client_of(alice)
    artifact = upload_through(client, DATA)
    assert client.get(f"/api/v1/artifacts/{artifact}").json()["regions"] == ["shanghai"]


def test_an_upload_goes_on_where_a_cut_connection_left_it() -> None:
    client = build.client_of(build.alice())
    upload = begin(client).json()["id"]
    assert send_bytes(client, upload, 0, DATA[:4000]).json() == {
        "id": upload, "offset": 4000, "bytes": len(DATA), "artifact": None,
    }  # fmt: skip
    assert client.get(f"/api/v1/uploads/{upload}").json()["offset"] == 4000
    wrong = send_bytes(client, upload, 3000, DATA[3000:])
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["offset"]) == (409, "offset_mismatch", 4000)
    again = begin(client)
    assert again.json() == {"id": upload, "offset": 4000, "bytes": len(DATA), "artifact": None}
    assert send_bytes(client, upload, 4000, DATA[4000:]).json()["artifact"]
    late = send_bytes(client, upload, len(DATA), b"")
    assert (late.status_code, late.json()["offset"]) == (200, len(DATA))
    assert send_bytes(client, upload, 0, DATA).json()["code"] == "offset_mismatch"
    assert Artifact.objects.count() == 1


def test_other_bytes_than_announced_are_refused_and_nothing_is_kept() -> None:
    client = build.client_of(build.alice())
    upload = begin(client).json()["id"]
    wrong = send_bytes(client, upload, 0, b"x" * len(DATA))
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["field"]) == (422, "hash_mismatch", "sha256")
    assert client.get(f"/api/v1/uploads/{upload}").json()["offset"] == 0
    assert not Blob.objects.exists()
    assert not Artifact.objects.exists()
    assert list(spool.folder().iterdir()) == []
    assert send_bytes(client, upload, 0, DATA).json()["artifact"]


def test_a_body_longer_than_announced_is_refused() -> None:
    client = build.client_of(build.alice())
    upload = begin(client).json()["id"]
    send_bytes(client, upload, 0, DATA[:10])
    wrong = send_bytes(client, upload, 10, DATA)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "body_too_long")
    assert client.get(f"/api/v1/uploads/{upload}").json()["offset"] == 10


@contextmanager
def served() -> Iterator[int]:
    """The port of the real web server, in a thread: only a real connection can be cut."""
    server = uvicorn.Server(uvicorn.Config("config.asgi:application", port=0, lifespan="off", log_config=None))
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(server.run)
        try:
            within(10, lambda: server.started)
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            running.result(10)


def within(seconds: float, answered: Callable[[], Any]) -> Any:
    """What is answered once it is true."""
    until = time.monotonic() + seconds
    while not (found := answered()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


def patch_and_hang_up(port: int, upload: str, key: str, body: bytes, announced: int) -> None:
    """Send fewer bytes than announced, and end the connection."""
    head = f"PATCH /api/v1/uploads/{upload} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    head += f"Upload-Offset: 0\r\nContent-Type: application/octet-stream\r\nContent-Length: {announced}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + body)


@pytest.mark.django_db(transaction=True)
def test_a_truncated_body_leaves_what_arrived(caplog: pytest.LogCaptureFixture) -> None:
    client, key = build.client_of(build.alice()), build.a_key(build.alice())
    upload = begin(client).json()["id"]
    with served() as port:
        patch_and_hang_up(port, upload, key, DATA[:700], len(DATA))
        within(10, lambda: client.get(f"/api/v1/uploads/{upload}").json()["offset"])
    shown = client.get(f"/api/v1/uploads/{upload}").json()
    assert (shown["offset"], shown["artifact"]) == (700, None)
    assert [line for line in caplog.records if line.levelname in ("ERROR", "CRITICAL")] == []
    assert send_bytes(client, upload, 700, DATA[700:]).json()["artifact"]


@pytest.mark.parametrize("offset", ["", "-1", "1.5", "many", "9" * 30, "٣"])
def test_an_offset_that_is_no_number_is_refused(offset: str) -> None:
    client = build.client_of(build.alice())
    upload = begin(client).json()["id"]
    headers = {"Upload-Offset": offset.encode().decode("latin-1")}
    answer = client.generic("PATCH", f"/api/v1/uploads/{upload}", b"x", headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (422, "Upload-Offset")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"name": "../../etc/passwd"}, "unsafe_path", "name"),
        ({"name": "/etc/passwd"}, "unsafe_path", "name"),
        ({"name": "a\\b"}, "unsafe_path", "name"),
        ({"name": ""}, "invalid_input", "name"),
        ({"name": "x" * 256}, "invalid_input", "name"),
        ({"sha256": "ABC"}, "invalid_input", "sha256"),
        ({"bytes": -1}, "invalid_input", "bytes"),
        ({"bytes": 2**70}, "invalid_input", "bytes"),
        ({"bytes": 0}, "hash_mismatch", "sha256"),
        ({"media_type": "text/html\r\nX: y"}, "invalid_input", "media_type"),
        ({"surprise": 1}, "invalid_input", "surprise"),
    ],
)
def test_a_bad_announcement_names_the_field(fields: dict[str, Any], code: str, field: str) -> None:
    answer = begin(build.client_of(build.alice()), **fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)
    assert not Upload.objects.exists()


def test_a_file_beyond_the_market_s_limit_is_413(settings: Any) -> None:
    settings.MAX_ARTIFACT_BYTES = len(DATA) - 1
    answer = begin(build.client_of(build.alice()))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (413, "artifact_too_large", "bytes")


def test_an_empty_file_needs_nothing_to_be_sent() -> None:
    client = build.client_of(build.alice())
    answer = begin(client, b"")
    assert (answer.status_code, answer.json()["id"]) == (200, None)
    content = client.get(f"/api/v1/artifacts/{answer.json()['artifact']}/content")
    assert (content.status_code, content.getvalue()) == (200, b"")


def test_bytes_that_the_organization_has_are_not_sent_again() -> None:
    client = build.client_of(build.alice())
    first = upload_through(client, DATA)
    same = begin(client)
    assert (same.status_code, UUID(same.json()["artifact"])) == (200, first)
    renamed = begin(client, name="other.bin").json()["artifact"]
    assert client.get(f"/api/v1/artifacts/{renamed}").json()["name"] == "other.bin"
    assert Blob.objects.count() == 1
    wrong = begin(client, bytes=5)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "hash_mismatch")


def test_knowing_a_hash_does_not_give_a_stranger_the_bytes() -> None:
    upload_through(build.client_of(build.alice()), DATA)
    answer = begin(build.client_of(build.mallory()))
    assert (answer.status_code, answer.json()["artifact"]) == (201, None)


def test_a_stranger_finds_neither_uploads_nor_artifacts() -> None:
    client, stranger = build.client_of(build.alice()), build.client_of(build.mallory())
    upload = begin(client, b"other").json()["id"]
    artifact = upload_through(client, DATA)
    answers = [
        stranger.get(f"/api/v1/uploads/{upload}"),
        send_bytes(stranger, upload, 0, b"other"),
        stranger.get(f"/api/v1/artifacts/{artifact}"),
        stranger.get(f"/api/v1/artifacts/{artifact}/content"),
        stranger.delete(f"/api/v1/artifacts/{artifact}"),
        stranger.get(f"/api/v1/artifacts/{uuid4()}"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert stranger.get("/api/v1/artifacts").json()["results"] == []
    assert client.get(f"/api/v1/uploads/{upload}").json()["offset"] == 0


def test_a_viewer_may_read_but_not_upload() -> None:
    artifact = upload_through(build.client_of(build.alice()), DATA)
    viewer = build.client_of(build.alice("viewer"))
    assert viewer.get(f"/api/v1/artifacts/{artifact}").status_code == 200
    assert begin(viewer, b"x").status_code == 403
    assert viewer.delete(f"/api/v1/artifacts/{artifact}").status_code == 403


def test_the_quota_counts_each_blob_once_and_announced_bytes_too() -> None:
    alice = build.alice()
    Organization.objects.filter(pk=alice.organization.pk).update(quota_bytes=25_000)
    client = build.client_of(alice)
    upload_through(client, DATA)
    assert begin(client, name="again.bin").status_code == 200
    announced = begin(client, b"a" * 10_000)
    assert announced.status_code == 201
    full = begin(client, b"b" * 10_000)
    assert (full.status_code, full.json()["code"], full.json()["quota"]) == (413, "quota_exceeded", 25_000)
    assert begin(client, b"a" * 10_000).json()["id"] == announced.json()["id"]
    Upload.objects.filter(pk=announced.json()["id"]).update(expires_at=timezone.now() - timedelta(hours=1))
    assert begin(client, b"b" * 10_000).status_code == 201


def test_too_many_open_uploads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_OPEN_UPLOADS", 1)
    client = build.client_of(build.alice())
    begin(client, b"a")
    assert begin(client, b"b").json()["code"] == "too_many_uploads"


def test_an_upload_that_was_given_up_is_gone_and_swept() -> None:
    client = build.client_of(build.alice())
    upload = begin(client).json()["id"]
    Upload.objects.filter(pk=upload).update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = send_bytes(client, upload, 0, DATA)
    assert (answer.status_code, answer.json()["code"]) == (404, "upload_expired")
    assert artifacts.sweep_uploads() == 1
    assert client.get(f"/api/v1/uploads/{upload}").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_two_uploads_of_the_same_bytes_at_once_make_one_blob() -> None:
    alice, mallory = build.alice(), build.mallory()

    def send(person: build.Person) -> UUID:
        try:
            return upload_through(build.client_of(person), DATA, pieces=5)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as workers:
        first, second = workers.map(send, [alice, mallory])
    assert first != second
    assert Blob.objects.count() == 1
    assert b"".join(storage.open_range(sha256_of(DATA), 0, len(DATA))) == DATA


@pytest.mark.django_db(transaction=True)
def test_two_announcements_cannot_both_take_the_last_of_the_quota() -> None:
    alice = build.alice()
    Organization.objects.filter(pk=alice.organization.pk).update(quota_bytes=15_000)

    def announce(data: bytes) -> int:
        try:
            return int(begin(build.client_of(alice), data).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        statuses = list(workers.map(announce, [bytes([n]) * 10_000 for n in range(4)]))
    assert sorted(statuses) == [201, 413, 413, 413]


def test_artifacts_are_resolved_in_one_statement(django_assert_num_queries: Any) -> None:
    alice = build.alice()
    ids = [an_artifact(alice, b"%d" % n, f"{n}.txt").pk for n in range(5)]
    with django_assert_num_queries(1):
        found = artifacts.resolve_artifacts(alice.organization, ids)
        assert [found[key].blob.bytes for key in ids] == [1] * 5


def test_an_artifact_that_is_missing_deleted_or_foreign_names_the_input() -> None:
    alice, mallory = build.alice(), build.mallory()
    foreign, deleted = an_artifact(mallory, b"1"), an_artifact(alice, b"2", deleted_at=timezone.now())
    for key in (uuid4(), foreign.pk, deleted.pk):
        with pytest.raises(Invalid) as caught:
            artifacts.resolve_artifacts(alice.organization, {key: "inputs.files.3"})
        assert (caught.value.code, caught.value.field) == ("unknown_artifact", "inputs.files.3")


def test_a_deleted_artifact_can_be_uploaded_again_only_with_its_bytes() -> None:
    client = build.client_of(build.alice())
    artifact = upload_through(client, DATA)
    client.delete(f"/api/v1/artifacts/{artifact}")
    assert begin(client).status_code == 201


def test_blobs_are_registered_by_the_thousand_in_two_statements(django_assert_num_queries: Any) -> None:
    region = build.a_region()
    blobs = [(sha256_of(b"%d" % n), n) for n in range(3000)]
    with django_assert_num_queries(2):
        artifacts.register_blobs([*blobs, *blobs], region.pk)
    artifacts.register_blobs(blobs, region.pk)
    assert Blob.objects.count() == BlobPlace.objects.count() == 3000


def part(data: bytes, first: int, last: int, **options: Any) -> artifacts.Received:
    header = f"bytes {first}-{last - 1}/{len(DATA)}"
    return artifacts.receive_part(sha256_of(DATA), header, io.BytesIO(data), spool_key="attempt-7", **options)


def test_an_agent_sends_a_blob_in_parts_or_whole() -> None:
    region = build.a_region()
    assert part(DATA[:6000], 0, 6000) == (6000, False)
    assert artifacts.part_offset(sha256_of(DATA), spool_key="attempt-7") == 6000
    assert part(DATA[6000:], 6000, len(DATA), region_id=region.pk) == (len(DATA), True)
    assert BlobPlace.objects.get().region == region
    whole = artifacts.receive_part(sha256_of(b"x"), None, io.BytesIO(b"x"), spool_key="attempt-7")
    assert whole == artifacts.Received(1, True)
    empty = artifacts.receive_part(EMPTY, None, io.BytesIO(b""), spool_key="attempt-7")
    assert empty == artifacts.Received(0, True)
    assert {blob.sha256: blob.bytes for blob in Blob.objects.all()} == {
        sha256_of(DATA): len(DATA),
        sha256_of(b"x"): 1,
        EMPTY: 0,
    }


def test_a_part_at_the_wrong_place_is_told_the_right_one() -> None:
    part(DATA[:10], 0, 10)
    with pytest.raises(Conflict) as caught:
        part(DATA[20:30], 20, 30)
    assert caught.value.data == {"offset": 10}


def test_a_part_with_more_bytes_than_its_range_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        part(DATA, 0, 10)
    assert caught.value.code == "body_too_long"
    assert artifacts.part_offset(sha256_of(DATA), spool_key="attempt-7") == 0


@pytest.mark.parametrize(
    "header", ["", "bytes 0-", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "items 0-1/2", "bytes 0-1/*"]
)
def test_a_content_range_that_makes_no_sense_is_refused(header: str) -> None:
    with pytest.raises(Invalid) as caught:
        artifacts.receive_part(sha256_of(DATA), header, io.BytesIO(DATA), spool_key="a")
    assert caught.value.code == "invalid_content_range"


def test_an_agent_cannot_send_more_than_its_attempt_may_leave() -> None:
    for header in (None, f"bytes 0-{len(DATA) - 1}/{len(DATA)}"):
        with pytest.raises(TooLarge):
            artifacts.receive_part(sha256_of(DATA), header, io.BytesIO(DATA), spool_key="a", max_bytes=len(DATA) - 1)
    assert not Blob.objects.exists()
    assert not any(path.stat().st_size for path in spool.folder().iterdir())


def test_an_agent_s_other_bytes_are_refused_and_nothing_is_kept() -> None:
    with pytest.raises(Invalid) as caught:
        artifacts.receive_part(sha256_of(DATA), None, io.BytesIO(b"lies"), spool_key="a")
    assert caught.value.code == "hash_mismatch"
    assert not storage.exists(sha256_of(DATA))
    assert not Blob.objects.exists()
