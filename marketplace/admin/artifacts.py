"""Files: blobs, where they lie, the artifacts that name them, uploads under way."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, bytes_text, exact, panel, to, when
from core.admin.panels import SHOWN, table
from marketplace.models import Artifact, Blob, BlobPlace, CachedBlob, Pin, Pool, Replica, Task, TaskArtifact, Upload
from marketplace.whereabouts import Whereabouts, whereabouts


@admin.register(Blob)
class BlobPage(Page):
    columns = ("sha256", "bytes", "created_at")
    search_fields = ("=sha256",)
    huge = True


@admin.register(BlobPlace)
class BlobPlacePage(Page):
    columns = ("id", "blob", "region", "created_at")
    list_filter = (exact("blob"), exact("region__code"))
    search_fields = ("=blob",)
    huge = True


@admin.register(Artifact)
class ArtifactPage(Page):
    columns = ("name", "organization", "size", "where", "pinned", "created_at", "deleted_at")
    joins = ("blob",)
    cards = (
        ("Artifact", ("name", "organization", "created_by", "created_at", "deleted_at")),
        ("Content", ("size", "media_type", "blob", "pinned")),
    )
    list_filter = (("deleted_at", admin.EmptyFieldListFilter), exact("organization__slug"), exact("blob"))
    search_fields = ("=pk", "=blob", "=name")
    huge = True

    def name_of(self, obj: Any) -> str:
        return str(obj.name)

    def prepare(self, rows: list[Any]) -> None:
        for row, where in zip(rows, whereabouts(rows), strict=True):
            row.is_at = where

    @admin.display(description="where")
    def where(self, obj: Any) -> SafeString:
        """Regions whose stores hold it, how many caches, and its organization's copies by their states."""
        at: Whereabouts = obj.is_at
        words = [*at.stores, *([f"{sum(at.caches.values())} in caches"] if at.caches else [])]
        copies = format_html_join(" ", "{} {}", ((one.region.code, badge(one.state)) for one in at.replicas))
        return format_html("{} {}", ", ".join(words), copies)

    @admin.display(description="pinned until")
    def pinned(self, obj: Any) -> Any:
        if not hasattr(obj, "is_at"):
            self.prepare([obj])
        return when(obj.is_at.pinned_until)

    @admin.display(description="size")
    def size(self, obj: Artifact) -> str:
        return bytes_text(obj.blob.bytes)


@admin.register(Upload)
class UploadPage(Page):
    columns = ("id", "organization", "name", "received", "bytes", "artifact", "created_at", "expires_at")
    joins = ("artifact",)
    list_filter = (("artifact", admin.EmptyFieldListFilter), exact("organization__slug"))
    search_fields = ("=pk", "=sha256", "name")


@admin.register(Replica)
class ReplicaPage(Page):
    columns = ("id", "blob", "region", "organization", "state", "size", "pool", "detail", "expires_at")
    joins = ("region",)
    cards = (
        ("Copy", ("state", "detail", "region", "organization", "pool", "blob", "size")),
        ("When", ("asked_at", "asked_by", "told_at", "changed_at", "tries", "expires_at")),
    )
    chain = ("pool",)
    list_filter = ("state", exact("region__code"), exact("organization__slug"), exact("pool__identifier"), exact("blob"))
    search_fields = ("=pk", "=blob")
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"copy in {obj.region.code}"

    @admin.display(description="size")
    def size(self, obj: Replica) -> str:
        return bytes_text(obj.bytes)


@admin.register(Pin)
class PinPage(Page):
    columns = ("id", "blob", "organization", "until", "pinned_by", "created_at")
    list_filter = (exact("organization__slug"), exact("blob"))
    search_fields = ("=pk", "=blob")


@panel(Blob)
def places(blob: Blob) -> Panel | None:
    rows = blob.places.select_related("region").order_by("region__code")
    return table("Kept in", ("region", "since"), ((place.region, when(place.created_at)) for place in rows))


@panel(Blob)
def names(blob: Blob) -> Panel | None:
    rows = blob.artifact_set.select_related("organization").order_by("-pk")[:SHOWN]
    lines = ((to(Artifact, a.pk, a.name), a.organization, bytes_text(blob.bytes), when(a.created_at)) for a in rows)
    return table("Artifacts that name it", ("artifact", "organization", "#size", "since"), lines)


@panel(Blob)
def cached(blob: Blob) -> Panel | None:
    rows = CachedBlob.objects.filter(sha256=blob.pk).select_related("pool__region").order_by("pool__identifier")[:SHOWN]
    lines = ((to(Pool, c.pool_id, c.pool), c.pool.region.code, "a copy" if c.kept else "cached", when(c.seen_at)) for c in rows)
    return table("What agents say that they hold", ("pool", "region", "as", "told"), lines)


@panel(Blob)
def pins(blob: Blob) -> Panel | None:
    rows = blob.pins.select_related("organization", "pinned_by").order_by("-until")[:SHOWN]
    lines = ((to(Pin, p.pk, p.organization), p.pinned_by or "", when(p.until)) for p in rows)
    return table("Pins", ("of", "by", "until"), lines)


@panel(Artifact)
def places_of_artifact(artifact: Artifact) -> Panel | None:
    """Stores, caches and copies, with the pools that have them: operators may know."""
    stores = artifact.blob.places.select_related("region").order_by("region__code")[:SHOWN]
    caches = CachedBlob.objects.filter(sha256=artifact.blob_id, kept=False).select_related("pool__region").order_by("pool__identifier")
    copies = artifact.blob.replicas.filter(organization=artifact.organization_id).exclude(state="gone").select_related("region", "pool")
    lines = [
        *((one.region.code, "the market's store", "", "", when(one.created_at), "") for one in stores),
        *((c.pool.region.code, "a cache", to(Pool, c.pool_id, c.pool), "", when(c.seen_at), "") for c in caches[:SHOWN]),
        *(
            (r.region.code, to(Replica, r.pk, "a copy"), to(Pool, r.pool_id, r.pool), badge(r.state), when(r.asked_at), when(r.expires_at))
            for r in copies.order_by("region__code")[:SHOWN]
        ),
    ]  # fmt: skip
    return table("Where its bytes are", ("region", "in", "pool", "state", "since", "until"), lines)


@panel(Artifact)
def readers(artifact: Artifact) -> Panel | None:
    rows = TaskArtifact.objects.filter(artifact=artifact).select_related("task").order_by("-pk")[:SHOWN]
    return table("Tasks that read it", ("task", "as", "for"), ((to(Task, r.task_id), r.path, r.field) for r in rows))


@panel(Blob)
def copies(blob: Blob) -> Panel | None:
    rows = blob.replicas.select_related("region", "organization", "pool").order_by("-pk")[:SHOWN]
    lines = ((to(Replica, r.pk, r.region.code), r.organization, badge(r.state), to(Pool, r.pool_id, r.pool), r.detail, when(r.expires_at)) for r in rows)
    return table("Copies wished for", ("region", "by", "state", "kept by", "why", "until"), lines)


@panel(Pool)
def copies_of_pool(pool: Pool) -> Panel | None:
    rows = pool.replicas.filter(state__in=["copying", "held"]).order_by("-pk")[:SHOWN]
    lines = ((to(Replica, r.pk, r.blob_id[:12]), badge(r.state), bytes_text(r.bytes), when(r.changed_at)) for r in rows)
    return table("Copies that it keeps", ("content", "state", "#size", "since"), lines)
