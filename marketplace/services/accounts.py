"""Organizations, their members and their keys: what can happen to them.

Views have already checked the caller's scope; these functions keep the rules that hold for every door:
an organization always has an owner, and nobody hands out more than they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from core.errors import Conflict, Invalid, NotAllowed, NotFound, Unauthorized
from core.zones import zone_named
from marketplace.auth import Caller, new_key
from marketplace.models import ApiKey, Membership, Organization, User
from marketplace.scopes import EVERYTHING, unknown_scopes
from marketplace.services.contracts import terms_of

LOGIN_KEY_DAYS: Final = 90
OVERLAP: Final = timedelta(hours=24)
MAX_KEYS: Final = 200
_CHANGEABLE: Final = frozenset({"name", "ascii_name", "region", "zone", "billing_address", "tax_number", "industry"})
_BY_OPERATORS: Final = frozenset({"is_provider", "is_publisher", "is_user", "quota_bytes"})


@dataclass(frozen=True)
class IssuedKey:
    """A key just made. `text` is shown this once and kept nowhere."""

    key: ApiKey
    text: str


def create_key(caller: Caller, *, name: str, scopes: Sequence[str], expires_in_days: int | None) -> IssuedKey:
    """A new key of the caller's, in the caller's organization.

    Raises Invalid `scope_unknown`, NotAllowed `scope_not_held`, Conflict `too_many_keys`.
    """
    refuse_unheld(caller, scopes)
    return _issue(caller.acting_for(), caller.user, name, scopes, _after(expires_in_days))


def refuse_unheld(caller: Caller, scopes: Collection[str]) -> None:
    """Nobody hands out more than they hold. `*` means whatever the person may do, now and later."""
    if wrong := unknown_scopes(scopes):
        raise Invalid("scope_unknown", f"no such scope: {wrong[0]}", field="scopes")
    whole = caller.api_key is None or EVERYTHING in caller.api_key.scopes
    over = set() if whole else set(scopes) - caller.scopes
    if over:
        raise NotAllowed("scope_not_held", f"your key does not hold {min(over)}", field="scopes")


def log_in(username: str, password: str, organization: str | None, name: str) -> IssuedKey:
    """A key for the command line, against a password; it carries all that the person may do, for 90 days.

    Raises Unauthorized `login_failed`, Invalid `organization_required`, NotFound `organization_unknown`.
    """
    user = authenticate(username=username, password=password)
    if not isinstance(user, User):
        raise Unauthorized("login_failed", "no such user, or another password")
    return _issue(_chosen(user, organization), user, name, [EVERYTHING], _after(LOGIN_KEY_DAYS))


def _chosen(user: User, slug: str | None) -> Organization:
    rows = Organization.objects.order_by("slug")
    if not (user.is_staff and slug):
        rows = rows.filter(memberships__user=user)
    found = list(rows.filter(slug=slug) if slug else rows[:2])
    if len(found) == 1:
        return found[0]
    if slug:
        raise NotFound("organization_unknown", "you have no part in that organization", field="organization")
    raise Invalid("organization_required", "say for which of your organizations", field="organization")


def rotate_key(caller: Caller, prefix: str) -> IssuedKey:
    """A new key like an own one; the old one lives 24 hours more, so that programs can change over.

    Raises NotFound `key_unknown`, NotAllowed `key_of_another`, Conflict `key_dead`.
    """
    now = timezone.now()
    with transaction.atomic():
        old = _own_key(caller, prefix)
        if old.user_id != caller.user.pk:  # a key speaks for its person: nobody else may get hold of it
            raise NotAllowed("key_of_another", "only the key's own person may rotate it")
        refuse_unheld(caller, old.scopes)
        if not _let_overlap(old, now):
            raise Conflict("key_dead", "this key was revoked or has expired")
        expires_at = now + (old.expires_at - old.created_at) if old.expires_at else None
        return _issue(old.organization, old.user, old.name, old.scopes, expires_at)


def _let_overlap(old: ApiKey, now: datetime) -> bool:
    alive = ApiKey.objects.filter(pk=old.pk, revoked_at__isnull=True)
    longer = alive.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now + OVERLAP))
    return bool(longer.update(expires_at=now + OVERLAP) or alive.filter(expires_at__gt=now).exists())


def revoke_key(caller: Caller, prefix: str) -> None:
    """End a key of the caller's organization at once. Revoking twice is one effect. Raises NotFound."""
    key = _own_key(caller, prefix)
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())


def _own_key(caller: Caller, prefix: str) -> ApiKey:
    keys = ApiKey.objects.select_related("user", "organization").filter(prefix=prefix)
    key = keys.filter(organization=caller.acting_for()).first()
    if key is None:
        raise NotFound("key_unknown", "no such key")
    return key


