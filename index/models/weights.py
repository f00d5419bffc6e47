"""Weights of a definition's nodes, recorded once."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class WeightSet(models.Model):
    """What each node weighs among its siblings. Never changed.

    kind      placeholder (equal), panel (judged), imported
    weights   {node: decimal text}; siblings need not sum to 1
    evidence  of a panel: its judgements, ratios, table, rule, and `experts` with their own weights, from which bands are drawn;
              of an import: its source
    digest    SHA-256 of the canonical JSON of {definition, weights}
    """

    class Kind(models.TextChoices):
        PLACEHOLDER = "placeholder"
        PANEL = "panel"
        IMPORTED = "imported"

    definition = models.ForeignKey("index.IndexDefinition", models.PROTECT, related_name="weight_sets")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=11, choices=Kind.choices)
    weights = models.JSONField()
    evidence = models.JSONField(default=dict)
    digest = models.CharField(max_length=64)
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["definition", "name"], name="weight_set_named_once"),
            models.UniqueConstraint(fields=["definition"], condition=Q(kind="placeholder"), name="one_placeholder"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"
