"""What agents tell of their machines: bounded, and kept in few rows."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Invalid
from marketplace.models import Agent, CachedBlob
from scheduler.status import LARGEST, parse_status
from tests import builders as build
from tests.builders_http import HttpAgent, answer_in_this_thread

SHA = "a" * 64


def test_what_is_known_is_kept_and_what_later_agents_say_is_not() -> None:
    body = {"load1": 1.5, "free_cores": 3, "temperature_c": None, "humour": "fine", "cache": [{"sha256": SHA, "bytes": 5}]}
    assert parse_status(body) == ({"load1": 1.5, "free_cores": 3}, [(SHA, 5)])


def test_silence_is_no_empty_cache() -> None:
    assert parse_status(None) is None
    assert parse_status({}) == ({}, None)
    assert parse_status({"cache": []}) == ({}, [])


def test_a_blob_named_twice_is_held_once() -> None:
    assert parse_status({"cache": [{"sha256": SHA, "bytes": 5}, {"sha256": SHA, "bytes": 6}]}) == ({}, [(SHA, 6)])


@pytest.mark.parametrize(
    "body",
    [
        [], "x", {"load1": "1"}, {"load1": True}, {"load1": float("nan")}, {"load1": float("inf")}, {"free_cores": 10**30},
        {"temperature_c": -273}, {"cache": {}}, {"cache": [1]}, {"cache": [{"sha256": "x", "bytes": 1}]},
        {"cache": [{"sha256": SHA, "bytes": -1}]}, {"cache": [{"sha256": SHA, "bytes": 2**63}]},
        {"cache": [{"sha256": SHA, "bytes": True}]}, {"cache": [{"sha256": SHA, "bytes": 1}] * 201},
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(body: Any) -> None:
    with pytest.raises(Invalid) as problem:
        parse_status(body)
    assert problem.value.code == "invalid_status"
    assert str(problem.value.field).startswith("status")


def test_every_number_has_a_bound_that_a_column_can_hold() -> None:
    assert all(0 < most <= 2**40 for most in LARGEST.values())


@pytest.mark.django_db
def test_a_sync_keeps_what_it_tells_and_the_pool_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_in_this_thread(monkeypatch)
    pool = build.a_pool()
    agent = HttpAgent.of(pool)
    status = {"load1": 0.5, "power_w": 85, "cache": [{"sha256": SHA, "bytes": 5}]}
    said = {"session": str(agent.session), "want": 0, "status": status}
    row = Agent.objects.get(pk=agent.agent_id)
    assert build.post_as(row, "/agent/v1/sync", said).status_code == 200
    shown = build.client_of(build.bob()).get(f"/api/v1/pools/{pool.identifier}").json()
    assert shown["agent"]["status"] == {"load1": 0.5, "power_w": 85}
    assert shown["agent"]["status_at"]
    assert list(CachedBlob.objects.values_list("pool", "sha256", "bytes")) == [(pool.pk, SHA, 5)]
    broken = build.post_as(row, "/agent/v1/sync", said | {"status": {"load1": "much"}})
    assert (broken.status_code, broken.json()["field"]) == (422, "status.load1")


@pytest.mark.django_db
def test_a_checkpoint_door_and_a_reclaim_in_a_sync_refuse_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_in_this_thread(monkeypatch)
    row = Agent.objects.get(pk=HttpAgent.of(build.a_pool()).agent_id)
    assert build.post_as(row, "/agent/v1/checkpoints", {"checkpoints": "x"}).json()["code"] == "invalid_checkpoint"
    session = "00000000-0000-0000-0000-000000000000"
    for value in (-1, "1", True, 10**9):
        said = {"session": session, "want": 0, "reclaim_in_s": value}
        assert build.post_as(row, "/agent/v1/sync", said).json()["code"] == "invalid_reclaim"
