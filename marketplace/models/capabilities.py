"""What publishers bring: runnable capabilities, in versions that never change once published."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q

from marketplace.models.accounts import SLUG


class Application(models.TextChoices):
    """What counts as a new application, list 1: large models and the metaverse by the report of 2023, and what is like them.

    An operator says of which kind a capability is, or of none. By another list the number of those in use would be another one, so
    a kind that is added is told in the changelog.
    """

    LARGE_MODEL = "large_model", "大模型 large models"
    GENERATION = "generation", "内容生成 generation of pictures, film and sound"
    METAVERSE = "metaverse", "元宇宙 metaverse, virtual and augmented reality"
    DIGITAL_TWIN = "digital_twin", "数字孪生 digital twins"
    AUTONOMOUS_DRIVING = "autonomous_driving", "自动驾驶 autonomous driving"
    BLOCKCHAIN = "blockchain", "区块链 blockchain"


class Capability(models.Model):
    """A name under which a publisher offers versions of one program. `application`: of which new kind it is, an operator says."""

    organization = models.ForeignKey("Organization", models.PROTECT, related_name="capabilities")
    name = models.CharField(max_length=63, validators=[SLUG])
    summary = models.CharField(max_length=300, blank=True)
    application = models.CharField(
        max_length=20, blank=True, choices=Application.choices, help_text="of which new kind; empty: of none"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "capabilities"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="capability_name_once_per_publisher"),
            models.CheckConstraint(condition=Q(application__in=["", *Application.values]), name="capability_application_is_known"),
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
