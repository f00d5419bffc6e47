"""Rows that only took room: join tokens nobody used, sessions that ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.contrib.sessions.models import Session
from django.utils import timezone

from marketplace.models import JoinToken

KEEP_UNUSED_TOKENS: Final = timedelta(days=1)


def forget_expired() -> dict[str, int]:
    """Delete what has expired; how many rows of each. Used join tokens stay: they say who let an agent in."""
    now = timezone.now()
    tokens = JoinToken.objects.filter(used_at__isnull=True, expires_at__lt=now - KEEP_UNUSED_TOKENS)
    sessions = Session.objects.filter(expire_date__lt=now)
    return {"join_tokens": tokens.delete()[0], "sessions": sessions.delete()[0]}
