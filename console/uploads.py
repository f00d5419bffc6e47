"""Files that a form brings become artifacts, by the same door as everybody's bytes."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, cast

from django.core.files.uploadedfile import UploadedFile

from core.errors import DomainError
from marketplace.api.artifacts import MEDIA_TYPE
from marketplace.auth import Caller
from marketplace.models import Artifact
from marketplace.services.artifacts import append_to_upload, begin_upload, upload_offset

_MEDIA_TYPE: Final = re.compile(MEDIA_TYPE)


def keep(caller: Caller, file: UploadedFile[Any], *, field: str) -> Artifact:
    """The artifact of an uploaded file; read in pieces, twice: for its hash, then into the store.

    Limits and quota are checked before a byte is kept. Errors are those of the service, with this `field`.
    """
    try:
        return _keep(caller, file)
    except DomainError as error:
        error.field = field
        raise


def _keep(caller: Caller, file: UploadedFile[Any]) -> Artifact:
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    given = file.content_type or ""
    media_type = given if _MEDIA_TYPE.fullmatch(given) else "application/octet-stream"
    announced = {"name": file.name or "file", "sha256": digest.hexdigest(), "media_type": media_type}
    begun = begin_upload(caller.acting_for(), caller.user, size=file.size or 0, **announced)
    if isinstance(begun, Artifact):
        return begun
    offset = upload_offset(begun)
    file.seek(offset)
    return cast("Artifact", append_to_upload(begun, offset, file).artifact)  # all bytes were sent
