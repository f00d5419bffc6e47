"""Copies of artifacts in regions, and pins: wished for, placed, told, held, lost, let go."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.errors import DomainError
from marketplace.models import Agent, Artifact, CachedBlob, Pin, Pool, Replica
from marketplace.services.artifacts import delete_artifact
from marketplace.services.availability import keep_status
from marketplace.services.replicas import drop_replica, pin, place_replicas, replicate, unpin
from marketplace.services.storekeeping import may_fetch, pins_of
from marketplace.whereabouts import whereabouts
from tests import builders as build
from tests.builders_capabilities import an_artifact
from tests.builders_storage import a_replica, a_store, hears, tells

pytestmark = pytest.mark.django_db


@pytest.fixture
def artifact() -> Artifact:
    return an_artifact(build.alice(), b"x" * 1000)


def states(artifact: Artifact) -> dict[str, str]:
    """Region → state of every copy, those that are gone aside."""
    rows = Replica.objects.filter(blob_id=artifact.blob_id).exclude(state="gone")
    return dict(rows.values_list("region__code", "state"))


def away_since(pool: Pool, **ago: float) -> None:
    Agent.objects.filter(pool=pool).update(lease_until=timezone.now() - timedelta(**ago))


def refused(work: Any, *args: Any) -> tuple[str, str | None]:
    with pytest.raises(DomainError) as caught:
        work(*args)
    return caught.value.code, caught.value.field


def test_a_copy_is_wished_for_placed_told_once_and_held_when_the_agent_says_so(artifact: Artifact) -> None:
    pool = a_store()
    replicate(artifact, None, ["ningxia"])
    assert states(artifact) == {"ningxia": "wanted"}
    place_replicas()
    assert states(artifact) == {"ningxia": "copying"}
    ((sha256, size, until_ms),) = hears(pool)["keep"]
    assert (sha256, size) == (artifact.blob_id, 1000)
    assert until_ms > timezone.now().timestamp() * 1000
    assert hears(pool) == {}
    assert tells(pool, artifact.blob_id) == {}
    assert states(artifact) == {"ningxia": "held"}
    assert CachedBlob.objects.get(pool=pool).kept


def test_an_order_whose_answer_was_lost_is_given_again_when_the_agent_tells_what_it_keeps(artifact: Artifact) -> None:
    pool = a_store()
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    assert hears(pool)
    assert [row[0] for row in tells(pool)["keep"]] == [artifact.blob_id]


def test_without_room_in_the_region_a_copy_waits_and_says_why(artifact: Artifact) -> None:
    a_store("guizhou")
    a_store("ningxia", mib=0)
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    (copy,) = whereabouts([artifact])[0].replicas
    assert (copy.state, copy.detail) == ("wanted", "no pool of the region offers room for it now")
    a_store("ningxia")
    place_replicas()
    assert states(artifact) == {"ningxia": "copying"}


@pytest.mark.parametrize("held", [False, True])
def test_a_copy_whose_agent_is_gone_is_wanted_again_and_another_pool_takes_it(artifact: Artifact, held: bool) -> None:
    first = a_store()
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    if held:
        tells(first, artifact.blob_id)
        away_since(first, minutes=2)
        place_replicas()
        assert states(artifact) == {"ningxia": "held"}, "an agent that restarts still has it"
    away_since(first, minutes=11)
    place_replicas()
    assert states(artifact) == {"ningxia": "wanted"}
    assert not CachedBlob.objects.filter(pool=first).exists()
    second = a_store()
    place_replicas()
    assert Replica.objects.get().pool == second


def test_what_an_agent_no_longer_has_is_copied_again_and_what_nobody_wishes_is_dropped(artifact: Artifact) -> None:
    pool = a_store()
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    tells(pool, artifact.blob_id)
    assert tells(pool, "f" * 64) == {"drop": ["f" * 64]}
    assert states(artifact) == {"ningxia": "wanted"}
    assert not CachedBlob.objects.exists()


def test_a_copy_that_fails_is_tried_three_times_and_then_waits_to_be_asked_again(artifact: Artifact) -> None:
    pool = a_store()
    replicate(artifact, None, ["ningxia"])
    for state in ("wanted", "wanted", "failed"):
        place_replicas()
        tells(pool, **{artifact.blob_id: "the disk is full"})
        assert states(artifact) == {"ningxia": state}
    place_replicas()
    copy = Replica.objects.get()
    assert (copy.state, copy.detail, copy.tries) == ("failed", "the disk is full", 3)
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    assert states(artifact) == {"ningxia": "copying"}


def test_a_copy_that_never_arrives_counts_as_failed(artifact: Artifact) -> None:
    a_store()
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    Replica.objects.update(changed_at=timezone.now() - timedelta(hours=7))
    assert place_replicas()["wanted"] == 1
    assert Replica.objects.get().tries == 1


def test_a_store_that_offers_less_gives_back_what_came_last() -> None:
    pool = a_store(mib=3)
    first, second = (an_artifact(build.alice(), letter * 1_500_000, letter.decode()) for letter in (b"a", b"b"))
    for one in (first, second):
        replicate(one, None, ["ningxia"])
    place_replicas()
    tells(pool, first.blob_id, second.blob_id, mib=2)
    place_replicas()
    assert (states(first), states(second)) == ({"ningxia": "held"}, {"ningxia": "wanted"})
    assert tells(pool, first.blob_id, second.blob_id, mib=2) == {"drop": [second.blob_id]}


def test_two_organizations_that_wish_for_the_same_content_share_one_place_and_one_leaving_takes_nothing_away() -> None:
    pool, others = a_store(mib=1), [a_store(mib=1)]
    artifacts = [an_artifact(person, b"y" * 1_000_000) for person in (build.alice(), build.carol())]
    for one in artifacts:
        replicate(one, None, ["ningxia"])
    place_replicas()
    (kept_by,) = set(Replica.objects.values_list("pool_id", flat=True))
    keeper = next(one for one in [pool, *others] if one.pk == kept_by)
    assert len(hears(keeper)["keep"]) == 1
    tells(keeper, artifacts[0].blob_id)
    drop_replica(artifacts[0], "ningxia")
    assert tells(keeper, artifacts[0].blob_id) == {}
    assert CachedBlob.objects.filter(pool=keeper, kept=True).exists()


def test_copies_expire_unless_they_are_pinned_and_asking_again_renews_them(artifact: Artifact) -> None:
    for region in ("ningxia", "guizhou"):
        a_replica(artifact, region, expires_at=timezone.now() - timedelta(seconds=1))
    replicate(artifact, None, ["guizhou"])
    pin(artifact, None, timezone.now() + timedelta(days=1))
    place_replicas()
    assert set(states(artifact)) == {"ningxia", "guizhou"}
    unpin(artifact)
    place_replicas()
    assert set(states(artifact)) == {"guizhou"}


def test_the_copies_and_pins_of_an_artifact_go_with_it(artifact: Artifact) -> None:
    pool = a_store()
    a_replica(artifact, state="held", pool=pool)
    pin(artifact, None, timezone.now() + timedelta(days=1))
    delete_artifact(artifact.organization, artifact.pk)
    place_replicas()
    assert Replica.objects.get().state == "gone"
    assert not Pin.objects.exists()
    assert tells(pool, artifact.blob_id) == {"drop": [artifact.blob_id]}


def test_bytes_times_copies_are_bounded_and_what_was_dropped_does_not_count(artifact: Artifact) -> None:
    build.a_region("ningxia"), build.a_region("guizhou"), build.a_region("gansu")
    type(artifact.organization).objects.filter(pk=artifact.organization_id).update(quota_bytes=2500)
    replicate(artifact, None, ["ningxia", "guizhou"])
    assert refused(replicate, artifact, None, ["gansu", "ningxia"]) == ("replica_quota_exceeded", "regions")
    drop_replica(artifact, "guizhou")
    replicate(artifact, None, ["gansu", "ningxia"])
    assert set(states(artifact)) == {"gansu", "ningxia"}


def test_what_cannot_be_asked_for_is_refused_with_its_field(artifact: Artifact) -> None:
    build.a_region("ningxia")
    now = timezone.now()
    assert refused(replicate, artifact, None, []) == ("invalid_regions", "regions")
    assert refused(replicate, artifact, None, [f"r{n}" for n in range(17)]) == ("invalid_regions", "regions")
    assert refused(replicate, artifact, None, ["ningxia", "nowhere"]) == ("region_unknown", "regions.1")
    assert refused(pin, artifact, None, now) == ("pin_in_the_past", "until")
    assert refused(pin, artifact, None, now + timedelta(days=400)) == ("pin_too_long", "until")
    assert refused(drop_replica, artifact, "ningxia") == ("replica_unknown", None)
    assert not Replica.objects.exists()


def test_only_the_pool_that_is_to_keep_a_copy_may_fetch_it(artifact: Artifact) -> None:
    pool, other = a_store(), a_store("guizhou")
    replicate(artifact, None, ["ningxia"])
    place_replicas()
    agents = {agent.pool_id: agent for agent in Agent.objects.all()}
    assert may_fetch(agents[pool.pk], artifact.blob_id) == 1000
    assert may_fetch(agents[other.pk], artifact.blob_id) is None


def test_an_agent_hears_what_is_pinned_of_what_its_cache_holds(artifact: Artifact) -> None:
    until: datetime = timezone.now() + timedelta(days=2)
    pin(artifact, None, until)
    assert pins_of([artifact.blob_id, "e" * 64]) == {"pin": [[artifact.blob_id, int(until.timestamp() * 1000)]]}
    unpin(artifact)
    assert pins_of([artifact.blob_id]) == {"pin": []}


def test_what_a_cache_tells_leaves_kept_copies_alone_and_both_are_shown_by_region(artifact: Artifact) -> None:
    pool, cache = a_store(), build.a_pool(region="guizhou")
    a_replica(artifact, state="copying", pool=pool)
    tells(pool, artifact.blob_id)
    keep_status(Agent.objects.get(pool=pool), {}, [])
    keep_status(Agent.objects.get(pool=cache), {}, [(artifact.blob_id, 1000)])
    (shown,) = whereabouts([artifact])
    assert CachedBlob.objects.filter(sha256=artifact.blob_id).count() == 2
    assert shown.caches == {"guizhou": 1}
    assert [(one.region.code, one.state) for one in shown.replicas] == [("ningxia", "held")]


def test_placing_and_telling_ask_no_more_for_more_copies() -> None:
    def statements(count: int) -> tuple[int, int]:
        pool = a_store(f"place-{count}")
        blobs = [an_artifact(build.alice(), f"{count} {n}".encode(), f"{count}-{n}") for n in range(count)]
        for one in blobs:
            replicate(one, None, [f"place-{count}"])
        with CaptureQueriesContext(connection) as placing:
            assert place_replicas()["copying"] == count
        with CaptureQueriesContext(connection) as telling:
            half = [one.blob_id for one in blobs[: count // 2]]
            tells(pool, *half, **{one.blob_id: "no luck" for one in blobs[count // 2 :]})
        assert sorted(Replica.objects.filter(region__code=f"place-{count}").values_list("state", flat=True)) == sorted(
            ["held", "wanted"] * (count // 2)
        )
        Replica.objects.all().delete()
        return len(placing), len(telling)

    assert statements(2) == statements(40)


def test_through_the_api_a_copy_is_asked_for_shown_pinned_and_dropped(artifact: Artifact) -> None:
    a_store()
    client, path = build.client_of(build.alice()), f"/api/v1/artifacts/{artifact.pk}"
    answer = client.post(f"{path}/replicate", {"regions": ["ningxia"]}, format="json")
    assert answer.status_code == 202
    assert [(one["region"], one["state"]) for one in answer.json()["replicas"]] == [("ningxia", "wanted")]
    until = (timezone.now() + timedelta(days=3)).replace(microsecond=0)
    assert client.post(f"{path}/pin", {"until": until.isoformat()}, format="json").status_code == 200
    shown = client.get(path).json()
    assert datetime.fromisoformat(shown["pinned_until"]) == until
    assert client.delete(f"{path}/pin").status_code == 204
    assert client.delete(f"{path}/replicas/ningxia").status_code == 204
    shown = client.get(path).json()
    assert (shown["replicas"], shown["pinned_until"], shown["caches"]) == ([], None, [])
    assert build.client_of(build.mallory()).post(f"{path}/replicate", {"regions": ["ningxia"]}, format="json").status_code == 404
