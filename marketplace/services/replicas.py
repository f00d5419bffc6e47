"""Copies of artifacts in regions: wished for by their organizations, kept by pools whose agents offer room.

`replicate` records wishes, `place_replicas` (a job, woken by them and swept every few seconds) gives each to a pool of its
region, `storekeeping` has what agents hear and tell. Each is a constant number of statements for any number of copies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from core.errors import Invalid, NotFound, TooLarge
from core.wake import wake
from marketplace.models import Agent, Artifact, CachedBlob, Organization, Pin, Pool, Region, Replica, User
from marketplace.replication import MIB, Store, Wish, assign, overflow

MOST_REGIONS: Final = 16
LONGEST_PIN: Final = timedelta(days=366)
AWAY: Final = timedelta(minutes=10)  # an agent that restarts still holds its copies
COPY_TAKES: Final = timedelta(hours=6)  # a copy that has not arrived by then is given up
TRIES: Final = 3
PER_SWEEP: Final = 1_000
JOB: Final = "marketplace.replicate"
NO_STORE: Final = "no pool of the region offers room for it now"


def replicate(artifact: Artifact, user: User | None, regions: Sequence[str]) -> list[Replica]:
    """Ask that a copy be kept in each of these regions; asking again renews the time, and revives what had failed.

    Raises Invalid `invalid_regions`, NotFound `region_unknown`, TooLarge `replica_quota_exceeded`.
    """
    places = _regions(regions)
    with transaction.atomic():
        # one at a time per organization, so that two requests cannot both take the last of the quota
        owner = Organization.objects.select_for_update(no_key=True).get(pk=artifact.organization_id)
        present = {one.region_id: one for one in replicas_of(artifact)}
        new = [one for one in places if one.pk not in present]
        _check_quota(owner, artifact.blob.bytes * len(new))
        expires = timezone.now() + timedelta(days=settings.REPLICA_DAYS)
        again = [present[one.pk].pk for one in places if one.pk in present]
        Replica.objects.filter(pk__in=again).update(expires_at=expires)
        Replica.objects.filter(pk__in=again, state="failed").update(state="wanted", pool=None, tries=0, detail="", changed_at=Now())
        fields = {"blob_id": artifact.blob_id, "bytes": artifact.blob.bytes, "asked_by": user, "expires_at": expires}
        Replica.objects.bulk_create(Replica(organization=owner, region=one, **fields) for one in new)
    wake(JOB)
    return list(replicas_of(artifact))


def _regions(codes: Sequence[str]) -> list[Region]:
    if not 1 <= len(set(codes)) <= MOST_REGIONS:
        raise Invalid("invalid_regions", f"1 to {MOST_REGIONS} regions", field="regions")
    found = {one.code: one for one in Region.objects.filter(code__in=set(codes))}
    for index, code in enumerate(codes):
        if code not in found:
            raise NotFound("region_unknown", f"no such region: {code[:50]}", field=f"regions.{index}")
    return [found[code] for code in sorted(found)]


def _check_quota(owner: Organization, more: int) -> None:
    """Bytes times copies, of everything that an organization has wished, beside what its artifacts take."""
    used, quota = room_of(owner)
    if used + more > quota:
        detail = f"the organization's copies may have {quota} bytes and have {used}"
        raise TooLarge("replica_quota_exceeded", detail, field="regions", quota=quota, used=used)


def room_of(owner: Organization) -> tuple[int, int]:
    """Bytes that an organization's copies take, and may take."""
    counted = Replica.objects.filter(organization=owner).exclude(state="gone")
    return int(counted.aggregate(total=Sum("bytes"))["total"] or 0), owner.quota_bytes or settings.DEFAULT_QUOTA_BYTES


def replicas_of(artifact: Artifact) -> QuerySet[Replica]:
    """The organization's copies of an artifact's bytes, by region."""
    own = Replica.objects.filter(blob_id=artifact.blob_id, organization_id=artifact.organization_id)
    return own.exclude(state="gone").select_related("region").order_by("region__code")


