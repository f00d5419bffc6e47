"""Who is calling: API keys, sessions, and the one answer every view works with, `caller_of(request)`.

A key's text is `gf_<prefix>_<secret>`: the prefix finds the row, the secret (256 random bits) is kept only as
its SHA-256 and compared in constant time. A fast hash is right here: nobody can guess 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from core.errors import NotAllowed, NotFound
from marketplace.models import ApiKey, Membership, Organization, User
from marketplace.scopes import EVERYTHING, granted

_KEY: Final = re.compile(r"^gf_([a-z0-9]{8,16})_([A-Za-z0-9_-]{20,80})$")
_SLUG: Final = re.compile(r"^[a-z][a-z0-9-]{1,62}$")
_PREFIX_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_SEEN_EVERY: Final = timedelta(minutes=1)
CHOSEN: Final = "organization"  # where a session keeps the organization that its person chose on a page


@dataclass(frozen=True)
class Caller:
    """Who asks, for which organization, with which rights.

    organization  None for an operator who named none, or a person who has none or must choose one
    role          the membership's role, None for an operator from outside
    scopes        what the caller may do, already narrowed by the key
    is_operator   a member of staff by session, or with a key of scope `*`
    """

    user: User
    organization: Organization | None
    role: str | None
    scopes: frozenset[str]
    is_operator: bool
    api_key: ApiKey | None

    def acting_for(self) -> Organization:
        """The organization that the caller acts for; NotAllowed `organization_required` without one."""
        if self.organization is None:
            raise NotAllowed("organization_required", "name your organization in the header X-Organization")
        return self.organization


def new_key() -> tuple[str, str, str]:
    """A fresh key: (text shown once, prefix, hash of the secret)."""
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    return f"gf_{prefix}_{secret}", prefix, hash_secret(secret)


def hash_secret(secret: str) -> str:
    """Lower-case hex SHA-256, as stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer gf_<prefix>_<secret>`. Other schemes are left to the next class."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = find_key(text.strip(), timezone.now())
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="gridfare"'


def find_key(text: str, now: datetime) -> ApiKey:
    """The live key with this text, its user, organization and `role` loaded in one query.

    Raises AuthenticationFailed with code key_unknown, key_revoked, key_expired or account_disabled.
    """
    match = _KEY.match(text)
    key = _keys().filter(prefix=match[1]).first() if match else None
    if match is None or key is None or not hmac.compare_digest(key.secret_hash, hash_secret(match[2])):
        raise AuthenticationFailed("no such key", code="key_unknown")
    _refuse_dead(key, now)
    _note_use(key, now)
    return key


def _keys() -> QuerySet[ApiKey]:
    role = Membership.objects.filter(organization=OuterRef("organization"), user=OuterRef("user"))
    keys = ApiKey.objects.select_related("user", "organization")
    return keys.annotate(role=Subquery(role.values("role")[:1]))


def _refuse_dead(key: ApiKey, now: datetime) -> None:
    if key.revoked_at is not None:
        raise AuthenticationFailed("this key was revoked", code="key_revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise AuthenticationFailed("this key has expired", code="key_expired")
    if not key.user.is_active:
        raise AuthenticationFailed("this account is disabled", code="account_disabled")
    if role_of_key(key) is None and not key.user.is_staff:
        raise AuthenticationFailed("the key's user has left the organization", code="key_revoked")


def role_of_key(key: ApiKey) -> str | None:
    """The role that `find_key` loaded with the key."""
    return cast("str | None", getattr(key, "role", None))


def _note_use(key: ApiKey, now: datetime) -> None:
    """At most one write a minute, however many requests and processes."""
    if key.last_used_at is not None and now - key.last_used_at < _SEEN_EVERY:
        return
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - _SEEN_EVERY)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def caller_of(request: Request) -> Caller:
    """The caller behind an authenticated request; worked out once per request.

    Raises NotFound `organization_unknown` when X-Organization names one the caller has no part in.
    """
    caller: Caller | None = getattr(request, "_caller", None)
    if caller is None:
        key = request.auth
        caller = _by_key(request, key) if isinstance(key, ApiKey) else session_caller(request._request, cast("User", request.user))
        request._caller = caller  # type: ignore[attr-defined]
    return caller


def _by_key(request: Request, key: ApiKey) -> Caller:
    is_operator = key.user.is_staff and EVERYTHING in key.scopes
    organization, role = key.organization, role_of_key(key)
    wanted = request.headers.get("X-Organization")
    if wanted and wanted != organization.slug:
        organization, role = _chosen_by_operator(wanted, is_operator=is_operator), None
    scopes = granted(role, is_operator=is_operator, key_scopes=key.scopes)
    return Caller(key.user, organization, role, scopes, is_operator, key)


def session_caller(request: HttpRequest, user: User) -> Caller:
    """The caller behind a session: for the organization in X-Organization, else the one chosen on a page, else the only one.

    A choice that is no longer theirs is forgotten. Raises NotFound `organization_unknown` as `caller_of` does.
    """
    wanted, chosen = request.headers.get("X-Organization"), _chosen_on_a_page(request)
    organization, role = _membership(user, wanted or chosen)
    if organization is None and (wanted or (chosen and user.is_staff)):
        organization = _chosen_by_operator(wanted or chosen or "", is_operator=user.is_staff)
    elif organization is None and chosen:
        organization, role = _membership(user, None)
    scopes = granted(role, is_operator=user.is_staff, key_scopes=None)
    return Caller(user, organization, role, scopes, user.is_staff, None)


def _chosen_on_a_page(request: HttpRequest) -> str | None:
    session = getattr(request, "session", None)
    return None if session is None else session.get(CHOSEN)


def _membership(user: User, wanted: str | None) -> tuple[Organization | None, str | None]:
    """The person's only membership, or the one named; (None, None) for none, or a choice to make."""
    found = Membership.objects.filter(user=user).select_related("organization")
    if wanted:
        found = found.filter(organization__slug=wanted if _SLUG.match(wanted) else "")
    memberships = list(found[:2])
    if len(memberships) != 1:
        return None, None
    return memberships[0].organization, memberships[0].role


def _chosen_by_operator(slug: str, *, is_operator: bool) -> Organization:
    found = Organization.objects.filter(slug=slug).first() if is_operator and _SLUG.match(slug) else None
    if found is None:
        detail = "you have no part in that organization"
        raise NotFound("organization_unknown", detail, field="X-Organization")
    return found


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells drf-spectacular what KeyAuthentication is."""

    target_class = "marketplace.auth.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "API key: gf_<prefix>_<secret>"}
