"""Plain functions that put rows into the database, and the cast of every story.

alice asks, bob provides, carol publishes, mallory is a stranger, olga operates. Each may be called as often
as one likes: the same person comes back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from secrets import randbelow
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone
from rest_framework.test import APIClient

from marketplace.auth import new_key
from marketplace.identifiers import pool_identifier, region_part
from marketplace.models import (
    Agent,
    ApiKey,
    JoinToken,
    MaintenanceWindow,
    Membership,
    Offer,
    Organization,
    Pool,
    Rate,
    Region,
    User,
)
from marketplace.regions import PROVINCES

PASSWORD: Final = "a long and odd sentence 7"
FACTS: Final = {
    "instruction_set": "x86_64",
    "cores": 8,
    "memory_mib": 16384,
    "disk_mib": 102400,
    "accelerators": [],
    "os": "Linux 6.1",
    "hostname": "node-1",
    "python": "3.11.7",
    "executors": ["process", "sandbox"],
}
BENCHMARK: Final = {"fp32_mflops": 100_000, "memory_mbps": 10_000, "disk_mbps": 500}
PASSED: Final = [{"code": "cores", "status": "pass", "measured": "8", "needed": "1", "hint": ""}]
_serial = count(1)


@dataclass(frozen=True)
class Person:
    """Somebody of the cast: a user, the organization they act for, their role there (None = no member)."""

    user: User
    organization: Organization
    role: str | None


def an_organization(slug: str = "acme", **fields: Any) -> Organization:
    """The organization with this slug, made when it is not there."""
    return Organization.objects.get_or_create(slug=slug, defaults={"name": slug.title(), **fields})[0]


def a_user(username: str, *, password: str | None = None, **fields: Any) -> User:
    """The user with this name; can only log in with a password when one is given."""
    user = User.objects.get_or_create(username=username, defaults=fields)[0]
    if password is not None:
        user.set_password(password)
        user.save(update_fields=["password"])
    return user


def a_person(
    username: str, organization: Organization, role: str = "owner", *, password: str | None = None
) -> Person:
    """A user who is a member of the organization."""
    user = a_user(username, password=password)
    Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": role})
    return Person(user, organization, role)


def alice(role: str = "owner") -> Person:
    """Asks. Another role makes another person of the same organization (alice-viewer ...)."""
    return a_person("alice" if role == "owner" else f"alice-{role}", an_organization("acme"), role)


def bob(role: str = "owner") -> Person:
    """Provides machines."""
    organization = an_organization("bobs-pools", is_provider=True, is_user=False)
    return a_person("bob" if role == "owner" else f"bob-{role}", organization, role)


def carol(role: str = "owner") -> Person:
    """Publishes capabilities."""
    organization = an_organization("carols-programs", is_publisher=True, is_user=False)
    return a_person("carol" if role == "owner" else f"carol-{role}", organization, role)


def mallory() -> Person:
    """A stranger who is user, provider and publisher of an organization of her own."""
    return a_person("mallory", an_organization("mallorys", is_provider=True, is_publisher=True))


def olga() -> Person:
    """Operates the market; no member of anything but the platform's own organization."""
    a_user("olga", is_staff=True)
    return a_person("olga", an_organization("platform", is_provider=True, is_publisher=True))


def a_key(person: Person, *, scopes: Sequence[str] = ("*",), **fields: Any) -> str:
    """The text of a fresh key of this person."""
    text, prefix, secret_hash = new_key()
    ApiKey.objects.create(
        organization=person.organization,
        user=person.user,
        name=fields.pop("name", "test"),
        prefix=prefix,
        secret_hash=secret_hash,
        scopes=list(scopes),
        **fields,
    )
    return text


def client_of(person: Person | None, *, scopes: Sequence[str] = ("*",)) -> APIClient:
    """An HTTP client that carries a key of this person, or none. Errors are answers, never raised."""
    client = APIClient(raise_request_exception=False, REMOTE_ADDR=_an_address())
    if person is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {a_key(person, scopes=scopes)}")
    return client


def _an_address() -> str:
    """Every client comes from elsewhere, so that brakes on log-ins do not carry over from test to test."""
    return f"10.{randbelow(256)}.{randbelow(256)}.{randbelow(256)}"


def session_of(person: Person, *, csrf: bool = False) -> APIClient:
    """An HTTP client that is logged in by session."""
    client = APIClient(enforce_csrf_checks=csrf, raise_request_exception=False)
    client.force_login(person.user)
    return client


def a_region(code: str = "ningxia") -> Region:
    """One of the provinces, or a region of one's own without a GB code."""
    known = {one.code: one for one in PROVINCES}.get(code)
    fields: dict[str, Any] = {"name": code, "name_zh": code, "latitude": "0", "longitude": "0"}
    if known is not None:
        fields = known._asdict()
    return Region.objects.get_or_create(code=code, defaults=fields)[0]


