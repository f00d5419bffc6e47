"""The store: addressed by content, read by range, the same over a folder and over anything else."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import InMemoryStorage
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st
from storages.backends.s3 import S3Storage

from core.errors import Conflict, Invalid, NotFound
from marketplace import spool, storage
from marketplace.ranges import RangeRefused, Unsatisfiable, parse_range
from tests.builders_capabilities import sha256_of

DATA = bytes(range(256)) * 10


@pytest.fixture(params=["folder", "memory"], autouse=True)
def store(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> None:
    """A fresh store of each kind, and a fresh spool."""
    settings.DATA_DIR = tmp_path
    backend = {
        "folder": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "store")},
        },
        "memory": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }[request.param]
    settings.STORAGES = {**settings.STORAGES, "default": backend}


def read(sha256: str, start: int, end: int) -> bytes:
    return b"".join(storage.open_range(sha256, start, end))


def answer_to(method: str = "GET", **headers: str) -> Any:
    request = RequestFactory().generic(
        method, "/", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    return storage.range_response(request, sha256_of(DATA), len(DATA), filename="图.bin", media_type="text/html")


def test_what_is_put_comes_back_by_its_hash() -> None:
    sha256 = storage.put_bytes(DATA)
    assert sha256 == sha256_of(DATA)
    assert storage.exists(sha256)
    assert read(sha256, 0, len(DATA)) == DATA
    assert read(sha256, 5, 9) == DATA[5:9]
    assert storage.read_bytes(sha256, len(DATA)) == DATA
    assert storage.signed_url(sha256, "x") is None


def test_putting_twice_keeps_one_and_leaves_no_part_behind() -> None:
    for _ in range(2):
        assert storage.put(sha256_of(DATA), io.BytesIO(DATA)) == len(DATA)
    assert read(sha256_of(DATA), 0, 3) == DATA[:3]
    assert list(spool.folder().iterdir()) == []


def test_bytes_of_another_hash_are_refused_and_not_kept() -> None:
    with pytest.raises(Invalid) as caught:
        storage.put("0" * 64, io.BytesIO(DATA))
    assert caught.value.code == "hash_mismatch"
    assert not storage.exists("0" * 64)
    assert list(spool.folder().iterdir()) == []


def test_bytes_the_store_has_lost_are_not_found() -> None:
    with pytest.raises(NotFound):
        storage.open_range("1" * 64, 0, 1)
    with pytest.raises(NotFound):
        storage.open_file("1" * 64)


def test_a_small_blob_is_read_only_up_to_its_limit() -> None:
    sha256 = storage.put_bytes(DATA)
    with pytest.raises(Invalid):
        storage.read_bytes(sha256, len(DATA) - 1)


def test_a_part_continues_only_where_it_stopped() -> None:
    with spool.held("a") as part:
        assert part.append(io.BytesIO(DATA[:100]), 0, 100) == 100
    with spool.held("a") as part, pytest.raises(Conflict) as caught:
        part.append(io.BytesIO(DATA), 50, 100)
    assert (caught.value.code, caught.value.data) == ("offset_mismatch", {"offset": 100})
    assert spool.size_of("a") == 100


def test_a_body_beyond_what_was_announced_leaves_nothing_of_it() -> None:
    with spool.held("a") as part:
        part.append(io.BytesIO(b"abc"), 0, 3)
    with spool.held("a") as part, pytest.raises(Invalid) as caught:
        part.append(io.BytesIO(b"defgh"), 3, 4)
    assert caught.value.code == "body_too_long"
    assert spool.size_of("a") == 3


def test_two_connections_of_one_upload_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "LOCK_SECONDS", 0.05)
    with spool.held("a"), pytest.raises(Conflict) as caught, spool.held("a"):
        pass
    assert caught.value.code == "upload_busy"


def test_who_waited_for_a_part_that_was_stored_meanwhile_cannot_write_into_the_store() -> None:
    waiting, done = threading.Event(), threading.Event()
    sizes: list[int] = []

    def second() -> None:
        waiting.set()
        with spool.held("a") as part:
            sizes.append(part.size)
            part.append(io.BytesIO(b"evil"), 0, 4)
        done.set()

    with spool.held("a") as part:
        part.append(io.BytesIO(DATA), 0, len(DATA))
        thread = threading.Thread(target=second)
        thread.start()
        waiting.wait(5)
        storage.keep(part, sha256_of(DATA))
    assert done.wait(10)
    thread.join()
    assert sizes == [0]
    assert read(sha256_of(DATA), 0, len(DATA)) == DATA


def test_parts_that_nobody_finishes_are_swept() -> None:
    with spool.held("old") as part:
        part.append(io.BytesIO(b"x"), 0, 1)
    os.utime(spool.place_of("old"), (0, 0))
    with spool.held("new") as part:
        part.append(io.BytesIO(b"x"), 0, 1)
    assert spool.sweep(3600) == 1
    assert (spool.size_of("old"), spool.size_of("new")) == (0, 1)


def test_a_key_from_outside_cannot_name_a_file() -> None:
    assert spool.place_of("../../etc/passwd").parent == spool.folder()


@settings(deadline=None)
@given(size=st.integers(0, 50), first=st.none() | st.integers(0, 60), last=st.none() | st.integers(0, 60))
def test_a_range_is_what_the_rfc_says(size: int, first: int | None, last: int | None) -> None:
    data = bytes(size)
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        part = parse_range(header, size)
    except Unsatisfiable:
        assert (first is not None and first >= size) or (first is None and (last == 0 or size == 0))
        return
    if part is None:
        assert (first is None and last is None) or (first is not None and last is not None and last < first)
    elif first is None:
        assert last is not None
        assert data[slice(*part)] == data[-last:]
        assert part[1] == size
    else:
        assert part == (first, size if last is None else min(last + 1, size))


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "bytes=-", "bytes=--1", "bytes=5-2", None],
)
def test_what_is_no_single_byte_range_is_ignored(header: str | None) -> None:
    assert parse_range(header, 10) is None


def test_a_whole_download_can_only_be_saved_never_shown() -> None:
    storage.put_bytes(DATA)
    answer = answer_to()
    assert answer.status_code == 200
    assert answer.getvalue() == DATA
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["ETag"] == f'"{sha256_of(DATA)}"'
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=10-", 10, 2560), ("bytes=-5", 2555, 2560), ("bytes=0-99999", 0, 2560)],
)
def test_a_part_of_a_download_says_which(header: str, start: int, end: int) -> None:
    storage.put_bytes(DATA)
    answer = answer_to(Range=header)
    assert answer.status_code == 206
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/2560"
    assert answer["Content-Length"] == str(end - start)
    assert answer.getvalue() == DATA[start:end]


def test_a_range_beyond_the_end_says_how_much_there_is() -> None:
    with pytest.raises(RangeRefused) as caught:
        answer_to(Range="bytes=2560-")
    assert caught.value.status == 416
    assert caught.value.data == {"bytes": 2560}


def test_a_range_of_other_bytes_is_answered_with_all_of_these() -> None:
    storage.put_bytes(DATA)
    assert answer_to(Range="bytes=0-3", If_Range='"other"').status_code == 200
    assert answer_to(Range="bytes=0-3", If_Range=f'"{sha256_of(DATA)}"').status_code == 206
    assert answer_to(If_None_Match=f'W/"{sha256_of(DATA)}"').status_code == 304


def test_head_says_the_size_and_sends_nothing() -> None:
    answer = answer_to("HEAD", Range="bytes=0-3")
    assert (answer.status_code, answer["Content-Length"], answer.getvalue()) == (200, "2560", b"")


def test_an_event_loop_gets_a_download_in_pieces_with_flat_memory(tmp_path: Path) -> None:
    big = b"\0" * (8 * 1024 * 1024)
    storage.put_bytes(big)
    request = RequestFactory().get("/")

    async def consume() -> list[int]:
        answer: Any = storage.range_response(request, sha256_of(big), len(big))
        sizes = [len(chunk) async for chunk in answer]
        answer.close()
        return sizes

    tracemalloc.start()
    sizes = asyncio.run(consume())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) == len(big)
    assert max(sizes) <= storage.CHUNK
    assert peak < 4 * storage.CHUNK


def test_an_object_store_is_read_by_signed_urls(settings: Any) -> None:
    options = {
        "bucket_name": "b",
        "endpoint_url": "http://s3.test:9000",
        "access_key": "k",
        "secret_key": "s",
        "region_name": "r",
    }
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options},
    }
    answer = answer_to()
    assert answer.status_code == 307
    url = answer["Location"]
    assert url.startswith(f"http://s3.test:9000/b/blobs/{sha256_of(DATA)[:2]}/{sha256_of(DATA)}?")
    assert "X-Amz-Signature" in url or "Signature=" in url
    assert "response-content-disposition" in url


def test_the_stores_that_are_known_are_told_apart() -> None:
    assert not hasattr(InMemoryStorage(), "bucket_name")
    assert hasattr(S3Storage(bucket_name="b"), "bucket_name")
