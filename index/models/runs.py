"""Runs: what an index came to, with all that it came from."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from django.db import models
from django.db.models import Q


class IndexRun(models.Model):
    """Immutable: the same definition, weights, profile, period, moments and parameters give the same bytes.

    as_of       values that were published later are not seen
    known_at    batches that were committed later, or rolled back before, are not seen
    parameters  {method: what differs from the definition's, base: the run whose goalposts stand, seed, draws}
    inputs      canonical JSON of what was seen: {variable: {region: [value, observation]}}
    result      canonical JSON (index/running/documents.py); `digest` is its SHA-256
    analysis    canonical JSON of bands, sensitivity and what else is drawn
    synthetic   whether any value came from a generator
    edition     the number under which it was published, with what changed; null: it was not
    """

    definition = models.ForeignKey("index.IndexDefinition", models.PROTECT, related_name="runs")
    weights = models.ForeignKey("index.WeightSet", models.PROTECT, related_name="runs")
    profile = models.CharField(max_length=8)
    period = models.CharField(max_length=7)
    as_of = models.DateField()
    known_at = models.DateTimeField()
    parameters = models.JSONField(default=dict)
    inputs = models.BinaryField()
    input_digest = models.CharField(max_length=64)
    result = models.BinaryField()
    digest = models.CharField(max_length=64)
    analysis = models.BinaryField()
    analysis_digest = models.CharField(max_length=64)
    synthetic = models.BooleanField()
    created_at = models.DateTimeField()
    created_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    edition = models.PositiveIntegerField(null=True, blank=True)
    change_note = models.CharField(max_length=500, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["definition", "profile", "edition"], condition=Q(edition__isnull=False), name="edition_numbered_once"
            ),
            models.CheckConstraint(
                condition=Q(edition__isnull=True, published_at__isnull=True, change_note="")
                | Q(edition__gt=0, published_at__isnull=False) & ~Q(change_note=""),
                name="edition_says_what_changed",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["definition", "profile", "-created_at"], name="index_run_newest"),
            models.Index(fields=["digest"], name="index_run_by_digest"),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of {self.definition_id} for {self.period}"

    def read(self, what: str) -> Any:
        """`inputs`, `result` or `analysis`, parsed."""
        return orjson.loads(bytes(getattr(self, what)))
