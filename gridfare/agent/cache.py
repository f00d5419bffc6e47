"""Contents by their hash: input files and unpacked programs, bounded in size, shared by attempts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
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
    """Input files below one folder; the least recently used go when the bound is passed."""

    def __init__(self, folder: Path, bound_bytes: int) -> None:
        self.folder, self.bound_bytes = folder, bound_bytes
        self.locks, self.guard = KeyedLocks(), threading.Lock()
        self.in_use: dict[str, int] = {}
        self.total = sum(path.stat().st_size for path in folder.glob("??/*") if path.is_file())

    def path_of(self, sha256: str) -> Path:
        """Where a content lies, or would lie."""
        return self.folder / sha256[:2] / sha256

    @contextlib.contextmanager
    def use(self, blob: Blob | InputFile, fetch: Fetch, moved: Callable[[int], None]) -> Iterator[Path]:
        """The path of a content, fetched if it is not here; it stays while the block runs.

        ``moved`` is told the bytes that came over the network.
        """
        self._pin(blob.sha256, 1)
        try:
            with self.locks.hold(blob.sha256):
                path = self.path_of(blob.sha256)
                if path.exists():
                    os.utime(path)
                else:
                    moved(self._fetch(path, fetch))
            yield path
        finally:
            self._pin(blob.sha256, -1)

    def _fetch(self, path: Path, fetch: Fetch) -> int:
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".part")
        moved = fetch(partial)
        os.chmod(partial, 0o644)
        size = partial.stat().st_size
        os.replace(partial, path)
        with self.guard:
            self.total += size
        self._evict()
        return moved

    def _pin(self, sha256: str, step: int) -> None:
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
            known = [(path.stat().st_mtime, path) for path in self.folder.glob("??/*") if path.is_file()]
            self.total = sum(path.stat().st_size for _, path in known)
            for _, path in sorted(known):
                if self.total <= self.bound_bytes:
                    return
                if path.stem not in self.in_use:
                    self.total -= path.stat().st_size
                    path.unlink()


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
