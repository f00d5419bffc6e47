"""What the index would be now: recounts between editions, and what moved between two of them. Unofficial, and no observations."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class IndexPreview(models.Model):
    """One recount of the running month, of a definition's platform profile. It stays; the next one empties its `document`.

    base      the edition whose goalposts stand; null: no edition of the platform is published, each leaf's first ones stand
    posts     {leaf: [least, greatest]} by which it was scored
    marks     [[what, text, number, count]] of the rows that it has seen: where they moved on, the next recount is due
    scores    {node: {region: text}} of all that blends indicators, the index itself among them
    document  {values: {variable: {region: text}}, pools: {number: [kind, region, MFLOPS]}}; null of all but the newest
    took_ms   that the count took
    """

    definition = models.ForeignKey("index.IndexDefinition", models.PROTECT, related_name="previews")
    weights = models.ForeignKey("index.WeightSet", models.PROTECT, related_name="+")
    base = models.ForeignKey("index.IndexRun", models.PROTECT, null=True, blank=True, related_name="+")
    period = models.CharField(max_length=7)
    counted_at = models.DateTimeField()
    took_ms = models.PositiveIntegerField()
    posts = models.JSONField()
    marks = models.JSONField()
    scores = models.JSONField()
    document = models.JSONField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["-counted_at"], name="preview_newest")]

    def __str__(self) -> str:
        return f"preview {self.pk} of {self.period}"


class PreviewChange(models.Model):
    """What one indicator moved in one region, from the preview before. With empty `leaf`: the index came to be known, or was lost.

    node       what it moved: the index, or the highest node that is known of the region before and after; empty: it does not count
    before, after   that node's score
    points     the indicator's part of after - before; the parts of a region and node add up to it
    raw_before, raw_after   in the indicator's unit
    variables  [{variable, before, after}] of its formula, in the variable's unit
    causes     {pools: [numbers], charges: {after, until, n, tasks, side}}: what happened since; of charges the range of numbers
    """

    class Cause(models.TextChoices):
        POOLS = "pools"
        CHARGES = "charges"
        RATINGS = "ratings"
        PROBES = "probes"
        STARTS = "starts"
        WORK = "work"
        CLOCK = "clock"
        SHARE = "share"

    preview = models.ForeignKey(IndexPreview, models.CASCADE, related_name="changes")
    region = models.CharField(max_length=6)
    leaf = models.CharField(max_length=40, blank=True)
    node = models.CharField(max_length=40, blank=True)
    before = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    after = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    points = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    raw_before = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    raw_after = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    variables = models.JSONField(default=list)
    cause = models.CharField(max_length=7, choices=Cause.choices, blank=True)
    causes = models.JSONField(default=dict)
    sentence = models.CharField(max_length=500)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["preview", "region", "leaf"], name="preview_change_once"),
            models.CheckConstraint(condition=Q(region__regex=r"^[1-9][0-9]{5}$"), name="preview_change_has_a_region"),
            models.CheckConstraint(
                condition=Q(points__isnull=True) | Q(before__isnull=False, after__isnull=False) & ~Q(node=""),
                name="preview_points_have_a_node",
            ),
        ]

    def __str__(self) -> str:
        return self.sentence
