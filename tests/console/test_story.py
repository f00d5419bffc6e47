"""The whole business, through a browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from billing.services import charge_tasks
from marketplace.models import Task
from metering.services import measure
from scheduler.services.advancing import advance_task
from scheduler.services.expanding import expand_task
from scheduler.services.placing import run_round
from tests import builders as build
from tests.builders_tasks import FakeAgent, a_version
from tests.console.browser import a_file, browser_of, hidden, text_of

INPUTS = {"type": "object", "properties": {"scene": {"type": "string", "format": "artifact"}}}


@pytest.mark.django_db
def test_alice_logs_in_asks_for_a_price_submits_her_scene_and_pays_for_the_picture() -> None:
    pool = build.a_pool(basis="result", rates={"result": "0.05"})
    split = {"by": "range", "start": "0", "stop": "1", "step": "1", "chunk": "1"}
    fee = {"per_unit": "0.25", "per_task": "0"}
    version = a_version(inputs=INPUTS, split=split, outputs=[{"path": "picture.png"}], fee=fee)
    build.alice()
    build.a_user("alice", password=build.PASSWORD)
    client = browser_of(None)

    client.post("/login/", {"username": "alice", "password": build.PASSWORD})
    form = f"/capabilities/{version.capability}/"
    assert form in client.get("/capabilities/").content.decode()
    token = hidden(client.get(form), "token")
    scene = SimpleUploadedFile("scene.xml", b"<scene/>", "text/xml")
    quoted = client.post(form, {"token": token, "action": "quote", "inputs.scene": scene, "objective": "cheapest"})
    assert "Price, about" in text_of(quoted)
    kept = hidden(quoted, "kept.scene")
    submitted = client.post(form, {"token": hidden(quoted, "token"), "action": "submit", "kept.scene": kept, "name": "a knot"})
    task = Task.objects.get()
    assert submitted["Location"] == f"/tasks/{task.pk}/"
    assert "queued" in text_of(client.get(submitted["Location"]))

    run_on(pool, task)
    page = text_of(client.get(f"/tasks/{task.pk}/"))
    assert "delivered" in page
    assert "1 of 1 units done" in page
    picture: Any = client.get(f"/api/v1/tasks/{task.pk}/result/files/picture.png")
    assert b"".join(picture.streaming_content) == b"a picture"

    measure()
    charge_tasks([task.pk])
    assert float(client.get("/bill/").context["totals"][0][2]) == pytest.approx(0.3)
    assert "a knot" in text_of(client.get("/tasks/?state=delivered"))
    assert "0.30 CNY" in text_of(client.get("/tasks/"))
    assert float(browser_of(build.bob()).get("/bill/").context["totals"][0][2]) == pytest.approx(0.05 * 0.95)


def run_on(pool: Any, task: Task) -> None:
    """What worker and agent do meanwhile: 5 ms of one core."""
    agent = FakeAgent.of(pool)
    expand_task(task.pk)
    run_round()
    agent.beat(want=1)
    agent.done(wall_ms=5, outputs=[a_file("picture.png", b"a picture", "image/png")])
    advance_task(task.pk)
