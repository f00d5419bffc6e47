"""Files: blobs, where they lie, the artifacts that name them, uploads under way."""

from __future__ import annotations

from django.contrib import admin

from core.admin import Page, Panel, bytes_text, exact, panel, to, when
from core.admin.panels import SHOWN, table
from marketplace.models import Artifact, Blob, BlobPlace, Task, TaskArtifact, Upload


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
