"""Signed requests of agents: only the agent's own key, only now, only this very request."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.errors import Unauthorized
from marketplace.agent_auth import authenticate
from tests import builders as build

pytestmark = pytest.mark.django_db
SYNC = "/agent/v1/sync"
BLOB = "/agent/v1/blobs/7/1/" + "a" * 64


def refusal(*args: Any) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        authenticate(*args)
    assert caught.value.status == 401
    return caught.value


def test_a_signed_request_finds_its_agent_and_pool_in_one_query(django_assert_num_queries: Any) -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    headers = build.signed(agent, "POST", SYNC, b"{}")
    with django_assert_num_queries(1):
        found = authenticate("POST", SYNC, headers, b"{}")
        assert found.pool.identifier == agent.pool.identifier
    assert found == agent


def test_the_body_of_a_blob_is_not_signed() -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    headers = build.signed(agent, "PUT", BLOB, None)
    assert authenticate("PUT", BLOB, headers, None) == agent
    assert authenticate("PUT", BLOB, headers, b"whatever") == agent


def test_no_body_counts_as_an_empty_one_elsewhere() -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    assert authenticate("GET", SYNC, build.signed(agent, "GET", SYNC, b""), None) == agent
    assert refusal("GET", SYNC, build.signed(agent, "GET", SYNC, None), None).code == "signature_invalid"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", SYNC, b"{}"), ("POST", SYNC + "?x=1", b"{}"), ("POST", SYNC, b"{ }"), ("POST", "/agent/v1/logs", b"{}")],
)
def test_a_signature_fits_one_request_only(method: str, path: str, body: bytes) -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    headers = build.signed(agent, "POST", SYNC, b"{}")
    assert refusal(method, path, headers, body).code == "signature_invalid"


def test_another_agents_key_does_not_fit() -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    other = build.an_agent(build.a_pool(agent=False), name="other")
    other.pk = agent.pk
    assert refusal("POST", SYNC, build.signed(other, "POST", SYNC, b""), b"").code == "signature_invalid"


@pytest.mark.parametrize("off_s", [-121, 121, 86400])
def test_a_clock_that_is_off_is_told_the_time(off_s: int) -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    at = time.time_ns() // 1_000_000 + off_s * 1000
    error = refusal("POST", SYNC, build.signed(agent, "POST", SYNC, b"", at_ms=at), b"")
    assert error.code == "clock_skew"
    assert abs(error.data["server_time_ms"] - time.time_ns() // 1_000_000) < 5000


def test_a_clock_within_two_minutes_is_good_enough() -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    at = time.time_ns() // 1_000_000 - 110_000
    assert authenticate("POST", SYNC, build.signed(agent, "POST", SYNC, b"", at_ms=at), b"") == agent


def test_a_retired_agent_is_out() -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    agent.retired_at = agent.created_at
    agent.save()
    assert refusal("POST", SYNC, build.signed(agent, "POST", SYNC, b""), b"").code == "agent_retired"


def test_an_unknown_agent_is_told_to_enrol() -> None:
    agent = build.an_agent(build.a_pool(agent=False))
    headers = build.signed(agent, "POST", SYNC, b"")
    agent.delete()
    assert refusal("POST", SYNC, headers, b"").code == "agent_unknown"


@pytest.mark.parametrize(
    "header", ["", "Bearer x", "Gridfare", "Gridfare a:1:x", "Gridfare " + "-" * 36 + ":1:" + "A" * 86 + "=="]
)
def test_no_signature_is_no_way_in(header: str) -> None:
    assert refusal("POST", SYNC, {"Authorization": header}, b"").code == "signature_missing"
