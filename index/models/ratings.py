"""What users thought of delivered tasks."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class TaskRating(models.Model):
    """One to five stars of a delivered task, by the organization that asked for it. The last word stands."""

    task = models.OneToOneField("marketplace.Task", models.CASCADE, primary_key=True, related_name="+")
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    stars = models.PositiveSmallIntegerField()
    comment = models.CharField(max_length=500, blank=True)
    rated_by = models.ForeignKey("marketplace.User", models.SET_NULL, null=True, related_name="+", db_index=False)
    rated_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(stars__range=(1, 5)), name="rating_has_one_to_five_stars")]

    def __str__(self) -> str:
        return f"{self.stars} of 5 for task {self.task_id}"
