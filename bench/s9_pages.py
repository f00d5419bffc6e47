"""Pages of the index over ten years of 31 provinces and 22 indicators: milliseconds of the server, its database included.

A scratch database is filled as the demonstration is. Each page is asked for once with nothing kept in memory, and then some times
more; the first and the median are told, and how many statements it takes.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

from bench.figures import say

BAR_MS, REPEATS = 300.0, 9


def figures_of_pages() -> list[dict[str, Any]]:
    """Of each page."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from bench.charge import scratch_database

    with scratch_database():
        return _figures()


def _figures() -> list[dict[str, Any]]:
    from django.test import Client

    from index.demo import fill, fill_series
    from tests import builders as build

    began = time.perf_counter()
    fill()
    runs = fill_series()
    say(f"  {len(runs)} yearly runs, filled in {time.perf_counter() - began:.1f} s")
    client = Client()
    client.force_login(build.alice().user)
    client.get("/capabilities/")  # templates and routes are read once per process
    first, last = runs[0].pk, runs[-1].pk
    pages = {
        "ranks": "/index/",
        "province": "/index/provinces/440000/",
        "years, the index": f"/index/history/?run={last}",
        "years, an indicator": f"/index/history/?run={last}&indicator=A11",
        "compare, two runs": f"/index/compare/?run={first}&other={last}",
        "compare, two provinces": f"/index/compare/?run={last}&left=440000&right=110000",
    }
    return [_page(client, name, path) for name, path in pages.items()]


def _page(client: Any, name: str, path: str) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from console.index import reading

    reading._documents.cache_clear()
    first = _ms(client, path)
    warm = statistics.median(_ms(client, path) for _ in range(REPEATS))
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    verdict = "reached" if max(first, warm) < BAR_MS else "MISSED"
    say(f"  {name}: first {first:,.0f} ms, then {warm:,.0f} ms, {len(queries)} statements, bar {BAR_MS:g} ms: {verdict}")
    return {"page": name, "first_ms": first, "ms": warm, "statements": len(queries)}


def _ms(client: Any, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path)
    spent = (time.perf_counter() - began) * 1e3
    assert answer.status_code == 200, path
    return spent
