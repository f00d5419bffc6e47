"""Asking for an export: what may be asked, and the row that stands for it. `running.py` writes the file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from billing.exports.kinds import EVERYBODY, KINDS, Kind
from billing.exports.sources import Question
from billing.exports.states import OPEN
from billing.models import Export
from core.errors import Conflict, Invalid, NotAllowed, NotFound, OverLimit
from core.wake import wake
from marketplace.models import Organization, User

JOB: Final = "billing.export"
MOST_OPEN: Final = 10
_LOCK: Final = 0x67_66_65_78  # advisory, with the organization's number: who asks for it, one at a time


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for. Empty texts: the kind's first.

    currency  ISO 4217; empty: the market's for statements and months of an account, otherwise any
    is_operator  may ask for everybody's
    """

    kind: str
    start: datetime
    end: datetime
    form: str = ""
    party: str = ""
    currency: str = ""
    group_by: str = ""
    in_ascii: bool = False
    site: str = ""
    is_operator: bool = False


def request_export(organization: Organization | None, by: User | None, wanted: Wanted) -> tuple[Export, bool]:
    """The export that was asked for, and whether it is new: while the same question is open, it is the same export.

    Raises Invalid for what the kind does not know, NotAllowed `operators_only` or `organization_required`, OverLimit
    `too_many_exports`.
    """
    chosen = _chosen(wanted)
    whose = _whose(organization, chosen)
    key = _key(whose, chosen)
    kind = KINDS[chosen.kind]
    question = Question(chosen.party, whose, chosen.start, chosen.end, chosen.currency, chosen.group_by, chosen.site)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, whose.pk if whose else 0])
        opened = Export.objects.filter(organization=whose, state__in=OPEN)
        if (same := opened.filter(key=key).first()) is not None:
            return same, False
        if opened.count() >= MOST_OPEN:
            raise OverLimit("too_many_exports", f"{MOST_OPEN} exports are being written; wait for one of them")
        made = Export.objects.create(
            **_fields(chosen), organization=whose, requested_by=by, schema=kind.table.name, key=key, requested_at=timezone.now(),
            estimated=kind.count(question, settings.EXPORT_AT_ONCE_ROWS),
        )  # fmt: skip
        wake(JOB)
    return made, True


def _chosen(wanted: Wanted) -> Wanted:
    """The question with what was left out filled in. Invalid names the field at fault."""
    kind = KINDS.get(wanted.kind)
    if kind is None:
        raise Invalid("invalid_parameter", f"one of {', '.join(KINDS)}", field="kind")
    if wanted.start > wanted.end:
        raise Invalid("invalid_parameter", "the window ends before it begins", field="to")
    form = _one_of("format", wanted.form, kind.formats)
    party = _one_of("party", wanted.party, kind.parties)
    group_by = _one_of("group", wanted.group_by, kind.groups or ("",))
    if wanted.site and (not kind.sites or party == EVERYBODY):
        raise Invalid("invalid_parameter", "a site's name is for usage records of an organization's own pools", field="site")
    return replace(wanted, form=form, party=party, currency=_currency(wanted, kind), group_by=group_by)


def _one_of(field: str, given: str, allowed: tuple[str, ...]) -> str:
    if given and given not in allowed:
        known = ", ".join(filter(None, allowed)) or "nothing: it has none"
        raise Invalid("invalid_parameter", f"for this kind, one of {known}", field=field)
    return given or allowed[0]


def _currency(wanted: Wanted, kind: Kind) -> str:
    if wanted.currency and not kind.money:
        raise Invalid("invalid_parameter", "this kind has no currency", field="currency")
    return wanted.currency or (settings.CURRENCY if wanted.kind in {"statements", "focus"} else "")


def _whose(organization: Organization | None, wanted: Wanted) -> Organization | None:
    if wanted.party == EVERYBODY:
        if not wanted.is_operator:
            raise NotAllowed("operators_only", "only operators export what is everybody's")
        return None
    if organization is None:
        raise NotAllowed("organization_required", "name your organization in the header X-Organization")
    return organization


def _fields(wanted: Wanted) -> dict[str, Any]:
    asked = {"kind": wanted.kind, "format": wanted.form, "party": wanted.party, "in_ascii": wanted.in_ascii}
    window = {"starts_at": wanted.start, "ends_at": wanted.end}
    return asked | window | {"currency": wanted.currency, "group_by": wanted.group_by, "site": wanted.site}


def _key(whose: Organization | None, wanted: Wanted) -> str:
    told = _fields(wanted) | {"organization": whose.pk if whose else None}
    return sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def shown_to(organization: Organization | None, *, operator: bool) -> QuerySet[Export]:
    """An organization's exports; with none named, an operator's view: all."""
    rows = Export.objects.select_related("organization")
    if organization is None:
        return rows if operator else rows.none()
    return rows.filter(organization=organization)


def file_of(export: Export) -> Export:
    """The export, if there is a file to give. Raises Conflict `export_not_ready` or NotFound `export_expired`."""
    if export.state == "expired" or (export.state == "ready" and export.expires_at and export.expires_at <= timezone.now()):
        raise NotFound("export_expired", "the file is gone; ask for it again")
    if export.state != "ready":
        raise Conflict("export_not_ready", export.reason or f"it is {export.state}: {export.rows} rows so far", state=export.state)
    return export
