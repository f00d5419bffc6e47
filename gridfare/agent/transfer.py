"""Moving files: downloads and uploads that resume, check hashes and are tried again. Runs in threads."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from gridfare.agent.model import Blob, InputFile
from gridfare.agent.protocol import BLOBS, BlobChannel, ProtocolError, Unreachable, is_clock_skew, problem_of
from gridfare.agent.reasons import STALE, AttemptEnded

PIECE = 1 << 20
PART = 16 << 20
"""Larger uploads go in parts of this size, so that a broken connection costs one part."""
TRIES = 6
Cancelled = Callable[[], bool]


class Transfer:
    """Blob traffic of all attempts; ``cancelled`` functions are asked between pieces."""

    def __init__(self, channel: BlobChannel) -> None:
        self.channel = channel

    def download(self, scope: str, blob: Blob | InputFile, target: Path, cancelled: Cancelled) -> int:
        """Fetch a blob to ``target`` (which goes on where it was left); returns the bytes moved.

        ``scope`` is ``<attempt>/<fence>``. Raises AttemptEnded with download_failed or stale_lease.
        """
        moved = 0
        for attempt in range(TRIES):
            pause_before(attempt, cancelled)
            try:
                moved += self._download_rest(f"{BLOBS}{scope}/{blob.sha256}", blob, target, cancelled)
            except (Unreachable, httpx.HTTPError) as problem:
                why = str(problem)
                continue
            except ProtocolError as problem:
                why = self._explain("download_failed", problem)
                continue
            if file_digest(target) == blob.sha256:
                return moved
            target.unlink()
            why = "the content has another hash"
        raise AttemptEnded("download_failed", f"{blob.sha256[:12]}: {why}")

    def _download_rest(self, path: str, blob: Blob | InputFile, target: Path, cancelled: Cancelled) -> int:
        """One request for what is missing; returns the bytes written."""
        have = target.stat().st_size if target.exists() else 0
        if have >= blob.bytes:
            if have > blob.bytes:
                os.truncate(target, 0)
            elif have:
                return 0
        have = target.stat().st_size if target.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        response = self.channel.request("GET", path, headers)
        if response.status_code in (302, 303, 307, 308):
            response.close()
            response = self.channel.follow(response.headers["Location"], headers)
        try:
            return write_body(response, target, blob.bytes, cancelled)
        finally:
            response.close()

    def upload(self, scope: str, sha256: str, size: int, opened: Callable[[], int], cancelled: Cancelled) -> int:
        """Store a file under its hash; returns the bytes moved. ``opened`` gives a new descriptor to read from.

        Raises AttemptEnded with upload_failed or stale_lease.
        """
        path = f"{BLOBS}{scope}/{sha256}"
        moved, offset = 0, 0 if size <= PART else -1
        for attempt in range(TRIES):
            pause_before(attempt, cancelled)
            try:
                while offset < size or size == 0:
                    if offset < 0:
                        offset = self._stored(path, size)
                        continue
                    offset, sent = self._put(path, size, offset, opened, cancelled)
                    moved += sent
                    if offset >= size:
                        return moved
                return moved
            except (Unreachable, httpx.HTTPError) as problem:
                why, offset = str(problem), -1
            except ProtocolError as problem:
                if problem.code != "offset_mismatch":
                    why = self._explain("upload_failed", problem)
                else:
                    why, offset = str(problem), -1
        raise AttemptEnded("upload_failed", f"{sha256[:12]}: {why}")

    def _stored(self, path: str, size: int) -> int:
        """How much of an upload the platform has; ``size`` when it is complete."""
        response = self.channel.request("HEAD", path)
        try:
            response.read()
            if response.status_code == 404:
                return 0
            if not response.is_success:
                raise problem_of(response)
            complete = response.headers.get("Upload-Complete") == "?1"
            return size if complete else int(response.headers.get("Upload-Offset", 0))
        finally:
            response.close()

    def _put(self, path: str, size: int, offset: int, opened: Callable[[], int], cancelled: Cancelled) -> tuple[int, int]:
        """Send one part (or all); returns the offset reached and the bytes sent."""
        length = min(PART, size - offset)
        headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        if length < size:
            headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{size}"
        response = self.channel.request("PUT", path, headers, pieces(opened(), offset, length, cancelled))
        try:
            response.read()
            if not response.is_success:
                raise problem_of(response)
            return (offset + length if response.status_code == 202 else size), length
        finally:
            response.close()

    def _explain(self, code: str, problem: ProtocolError) -> str:
        """Decide on a refusal: clock differences and hash mismatches are tried again, the rest ends the attempt."""
        if problem.code == STALE:
            raise AttemptEnded(STALE, problem.detail)
        if is_clock_skew(problem, self.channel.signer) or problem.code == "hash_mismatch":
            return str(problem)
        raise AttemptEnded(code, str(problem))


def pause_before(attempt: int, cancelled: Cancelled) -> None:
    """Back off 0, 0.2, 0.4 ... 3.2 s; raises AttemptEnded when the attempt is no longer wanted."""
    deadline = time.monotonic() + (0.1 * 2**attempt if attempt else 0)
    while True:
        if cancelled():
            raise AttemptEnded("cancelled", "stopped while files were moved")
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.2))


def write_body(response: httpx.Response, target: Path, size: int, cancelled: Cancelled) -> int:
    """Append a partial answer, or start anew with a whole one; stops at ``size`` bytes."""
    if response.status_code == 416:
        target.unlink(missing_ok=True)
        raise Unreachable("the part that we have is not a beginning of the content")
    if not response.is_success:
        response.read()
        raise problem_of(response)
    written = 0
    with open(target, "ab" if response.status_code == 206 else "wb") as writing:
        room = size - writing.tell()
        for piece in response.iter_raw(PIECE):
            if cancelled():
                raise AttemptEnded("cancelled", "stopped while files were moved")
            written += writing.write(piece[: room - written])
            if written >= room:
                break
    return written


def pieces(descriptor: int, offset: int, length: int, cancelled: Cancelled) -> Iterator[bytes]:
    """Read a part of a file piece by piece; closes the descriptor."""
    with os.fdopen(descriptor, "rb") as reading:
        reading.seek(offset)
        while length > 0:
            if cancelled():
                raise AttemptEnded("cancelled", "stopped while files were moved")
            piece = reading.read(min(PIECE, length))
            if not piece:
                raise AttemptEnded("upload_failed", "the file became shorter while it was sent")
            length -= len(piece)
            yield piece


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest()
