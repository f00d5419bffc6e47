"""Definitions as rows: what was published never changes."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class IndexDefinition(models.Model):
    """A version of an index' tree. `document` is its canonical JSON, `digest` that one's SHA-256.

    DRAFT ──► PUBLISHED      a draft may change and go; what is published stays as it is
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        PUBLISHED = "published"

    code = models.CharField(max_length=40)
    version = models.PositiveIntegerField()
    name_zh = models.CharField(max_length=100)
    name_en = models.CharField(max_length=100)
    document = models.TextField(help_text="canonical JSON")
    digest = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=State.choices, default=State.DRAFT)
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["code", "version"], name="index_version_once"),
            models.CheckConstraint(
                condition=Q(state="draft", published_at__isnull=True) | Q(state="published", published_at__isnull=False),
                name="index_definition_published_once",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def title(self) -> str:
        return f"{self.code}@{self.version}"