def drop_replica(artifact: Artifact, region: str) -> None:
    """The copy in this region is no longer wished for. NotFound `replica_unknown`."""
    if not _let_go(replicas_of(artifact).filter(region__code=region).values("pk")):
        raise NotFound("replica_unknown", "no copy of this artifact is wished for in that region")


def pin(artifact: Artifact, user: User | None, until: datetime) -> Pin:
    """Keep an artifact's bytes where they are held or cached, until a moment; pinning again moves it.

    Raises Invalid `pin_in_the_past`, `pin_too_long`.
    """
    now = timezone.now()
    if until <= now:
        raise Invalid("pin_in_the_past", "a pin ends in the future", field="until")
    if until > now + LONGEST_PIN:
        raise Invalid("pin_too_long", f"a pin lasts at most {LONGEST_PIN.days} days", field="until")
    fields: dict[str, Any] = {"until": until, "pinned_by": user}
    own: dict[str, Any] = {"organization_id": artifact.organization_id, "blob_id": artifact.blob_id}
    return Pin.objects.update_or_create(defaults=fields, **own)[0]


def unpin(artifact: Artifact) -> None:
    """Let it be evicted again; repeating it is one effect."""
    Pin.objects.filter(organization_id=artifact.organization_id, blob_id=artifact.blob_id).delete()


@transaction.atomic
def place_replicas() -> dict[str, int]:
    """The step and its own sweep: what lost its agent or its room is wanted again, what nobody wishes goes, the rest is placed.

    Returns how many rows took each way. Safe to repeat; one at a time.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [0x72657063])  # any constant: "repc"
        if not cursor.fetchone()[0]:
            return {}
    counts = {"gone": _expire(), "wanted": _orphaned() + _late()}
    stores = _stores()
    counts["wanted"] += _crowded(stores)
    counts["copying"] = _place(stores)
    return counts


def _expire() -> int:
    """Not pinned and past its time, or of an organization that no longer has the artifact."""
    pins = Pin.objects.filter(organization_id=OuterRef("organization_id"), blob_id=OuterRef("blob_id"), until__gt=Now())
    named = Artifact.objects.filter(
        organization_id=OuterRef("organization_id"), blob_id=OuterRef("blob_id"), deleted_at__isnull=True
    )
    over = Q(expires_at__lt=Now()) & ~Exists(pins) | ~Exists(named)
    Pin.objects.filter(Q(until__lt=Now()) | ~Exists(named)).delete()
    present = Replica.objects.exclude(state="gone").filter(over)
    return _let_go(present.order_by("pk").values("pk")[:PER_SWEEP])


def _let_go(chosen: Any) -> int:
    gone = Replica.objects.filter(pk__in=list(chosen.values_list("pk", flat=True))).exclude(state="gone")
    pools = {pool_id for pool_id in gone.values_list("pool_id", flat=True) if pool_id}
    changed = gone.update(state="gone", changed_at=Now())
    forget_unkept(pools)
    return changed


def forget_unkept(pool_ids: Collection[int]) -> None:
    """Pools are known to keep only what a held copy says."""
    held = Replica.objects.filter(pool_id=OuterRef("pool_id"), blob_id=OuterRef("sha256"), state="held")
    CachedBlob.objects.filter(pool_id__in=pool_ids, kept=True).exclude(Exists(held)).delete()


def _back(rows: QuerySet[Replica], detail: str) -> int:
    """Copies that are on their way or held are wanted again."""
    chosen = list(rows.values_list("pk", "pool_id"))
    back = Replica.objects.filter(pk__in=[pk for pk, _ in chosen], state__in=["copying", "held"])
    changed = back.update(state="wanted", pool=None, told_at=None, detail=detail, changed_at=Now())
    forget_unkept({pool_id for _, pool_id in chosen})
    return changed


def _orphaned() -> int:
    """Their pool's agent has not been heard of, or the pool takes no work any more: for copies on their way at once."""
    now = timezone.now()
    agents = Agent.objects.filter(pool_id=OuterRef("pool_id"), retired_at__isnull=True)
    away = Q(~Exists(agents.filter(lease_until__gt=now - AWAY))) | Q(pool__state__in=["suspended", "retired"])
    broken_off = Q(~Exists(agents.filter(lease_until__gt=now)), state="copying")
    return _back(Replica.objects.filter(away | broken_off, state__in=["copying", "held"]), "its pool went away")


