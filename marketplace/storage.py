"""The content-addressed store: bytes named by their SHA-256, in a folder or any S3-compatible store.

Nothing here checks who may read: a blob is reached through an artifact, a task's file or a result.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote
from uuid import uuid4

from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.http import content_disposition_header

from core.errors import Invalid, NotFound
from marketplace import spool
from marketplace.ranges import Streamed, is_current, wanted_range

CHUNK: Final = 512 * 1024
URL_SECONDS: Final = 3600


def name_of(sha256: str) -> str:
    """Where the store keeps a blob."""
    return f"blobs/{sha256[:2]}/{sha256}"


def exists(sha256: str) -> bool:
    """Does the store hold these bytes?"""
    return default_storage.exists(name_of(sha256))


def put(sha256: str, stream: IO[bytes]) -> int:
    """Store a stream under its hash and return its bytes. Invalid `hash_mismatch`: nothing is kept."""
    with spool.held(f"put-{uuid4()}") as part:
        size = part.append(stream, 0, 2**62)
        keep(part, sha256)
        return size


def put_bytes(data: bytes) -> str:
    """Store small bytes and return their SHA-256."""
    sha256 = hashlib.sha256(data).hexdigest()
    if not exists(sha256):
        put(sha256, io.BytesIO(data))
    return sha256


def keep(part: spool.Part, sha256: str) -> None:
    """Check a finished upload and move it into the store.

    Raises Invalid `hash_mismatch`, and nothing is kept.
    """
    part.check(sha256)
    adopt(part.path, sha256)


def adopt(path: Path, sha256: str) -> None:
    """Move a finished local file into the store. Atomic: readers see nothing or everything; twice is once."""
    if exists(sha256):
        path.unlink(missing_ok=True)
    else:
        keep_file(path, name_of(sha256))


def keep_file(path: Path, name: str) -> None:
    """Move a finished local file into the store under a name that nobody else writes. Atomic."""
    if isinstance(default_storage, FileSystemStorage):
        _move(path, Path(default_storage.path(name)))
    else:
        _send(path, name)


def forget_file(name: str) -> None:
    """Remove what `keep_file` stored; nothing there is no error."""
    default_storage.delete(name)


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.chmod(0o644)
    if path.stat().st_dev != target.parent.stat().st_dev:
        near = target.with_name(f".{target.name}.{uuid4().hex}")
        shutil.copyfile(path, near)
        path.unlink()
        path = near
    path.replace(target)


def _send(path: Path, name: str) -> None:
    with path.open("rb") as stream:
        saved = default_storage.save(name, File(stream))
    if saved != name:  # somebody else was quicker, and the store made up another name
        default_storage.delete(saved)
    path.unlink(missing_ok=True)


class ByteRange(Iterator[bytes]):
    """Bytes [start, end) of an open file in chunks.

    Closes with its response, also when the reader goes away.
    """

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        self._file = file
        self._left = end - start
        file.seek(start)

    def __next__(self) -> bytes:
        chunk = self._file.read(min(CHUNK, self._left)) if self._left > 0 else b""
        if not chunk:
            self.close()
            raise StopIteration
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()


def open_range(sha256: str, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of a blob, in chunks; NotFound `blob_missing` when the store has lost it."""
    return _open_range(name_of(sha256), start, end)


def _open_range(name: str, start: int, end: int) -> Iterator[bytes]:
    try:
        if (bucket := getattr(default_storage, "bucket", None)) is not None:
            return _s3_range(bucket, name, start, end)
        return ByteRange(default_storage.open(name, "rb"), start, end)
    except FileNotFoundError:
        raise NotFound("blob_missing", "the store does not hold these bytes") from None


def _s3_range(bucket: Any, name: str, start: int, end: int) -> Iterator[bytes]:
    """S3 answers ranges itself; the storage's own file object would fetch everything first."""
    if start >= end:
        return iter(())
    try:
        answer = bucket.Object(name).get(Range=f"bytes={start}-{end - 1}")
    except bucket.meta.client.exceptions.NoSuchKey:
        raise FileNotFoundError(name) from None
    chunks: Iterator[bytes] = answer["Body"].iter_chunks(CHUNK)
    return chunks


def open_file(sha256: str) -> IO[bytes]:
    """A blob as a file that can be sought in; NotFound `blob_missing`."""
    try:
        file: IO[bytes] = default_storage.open(name_of(sha256), "rb")
    except FileNotFoundError:
        raise NotFound("blob_missing", "the store does not hold these bytes") from None
    return file


def read_bytes(sha256: str, most: int) -> bytes:
    """A small blob whole; Invalid `blob_too_large` beyond `most` bytes."""
    data = b"".join(open_range(sha256, 0, most + 1))
    if len(data) > most:
        raise Invalid("blob_too_large", f"more than {most} bytes")
    return data


def signed_url(sha256: str, name: str) -> str | None:
    """A URL that reads the blob for an hour without a key, saved as `name`; None if the store is a folder."""
    return _signed_url(name_of(sha256), name)


def _signed_url(stored: str, name: str) -> str | None:
    if not hasattr(default_storage, "bucket_name"):
        return None
    disposition = f"attachment; filename*=UTF-8''{quote(name.rsplit('/', 1)[-1])}"
    parameters = {"ResponseContentDisposition": disposition}
    s3: Any = default_storage
    return str(s3.url(stored, parameters=parameters, expire=URL_SECONDS))


def range_response(
    request: HttpRequest,
    sha256: str,
    size: int,
    *,
    filename: str | None = None,
    media_type: str = "application/octet-stream",
) -> HttpResponseBase:
    """A blob as an answer to GET or HEAD: Range, If-Range, If-None-Match; 307 where an object store is.

    What users uploaded is only ever downloaded, never shown as a page of ours. Raises RangeRefused (416).
    """
    return file_response(request, name_of(sha256), sha256, size, filename=filename or sha256, media_type=media_type)


def file_response(
    request: HttpRequest, stored: str, sha256: str, size: int, *, filename: str, media_type: str
) -> HttpResponseBase:
    """The same of a file that the store has under a name of its own, with these bytes."""
    etag, name = f'"{sha256}"', filename
    headers = _headers(etag, name, media_type)
    if is_current(request, etag):
        return HttpResponse(status=304, headers={"ETag": etag})
    if request.method == "GET" and (url := _signed_url(stored, name)) is not None:
        return HttpResponseRedirect(url, preserve_request=True)
    part = wanted_range(request, etag, size)
    start, end = part or (0, size)
    headers["Content-Length"] = str(end - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    body: Iterator[bytes] = iter(()) if request.method == "HEAD" else _open_range(stored, start, end)
    return Streamed(body, status=206 if part else 200, headers=headers)


def _headers(etag: str, name: str, media_type: str) -> dict[str, str]:
    disposition = content_disposition_header(True, name.rsplit("/", 1)[-1]) or "attachment"
    return {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Type": media_type,
        "Content-Disposition": disposition,
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
