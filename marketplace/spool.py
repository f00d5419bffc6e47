"""Bytes on their way in: one local file per upload, appended to until it is whole, then moved into the store.

The file itself is the truth about how much has arrived, so a crash between two writes loses nothing, and a
spool that was lost begins again at 0. A lock on the file keeps two connections of one upload apart; it goes
with its process.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from django.conf import settings

from core.errors import Conflict, Invalid

CHUNK: Final = 1024 * 1024
LOCK_SECONDS: Final = 10.0


class Readable(Protocol):
    """A request's body, or any file."""

    def read(self, size: int, /) -> bytes: ...


@dataclass
class Part:
    """An upload that this process holds the lock of. `digest` is known when all of it came in one call."""

    path: Path
    file: IO[bytes]
    digest: str | None = None

    @property
    def size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def append(self, stream: Readable, offset: int, most: int) -> int:
        """Write a body of at most `most` bytes at `offset`, and return the new size.

        Raises Conflict `offset_mismatch` with `offset` when other bytes are missing, Invalid `body_too_long`
        (nothing of that body is kept).
        """
        if offset != self.size:
            detail = f"{self.size} bytes have arrived; continue there"
            raise Conflict("offset_mismatch", detail, field="Upload-Offset", offset=self.size)
        self.file.seek(offset)
        running = hashlib.sha256()
        written = 0
        while chunk := stream.read(CHUNK):
            written += len(chunk)
            if written > most:
                self.file.truncate(offset)
                raise Invalid("body_too_long", f"{most} bytes were announced, more arrived", field="bytes")
            self.file.write(chunk)
            running.update(chunk)
        self.file.flush()
        self.digest = running.hexdigest() if offset == 0 else None
        return offset + written

    def check(self, sha256: str) -> None:
        """The upload is whole: are these its bytes? If not, forget them and raise Invalid `hash_mismatch`."""
        self.file.seek(0)
        digest = self.digest or hashlib.file_digest(self.file, "sha256").hexdigest()  # type: ignore[arg-type]
        if digest != sha256:
            self.forget()
            detail = f"the bytes that arrived have the SHA-256 {digest}; nothing was kept"
            raise Invalid("hash_mismatch", detail, field="sha256")
        os.fsync(self.file.fileno())

    def forget(self) -> None:
        """Drop what has arrived."""
        self.path.unlink(missing_ok=True)


def folder() -> Path:
    """Where parts wait. Processes that serve the same uploads share it."""
    path = Path(settings.DATA_DIR) / "spool"
    path.mkdir(parents=True, exist_ok=True)
    return path


def place_of(key: str) -> Path:
    """The file of a key; keys come from outside, so only their hash reaches the disk."""
    return folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.part"


def size_of(key: str) -> int:
    """Bytes that have arrived; 0 for an unknown key."""
    try:
        return place_of(key).stat().st_size
    except FileNotFoundError:
        return 0


def forget(key: str) -> None:
    """Drop a part that nobody will finish."""
    place_of(key).unlink(missing_ok=True)


@contextmanager
def held(key: str) -> Iterator[Part]:
    """The part of a key under its lock, made when it is new. Raises Conflict `upload_busy` after 10 s."""
    path = place_of(key)
    file = _locked(path, time.monotonic() + LOCK_SECONDS)
    try:
        yield Part(path, file)
    finally:
        file.close()


def _locked(path: Path, until: float) -> IO[bytes]:
    while True:
        file: IO[bytes] = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if _lock(file) and _is_still(path, file):
            return file
        file.close()
        if time.monotonic() > until:
            raise Conflict("upload_busy", "another connection is sending this upload")
        time.sleep(0.02)


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, file: IO[Any]) -> bool:
    """Whoever had the lock may have moved this very file into the store: it must not be written to."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def sweep(older_than_s: float) -> int:
    """Remove parts that nobody has written to for that long. Returns how many."""
    limit = time.time() - older_than_s
    removed = 0
    for path in folder().glob("*.part"):
        with _ignore_missing():
            if path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
    return removed


@contextmanager
def _ignore_missing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return