def _late() -> int:
    late = Replica.objects.filter(state="copying", changed_at__lt=timezone.now() - COPY_TAKES)
    return give_up(late, dict.fromkeys(late.values_list("blob_id", flat=True), "it did not arrive in time"))


def give_up(copies: QuerySet[Replica], why: Mapping[str, str]) -> int:
    """Copies that did not succeed, with a reason for each content: wanted again, and failed after TRIES. One statement."""
    if not why:
        return 0
    last = Q(tries__gte=TRIES - 1)
    return copies.filter(state="copying", blob_id__in=why).update(
        state=Case(When(last, then=Value("failed")), default=Value("wanted")),
        pool=Case(When(last, then=F("pool_id")), default=None),
        tries=F("tries") + 1,
        detail=Case(*(When(blob_id=sha256, then=Value(text[:200])) for sha256, text in why.items())),
        told_at=None,
        changed_at=Now(),
    )


def offering_room() -> QuerySet[Agent]:
    """Agents whose pools keep copies now."""
    agents = Agent.objects.filter(retired_at__isnull=True, lease_until__gt=Now(), store_mib__gt=0)
    usable = agents.filter(pool__state="active", pool__organization__suspended_at__isnull=True)
    return usable.exclude(pool__quarantined_until__gt=Now())


def _stores() -> dict[int, Store]:
    """Pools that keep copies now, by id, with what they keep."""
    usable = offering_room().select_related("pool").order_by("pool__identifier")
    stores = {one.pool_id: _store_of(one.pool, one.store_mib) for one in usable}
    kept = Replica.objects.filter(pool_id__in=stores, state__in=["copying", "held"]).order_by("pk")
    for pool_id, sha256, size in kept.values_list("pool_id", "blob_id", "bytes"):
        stores[pool_id].kept.setdefault(sha256, size)
    return stores


def _store_of(pool: Pool, mib: int) -> Store:
    lists = frozenset(pool.allow_organizations), frozenset(pool.deny_organizations)
    return Store(pool.pk, pool.identifier, pool.region_id, mib * MIB, *lists)


def _crowded(stores: Mapping[int, Store]) -> int:
    """Stores that offer less than they did give back what no longer fits."""
    over = [(pool_id, sha256) for pool_id, store in stores.items() for sha256 in overflow(store)]
    if not over:
        return 0
    named = Q(pk__in=[])
    for pool_id, sha256 in over:
        named |= Q(pool_id=pool_id, blob_id=sha256)
    return _back(Replica.objects.filter(named, state__in=["copying", "held"]), "its pool offers less room now")


def _place(stores: Mapping[int, Store]) -> int:
    wanted = Replica.objects.filter(state="wanted").order_by("pk").select_for_update(skip_locked=True, of=("self",))
    rows = list(wanted.select_related("organization")[:PER_SWEEP])
    wishes = [Wish(one.pk, one.blob_id, one.bytes, one.region_id, one.organization.slug) for one in rows]
    given = assign(wishes, list(stores.values()))
    _copy(given)
    lacking = [one.pk for one in rows if one.pk not in given and one.detail != NO_STORE]
    Replica.objects.filter(pk__in=lacking, state="wanted").update(detail=NO_STORE)
    notify(set(given.values()))
    return len(given)


_COPY: Final = """
UPDATE marketplace_replica r SET state = 'copying', pool_id = g.pool, told_at = NULL, detail = '', changed_at = now()
FROM unnest(%s::bigint[], %s::bigint[]) AS g(id, pool) WHERE r.id = g.id AND r.state = 'wanted'
"""


def _copy(given: Mapping[int, int]) -> None:
    if given:
        with connection.cursor() as cursor:
            cursor.execute(_COPY, [list(given), list(given.values())])


def notify(pool_ids: Iterable[int]) -> None:
    """Wake the long polls of these pools' agents when this transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('gridfare_pool', pool::text) FROM unnest(%s::bigint[]) AS pool", [sorted(pool_ids)])
