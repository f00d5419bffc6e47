"""Moving files through a platform that breaks connections, and the cache that keeps them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridfare.agent import transfer
from gridfare.agent.cache import Cache, unpack
from gridfare.agent.identity import load_or_create_identity
from gridfare.agent.model import Blob
from gridfare.agent.protocol import BlobChannel, Signer
from gridfare.agent.reasons import AttemptEnded
from gridfare.agent.transfer import Transfer

from .platform import Platform, Refusal

SCOPE = "1/1"


def no() -> bool:
    """Never cancelled."""
    return False


@pytest.fixture
def moving(platform: Platform, tmp_path: Path) -> Iterator[Transfer]:
    """Transfers for one live attempt."""
    identity = load_or_create_identity(tmp_path / "key.pem")
    answer = platform.enrol({"token": "good", "public_key": identity.public_key})
    platform.live[1] = [1, 1, "spec", 0, None, None]
    channel = BlobChannel(platform.url, Signer(identity, answer["agent_id"]))
    yield Transfer(channel)
    channel.close()


def blob_of(platform: Platform, content: bytes) -> Blob:
    """A stored blob."""
    return Blob(**platform.store(content))


def upload(moving: Transfer, path: Path) -> int:
    """Store a file."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return moving.upload(SCOPE, digest, path.stat().st_size, lambda: os.open(path, os.O_RDONLY), no)


