"""Files in: uploads that resume, artifacts, quotas, blobs that agents bring. One path for everybody's bytes.

An organization gets the bytes of a blob only by sending them or by having been delivered them: knowing a hash
that somebody else uploaded is not enough.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q, Sum
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound, OverLimit, TooLarge
from marketplace import spool, storage
from marketplace.models import Artifact, Blob, BlobPlace, Organization, Upload, User
from marketplace.paths import safe_path

UPLOAD_HOURS: Final = 24
MAX_OPEN_UPLOADS: Final = 1000
EMPTY: Final = hashlib.sha256(b"").hexdigest()
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


def begin_upload(
    organization: Organization,
    user: User | None,
    *,
    name: str,
    sha256: str,
    size: int,
    media_type: str = "application/octet-stream",
) -> Upload | Artifact:
    """An upload to send bytes to, or an artifact at once when the organization already has these bytes.

    The same announcement again finds the same upload, so it goes on where it stopped. Announced bytes count
    for the quota from now on. Raises Invalid, TooLarge `artifact_too_large`, `quota_exceeded`, OverLimit
    `too_many_uploads`.
    """
    _check_announcement(name, sha256, size)
    fields = {"name": name, "media_type": media_type, "created_by": user}
    with transaction.atomic():
        # one at a time per organization, so that two uploads cannot both take the last of the quota
        owner = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if (known := _known_blob(owner, sha256)) is not None:
            return _artifact_of(owner, known, size, fields)
        if size == 0:
            storage.put_bytes(b"")
            return _artifact_of(owner, blob_received(sha256, 0, owner.region_id), size, fields)
        return _open_upload(owner, sha256, size, fields) or _new_upload(owner, sha256, size, fields)


def _check_announcement(name: str, sha256: str, size: int) -> None:
    safe_path(name, field="name")
    _check_sha256(sha256)
    _check_size(size)
    if size == 0 and sha256 != EMPTY:
        raise Invalid("hash_mismatch", f"no bytes have the SHA-256 {EMPTY}", field="sha256")


def _check_sha256(sha256: str) -> None:
    if not _SHA256.fullmatch(sha256):
        raise Invalid("invalid_sha256", "a SHA-256 is 64 lower-case hexadecimal digits", field="sha256")


def _check_size(size: int, most: int | None = None) -> None:
    most = settings.MAX_ARTIFACT_BYTES if most is None else min(most, settings.MAX_ARTIFACT_BYTES)
    if size < 0:
        raise Invalid("invalid_size", "a size is not negative", field="bytes")
    if size > most:
        detail = f"a file may have {most} bytes, not {size}"
        raise TooLarge("artifact_too_large", detail, field="bytes", limit=most)


def _known_blob(organization: Organization, sha256: str) -> Blob | None:
    """A blob that this organization itself has an artifact of."""
    own = Q(artifact__organization=organization, artifact__deleted_at__isnull=True)
    return Blob.objects.filter(own, pk=sha256).first()


def _artifact_of(organization: Organization, blob: Blob, size: int, fields: Mapping[str, Any]) -> Artifact:
    """The organization's artifact of these bytes under this name, made when there is none."""
    if blob.bytes != size:
        raise Invalid("hash_mismatch", f"the file with this SHA-256 has {blob.bytes} bytes", field="bytes")
    same = Artifact.objects.filter(organization=organization, blob=blob, name=fields["name"])
    found = same.filter(deleted_at__isnull=True).first()
    return found or Artifact.objects.create(organization=organization, blob=blob, **fields)


def _open_upload(
    organization: Organization, sha256: str, size: int, fields: Mapping[str, Any]
) -> Upload | None:
    open_ones = _open_uploads(organization, timezone.now())
    same = open_ones.filter(sha256=sha256, bytes=size, name=fields["name"], created_by=fields["created_by"])
    found: Upload | None = same.order_by("-pk").first()
    return found


def _new_upload(organization: Organization, sha256: str, size: int, fields: Mapping[str, Any]) -> Upload:
    now = timezone.now()
    if _open_uploads(organization, now).count() >= MAX_OPEN_UPLOADS:
        raise OverLimit("too_many_uploads", f"{MAX_OPEN_UPLOADS} uploads are open; finish some first")
    _check_quota(organization, sha256, size, now)
    expires = now + timedelta(hours=UPLOAD_HOURS)
    return Upload.objects.create(
        organization=organization, sha256=sha256, bytes=size, expires_at=expires, **fields
    )


