"""Parties and access: organizations, the people in them, and the keys of their programs."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

SLUG = RegexValidator(r"^[a-z][a-z0-9-]{1,62}$", "lower-case letters, digits and hyphens, beginning with a letter")


class User(AbstractUser):
    """A person. `is_staff` makes an operator (平台方); everything else comes from memberships."""


class Organization(models.Model):
    """A party of the market: resource provider, capability provider, user, or several at once (三方服务模式)."""

    slug = models.CharField(max_length=63, unique=True, validators=[SLUG])
    name = models.CharField(max_length=200)
    is_provider = models.BooleanField(default=False)
    is_publisher = models.BooleanField(default=False)
    is_user = models.BooleanField(default=True)
    region = models.ForeignKey("Region", models.PROTECT, null=True, blank=True, help_text="where its users are")
    quota_bytes = models.BigIntegerField(default=0, help_text="artifact bytes; 0 = the market's default")
    zone = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="IANA; whose days and months its money has. Empty: the market's",
    )
    ascii_name = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="what exports call it where only ASCII may stand. Empty: its name without accents, or else its short name",
    )
    billing_address = models.CharField(
        max_length=300, blank=True, default="", db_default="", help_text="stands on its invoices from the next one on"
    )
    tax_number = models.CharField(
        max_length=50, blank=True, default="", db_default="", help_text="stands on its invoices from the next one on"
    )
    industry = models.CharField(
        max_length=1, blank=True, default="", db_default="", help_text="its section (A to T) of GB/T 4754-2017; empty: not said"
    )
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    members: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="Membership", related_name="organizations"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(ascii_name__regex=r"^[\x20-\x7e]*$"), name="organization_ascii_name_is_ascii"),
            models.CheckConstraint(condition=Q(industry__regex=r"^[A-T]?$"), name="organization_industry_is_a_section"),
        ]

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """What a person may do in an organization.

    owner    everything, members and keys too
    member   submit tasks, run pools, publish capabilities
    billing  read everything about money
    viewer   read
    """

    class Role(models.TextChoices):
        OWNER = "owner"
        MEMBER = "member"
        BILLING = "billing"
        VIEWER = "viewer"

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(role__in=["owner", "member", "billing", "viewer"]), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} as {self.role}"


class ApiKey(models.Model):
    """A program's way in. Only a hash is kept; the key is shown once, at creation.

    The text is `gf_<prefix>_<secret>`; scopes narrow what its organization's member could do.
    """

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="keys")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64, help_text="SHA-256 of the secret (256 random bits)")
    scopes = ArrayField(models.CharField(max_length=32))
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.prefix} ({self.name})"
