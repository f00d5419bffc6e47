"""Files in the console: where their bytes are, copies that are asked for and dropped, pins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.models import Agent, Artifact, BlobPlace, Pin, Replica, TaskArtifact
from marketplace.services.artifacts import delete_artifact
from marketplace.services.availability import keep_status
from marketplace.services.replicas import pin
from tests import builders as build
from tests.builders_capabilities import an_artifact
from tests.builders_storage import a_replica, a_store
from tests.builders_tasks import a_task
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Artifact:
    return an_artifact(build.alice(), b"x" * 2048, "scene.obj")


def page_of(artifact: Artifact) -> Any:
    return browser_of(build.alice()).get(f"/artifacts/{artifact.pk}/")


def sends(artifact: Artifact, form: str, **fields: Any) -> Any:
    return browser_of(build.alice()).post(f"/artifacts/{artifact.pk}/{form}/", fields)


def test_a_file_is_shown_with_its_stores_caches_and_copies_by_region(scene: Artifact) -> None:
    BlobPlace.objects.create(blob=scene.blob, region=build.a_region("beijing"))
    cache = build.a_pool(region="guizhou")
    keep_status(Agent.objects.get(pool=cache), {}, [(scene.blob_id, 2048)])
    a_replica(scene, "ningxia", state="held")
    a_replica(scene, "gansu", detail="no pool of the region offers room for it now")
    page = text_of(page_of(scene))
    assert "beijing yes" in page
    assert "guizhou - 1" in page
    assert "ningxia - - held 2.0 KB in 4 weeks" in page
    assert "gansu - - wanted no pool of the region offers room for it now" in page
    assert "Copies 1 of 2 held" in page
    assert "Copies take 4.0 KB of the" in page
    listed = text_of(browser_of(build.alice()).get("/artifacts/"))
    assert "2.0 KB beijing store gansu wanted guizhou 1 cache ningxia held no" in listed


def test_whose_caches_they_are_stays_with_their_providers(scene: Artifact) -> None:
    cache = build.a_pool(region="guizhou")
    keep_status(Agent.objects.get(pool=cache), {}, [(scene.blob_id, 2048)])
    copy = a_replica(scene, "ningxia", state="held")
    page = text_of(page_of(scene))
    assert cache.identifier not in page
    assert copy.pool is not None
    assert copy.pool.identifier not in page


def test_a_copy_is_asked_for_and_dropped(scene: Artifact) -> None:
    a_store("ningxia")
    build.a_pool(region="guizhou")
    page = page_of(scene)
    assert [(one.code, one.offers) for one in page.context["regions"]] == [("ningxia", True), ("guizhou", False)]
    assert "no room there now" in text_of(page)
    assert sends(scene, "replicate", regions=["ningxia"])["Location"] == f"/artifacts/{scene.pk}/"
    copy = Replica.objects.get()
    assert (copy.region.code, copy.state, copy.asked_by) == ("ningxia", "wanted", build.alice().user)
    assert 'value="ningxia"' not in page_of(scene).content.decode(), "it is on its way"
    assert sends(scene, "replicas/ningxia/drop").status_code == 302
    assert Replica.objects.get().state == "gone"


def test_a_copy_that_failed_can_be_asked_for_again(scene: Artifact) -> None:
    a_replica(scene, "ningxia", state="failed", pool=a_store("ningxia"), tries=3)
    assert 'value="ningxia"' in page_of(scene).content.decode()
    sends(scene, "replicate", regions=["ningxia"])
    assert Replica.objects.get().state == "wanted"


def test_a_pin_is_set_moved_and_taken_away(scene: Artifact) -> None:
    until = (timezone.now() + timedelta(days=3)).replace(second=0, microsecond=0)
    assert sends(scene, "pin", until=until.strftime("%Y-%m-%dT%H:%M")).status_code == 302
    assert Pin.objects.get().until == until
    assert f"until {until:%Y-%m-%d %H:%M} UTC" in text_of(page_of(scene))
    assert sends(scene, "unpin").status_code == 302
    assert not Pin.objects.exists()
    assert "Unpin" not in text_of(page_of(scene))


def test_a_pinned_copy_is_kept_until_the_later_of_both(scene: Artifact) -> None:
    a_replica(scene, "ningxia", state="held")
    pin(scene, None, timezone.now() + timedelta(days=300))
    assert "pinned Drop" in text_of(page_of(scene))


@pytest.mark.parametrize(
    ("form", "fields", "status", "told"),
    [
        ("replicate", {}, 422, "1 to 16 regions"),
        ("replicate", {"regions": ["atlantis"]}, 404, "no such region: atlantis"),
        ("pin", {"until": "tomorrow"}, 422, "Datetime has wrong format"),
        ("pin", {"until": "2001-01-01T00:00"}, 422, "a pin ends in the future"),
        ("pin", {"until": "2999-01-01T00:00"}, 422, "a pin lasts at most 366 days"),
        ("replicas/ningxia/drop", {}, 404, "no copy of this artifact is wished for in that region"),
    ],
)
def test_a_refusal_is_told_in_the_services_words(
    scene: Artifact, form: str, fields: dict[str, Any], status: int, told: str
) -> None:
    answer = sends(scene, form, **fields)
    assert answer.status_code == status
    assert told in text_of(answer)
    assert not Replica.objects.exists()
    assert not Pin.objects.exists()


def test_the_quota_of_copies_is_told(scene: Artifact) -> None:
    organization = build.alice().organization
    organization.quota_bytes = 3000
    organization.save()
    build.a_region("gansu")
    answer = sends(scene, "replicate", regions=["ningxia", "gansu"])
    assert (answer.status_code, "may have 3000 bytes and have 0" in text_of(answer)) == (413, True)


def test_a_task_says_where_the_files_that_it_reads_are(scene: Artifact) -> None:
    build.a_pool()
    task = a_task(name="a flight")
    TaskArtifact.objects.create(task=task, artifact=scene, path="in/scene.obj", field="scene")
    a_replica(scene, "ningxia", state="held")
    pin(scene, None, timezone.now() + timedelta(days=2, hours=1))
    page = browser_of(build.alice()).get(f"/tasks/{task.pk}/")
    assert "scene.obj as in/scene.obj 2.0 KB ningxia held in 2 days" in text_of(page)
    assert f'href="/artifacts/{scene.pk}/"' in page.content.decode()
    assert "a flight in/scene.obj for scene queued" in text_of(page_of(scene))


def test_a_file_that_was_deleted_leads_nowhere(scene: Artifact) -> None:
    build.a_pool()
    task = a_task()
    TaskArtifact.objects.create(task=task, artifact=scene, path="in/scene.obj", field="scene")
    delete_artifact(scene.organization, scene.pk)
    page = browser_of(build.alice()).get(f"/tasks/{task.pk}/")
    assert "scene.obj deleted since" in text_of(page)
    assert page_of(scene).status_code == 404


def test_files_come_in_pages_newest_first() -> None:
    for number in range(43):
        an_artifact(build.alice(), str(number).encode(), f"{number:02}.obj")
    client = browser_of(build.alice())
    first: Any = client.get("/artifacts/")
    older = client.get(f"/artifacts/?older={first.context['older']}")
    names = [artifact.name for page in (first, older) for artifact, _, _ in page.context["artifacts"]]
    assert names == [f"{number:02}.obj" for number in reversed(range(43))]


def test_others_files_are_in_nobodys_list(scene: Artifact) -> None:
    assert "scene.obj" in text_of(browser_of(build.alice()).get("/artifacts/"))
    assert "scene.obj" not in text_of(browser_of(build.mallory()).get("/artifacts/"))


def test_a_tasks_page_asks_no_more_for_more_files() -> None:
    build.a_pool()

    def with_files(count: int) -> int:
        task = a_task()
        for number in range(count):
            artifact = an_artifact(build.alice(), f"{count} {number}".encode(), f"{number}.obj")
            TaskArtifact.objects.create(task=task, artifact=artifact, path=f"in/{number}", field="scene")
            a_replica(artifact, "ningxia", state="held")
        with CaptureQueriesContext(connection) as asked:
            assert browser_of(build.alice()).get(f"/tasks/{task.pk}/").status_code == 200
        return len(asked)

    assert with_files(1) == with_files(20)
