"""Where artifacts' bytes are: stores of regions, caches of pools, copies and pins. A read that API and pages share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count
from django.db.models.functions import Now

from marketplace.models import Artifact, BlobPlace, CachedBlob, Pin, Replica


@dataclass(frozen=True)
class Whereabouts:
    """Where an artifact's bytes are: whose stores, how many caches by region, its organization's copies and pin."""

    stores: list[str]
    caches: dict[str, int]
    replicas: list[Replica]
    pinned_until: datetime | None


def whereabouts(artifacts: Sequence[Artifact]) -> list[Whereabouts]:
    """Of each, in their order; four statements for any number. Whose caches they are stays with their providers."""
    blobs, owners = {one.blob_id for one in artifacts}, {one.organization_id for one in artifacts}
    own: dict[str, Any] = {"blob_id__in": blobs, "organization_id__in": owners}
    stores = _grouped(BlobPlace.objects.filter(blob_id__in=blobs).order_by("region__code").values_list("blob_id", "region__code"))
    cached = CachedBlob.objects.filter(sha256__in=blobs, kept=False).order_by("pool__region__code")
    counts = cached.values_list("sha256", "pool__region__code").annotate(Count("pk"))
    caches = _grouped((sha256, (region, pools)) for sha256, region, pools in counts)
    copies = Replica.objects.filter(**own).exclude(state="gone").select_related("region").order_by("region__code")
    replicas = _grouped(((one.organization_id, one.blob_id), one) for one in copies)
    pins = Pin.objects.filter(**own, until__gt=Now()).values_list("organization_id", "blob_id", "until")
    pinned = {(owner, blob): until for owner, blob, until in pins}
    return [
        Whereabouts(stores[one.blob_id], dict(caches[one.blob_id]), replicas[mine], pinned.get(mine))
        for one in artifacts
        for mine in [(one.organization_id, one.blob_id)]
    ]


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> defaultdict[Any, list[Any]]:
    groups: defaultdict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups
