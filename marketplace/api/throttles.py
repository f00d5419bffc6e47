"""Brakes on guessing passwords. Counted in the cache; without Redis people can still log in."""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

log = logging.getLogger(__name__)


class _Login(SimpleRateThrottle):
    def get_ident(self, request: Request) -> str:
        """The peer's address as the server gave it; X-Forwarded-For is anybody's word."""
        return str(request.META.get("REMOTE_ADDR", ""))

    def allow_request(self, request: Request, view: Any) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError:
            log.warning("redis is away; log-ins are not counted")
            return True


class LoginByAddress(_Login):
    scope = "login-address"
    rate = "60/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


class LoginByName(_Login):
    scope = "login-name"
    rate = "10/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        data = request.data if isinstance(request.data, dict) else {}
        ident = f"{self.get_ident(request)}:{str(data.get('username', ''))[:150].encode().hex()}"
        return self.cache_format % {"scope": self.scope, "ident": ident}
