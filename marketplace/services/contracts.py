"""Contracts: who has agreed on what, when. Signing ends the version before; terms are asked for sets of organizations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from core.errors import Conflict, Invalid
from core.money import BASIS_POINTS
from core.zones import zone_named
from marketplace.models import Contract

EARLY: Final = timedelta(minutes=5)  # a beginning this long ago still means "now": forms take time
MOST_MICROS: Final = 10**18
_FIELDS: Final = [
    "id", "zone", "currency", "grace_days", "due_days", "credit_limit_micros", "platform_basis_points", "carries_remainder",
]  # fmt: skip
_TERMS: Final = f"""
SELECT organization.id, organization.zone, {", ".join(f"contract.{name}" for name in _FIELDS)}
FROM marketplace_organization organization
LEFT JOIN marketplace_contract contract ON contract.organization_id = organization.id AND contract.valid @> %(at)s::timestamptz
WHERE organization.id = ANY(%(organizations)s::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for an organization at a moment. `contract` is the version's number, None for the defaults.

    `credit_limit_micros` is of `currency`; in any other currency nothing may be owed.
    """

    organization: int
    contract: int | None
    zone: ZoneInfo
    currency: str
    grace_days: int
    due_days: int
    credit_limit_micros: int
    platform_basis_points: int
    carries_remainder: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A contract to be signed: in force from `start` (None: now) until another one is."""

    organization: int
    start: datetime | None = None
    zone: str = ""
    currency: str = ""
    grace_days: int | None = None
    due_days: int | None = None
    credit_limit_micros: int | None = None
    platform_basis_points: int | None = None
    carries_remainder: bool = True
    note: str = ""


def terms_of(organizations: Iterable[int], at: datetime | None = None) -> dict[int, Terms]:
    """The terms of each organization at a moment (None: now), in one statement."""
    wanted = set(organizations)
    with connection.cursor() as cursor:
        cursor.execute(_TERMS, {"organizations": list(wanted), "at": at or timezone.now()})
        found = cursor.fetchall()
    said = {one: (zone, Contract(**dict(zip(_FIELDS, row, strict=True))) if row[0] else None) for one, zone, *row in found}
    return {one: _terms(one, contract, zone) for one, (zone, contract) in (dict.fromkeys(wanted, ("", None)) | said).items()}


def _terms(organization: int, contract: Contract | None, own_zone: str) -> Terms:
    said = contract or Contract(**_defaults() | ({"zone": own_zone} if own_zone else {}))
    limit, share = said.credit_limit_micros, said.platform_basis_points
    return Terms(
        organization=organization,
        contract=None if contract is None else contract.pk,
        zone=ZoneInfo(said.zone),
        currency=said.currency,
        grace_days=said.grace_days,
        due_days=said.due_days,
        credit_limit_micros=settings.CREDIT_LIMIT * 1_000_000 if limit is None else limit,
        platform_basis_points=settings.PLATFORM_FEE_BASIS_POINTS if share is None else share,
        carries_remainder=said.carries_remainder,
    )


def follow_zones(organizations: Iterable[int] | None = None) -> int:
    """Give organizations (None: all) the zone of the contract that is in force; how many had another.

    Days and months of usage are kept by `Organization.zone`. A contract that begins later is found by the sweep.
    """
    only = None if organizations is None else list(organizations)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketplace_organization organization SET zone = contract.zone FROM marketplace_contract contract "
            "WHERE contract.organization_id = organization.id AND contract.valid @> %(now)s AND organization.zone <> contract.zone "
            "AND (%(only)s::bigint[] IS NULL OR organization.id = ANY(%(only)s))",
            {"only": only, "now": timezone.now()},
        )
        return int(cursor.rowcount)


def _defaults() -> dict[str, Any]:
    return {
        "zone": settings.USAGE_ZONE,
        "currency": settings.CURRENCY,
        "grace_days": settings.GRACE_DAYS,
        "due_days": settings.DUE_DAYS,
        "carries_remainder": True,
    }


def sign_contracts(drafts: Sequence[Draft]) -> list[Contract]:
    """Put contracts in force; each ends the one that would run into it. All of them or none.

    Raises Invalid `contract_invalid | zone_unknown`, Conflict `contract_overlaps`.
    """
    now = timezone.now()
    made = [_contract(draft, now) for draft in drafts]
    starts = {contract.organization_id: contract.valid.lower for contract in made}
    if len(starts) < len(made):
        raise Invalid("contract_invalid", "one contract of an organization at a time", field="organization")
    try:
        with transaction.atomic():
            _end_those_before(starts)
            signed = Contract.objects.bulk_create(made)
            follow_zones(starts)
            return signed
    except IntegrityError as error:
        if "contracts_do_not_overlap" not in str(error):
            raise
        detail = "a later contract of this organization is signed already"
        raise Conflict("contract_overlaps", detail, field="start") from None


def _end_those_before(starts: Mapping[int, datetime]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketplace_contract contract SET valid = tstzrange(lower(valid), starts.at) "
            "FROM unnest(%s::bigint[], %s::timestamptz[]) AS starts (organization, at) "
            "WHERE contract.organization_id = starts.organization AND valid @> starts.at AND lower(valid) < starts.at",
            [list(starts), list(starts.values())],
        )


def _contract(draft: Draft, now: datetime) -> Contract:
    given = {
        name: value
        for name in ("zone", "currency", "grace_days", "due_days")
        if (value := getattr(draft, name)) not in (None, "")
    }
    contract = Contract(
        organization_id=draft.organization,
        valid=DateTimeTZRange(max(draft.start or now, now - EARLY), None),
        credit_limit_micros=draft.credit_limit_micros,
        platform_basis_points=draft.platform_basis_points,
        note=draft.note,
        signed_at=now,
        **_defaults() | given | {"carries_remainder": draft.carries_remainder},
    )
    _check(draft, contract, now)
    return contract


def _check(draft: Draft, contract: Contract, now: datetime) -> None:
    zone_named(contract.zone)
    if draft.start is not None and draft.start < now - EARLY:
        raise Invalid("contract_invalid", "a contract does not change what is past", field="start")
    if len(contract.currency) != 3 or not contract.currency.isascii() or not contract.currency.isupper():
        raise Invalid("contract_invalid", "an ISO 4217 code, for example CNY", field="currency")
    bounds = {
        "grace_days": 31,
        "due_days": 365,
        "credit_limit_micros": MOST_MICROS,
        "platform_basis_points": BASIS_POINTS,
    }
    for name, most in bounds.items():
        if not 0 <= (getattr(contract, name) or 0) <= most:
            raise Invalid("contract_invalid", f"a whole number from 0 to {most}", field=name)
