"""What publishers bring: runnable capabilities, in versions that never change once published."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q

from marketplace.models.accounts import SLUG


class Capability(models.Model):
    """A name under which a publisher offers versions of one program."""

    organization = models.ForeignKey("Organization", models.PROTECT, related_name="capabilities")
    name = models.CharField(max_length=63, validators=[SLUG])
    summary = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "capabilities"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="capability_name_once_per_publisher")
        ]

    def __str__(self) -> str:
        return f"{self.organization.slug}/{self.name}"


class CapabilityVersion(models.Model):
    """One immutable version.

        DRAFT ──► TESTING ──► PUBLISHED ──► DEPRECATED ──► WITHDRAWN
          ▲          │            └────────────────────────────▲
          └──────────┘ a test failed

    TESTING runs the manifest's test cases as tasks; all delivered and as expected makes it PUBLISHED.
    DEPRECATED takes no new tasks; WITHDRAWN cancels the waiting ones too.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        TESTING = "testing"
        PUBLISHED = "published"
        DEPRECATED = "deprecated"
        WITHDRAWN = "withdrawn"

    MOVES: Final = {
        "draft": {"testing", "withdrawn"},
        "testing": {"draft", "published", "withdrawn"},
        "published": {"deprecated", "withdrawn"},
        "deprecated": {"withdrawn"},
        "withdrawn": set(),
    }

    capability = models.ForeignKey(Capability, models.PROTECT, related_name="versions")
    version = models.CharField(max_length=40)
    manifest = models.JSONField(help_text="docs/manifest.md, checked against manifest.schema.json")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the canonical manifest and the program's digest")
    program = models.ForeignKey("Blob", models.PROTECT, null=True, blank=True, help_text=".tar.gz of the folder")
    requirements = models.TextField(blank=True, help_text="pinned requirements, as in the program's folder")
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    trusted = models.BooleanField(default=False, help_text="an operator's word: may run without a sandbox")
    test_report = models.JSONField(default=list, blank=True, help_text="[{name, state, task, detail}]")
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True, blank=True)
    unstable_since = models.DateTimeField(
        null=True, blank=True, help_text="three of its tasks ended because no results agreed; only a new version is free of it"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["capability", "version"], name="version_once_per_capability"),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "testing"]) | Q(state="withdrawn") | Q(published_at__isnull=False),
                name="version_published_has_date",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.capability}@{self.version}"
