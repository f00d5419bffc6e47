"""Pools and their agents: registering, joining, the self-test, and the pool's states.

    register_pool ─► create_join_token ─► enrol_agent ─► record_selftest ─► move_pool("activate") ...

Every change of state is a guarded UPDATE along Pool.MOVES; who comes second is told the state that is.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from core.errors import Conflict, Invalid, NotAllowed, NotFound
from core.moves import move, sources_of
from core.wake import wake
from marketplace.agent_auth import public_key as parse_public_key
from marketplace.identifiers import pool_identifier, region_part
from marketplace.models import Agent, JoinToken, Offer, Organization, Pool, Region, User
from marketplace.shapes import BENCHMARK, ENROLMENT, FACTS, RESULTS, checked

State = Pool.State
PREVIEW_SECONDS: Final = 10  # so long a recount of the index waits for more pools
_MACHINE: Final = ("instruction_set", "cores", "memory_mib", "disk_mib", "accelerators", "executors")


@dataclass(frozen=True)
class Verb:
    """A door to a state: where it leads, the states it may leave, and who may ask."""

    to: str
    sources: tuple[str, ...]
    operators_only: bool = False


VERBS: Final = {
    "activate": Verb(State.ACTIVE, (State.VERIFIED,), operators_only=True),
    "resume": Verb(State.ACTIVE, (State.DRAINING,)),
    "drain": Verb(State.DRAINING, (State.ACTIVE,)),
    "retire": Verb(State.RETIRED, tuple(sources_of(Pool.MOVES, State.RETIRED))),
    "suspend": Verb(State.SUSPENDED, tuple(sources_of(Pool.MOVES, State.SUSPENDED)), operators_only=True),
    "reinstate": Verb(State.VERIFIED, (State.SUSPENDED,), operators_only=True),
}


def register_pool(organization: Organization, *, region: str, fields: Mapping[str, Any]) -> Pool:
    """A new pool of a provider, with its identifier (算力标识). It waits for an agent.

    Raises NotAllowed `not_a_provider`, NotFound `region_unknown`, Conflict `pool_name_taken`.
    """
    if not organization.is_provider:
        raise NotAllowed("not_a_provider", "the organization is not admitted as a provider")
    place = Region.objects.filter(code=region).first()
    if place is None:
        raise NotFound("region_unknown", "no such region", field="region")
    number, identifier = _next_identifier(place, fields.get("kind", Pool.Kind.GENERAL))
    with _unique_name(), transaction.atomic():
        return Pool.objects.create(
            pk=number, identifier=identifier, organization=organization, region=place, **fields
        )


def _next_identifier(region: Region, kind: str) -> tuple[int, str]:
    """The row's own number is the serial: a sequence never gives one twice, whatever is rolled back."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [Pool._meta.db_table])
            number = cursor.fetchone()[0]
        identifier = pool_identifier(region_part(region.gb_code, region.pk), kind, number)
        if identifier is not None:
            return number, identifier


class _unique_name:  # noqa: N801  reads as a statement
    """Turns the database's word on a pool's name into a domain error."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, IntegrityError) and "pool_name_once_per_owner" in str(error):
            raise Conflict("pool_name_taken", "you have a pool of this name", field="name") from None


def update_pool(pool: Pool, changes: Mapping[str, Any]) -> Pool:
    """Change what the owner declares: name, tier, bandwidth, {type, value} of a benchmark (None: none), who may use it.

    Raises Conflict `pool_name_taken`, Invalid `organization_unknown`.
    """
    names = ("allow_organizations", "deny_organizations")
    _refuse_unknown_organizations({name: changes[name] for name in names if name in changes})
    with _unique_name(), transaction.atomic():
        if changes:
            Pool.objects.filter(pk=pool.pk).update(**_columns(changes))
    wake("scheduler.match")
    return _fresh(pool.pk)


def _columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A benchmark is two columns, which PostgreSQL keeps together."""
    columns = dict(changes)
    if "benchmark" in columns:
        told = columns["benchmark"] or {"type": "", "value": None}
        columns |= {"benchmark": told["type"], "benchmark_per_core": told["value"]}
    return columns


