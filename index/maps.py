"""Maps of borders: one is kept as its file came, shown with its approval number, and withdrawn with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import orjson
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound, TooLarge
from index.borders import approval, read_map
from index.models import IndexMap
from marketplace.models import User

MOST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class NewMap:
    """What an operator says of a map's file."""

    name: str
    approval_number: str
    publisher: str
    licence: str
    url: str = ""


def keep_map(new: NewMap, content: bytes, by: User | None = None) -> IndexMap:
    """Keep a map that is whole; from now on it is the one that is shown.

    Invalid `invalid_input`, `approval_invalid`, `map_invalid`, `map_incomplete`; TooLarge `map_too_large`; Conflict `map_exists`.
    """
    for field in ("name", "publisher", "licence"):
        if not getattr(new, field).strip():
            raise Invalid("invalid_input", "say it: it stands under the map", field=field)
    number = approval(new.approval_number)
    if len(content) > settings.INDEX_MAP_BYTES:
        raise TooLarge("map_too_large", f"at most {settings.INDEX_MAP_BYTES:,} bytes", field="content")
    read_map(content)
    told = {field: getattr(new, field).strip() for field in ("name", "publisher", "licence", "url")}
    digest = sha256(content).hexdigest()
    try:
        with transaction.atomic():
            return IndexMap.objects.create(
                **told, approval_number=number, content=content, digest=digest, uploaded_by=by, uploaded_at=timezone.now()
            )
    except IntegrityError:
        raise Conflict("map_exists", "this file is a map already; withdraw that one first", field="content") from None


def withdraw_map(number: int, reason: str) -> IndexMap:
    """Show a map no more. Invalid `reason_missing`, NotFound `map_unknown`, Conflict `map_withdrawn`."""
    if not reason.strip():
        raise Invalid("reason_missing", "say why: it stands beside the map for ever", field="reason")
    changes = {"withdrawn_at": timezone.now(), "reason": reason.strip()[:MOST_REASON]}
    if not IndexMap.objects.filter(pk=number, withdrawn_at__isnull=True).update(**changes):
        map_numbered(number)
        raise Conflict("map_withdrawn", "the map was withdrawn already")
    return map_numbered(number)


def map_numbered(number: int) -> IndexMap:
    """Without its content. NotFound `map_unknown`."""
    found = IndexMap.objects.defer("content").filter(pk=number).first()
    if found is None:
        raise NotFound("map_unknown", "there is no such map")
    return found


def map_shown() -> IndexMap | None:
    """The newest that was not withdrawn, without its content."""
    return IndexMap.objects.defer("content").filter(withdrawn_at__isnull=True).order_by("-pk").first()


def marked_file(number: int) -> bytes:
    """The GeoJSON with its approval number inside: no copy is without. NotFound `map_unknown`, Conflict `map_withdrawn`."""
    one = map_numbered(number)
    if one.withdrawn_at:
        raise Conflict("map_withdrawn", "the map was withdrawn")
    document = orjson.loads(bytes(one.content).removeprefix(b"\xef\xbb\xbf"))
    marks = {"name": one.name, "approval_number": one.approval_number, "publisher": one.publisher, "licence": one.licence}
    return orjson.dumps(document | marks | {"sha256_of_upload": one.digest})
