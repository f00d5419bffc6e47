"""Pages of the house itself: is it alive, is it ready, its numbers, its front door."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from rest_framework.exceptions import AuthenticationFailed

from config import gauges
from core.errors import Unauthorized
from core.http import json_answer, problem_answer
from core.wake import redis
from marketplace.auth import find_key
from marketplace.models import CapabilityVersion, Pool, Region, Task
from marketplace.scopes import EVERYTHING

log = logging.getLogger(__name__)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Says nothing about what it needs: a restart would not mend that."""
    return json_answer({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether requests can be served: 200, or 503 with what is missing."""
    missing = {name: problem for name, check in CHECKS.items() if (problem := check())}
    if missing:
        return json_answer({"status": "not ready", "missing": missing}, status=503)
    return json_answer({"status": "ready", "missing": {}})


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        log.warning("the database does not answer: %s", error)
        return "the database does not answer"
    return ""


def _redis() -> str:
    try:
        redis().ping()
    except (RedisError, OSError) as error:
        log.warning("redis does not answer: %s", error)
        return "redis does not answer"
    return ""


_migrated: list[bool] = []  # once true it stays true for this process's code


def _migrations() -> str:
    if _migrated:
        return ""
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "unknown, the database does not answer"
    if plan:
        return f"{len(plan)} to apply, first {plan[0][0]}"
    _migrated.append(True)
    return ""


CHECKS: Final[dict[str, Callable[[], str]]] = {
    "database": _database,
    "redis": _redis,
    "migrations": _migrations,
}


class _Gauges(Collector):
    """Reads the rows when Prometheus asks; nothing is counted in the process."""

    def collect(self) -> Iterator[Metric]:
        yield from gauges.metrics()


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format: tasks, units, agents, and the river's sweep counts.

    They tell how much business there is, so in production only operators see them, by session or by key.
    """
    if settings.PRODUCTION and not _is_operator(request):
        refusal = problem_answer(Unauthorized("operators_only", "an operator's key, please"))
        refusal["WWW-Authenticate"] = 'Bearer realm="gridfare"'
        return refusal
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gauges())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _is_operator(request: HttpRequest) -> bool:
    if request.user.is_staff and request.user.is_active:
        return True
    try:
        key = find_key(request.headers.get("Authorization", "").removeprefix("Bearer "), timezone.now())
    except AuthenticationFailed:
        return False
    return key.user.is_staff and EVERYTHING in key.scopes


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The front door: what this is, and where the other doors are."""
    published = CapabilityVersion.objects.filter(state=CapabilityVersion.State.PUBLISHED)
    numbers = {
        "active pools": Pool.objects.filter(state=Pool.State.ACTIVE).count(),
        "regions": Region.objects.count(),
        "capabilities": published.values("capability").distinct().count(),
        "tasks delivered": Task.objects.filter(state=Task.State.DELIVERED).count(),
    }
    return render(request, "home.html", {"numbers": numbers, "base_url": settings.BASE_URL})