def _open_uploads(organization: Organization, now: datetime) -> Any:
    return Upload.objects.filter(organization=organization, artifact__isnull=True, expires_at__gt=now)


def _check_quota(organization: Organization, sha256: str, size: int, now: datetime) -> None:
    quota = organization.quota_bytes or settings.DEFAULT_QUOTA_BYTES
    pending = (
        _open_uploads(organization, now).exclude(sha256=sha256).values("sha256").annotate(most=Max("bytes"))
    )
    used = used_bytes(organization) + sum(row["most"] for row in pending)
    if used + size > quota:
        detail = f"the organization may keep {quota} bytes and has {used}"
        raise TooLarge("quota_exceeded", detail, field="bytes", quota=quota, used=used)


def used_bytes(organization: Organization) -> int:
    """Bytes that an organization keeps: each blob once, however many artifacts name it."""
    own = Artifact.objects.filter(organization=organization, deleted_at__isnull=True)
    total = Blob.objects.filter(pk__in=own.values("blob")).aggregate(total=Sum("bytes"))["total"]
    return int(total or 0)


def upload_offset(upload: Upload) -> int:
    """Bytes that have arrived of an upload."""
    return upload.bytes if upload.artifact_id else spool.size_of(_spool_key(upload))


def append_to_upload(upload: Upload, offset: int, stream: spool.Readable) -> Upload:
    """Add bytes at `offset`; the last ones make the artifact. Returns the upload as it is now.

    Raises Conflict `offset_mismatch` (with `offset`), Invalid `body_too_long` or `hash_mismatch` (nothing is
    kept), NotFound `upload_expired`.
    """
    _check_open(upload, offset)
    with spool.held(_spool_key(upload)) as part:
        upload.refresh_from_db(fields=["artifact", "expires_at"])
        if _check_open(upload, offset, part):
            received = part.append(stream, offset, upload.bytes - min(offset, upload.bytes))
            if received == upload.bytes:
                return _complete(upload, part)
            Upload.objects.filter(pk=upload.pk).update(received=received)
            upload.received = received
    return upload


def _check_open(upload: Upload, offset: int, part: spool.Part | None = None) -> bool:
    """May bytes still be added? A repeat of the last part, its answer lost, is told that all is there."""
    if upload.artifact_id is None:
        if upload.expires_at < timezone.now():
            raise NotFound("upload_expired", "this upload was given up; begin it again")
        return True
    if part is not None:
        part.forget()  # taking the lock made an empty file
    if offset != upload.bytes:
        raise Conflict(
            "offset_mismatch", "all bytes have arrived", field="Upload-Offset", offset=upload.bytes
        )
    return False


def _complete(upload: Upload, part: spool.Part) -> Upload:
    try:
        storage.keep(part, upload.sha256)
    except Invalid:
        Upload.objects.filter(pk=upload.pk).update(received=0)
        raise
    fields = {"name": upload.name, "media_type": upload.media_type, "created_by_id": upload.created_by_id}
    with transaction.atomic():
        owner = Organization.objects.select_for_update(no_key=True).get(pk=upload.organization_id)
        blob = blob_received(upload.sha256, upload.bytes, owner.region_id)
        upload.artifact = _artifact_of(owner, blob, upload.bytes, fields)
        upload.received = upload.bytes
        upload.save(update_fields=["artifact", "received"])
    return upload


def _spool_key(upload: Upload) -> str:
    return f"upload-{upload.pk}"


def delete_artifact(organization: Organization, artifact_id: UUID) -> None:
    """The organization no longer has this artifact.

    Tasks that use it keep its bytes. NotFound when it has none.
    """
    own = Artifact.objects.filter(organization=organization, pk=artifact_id, deleted_at__isnull=True)
    if not own.update(deleted_at=timezone.now()):
        raise NotFound("not_found", "no such artifact")


