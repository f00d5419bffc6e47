"""What only operators may do to parties and their keys. Every function takes a set; what is so already stays."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone

from core.wake import wake
from marketplace.models import ApiKey, Organization, SpendBlock


def suspend_organizations(ids: Iterable[int]) -> int:
    """Stop parties from writing, and their pools from being matched. What runs is let run. Returns how many."""
    free = Organization.objects.filter(pk__in=list(ids), suspended_at=None)
    return free.update(suspended_at=timezone.now())


def readmit_organizations(ids: Iterable[int]) -> int:
    """Lift suspensions; their pools are matched again. Returns how many."""
    suspended = Organization.objects.filter(pk__in=list(ids), suspended_at__isnull=False)
    lifted = suspended.update(suspended_at=None)
    if lifted:
        wake("scheduler.match")
    return lifted


def revoke_keys(ids: Iterable[int]) -> int:
    """End keys at once, whoever they belong to. Returns how many."""
    return ApiKey.objects.filter(pk__in=list(ids), revoked_at=None).update(revoked_at=timezone.now())


def lift_blocks(ids: Iterable[int]) -> int:
    """Take tasks again of who was blocked by these. Returns how many blocks were lifted."""
    return SpendBlock.objects.filter(pk__in=list(ids), lifted_at=None).update(lifted_at=timezone.now())
