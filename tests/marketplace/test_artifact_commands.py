"""`gridfare artifact ...` against the platform itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marketplace.models import Pin, Replica
from marketplace.services.replicas import place_replicas
from tests.builders import alice, mallory
from tests.builders_capabilities import an_artifact
from tests.builders_storage import a_store
from tests.command_line import Say, speaker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def say(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Say:
    return speaker(live_server, monkeypatch, "artifact")


def test_an_artifact_is_listed_copied_pinned_shown_and_let_go(say: Say) -> None:
    pool, artifact = a_store("ningxia"), an_artifact(alice(), b"x" * 2048, "scene/car.obj")
    name = str(artifact.pk)
    assert [name in say("list").stdout, "2.0 KiB" in say("list").stdout] == [True, True]
    assert [one["id"] for one in json.loads(say("list", "--json").stdout)] == [name]

    done = say("replicate", name, "ningxia")
    assert (done.exit_code, "wanted" in done.stdout) == (0, True)
    place_replicas()
    assert Replica.objects.get().pool == pool
    assert "copying" in say("places", name).stdout

    pinned = json.loads(say("pin", name, "--until", "2d", "--json").stdout)["pinned_until"]
    assert pinned
    assert json.loads(say("places", name, "--json").stdout)["pinned_until"] == pinned
    assert say("unpin", name).exit_code == 0
    assert not Pin.objects.exists()
    assert say("unreplicate", name, "ningxia").exit_code == 0
    assert json.loads(say("places", name, "--json").stdout)["replicas"] == []


def test_what_is_not_there_or_another_s_is_said_with_its_exit_code(say: Say) -> None:
    a_store("ningxia")
    artifact = str(an_artifact(alice(), b"x").pk)
    assert say("replicate", artifact, "ningxia", by=mallory()).exit_code == 4
    assert say("replicate", artifact, "nowhere").exit_code == 4
    assert say("unreplicate", artifact, "ningxia").exit_code == 4
    assert say("pin", artifact, "--until", "2020-01-01T00:00:00Z").exit_code == 2
    assert not Replica.objects.exists()