def _refuse_unknown_organizations(lists: Mapping[str, Sequence[str]]) -> None:
    named = {slug for slugs in lists.values() for slug in slugs}
    known = set(Organization.objects.filter(slug__in=named).values_list("slug", flat=True))
    for field, slugs in lists.items():
        if wrong := sorted(set(slugs) - known):
            raise Invalid("organization_unknown", f"no such organization: {wrong[0]}", field=field)


def create_join_token(pool: Pool, user: User) -> tuple[str, datetime]:
    """(text shown once, end of its 15 minutes). Raises Conflict `pool_state` where nobody may join."""
    if pool.state not in sources_of(Pool.MOVES, State.ENROLLED):
        raise _state_conflict(pool, "be joined")
    text = f"gfj_{secrets.token_urlsafe(32)}"
    expires_at = timezone.now() + timedelta(minutes=settings.JOIN_TOKEN_MINUTES)
    JoinToken.objects.create(pool=pool, token_hash=_hash(text), created_by=user, expires_at=expires_at)
    return text, expires_at


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def enrol_agent(*, token: str, public_key: str, name: str, version: str, facts: Any) -> Agent:
    """Make the holder of a join token the pool's agent; the one before retires, the same key keeps its id.

    `public_key` base64 of 32 raw bytes, `facts` as in docs/protocol.md. The pool becomes `enrolled`.
    Raises NotAllowed `token_unknown | token_used | token_expired`, Conflict `pool_state`,
    Invalid `enrolment_invalid | public_key_invalid | facts_invalid`.
    """
    given = {"token": token, "public_key": public_key, "name": name, "version": version}
    checked(given, ENROLMENT, code="enrolment_invalid")
    key = _canonical_key(public_key)
    known = checked(facts, FACTS, code="facts_invalid", field="facts")
    now = timezone.now()
    with transaction.atomic():
        used = _use_token(token, now)
        machine = {"accelerators": []} | {name: known[name] for name in _MACHINE if name in known}
        if not move(Pool.objects.all(), [used.pool_id], Pool.MOVES, State.ENROLLED, **machine):
            raise _state_conflict(used.pool, "be joined")
        agent = _replace_agent(used.pool_id, key, now, name=name, version=version, facts=known)
        JoinToken.objects.filter(pk=used.pk).update(agent=agent)
    wake("scheduler.sweep")
    return agent


def _canonical_key(text: str) -> str:
    try:
        return base64.b64encode(parse_public_key(text).public_bytes_raw()).decode()
    except ValueError:
        detail = "the public key is not base64 of 32 bytes"
        raise Invalid("public_key_invalid", detail, field="public_key") from None


def _use_token(text: str, now: datetime) -> JoinToken:
    """Take the token: of two who come at once, one finds it used."""
    tokens = JoinToken.objects.filter(token_hash=_hash(text))
    taken = tokens.filter(used_at__isnull=True, expires_at__gt=now).update(used_at=now)
    token = tokens.select_related("pool").first()
    if token is None:
        raise NotAllowed("token_unknown", "no such join token", field="token")
    if not taken and token.used_at is not None:
        raise NotAllowed("token_used", "this join token was used already; make a new one", field="token")
    if not taken:
        raise NotAllowed("token_expired", "this join token has expired; make a new one", field="token")
    return token


def _replace_agent(pool_id: int, public_key: str, now: datetime, **fields: Any) -> Agent:
    """The pool's row is locked by its move, so agents of one pool are replaced one after the other."""
    agents = Agent.objects.filter(pool_id=pool_id)
    agents.filter(retired_at__isnull=True).exclude(public_key=public_key).update(retired_at=now)
    same = agents.filter(public_key=public_key)
    if not same.update(retired_at=None, **fields):
        Agent.objects.create(pool_id=pool_id, public_key=public_key, **fields)
    return Agent.objects.select_related("pool").get(pool_id=pool_id, public_key=public_key)


