"""Files: blobs, where they lie, the artifacts that name them, uploads under way."""

from __future__ import annotations

from django.contrib import admin

from core.admin import Page, Panel, bytes_text, exact, panel, to, when
from core.admin.panels import SHOWN, table
from marketplace.models import Artifact, Blob, BlobPlace, Pin, Pool, Replica, Task, TaskArtifact, Upload


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
    columns = ("name", "organization", "media_type", "size", "blob", "created_by", "created_at", "deleted_at")
    joins = ("blob",)
    list_filter = (("deleted_at", admin.EmptyFieldListFilter), exact("organization__slug"), exact("blob"))
    search_fields = ("=pk", "=blob", "=name")
    huge = True

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
    columns = ("id", "blob", "region", "organization", "state", "size", "pool", "tries", "detail", "asked_at", "expires_at")
    joins = ("region",)
    chain = ("pool",)
    list_filter = ("state", exact("region__code"), exact("organization__slug"), exact("pool__identifier"), exact("blob"))
    search_fields = ("=pk", "=blob")
    huge = True

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


@panel(Artifact)
def readers(artifact: Artifact) -> Panel | None:
    rows = TaskArtifact.objects.filter(artifact=artifact).select_related("task").order_by("-pk")[:SHOWN]
    return table("Tasks that read it", ("task", "as", "for"), ((to(Task, r.task_id), r.path, r.field) for r in rows))


@panel(Blob)
def copies(blob: Blob) -> Panel | None:
    rows = blob.replicas.select_related("region", "organization", "pool").order_by("-pk")[:SHOWN]
    lines = ((to(Replica, r.pk, r.region.code), r.organization, r.state, r.pool, r.detail, when(r.expires_at)) for r in rows)
    return table("Copies wished for", ("region", "by", "state", "kept by", "why", "until"), lines)


@panel(Pool)
def copies_of_pool(pool: Pool) -> Panel | None:
    rows = pool.replicas.filter(state__in=["copying", "held"]).order_by("-pk")[:SHOWN]
    lines = ((to(Replica, r.pk, r.blob_id[:12]), r.state, bytes_text(r.bytes), when(r.changed_at)) for r in rows)
    return table("Copies that it keeps", ("content", "state", "#size", "since"), lines)
