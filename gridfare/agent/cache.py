"""Contents by their hash: input files and unpacked programs, bounded in size, shared by attempts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from gridfare.agent import log
from gridfare.agent.files import checked_path, remove_tree
from gridfare.agent.model import MIB, Blob, InputFile
from gridfare.agent.reasons import AttemptEnded

Fetch = Callable[[Path], int]
"""Writes the content to a path, checked; returns the bytes that were moved over the network."""
UNPACKED_LIMIT = 4096 * MIB
ENTRIES_LIMIT = 100_000


class KeyedLocks:
    """A lock per key, so that two attempts wait for one download instead of doing two."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold the lock of ``key``; it is forgotten when nobody wants it."""
        with self.guard:
            lock, users = self.locks.get(key, (threading.Lock(), 0))
            self.locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self.guard:
                lock, users = self.locks[key]
                if users == 1:
                    del self.locks[key]
                else:
                    self.locks[key] = (lock, users - 1)


class Cache:
    """Input files below one folder; the least recently used go when the bound is passed.

    What is kept for the platform lies here, too: it is not evicted, and does not count against the bound. What is pinned is
    evicted last, and only beyond half the bound: a machine's cache stays useful to all.
    """

    def __init__(self, folder: Path, bound_bytes: int) -> None:
        self.folder, self.bound_bytes = folder, bound_bytes
        self.locks, self.guard = KeyedLocks(), threading.Lock()
        self.in_use: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.expected: set[str] = set()
        self.pinned: set[str] = set()
        self.total = sum(path.stat().st_size for path in folder.glob("??/*") if path.is_file())

    def path_of(self, sha256: str) -> Path:
        """Where a content lies, or would lie."""
        return self.folder / sha256[:2] / sha256

    @contextlib.contextmanager
    def use(self, blob: Blob | InputFile, fetch: Fetch, moved: Callable[[int], None]) -> Iterator[Path]:
        """The path of a content, fetched if it is not here; it stays while the block runs.

        ``moved`` is told the bytes that came over the network.
        """
        self._hold(blob.sha256, 1)
        try:
            with self.locks.hold(blob.sha256):
                path = self.path_of(blob.sha256)
                if path.exists():
                    os.utime(path)
                else:
                    moved(self._fetch(path, fetch))
            yield path
        finally:
            self._hold(blob.sha256, -1)

    def expect(self, contents: Collection[str]) -> None:
        """What is fetched of these, and of no others, is kept from the first moment: no other content makes room for it."""
        with self.guard:
            self.expected = set(contents)

    def keep(self, contents: Mapping[str, int]) -> None:
        """These are not evicted from now on, those of them that are here: sha256 → bytes."""
        with self.guard:
            for sha256, size in contents.items():
                path = self.path_of(sha256)
                if sha256 not in self.kept and path.is_file() and path.stat().st_size == size:
                    self.kept = {**self.kept, sha256: size}
                    self.total -= size

    def release(self, contents: Collection[str]) -> None:
        """These are the cache's again, and may be evicted."""
        with self.guard:
            self.total += sum(self.kept.get(sha256, 0) for sha256 in contents)
            self.kept = {sha256: size for sha256, size in self.kept.items() if sha256 not in contents}
        self._evict()

    def pin(self, contents: Collection[str]) -> None:
        """These and no others are pinned."""
        with self.guard:
            self.pinned = set(contents)

    def _fetch(self, path: Path, fetch: Fetch) -> int:
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".part")
        moved = fetch(partial)
        os.chmod(partial, 0o644)
        size = partial.stat().st_size
        with self.guard:
            os.replace(partial, path)
            if path.name in self.expected:
                self.kept = {**self.kept, path.name: size}
            else:
                self.total += size
        self._evict()
        return moved

    def _hold(self, sha256: str, step: int) -> None:
        with self.guard:
            count = self.in_use.get(sha256, 0) + step
            if count:
                self.in_use[sha256] = count
            else:
                self.in_use.pop(sha256, None)

    def _evict(self) -> None:
        """Delete the contents that were used longest ago until the bound holds again."""
        with self.guard:
            if self.total <= self.bound_bytes:
                return
            known = self._contents()
            self.total = sum(size for _, size, _ in known)
            spared = self._spared(known)
            for _, size, path in known:
                if self.total <= self.bound_bytes:
                    return
                if path.stem not in self.in_use and path not in spared:
                    self.total -= size
                    path.unlink(missing_ok=True)

    def _contents(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of everything that counts, used longest ago first. Parts come and go while we look."""
        found = []
        for path in self.folder.glob("??/*"):
            underway = path.suffix and path.stem in self.in_use
            with contextlib.suppress(FileNotFoundError):
                if path.stem not in self.kept and not underway:
                    seen = path.stat()
                    found.append((seen.st_mtime, seen.st_size, path))
        return sorted(found)

    def _spared(self, known: Sequence[tuple[float, int, Path]]) -> set[Path]:
        """Pinned contents, those used last first, up to half the bound."""
        spared, left = set(), self.bound_bytes // 2
        for _, size, path in reversed(known):
            if path.name in self.pinned and size <= left:
                left -= size
                spared.add(path)
        return spared


class Programs:
    """Program packages, unpacked once by digest."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.locks = folder, KeyedLocks()

    def get(self, blob: Blob, fetch: Fetch) -> Path:
        """The folder of a program, fetched and unpacked if it is not here. Raises AttemptEnded."""
        target = self.folder / blob.sha256
        with self.locks.hold(blob.sha256):
            if not target.exists():
                self._build(blob, target, fetch)
        return target

    def _build(self, blob: Blob, target: Path, fetch: Fetch) -> None:
        package = target.with_suffix(".tar.gz")
        fetch(package)
        fresh = target.with_suffix(".new")
        remove_tree(fresh)
        fresh.mkdir()
        try:
            unpack(package, fresh)
        except (tarfile.TarError, OSError, ValueError, EOFError) as problem:
            remove_tree(fresh)
            raise AttemptEnded("download_failed", f"the program's package: {problem}", "capability_error") from None
        finally:
            package.unlink(missing_ok=True)
        os.rename(fresh, target)
        log.info("program unpacked", sha256=blob.sha256[:12])


def unpack(package: Path, target: Path) -> None:
    """Unpack a .tar.gz that may be hostile: regular files and folders only, all inside ``target``, bounded.

    Raises ValueError for a path that leaves the folder, a link, a device, or too much content.
    """
    left = UNPACKED_LIMIT
    with tarfile.open(package, "r:gz") as archive:
        for count, member in enumerate(archive):
            if count > ENTRIES_LIMIT:
                raise ValueError("more entries than a program may have")
            left -= member.size
            if left < 0:
                raise ValueError("unpacks to more than a program may have")
            extract(archive, member, target)


def extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one entry; its owner and times are not taken over, of its mode only whether it is executable."""
    name = member.name.removeprefix("./").rstrip("/")
    if name in ("", "."):
        return
    path = target / checked_path(name)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif member.isreg():
        path.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        if content is None:
            raise ValueError(f"an entry without content: {name!r}")
        write_new(path, content, 0o755 if member.mode & 0o100 else 0o644)
    else:
        raise ValueError(f"neither a file nor a folder: {name!r}")


def write_new(path: Path, content: IO[bytes], mode: int) -> None:
    """Write a file that must not exist yet: an entry cannot be replaced, nor written through."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as writing:
        while piece := content.read(1 << 20):
            writing.write(piece)
    os.chmod(path, mode)


def digest_of(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
