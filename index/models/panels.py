"""Experts and what they judge, until a set of weights is recorded of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Panel(models.Model):
    """Experts who judge one definition's groups of siblings.

        OPEN ──► RECORDED      judgements may change until weights are recorded of them; then all stays

    random_index  the table by which consistency is told (index/ahp/tables.py)
    rule          judgements: the geometric mean of judgements (AIJ); weights: of each expert's weights (AIP)
    """

    class State(models.TextChoices):
        OPEN = "open"
        RECORDED = "recorded"

    class Rule(models.TextChoices):
        JUDGEMENTS = "judgements"
        WEIGHTS = "weights"

    definition = models.ForeignKey("index.IndexDefinition", models.PROTECT, related_name="panels")
    name = models.CharField(max_length=80)
    random_index = models.CharField(max_length=20)
    rule = models.CharField(max_length=10, choices=Rule.choices)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    weights = models.OneToOneField("index.WeightSet", models.PROTECT, null=True, blank=True, related_name="panel")
    created_at = models.DateTimeField()
    created_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["definition", "name"], name="panel_named_once"),
            models.CheckConstraint(
                condition=Q(state="open", weights__isnull=True) | Q(state="recorded", weights__isnull=False),
                name="panel_recorded_has_weights",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Expert(models.Model):
    """One voice of a panel; `voice` is how much it counts beside the others."""

    panel = models.ForeignKey(Panel, models.CASCADE, related_name="experts", db_index=False)
    name = models.CharField(max_length=80)
    voice = models.DecimalField(max_digits=9, decimal_places=4)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["panel", "name"], name="expert_named_once"),
            models.CheckConstraint(condition=Q(voice__gt=0), name="expert_has_a_voice"),
        ]

    def __str__(self) -> str:
        return self.name


class Judgement(models.Model):
    """How much more `one` weighs than `other` below `parent`: 1/9 to 9, as text (`3`, `1/5`), so that a third stays a third."""

    expert = models.ForeignKey(Expert, models.CASCADE, related_name="judgements", db_index=False)
    parent = models.CharField(max_length=40)
    one = models.CharField(max_length=40)
    other = models.CharField(max_length=40)
    value = models.CharField(max_length=12)
    judged_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["expert", "one", "other"], name="judged_once")]

    def __str__(self) -> str:
        return f"{self.one} / {self.other} = {self.value}"
