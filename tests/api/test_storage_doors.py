"""What an agent says and hears of its store at the doors, and what comes between two at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.errors import TooLarge
from marketplace.models import Agent, Artifact, Organization, Replica
from marketplace.services import replicas
from marketplace.services.replicas import pin, place_replicas, replicate
from scheduler.services.leasing import Beat, keep_in_touch, look_again
from tests import builders as build
from tests.builders_capabilities import an_artifact
from tests.builders_http import HttpAgent, nothing_written, problem_of
from tests.builders_storage import a_store, hears, tells
from tests.scheduler.meanwhile import at_once, stopped_after

DATA = b"some bytes to keep"


@pytest.fixture
def artifact() -> Artifact:
    return an_artifact(build.alice(), DATA)


@pytest.mark.usefixtures("agent_door")
def test_an_agent_offers_room_hears_its_order_fetches_the_copy_and_tells_that_it_is_there(artifact: Artifact) -> None:
    pool = build.a_pool()
    agent = HttpAgent.of(pool)
    assert "store" not in agent.sync(store={"mib": 10, "kept": [], "failed": []}).json()
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    ((sha256, size, _),) = agent.sync().json()["store"]["keep"]
    assert "store" not in agent.sync().json()
    path = f"/agent/v1/blobs/store/{sha256}"
    answer = agent.client.get(path, headers=agent._signed("GET", path, None))
    assert (size, b"".join(answer.streaming_content)) == (len(DATA), DATA)
    rest = agent.client.get(path, headers=agent._signed("GET", path, None) | {"Range": "bytes=5-"})
    assert (rest.status_code, b"".join(rest.streaming_content)) == (206, DATA[5:])
    agent.sync(store={"mib": 10, "kept": [sha256], "failed": []})
    assert Replica.objects.get().state == "held"


@pytest.mark.usefixtures("agent_door")
def test_others_get_no_copy_and_other_methods_none_at_all(artifact: Artifact) -> None:
    agent = HttpAgent.of(build.a_pool())
    path = f"/agent/v1/blobs/store/{artifact.blob_id}"
    answer = agent.client.get(path, headers=agent._signed("GET", path, None))
    assert problem_of(answer)[:2] == (404, "replica_unknown")
    assert problem_of(agent.client.put(path, headers=agent._signed("PUT", path, None)))[:2] == (405, "method_not_allowed")
    assert agent.client.get(path).status_code == 401


@pytest.mark.usefixtures("agent_door")
def test_what_is_pinned_is_said_of_what_the_cache_names(artifact: Artifact) -> None:
    agent = HttpAgent.of(build.a_pool())
    pin(artifact, None, timezone.now() + timedelta(days=1))
    cache = [{"sha256": artifact.blob_id, "bytes": len(DATA)}, {"sha256": "a" * 64, "bytes": 5}]
    told = agent.sync(status={"cache": cache}).json()["store"]["pin"]
    assert [sha256 for sha256, _ in told] == [artifact.blob_id]


@pytest.mark.usefixtures("agent_door")
@pytest.mark.parametrize(
    ("store", "field"),
    [
        ([], "store"),
        ({}, "store.mib"),
        ({"mib": -1}, "store.mib"),
        ({"mib": True}, "store.mib"),
        ({"mib": 2**31}, "store.mib"),
        ({"mib": 1, "kept": "all"}, "store.kept"),
        ({"mib": 1, "kept": ["A" * 64]}, "store.kept"),
        ({"mib": 1, "kept": [1]}, "store.kept"),
        ({"mib": 1, "failed": [["a" * 64]]}, "store.failed"),
        ({"mib": 1, "failed": [["a" * 64, None]]}, "store.failed"),
        ({"mib": 1, "failed": [["a" * 64, "x"]] * 65}, "store.failed"),
    ],
)
def test_what_is_no_store_is_refused_and_changes_nothing(store: Any, field: str) -> None:
    agent = HttpAgent.of(build.a_pool())
    with nothing_written():
        assert problem_of(agent.sync(store=store)) == (422, "invalid_store", field)


@pytest.mark.django_db
def test_a_waiting_poll_hears_of_a_copy_and_only_once(artifact: Artifact) -> None:
    pool = a_store()
    agent = Agent.objects.select_related("pool").get(pool=pool)
    beat = Beat(session=agent.pk, want=0, held=[], executors=[])
    assert keep_in_touch(agent, beat).silent
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    assert not look_again(agent, beat).silent
    assert look_again(agent, beat).silent


@pytest.mark.django_db
def test_an_agent_that_claims_what_it_was_never_asked_to_keep_gains_nothing(artifact: Artifact) -> None:
    pool = a_store()
    assert tells(pool, artifact.blob_id) == {"drop": [artifact.blob_id]}
    assert not pool.cached_blobs.exists()


@pytest.mark.django_db(transaction=True)
def test_two_requests_cannot_both_take_the_last_of_the_quota(artifact: Artifact) -> None:
    for region in ("ningxia", "guizhou"):
        build.a_region(region)
    Organization.objects.filter(pk=artifact.organization_id).update(quota_bytes=len(DATA))

    def wish(region: str) -> str:
        try:
            replicate(artifact, None, [region])
        except TooLarge as error:
            return error.code
        return "wished"

    assert sorted(at_once(lambda: wish("ningxia"), lambda: wish("guizhou"))) == ["replica_quota_exceeded", "wished"]
    assert Replica.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_while_one_places_copies_another_leaves_them_alone(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = a_store()
    replicate(artifact, None, ["ningxia"])
    with stopped_after(monkeypatch, replicas, "_stores", place_replicas) as first:
        assert place_replicas() == {}
    assert first.result["copying"] == 1
    assert len(hears(pool)["keep"]) == 1


@pytest.mark.django_db(transaction=True)
def test_a_copy_taken_back_while_it_is_being_placed_is_not_brought_back(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = a_store()
    replicate(artifact, None, ["ningxia"])
    with stopped_after(monkeypatch, replicas, "_stores", place_replicas) as first:
        replicas.drop_replica(artifact, "ningxia")
    assert first.result["copying"] == 0
    assert Replica.objects.get().state == "gone"
    assert hears(pool) == {}