def resolve_artifacts(
    organization: Organization, ids: Mapping[UUID, str] | Iterable[UUID]
) -> dict[UUID, Artifact]:
    """The organization's artifacts by id, with their blobs, in one statement.

    `ids` may map each id to the input that names it. Raises Invalid `unknown_artifact` for a missing, deleted
    or foreign one.
    """
    fields = dict(ids) if isinstance(ids, Mapping) else dict.fromkeys(ids, "inputs")
    own = Artifact.objects.filter(organization=organization, deleted_at__isnull=True, pk__in=list(fields))
    found = {artifact.pk: artifact for artifact in own.select_related("blob")}
    for key, field in fields.items():
        if key not in found:
            raise Invalid("unknown_artifact", f"your organization has no artifact {key}", field=field)
    return found


def register_blobs(blobs: Iterable[tuple[str, int]], region_id: int | None) -> None:
    """Note (sha256, bytes) of blobs that the store holds, and that a region has them.

    Two statements for any number.
    """
    sizes = dict(sorted(blobs))  # sorted: two batches never wait for each other crosswise
    rows = [Blob(sha256=key, bytes=size) for key, size in sizes.items()]
    Blob.objects.bulk_create(rows, ignore_conflicts=True)
    register_places(sizes, region_id)


def register_places(sha256s: Iterable[str], region_id: int | None) -> None:
    """Note that a region has these blobs, in one statement."""
    if region_id is not None:
        places = [BlobPlace(blob_id=key, region_id=region_id) for key in sorted(set(sha256s))]
        BlobPlace.objects.bulk_create(places, ignore_conflicts=True)


def blob_received(sha256: str, size: int, region_id: int | None) -> Blob:
    """The same for one blob; returns it."""
    register_blobs([(sha256, size)], region_id)
    return Blob(sha256=sha256, bytes=size)


class Received(NamedTuple):
    """What `receive_part` has of a blob. Complete means stored and registered."""

    offset: int
    complete: bool


def receive_part(
    sha256: str,
    content_range: str | None,
    stream: spool.Readable,
    *,
    spool_key: str,
    region_id: int | None = None,
    max_bytes: int | None = None,
) -> Received:
    """A blob, or a part (`Content-Range: bytes a-b/total`), as agents send them.

    `max_bytes` bounds its size. Complete means stored and registered. Raises Invalid `invalid_content_range`,
    `body_too_long`, `hash_mismatch`; Conflict `offset_mismatch`; TooLarge `artifact_too_large`.
    """
    _check_sha256(sha256)
    parts = None if content_range is None else _parse_content_range(content_range)
    _check_size(parts[2] if parts else 0, max_bytes)
    with spool.held(_part_key(sha256, spool_key)) as part:
        if parts is None:
            total = received = _append_whole(part, stream, max_bytes)
        else:
            first, last, total = parts
            received = part.append(stream, first, last + 1 - first)
        if received < total:
            return Received(received, False)
        storage.keep(part, sha256)
    blob_received(sha256, total, region_id)
    return Received(total, True)


def part_offset(sha256: str, *, spool_key: str) -> int:
    """Bytes of a blob that `receive_part` has so far under this key."""
    return spool.size_of(_part_key(sha256, spool_key))


def _part_key(sha256: str, spool_key: str) -> str:
    return f"{spool_key}-{sha256}"


def _append_whole(part: spool.Part, stream: spool.Readable, max_bytes: int | None) -> int:
    """A body without Content-Range begins anew, and is the whole blob."""
    part.file.truncate(0)
    limit = settings.MAX_ARTIFACT_BYTES if max_bytes is None else min(max_bytes, settings.MAX_ARTIFACT_BYTES)
    try:
        return part.append(stream, 0, limit)
    except Invalid:
        part.forget()
        raise TooLarge("artifact_too_large", f"at most {limit} bytes", field="bytes", limit=limit) from None


def _parse_content_range(text: str) -> tuple[int, int, int]:
    match = _CONTENT_RANGE.fullmatch(text.strip())
    first, last, total = map(int, match.groups()) if match else (1, 0, 0)
    if not first <= last < total:
        detail = "Content-Range must be bytes first-last/total"
        raise Invalid("invalid_content_range", detail, field="Content-Range")
    return first, last, total


def sweep_uploads() -> int:
    """Forget uploads that were given up, and parts that nobody finishes. Returns how many rows went."""
    expired = Upload.objects.filter(expires_at__lt=timezone.now(), artifact__isnull=True)
    gone, _ = expired.delete()
    spool.sweep(2 * UPLOAD_HOURS * 3600)
    return gone
