"""Files: content-addressed blobs, the organizations' artifacts that name them, uploads under way.

A blob is bytes and nothing else, kept once however many name it. Only an artifact, or a task's result,
gives an organization the right to read one.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.ids import uuid7


class Blob(models.Model):
    """Bytes in the store, named by their SHA-256."""

    sha256 = models.CharField(primary_key=True, max_length=64)
    bytes = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="blob_named_by_sha256")
        ]


class BlobPlace(models.Model):
    """A region's store that holds a blob. Near-data scheduling reads this."""

    blob = models.ForeignKey(Blob, models.CASCADE, related_name="places")
    region = models.ForeignKey("Region", models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["blob", "region"], name="blob_place_once")]


class Artifact(models.Model):
    """An organization's file. `name` is a relative path, safe below any folder."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("Organization", models.CASCADE, related_name="artifacts")
    blob = models.ForeignKey(Blob, models.PROTECT)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100, default="application/octet-stream")
    created_by = models.ForeignKey("User", models.SET_NULL, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Upload(models.Model):
    """Bytes on their way in, resumable at `received`. Becomes an artifact when complete and the hash agrees."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("Organization", models.CASCADE)
    sha256 = models.CharField(max_length=64)
    bytes = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100, default="application/octet-stream")
    artifact = models.ForeignKey(Artifact, models.SET_NULL, null=True, blank=True)
    created_by = models.ForeignKey("User", models.SET_NULL, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(received__gte=0) & Q(received__lte=models.F("bytes")), name="upload_within_size"
            )
        ]
