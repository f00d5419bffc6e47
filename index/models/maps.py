"""Maps of borders that operators brought, each with its approval number."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q


class IndexMap(models.Model):
    """A map of borders as its file came, shown until it is withdrawn. Nothing else of it ever changes.

    approval_number  审图号, as it stands under every drawing of the map
    digest           SHA-256 of `content`
    """

    name = models.CharField(max_length=100)
    approval_number = models.CharField(max_length=40)
    publisher = models.CharField(max_length=200)
    licence = models.CharField(max_length=200)
    url = models.CharField(max_length=500, blank=True)
    content = models.BinaryField()
    digest = models.CharField(max_length=64)
    uploaded_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    uploaded_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(approval_number__regex=r"^[^()[:space:]]{1,12}\((19|20)[0-9]{2}\)[^()[:space:]]{1,10}$"),
                name="map_has_an_approval_number",
            ),
            models.CheckConstraint(condition=~Q(publisher="") & ~Q(licence="") & ~Q(name=""), name="map_says_where_it_is_from"),
            models.CheckConstraint(
                condition=Q(withdrawn_at__isnull=True, reason="") | Q(withdrawn_at__gte=F("uploaded_at")) & ~Q(reason=""),
                name="map_withdrawn_with_a_reason",
            ),
            models.UniqueConstraint(fields=["digest"], condition=Q(withdrawn_at__isnull=True), name="map_shown_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.approval_number}"