def _issue(
    organization: Organization, user: User, name: str, scopes: Sequence[str], expires_at: datetime | None
) -> IssuedKey:
    alive = ApiKey.objects.filter(organization=organization, user=user, revoked_at__isnull=True)
    if alive.exclude(expires_at__lte=timezone.now()).count() >= MAX_KEYS:
        raise Conflict("too_many_keys", f"you already have {MAX_KEYS} keys here; revoke some")
    text, prefix, secret_hash = new_key()
    key = ApiKey.objects.create(
        organization=organization,
        user=user,
        name=name,
        prefix=prefix,
        secret_hash=secret_hash,
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    return IssuedKey(key, text)


def _after(days: int | None) -> datetime | None:
    return None if days is None else timezone.now() + timedelta(days=days)


def create_organization(fields: Mapping[str, Any], owner: str) -> Organization:
    """A new party with its first owner, admitted by an operator.

    Raises NotFound `user_unknown`, Conflict `organization_exists`.
    """
    user = _user(owner, field="owner")
    try:
        with transaction.atomic():
            organization = Organization.objects.create(**fields)
            Membership.objects.create(organization=organization, user=user, role=Membership.Role.OWNER)
    except IntegrityError:
        raise Conflict("organization_exists", "this slug is taken", field="slug") from None
    return organization


def update_organization(caller: Caller, changes: Mapping[str, Any]) -> Organization:
    """Change the caller's organization; what kind of party it is, and its quota, is the operators' word.

    Invalid `zone_unknown`; NotAllowed `operators_only`; Conflict `zone_by_contract`.
    """
    organization = caller.acting_for()
    allowed = _CHANGEABLE | (_BY_OPERATORS if caller.is_operator else frozenset())
    if over := set(changes) - allowed:
        raise NotAllowed("operators_only", "only operators may change this", field=min(over))
    if "zone" in changes:
        _check_zone(organization, changes["zone"])
    if changes:
        Organization.objects.filter(pk=organization.pk).update(**changes)
    return Organization.objects.select_related("region").get(pk=organization.pk)


def _check_zone(organization: Organization, zone: str) -> None:
    if zone:
        zone_named(zone)
    terms = terms_of([organization.pk])[organization.pk]
    if terms.contract is not None and zone != terms.zone.key:
        raise Conflict("zone_by_contract", "the contract in force says whose days and months are billed", field="zone")


def add_member(organization: Organization, username: str, role: str) -> Membership:
    """Make a person a member. Raises NotFound `user_unknown`, Conflict `member_exists`."""
    user = _user(username, field="username")
    try:
        with transaction.atomic():
            return Membership.objects.create(organization=organization, user=user, role=role)
    except IntegrityError:
        detail = "this person is a member already; change the role instead"
        raise Conflict("member_exists", detail, field="username") from None


def change_role(organization: Organization, username: str, role: str) -> Membership:
    """Give a member another role. Raises NotFound `member_unknown`, Conflict `last_owner`."""
    with transaction.atomic():
        member = _member_locked(organization, username)
        if member.role == Membership.Role.OWNER and role != Membership.Role.OWNER:
            _refuse_last_owner(organization, member)
        Membership.objects.filter(pk=member.pk).update(role=role)
    member.role = role
    return member


def remove_member(organization: Organization, username: str) -> None:
    """End a membership and the person's keys. Raises NotFound `member_unknown`, Conflict `last_owner`."""
    with transaction.atomic():
        member = _member_locked(organization, username)
        if member.role == Membership.Role.OWNER:
            _refuse_last_owner(organization, member)
        keys = ApiKey.objects.filter(organization=organization, user=member.user_id, revoked_at__isnull=True)
        keys.update(revoked_at=timezone.now())
        member.delete()


def _member_locked(organization: Organization, username: str) -> Membership:
    """The organization's row is the lock: two owners who remove each other meet here."""
    Organization.objects.select_for_update().get(pk=organization.pk)
    members = Membership.objects.select_related("user")
    member = members.filter(organization=organization, user__username=username).first()
    if member is None:
        raise NotFound("member_unknown", "no such member")
    return member


def _refuse_last_owner(organization: Organization, member: Membership) -> None:
    owners = Membership.objects.filter(organization=organization, role=Membership.Role.OWNER)
    if not owners.exclude(pk=member.pk).exists():
        raise Conflict("last_owner", "an organization needs an owner; name another first")


def _user(username: str, *, field: str) -> User:
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise NotFound("user_unknown", "no such user", field=field)
    return user