def a_pool(
    owner: Person | None = None,
    *,
    state: str = "active",
    region: str = "ningxia",
    rates: Mapping[str, str] | None = None,
    basis: str = "consumption",
    agent: bool = True,
    **fields: Any,
) -> Pool:
    """A pool of bob's (or another owner's) with 8 cores; active ones have an agent and an offer valid now."""
    place = a_region(region)
    number = next(_serial)
    pool = Pool.objects.create(
        organization=(owner or bob()).organization,
        region=place,
        identifier=fields.pop("identifier", None) or _an_identifier(place, fields.get("kind", "general")),
        name=fields.pop("name", f"pool {number}"),
        state=state,
        **{**_machine(state), **fields},
    )
    if state != "registered" and agent:
        an_agent(pool)
    if state in {"active", "draining"} or rates is not None:
        an_offer(pool, basis=basis, rates=rates)
    return pool


def _machine(state: str) -> dict[str, Any]:
    if state == "registered":
        return {}
    names = ("instruction_set", "cores", "memory_mib", "disk_mib", "accelerators", "executors")
    measured = {} if state == "enrolled" else {**BENCHMARK, "verified_at": timezone.now()}
    return {name: FACTS[name] for name in names} | measured


def _an_identifier(region: Region, kind: str) -> str:
    while True:
        text = pool_identifier(region_part(region.gb_code, region.pk), kind, 10**6 + next(_serial))
        if text is not None:
            return text


def an_offer(
    pool: Pool,
    *,
    basis: str = "consumption",
    rates: Mapping[str, str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    **fields: Any,
) -> Offer:
    """An offer valid since an hour (or from `start`), by default 0.0001 CNY per core-second."""
    begin = start or timezone.now() - timedelta(hours=1)
    offer = Offer.objects.create(pool=pool, basis=basis, valid=DateTimeTZRange(begin, end), **fields)
    prices = rates or {"core_second": "0.0001"}
    rows = [Rate(offer=offer, meter=meter, unit_price=Decimal(text)) for meter, text in prices.items()]
    Rate.objects.bulk_create(rows)
    return offer


def a_window(pool: Pool, *, in_s: float = 0, for_s: float = 3600) -> MaintenanceWindow:
    """A maintenance window that begins in so many seconds."""
    start = timezone.now() + timedelta(seconds=in_s)
    period = DateTimeTZRange(start, start + timedelta(seconds=for_s))
    return MaintenanceWindow.objects.create(pool=pool, period=period, announced_at=timezone.now())


def a_join_token(pool: Pool, *, minutes: float = 15) -> str:
    """The text of a join token of this pool."""
    text = f"gfj_{hashlib.sha256(str(next(_serial)).encode()).hexdigest()}"
    hashed = hashlib.sha256(text.encode()).hexdigest()
    expires = timezone.now() + timedelta(minutes=minutes)
    JoinToken.objects.create(pool=pool, token_hash=hashed, expires_at=expires)
    return text


def agent_key(name: str) -> Ed25519PrivateKey:
    """A key pair that follows from a name, so that a test can sign for an agent it only knows by its row."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public_key_of(name: str) -> str:
    """The public half of `agent_key(name)`, base64 of 32 bytes."""
    return base64.b64encode(agent_key(name).public_key().public_bytes_raw()).decode()


def an_agent(pool: Pool, *, name: str | None = None, **fields: Any) -> Agent:
    """A live agent of the pool, seen just now; its key is `agent_key(agent.name)`."""
    now = timezone.now()
    name = name or f"agent of {pool.identifier}"
    defaults: dict[str, Any] = {"version": "0.1.0", "facts": FACTS, "public_key": public_key_of(name)}
    defaults |= {"seen_at": now, "lease_until": now + timedelta(seconds=60)}
    return Agent.objects.create(pool=pool, name=name, **{**defaults, **fields})


def signed(
    agent: Agent, method: str, path: str, body: bytes | None, *, at_ms: int | None = None
) -> dict[str, str]:
    """The headers of a signed agent's request; `body` None on the blobs' paths (docs/protocol.md)."""
    at = at_ms if at_ms is not None else time.time_ns() // 1_000_000
    digest = "-" if body is None else hashlib.sha256(body).hexdigest()
    text = f"{method}\n{path}\n{at}\n{digest}"
    signature = base64.b64encode(agent_key(agent.name).sign(text.encode())).decode()
    return {"Authorization": f"Gridfare {agent.pk}:{at}:{signature}"}


def post_as(agent: Agent, path: str, data: Any) -> Any:
    """POST JSON as this agent; the answer is a test client's response."""
    body = json.dumps(data).encode()
    client = APIClient(raise_request_exception=False)
    return client.post(
        path, data=body, content_type="application/json", headers=signed(agent, "POST", path, body)
    )