def test_a_download_goes_on_where_it_was_left(platform: Platform, moving: Transfer, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    target = tmp_path / "part"
    target.write_bytes(content[:2_000_000])
    assert moving.download(SCOPE, blob_of(platform, content), target, no) == 1_000_000
    assert target.read_bytes() == content


def test_a_download_whose_beginning_is_wrong_is_fetched_anew(platform: Platform, moving: Transfer, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    for beginning in (b"x" * 50_000, b"x" * 100_000, b"x" * 150_000):
        target = tmp_path / f"part{len(beginning)}"
        target.write_bytes(beginning)
        moving.download(SCOPE, blob_of(platform, content), target, no)
        assert target.read_bytes() == content


def test_a_download_is_tried_again_when_the_platform_fails(platform: Platform, moving: Transfer, tmp_path: Path) -> None:
    failures = iter([503, 500])

    def before(method: str, path: str) -> None:
        if status := next(failures, None):
            raise Refusal(status, "platform_fault")

    platform.before_answer = before
    moving.download(SCOPE, blob_of(platform, b"content"), tmp_path / "part", no)
    assert (tmp_path / "part").read_bytes() == b"content"


def test_content_that_is_not_what_its_hash_says_is_never_accepted(
    platform: Platform, moving: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TRIES", 2)
    blob = blob_of(platform, b"content")
    platform.blobs[blob.sha256] = b"another"
    with pytest.raises(AttemptEnded, match="download_failed"):
        moving.download(SCOPE, blob, tmp_path / "part", no)
    assert not (tmp_path / "part").exists()


def test_an_empty_file_can_be_moved_both_ways(platform: Platform, moving: Transfer, tmp_path: Path) -> None:
    moving.download(SCOPE, blob_of(platform, b""), tmp_path / "empty", no)
    platform.blobs.clear()
    assert upload(moving, tmp_path / "empty") == 0
    assert list(platform.blobs.values()) == [b""]


def test_a_large_upload_goes_in_parts_and_resumes_after_a_broken_connection(
    platform: Platform, moving: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 100_000)
    path = tmp_path / "result"
    path.write_bytes(os.urandom(350_000))
    breaks = iter([True, False, True])
    platform.after_work = lambda method, called: method != "PUT" or not next(breaks, False)
    upload(moving, path)
    assert list(platform.blobs.values()) == [path.read_bytes()]
    assert len([1 for method, _ in platform.requests if method == "PUT"]) == 4


def test_a_large_upload_that_the_platform_already_has_is_not_sent(
    platform: Platform, moving: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PART", 1000)
    path = tmp_path / "result"
    path.write_bytes(os.urandom(5000))
    platform.store(path.read_bytes())
    assert upload(moving, path) == 0
    assert not [1 for method, _ in platform.requests if method == "PUT"]


def test_a_transfer_that_nobody_wants_any_more_stops(platform: Platform, moving: Transfer, tmp_path: Path) -> None:
    with pytest.raises(AttemptEnded, match="cancelled"):
        moving.download(SCOPE, blob_of(platform, b"x"), tmp_path / "part", lambda: True)
    assert not platform.requests


def test_a_stale_fence_ends_a_transfer_at_once(platform: Platform, moving: Transfer, tmp_path: Path) -> None:
    platform.live.clear()
    with pytest.raises(AttemptEnded, match="stale_lease"):
        moving.download(SCOPE, blob_of(platform, b"x"), tmp_path / "part", no)
    assert len(platform.requests) == 1


def test_a_redirect_to_an_object_store_does_not_carry_the_agents_signature(
    platform: Platform, moving: Transfer, tmp_path: Path
) -> None:
    store = Platform()
    store.server.RequestHandlerClass = object_store(b"stored far away", headers := [])
    redirect(moving, store.url + "/bucket/object?signature=1")
    blob = Blob(hashlib.sha256(b"stored far away").hexdigest(), 15)
    moving.download(SCOPE, blob, tmp_path / "part", no)
    store.close()
    assert (tmp_path / "part").read_bytes() == b"stored far away"
    assert headers
    assert not any("Authorization" in seen for seen in headers)


def object_store(content: bytes, seen: list[dict[str, str]]) -> type:
    """A handler that gives one object to anybody and keeps the headers it saw."""
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            pass

    return Handler


def redirect(moving: Transfer, location: str) -> None:
    """Make every blob request answer 307."""
    import httpx

    def request(method: str, path: str, headers: object = None, content: object = None) -> httpx.Response:
        return httpx.Response(307, headers={"Location": location}, request=httpx.Request(method, "http://x"))

    moving.channel.request = request


def test_two_attempts_that_want_one_file_download_it_once(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    cache = Cache(tmp_path / "cache", 1 << 20)
    blob = Blob(hashlib.sha256(b"x").hexdigest(), 1)
    fetched, moved = [], []
    barrier = threading.Barrier(4)

    def fetch(target: Path) -> int:
        fetched.append(target)
        target.write_bytes(b"x")
        return 1

    def attempt() -> None:
        barrier.wait()
        with cache.use(blob, fetch, moved.append) as path:
            assert path.read_bytes() == b"x"

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert sum(moved) == 1


def test_the_cache_forgets_what_was_used_longest_ago_but_nothing_in_use(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    cache = Cache(tmp_path / "cache", 250)
    blobs = [Blob(hashlib.sha256(bytes([n])).hexdigest(), 100) for n in range(4)]

    def fetch(target: Path) -> int:
        return target.write_bytes(b"y" * 100)

    for age, blob in enumerate(blobs[:2]):
        with cache.use(blob, fetch, lambda _: None) as path:
            os.utime(path, (1000 + age, 1000 + age))
    with cache.use(blobs[0], fetch, lambda _: None) as kept, cache.use(blobs[2], fetch, lambda _: None):
        assert kept.exists()
    assert cache.path_of(blobs[0].sha256).exists()
    assert not cache.path_of(blobs[1].sha256).exists()
    assert cache.total == 200


def archive_with(tmp_path: Path, *members: tarfile.TarInfo) -> Path:
    """A package of given entries, each with the content `x` where it has a size."""
    path = tmp_path / "package.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """One entry of a package."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    "members",
    [
        [entry("../evil")],
        [entry("/evil")],
        [entry("a/../../evil")],
        [entry("./../evil")],
        [entry("link", tarfile.SYMTYPE, "/etc")],
        [entry("link", tarfile.SYMTYPE, ".."), entry("link/evil")],
        [entry("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [entry("device", tarfile.CHRTYPE)],
        [entry("pipe", tarfile.FIFOTYPE)],
        [entry("twice"), entry("twice")],
        [entry("file"), entry("file/below")],
        [entry("back\\slash")],
    ],
    ids=lambda members: members[-1].name.replace("/", "|"),
)
def test_a_hostile_package_is_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    target = tmp_path / "below" / "program"
    target.mkdir(parents=True)
    with pytest.raises((ValueError, OSError)):
        unpack(archive_with(tmp_path, *members), target)
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "below" / "evil").exists()


def test_an_honest_package_keeps_its_folders_and_what_may_be_executed(tmp_path: Path) -> None:
    script = entry("./bin/run.sh", size=3)
    script.mode = 0o4755
    target = tmp_path / "program"
    target.mkdir()
    unpack(archive_with(tmp_path, entry(".", tarfile.DIRTYPE), entry("./bin", tarfile.DIRTYPE), script), target)
    assert (target / "bin" / "run.sh").read_text() == "xxx"
    assert (target / "bin" / "run.sh").stat().st_mode & 0o7777 == 0o755


def test_a_package_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridfare.agent.cache.UNPACKED_LIMIT", 100)
    target = tmp_path / "program"
    target.mkdir()
    with pytest.raises(ValueError, match="more than"):
        unpack(archive_with(tmp_path, entry("a", size=60), entry("b", size=60)), target)