def record_selftest(agent: Agent, *, results: Any, benchmark: Any) -> Pool:
    """Keep what the agent measured. With any `fail` the pool is `enrolled`, otherwise `verified`.

    An active or draining pool that passes again stays what it is. Raises Invalid `selftest_invalid`.
    """
    report = checked(results, RESULTS, code="selftest_invalid", field="results")
    measured = checked(benchmark, BENCHMARK, code="selftest_invalid", field="benchmark")
    failed = any(item["status"] == "fail" for item in report)
    measured |= {} if failed else {"selftest_at": timezone.now()}
    with transaction.atomic():
        Pool.objects.filter(pk=agent.pool_id).exclude(state=State.RETIRED).update(selftest=report, **measured)
        if failed:
            move(Pool.objects.all(), [agent.pool_id], Pool.MOVES, State.ENROLLED)
        else:
            _verify(agent.pool_id)
            activate_by_policy(agent.pool_id)
        wake("scheduler.review_levels")
        wake("index.preview", delay_s=PREVIEW_SECONDS)
    return _fresh(agent.pool_id)


def _verify(pool_id: int) -> None:
    """Not out of SUSPENDED, which Pool.MOVES allows: only an operator lifts that."""
    joined = Pool.objects.exclude(state=State.SUSPENDED)
    move(joined, [pool_id], Pool.MOVES, State.VERIFIED, verified_at=timezone.now())


def activate_by_policy(pool_id: int) -> None:
    """Where the market's policy says so, a verified pool with an offer valid now becomes active by itself."""
    if settings.AUTO_ACTIVATE_POOLS and move(
        priced_now().filter(state=State.VERIFIED), [pool_id], Pool.MOVES, State.ACTIVE
    ):
        wake("scheduler.match")


def priced_now() -> QuerySet[Pool]:
    """Pools with an offer valid at this moment."""
    offers = Offer.objects.filter(pool=OuterRef("pk"), origin=None, customer=None, valid__contains=timezone.now())
    return Pool.objects.filter(Exists(offers))


def move_pool(pool: Pool, verb: str) -> Pool:
    """Take one of VERBS. A pool that is there already stays, so that a repeated request is one effect.

    Raises Conflict `pool_state | offer_missing | pool_not_verified`.
    """
    step = VERBS[verb]
    with transaction.atomic():
        moved = move(_movable(verb).filter(state__in=step.sources), [pool.pk], Pool.MOVES, step.to)
        present = _fresh(pool.pk)
        if not moved and present.state != step.to:
            raise _refusal(present, verb)
        if step.to == State.RETIRED:
            _let_agents_go(pool.pk)
    wake("scheduler.match" if step.to == State.ACTIVE else "scheduler.sweep")
    wake("scheduler.review_levels")
    wake("index.preview", delay_s=PREVIEW_SECONDS)
    return present


def _movable(verb: str) -> QuerySet[Pool]:
    if VERBS[verb].to == State.ACTIVE:
        return priced_now()
    if verb == "reinstate":
        return Pool.objects.filter(verified_at__isnull=False)
    return Pool.objects.all()


def _refusal(pool: Pool, verb: str) -> Conflict:
    if pool.state not in VERBS[verb].sources:
        return _state_conflict(pool, verb)
    if verb == "reinstate":
        detail = "the pool never passed its self-test; retire it and register another"
        return Conflict("pool_not_verified", detail, state=pool.state)
    return Conflict("offer_missing", "the pool needs an offer that is valid now", state=pool.state)


def _let_agents_go(pool_id: int) -> None:
    now = timezone.now()
    Agent.objects.filter(pool_id=pool_id, retired_at__isnull=True).update(retired_at=now)
    JoinToken.objects.filter(pool_id=pool_id, used_at__isnull=True, expires_at__gt=now).update(expires_at=now)


def _state_conflict(pool: Pool, verb: str) -> Conflict:
    return Conflict("pool_state", f"a pool that is {pool.state} cannot {verb}", state=pool.state)


def _fresh(pool_id: int) -> Pool:
    return Pool.objects.select_related("organization", "region").get(pk=pool_id)
