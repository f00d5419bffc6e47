"""Copies that the platform asks an agent to keep: fetched, told, used without moving a byte, never evicted, dropped."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gridfare.agent.cache import Cache
from gridfare.agent.keeping import read_book
from gridfare.agent.model import Blob

from .conftest import Join, Machine
from .platform import Platform, spec

AGES = itertools.count(1)


def content(letter: bytes, size: int = 1000) -> tuple[Blob, Any]:
    """A blob of one letter, and what fetches it."""
    data = letter * size

    def fetch(target: Path) -> int:
        return target.write_bytes(data)

    return Blob(hashlib.sha256(data).hexdigest(), size), fetch


def put(cache: Cache, *letters: bytes) -> list[str]:
    """Fetch contents one after the other; their names."""
    names = []
    for letter in letters:
        blob, fetch = content(letter)
        with cache.use(blob, fetch, lambda moved: None) as path:
            os.utime(path, (age := next(AGES), age))
        names.append(blob.sha256)
    return names


def held(cache: Cache, names: list[str]) -> list[bool]:
    return [cache.path_of(name).exists() for name in names]


# -- the cache ------------------------------------------------------------------------------------------------------


def test_what_was_used_longest_ago_is_evicted_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2500)
    assert held(cache, put(cache, b"a", b"b", b"c")) == [False, True, True]


def test_what_an_attempt_uses_is_never_evicted(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1500)
    blob, fetch = content(b"a")
    with cache.use(blob, fetch, lambda moved: None) as path:
        os.utime(path, (0, 0))
        put(cache, b"b", b"c", b"d")
        assert path.read_bytes() == b"a" * 1000
    put(cache, b"e")
    assert not path.exists()


def test_evicting_and_using_at_the_same_time_never_takes_a_file_from_under_an_attempt(tmp_path: Path) -> None:
    cache, letters = Cache(tmp_path, 3000), [bytes([97 + n]) for n in range(8)]
    wrong: list[str] = []

    def work(seed: int) -> None:
        for turn in range(60):
            letter = letters[(seed * 5 + turn * 3) % len(letters)]
            blob, fetch = content(letter)
            with cache.use(blob, fetch, lambda moved: None) as path:
                if path.read_bytes() != letter * 1000:
                    wrong.append(blob.sha256)

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(4)))
    assert not wrong
    assert cache.total <= 3000


def test_what_is_kept_stays_and_leaves_the_cache_all_of_its_room(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2500)
    (kept,) = put(cache, b"k")
    cache.keep({kept: 1000})
    assert cache.total == 0
    assert held(cache, [kept, *put(cache, b"a", b"b", b"c")]) == [True, False, True, True]
    cache.release({kept})
    put(cache, b"d")
    assert not cache.path_of(kept).exists()


def test_what_is_not_there_or_not_whole_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2500)
    (name,) = put(cache, b"k")
    cache.keep({name: 999, "0" * 64: 5})
    assert cache.kept == {}


def test_pinned_contents_outlive_others_but_take_no_more_than_half_of_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 4500)
    names = put(cache, b"a", b"b", b"c", b"d")
    cache.pin(names[:3])
    put(cache, b"e")
    assert held(cache, names) == [False, True, True, True]
    put(cache, b"f")
    assert held(cache, names) == [False, True, True, False]


# -- an agent -------------------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(join: Join) -> Machine:
    """A machine that offers 1 MiB."""
    return join(store_mib=1)


def told(platform: Platform) -> Any:
    """What the agent last said of its store."""
    said = [body["store"] for body in platform.syncs if "store" in body]
    return said[-1] if said else None


def test_a_copy_is_fetched_told_and_then_used_without_moving_a_byte(platform: Platform, keeper: Machine) -> None:
    blob = platform.store(b"x" * 50_000)
    platform.keep(blob)
    keeper.start()
    platform.until(lambda: told(platform) == {"mib": 1, "kept": [blob["sha256"]], "failed": []})
    assert ("GET", f"/agent/v1/blobs/store/{blob['sha256']}") in platform.requests
    (attempt,) = platform.offer(spec(["/bin/cat", "in/x"], files=[{"path": "in/x", **blob}]))
    report = platform.report_of(attempt)
    assert report["outcome"] == "done"
    assert "bytes_in" not in report["usage"]


def test_a_copy_outlives_a_restart_and_is_dropped_when_nobody_wishes_it(platform: Platform, keeper: Machine) -> None:
    blob = platform.store(b"x" * 5000)
    platform.keep(blob)
    keeper.start()
    platform.until(lambda: (told(platform) or {}).get("kept"))
    keeper.stop()
    platform.wished.clear()
    platform.syncs.clear()
    keeper.start()
    platform.until(lambda: told(platform) and told(platform)["kept"] == [])
    assert platform.syncs[0]["store"]["kept"] == [blob["sha256"]]
    assert read_book(keeper.home.kept) == {}


def test_what_does_not_fit_or_cannot_be_fetched_is_told_with_its_reason(platform: Platform, keeper: Machine) -> None:
    large, lost = platform.store(b"l" * (2 << 20)), {"sha256": "0" * 64, "bytes": 10}
    platform.keep(large)
    platform.keep(lost)
    keeper.start()
    why = {}

    def both() -> bool:
        for body in platform.syncs:
            why.update(dict(body.get("store", {}).get("failed", [])))
        return len(why) == 2

    platform.until(both)
    assert why[large["sha256"]] == "the machine offers less room than that"
    assert "404" in why[lost["sha256"]]


def test_a_copy_that_broke_off_goes_on_where_it_stopped(platform: Platform, keeper: Machine) -> None:
    blob = platform.store(os.urandom(300_000))
    name = blob["sha256"]
    partial = keeper.home.cache / name[:2] / f"{name}.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(platform.blobs[name][:100_000])
    ranges: list[str] = []
    platform.on_range = ranges.append
    platform.keep(blob)
    keeper.start()
    platform.until(lambda: (told(platform) or {}).get("kept") == [name])
    assert ranges == ["bytes=100000-"]


def test_a_machine_that_is_wanted_back_fetches_no_copies(platform: Platform, keeper: Machine) -> None:
    gate = threading.Event()
    first, second = platform.store(b"1" * 1000), platform.store(b"2" * 1000)

    def before(method: str, path: str) -> None:
        if "/store/" in path:
            gate.wait(10)

    platform.before_answer = before
    platform.keep(first)
    platform.keep(second)
    keeper.start()
    platform.until(lambda: any("/store/" in path for _, path in platform.requests))
    platform.reclaim_at = time.monotonic() + 60
    platform.until(lambda: keeper.loop is not None and keeper.loop.noticed)
    gate.set()
    time.sleep(1)
    assert len({path for _, path in platform.requests if "/store/" in path}) == 1
    platform.reclaim_at = None
    platform.until(lambda: len((told(platform) or {}).get("kept", [])) == 2)


def test_an_agent_that_offers_no_room_says_so_once(platform: Platform, machine: Machine) -> None:
    platform.until(lambda: len(platform.syncs) > 2)
    assert [body["store"] for body in platform.syncs if "store" in body] == [{"mib": 0, "kept": [], "failed": []}]
