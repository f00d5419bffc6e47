"""Alive, ready, in numbers, and the front door."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from redis import Redis

from billing.models import Account, JournalEntry, Leg
from config import gauges, river, views
from tests import builders as build
from tests.builders_tasks import a_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return Client()


def test_alive_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "redis", lambda: Redis(port=1, socket_connect_timeout=1))
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["missing"] == {"redis": "redis does not answer"}


def test_ready_with_everything_there(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")


def test_a_migration_that_was_not_applied_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_migrated", [])
    name = MigrationLoader(connection).graph.leaf_nodes("marketplace")[0][1]
    MigrationRecorder(connection).record_unapplied("marketplace", name)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert f"marketplace.{name}" in answer.json()["missing"]["migrations"]


def test_metrics_count_what_is_there(client: Client) -> None:
    build.a_pool()
    text = client.get("/metrics").content.decode()
    assert 'gridfare_pools{state="active"} 1.0' in text
    assert "gridfare_agents_online 1.0" in text
    for step in ("expand", "match", "fetch", "lease", "verify", "advance", "measure", "charge"):
        assert f'gridfare_river_backlog{{step="{step}"}} 0.0' in text
        assert f'gridfare_river_late{{step="{step}"}} 0.0' in text


def test_metrics_count_further_than_the_first_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river, "COUNTED", 3)
    build.a_pool()
    a_task(inputs={"count": 5})
    assert 'gridfare_river_backlog{step="match"} 5.0' in client.get("/metrics").content.decode()


def test_metrics_of_a_river_that_cannot_be_counted_in_time_are_an_alarm(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(river, "limited", lambda sql: None)
    monkeypatch.setattr(gauges, "limited", lambda sql: None)
    text = client.get("/metrics").content.decode()
    assert 'gridfare_river_backlog{step="match"} +Inf' in text
    assert 'gridfare_river_late{step="match"} 1.0' in text
    assert "gridfare_tasks{" not in text


def test_in_production_metrics_are_for_operators(client: Client, settings: Any) -> None:
    settings.PRODUCTION = True
    assert client.get("/metrics").status_code == 401
    for person, status in ((build.alice(), 401), (build.olga(), 200)):
        headers = {"Authorization": f"Bearer {build.a_key(person)}"}
        assert client.get("/metrics", headers=headers).status_code == status
    narrow = {"Authorization": f"Bearer {build.a_key(build.olga(), scopes=['tasks:read'])}"}
    assert client.get("/metrics", headers=narrow).status_code == 401


def test_the_ledger_is_watched_per_currency(client: Client) -> None:
    accounts = [
        Account.objects.get_or_create(kind=kind, organization=None, currency="CNY")[0]
        for kind in ("platform_revenue", "platform_cost")
    ]
    entry = JournalEntry.objects.create(key="test", kind="test", posted_at=timezone.now())
    credit = Leg(entry=entry, account=accounts[0], credit_micros=5)
    Leg.objects.bulk_create([credit, Leg(entry=entry, account=accounts[1], debit_micros=5)])
    assert gauges.ledger_imbalance() == {"CNY": 0}
    assert 'gridfare_ledger_imbalance_micros{currency="CNY"} 0.0' in client.get("/metrics").content.decode()


def test_the_front_door_shows_the_other_doors(client: Client) -> None:
    text = client.get("/").content.decode()
    for url in ("/api/docs/", "/api/v1/openapi.json", "/admin/", "/metrics"):
        assert f'href="{url}"' in text


@pytest.mark.parametrize("url", ["/healthz", "/readyz", "/metrics", "/"])
def test_pages_are_only_read(client: Client, url: str) -> None:
    assert client.post(url).status_code == 405


def test_an_unknown_page_is_a_problem_document(client: Client) -> None:
    answer: Any = client.get("/no/such/page")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


def test_a_request_for_a_host_that_is_not_ours_is_a_problem_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    answer = Client(headers={"host": "scanner.example"}).get("/api/v1/me")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert caplog.records == []
