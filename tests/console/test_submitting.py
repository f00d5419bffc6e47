"""Quotes and tasks from a form: errors at their fields, files that are sent once, one task however often it is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from marketplace.models import Artifact, Blob, CapabilityVersion, Task
from marketplace.policies import Policy
from tests import builders as build
from tests.builders_tasks import a_version
from tests.console.browser import browser_of, hidden, text_of

pytestmark = pytest.mark.django_db
INPUTS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "count": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1},
        "scene": {"type": "string", "format": "artifact"},
        "assets": {"type": "array", "items": {"type": "string", "format": "artifact"}},
        "up": {"type": "string", "enum": ["z", "y"], "default": "z"},
    },
}


def the_form(**changes: Any) -> str:
    """Where the form of a capability of carol's is, on a market with one pool."""
    build.a_pool()
    return url_of(a_version(inputs=INPUTS, **changes))


def url_of(version: CapabilityVersion) -> str:
    return f"/capabilities/{version.capability}/"


def send(client: Client, url: str, action: str, **fields: Any) -> Any:
    given = {"token": "page-1", "inputs.count": "2", "inputs.up": '"z"', "objective": "cheapest", "action": action}
    return client.post(url, given | {name.replace("__", "."): value for name, value in fields.items()})


def a_picture(name: str = "scene.xml", content: bytes = b"<scene/>") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "text/xml")


def test_a_quote_says_price_and_time_of_every_objective_and_writes_nothing() -> None:
    url = the_form(fee={"per_unit": "0.5", "per_task": "0"})
    answer = send(browser_of(build.alice("viewer")), url, "quote")
    assert answer.status_code == 200
    assert "2 units" in text_of(answer)
    dear = [name for name, option in answer.context["options"] if float(option["price"]) >= 1]
    assert dear == ["cheapest", "fastest", "greenest", "balanced"]
    assert not Task.objects.exists()


def test_a_deadline_in_utc_and_a_check_of_results_go_with_the_task() -> None:
    url = the_form()
    build.a_pool(owner=build.mallory())
    client = browser_of(build.alice())
    assert send(client, url, "submit", deadline="2099-01-02T03:04", verify="exact").status_code == 302
    task = Task.objects.get()
    assert task.deadline == datetime(2099, 1, 2, 3, 4, tzinfo=UTC)
    assert Policy.of(task.plan["verify"]).need == 2
    assert send(client, url, "submit", deadline="2099-01-02T03:04", verify="exact").status_code == 302
    assert Task.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("deadline", "tomorrow", "Datetime has wrong format"),
        ("deadline", "2001-01-01T00:00", "the deadline has passed"),
        ("verify", "quorum", "different owners are needed"),
        ("verify", "trust me", ""),
    ],
)
def test_a_deadline_or_a_check_that_cannot_be_is_refused_at_its_field(field: str, value: str, said: str) -> None:
    url = the_form()
    answer = send(browser_of(build.alice()), url, "submit", **{field: value})
    assert answer.status_code == 422
    assert said in answer.context["form"].errors[field]
    assert not Task.objects.exists()


def test_a_form_submits_what_was_filled_in() -> None:
    url = the_form()
    alice = build.alice()
    given = {"objective": "fastest", "regions": ["ningxia"], "max_price": "5", "name": "mine"}
    answer = send(browser_of(alice), url, "submit", inputs__up='"y"', **given)
    task = Task.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/tasks/{task.pk}/")
    assert (task.organization, task.user, task.name, task.objective) == (alice.organization, alice.user, "mine", "fastest")
    assert task.inputs == {"count": 2, "up": "y"}
    assert task.constraints == {"regions": ["ningxia"], "max_price": "5.000000"}


def test_a_form_sent_twice_is_one_task() -> None:
    url = the_form()
    client = browser_of(build.alice())
    first, second = send(client, url, "submit"), send(client, url, "submit")
    assert first["Location"] == second["Location"]
    assert Task.objects.count() == 1


def test_a_form_sent_again_with_other_inputs_asks_once_more() -> None:
    url = the_form()
    client = browser_of(build.alice())
    send(client, url, "submit")
    answer = send(client, url, "submit", inputs__count="3")
    assert (answer.status_code, "submitted before" in text_of(answer)) == (422, True)
    assert hidden(answer, "token") != "page-1"
    assert send(client, url, "submit", inputs__count="3", token=hidden(answer, "token")).status_code == 302
    assert Task.objects.count() == 2


def test_every_form_that_is_handed_out_submits_its_own_task() -> None:
    url = the_form()
    client = browser_of(build.alice())
    tokens = {hidden(client.get(url), "token") for _ in range(2)}
    assert len(tokens) == 2
    assert send(client, url, "submit", token="").status_code == 422
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"inputs__count": "1001"}, "count"),
        ({"inputs__count": "many"}, "count"),
        ({"inputs__up": '"x"'}, "up"),
        ({"inputs__up": "x"}, "up"),
        ({"kept.scene": "7b2f9d0e-0000-4000-8000-000000000000"}, "scene"),
        ({"kept.scene": "no id"}, "scene"),
        ({"kept.assets": ["no id"]}, "assets"),
    ],
)
@pytest.mark.parametrize("action", ["quote", "submit"])
def test_an_error_stands_at_the_input_that_it_names(fields: dict[str, Any], at: str, action: str) -> None:
    answer = send(browser_of(build.alice()), the_form(), action, **fields)
    assert answer.status_code == 422
    wrong = {one.name: one.error for one in answer.context["form"].fields if one.error}
    assert list(wrong) == [at]
    assert wrong[at] in text_of(answer)
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"regions": ["atlantis"]}, "regions"),
        ({"regions": ["shanghai"]}, "regions"),
        ({"max_price": "free"}, "max_price"),
        ({"max_price": "0.000001"}, "max_price"),
        ({"objective": "best"}, "objective"),
        ({"name": "x" * 201}, "name"),
    ],
)
def test_an_error_stands_at_the_choice_that_it_names(fields: dict[str, Any], at: str) -> None:
    answer = send(browser_of(build.alice()), the_form(), "submit", **fields)
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, [at])


def test_what_was_filled_in_still_stands_there_after_an_error() -> None:
    given = {"inputs.count": "many", "max_price": "7", "name": "mine", "regions": ["ningxia"]}
    answer = send(browser_of(build.alice()), the_form(), "submit", **given)
    page = answer.content.decode()
    assert all(text in page for text in ('value="many"', 'value="7"', 'value="mine"', 'value="ningxia" checked'))


def test_a_file_is_sent_once_for_the_quote_and_kept_for_the_submit() -> None:
    url = the_form()
    client = browser_of(build.alice())
    answer = send(client, url, "quote", inputs__scene=a_picture())
    artifact = Artifact.objects.get()
    assert (artifact.name, artifact.blob.bytes, artifact.media_type) == ("scene.xml", 8, "text/xml")
    assert hidden(answer, "kept.scene") == str(artifact.pk)
    assert "scene.xml" in text_of(answer)
    send(client, url, "submit", **{"kept.scene": str(artifact.pk)})
    assert Task.objects.get().inputs["scene"] == str(artifact.pk)


def test_a_new_file_takes_the_place_of_the_one_kept_and_lists_grow() -> None:
    url = the_form()
    client = browser_of(build.alice())
    answer = send(client, url, "quote", inputs__scene=a_picture(), inputs__assets=[a_picture("a", b"a"), a_picture("b", b"b")])
    kept = {one.name: [key for key, _ in one.kept] for one in answer.context["form"].fields}
    more = {"kept.scene": kept["scene"], "kept.assets": kept["assets"]}
    send(client, url, "submit", inputs__scene=a_picture("new.xml", b"new"), inputs__assets=a_picture("c", b"c"), **more)
    inputs = Task.objects.get().inputs
    names = dict(Artifact.objects.values_list("pk", "name"))
    assert {str(key): name for key, name in names.items()}[inputs["scene"]] == "new.xml"
    assert inputs["assets"][:2] == kept["assets"]
    assert len(inputs["assets"]) == 3


def test_the_same_file_sent_again_is_the_same_task() -> None:
    url = the_form()
    client = browser_of(build.alice())
    places = {send(client, url, "submit", inputs__scene=a_picture())["Location"] for _ in range(2)}
    assert len(places) == 1


def test_a_stranger_s_file_cannot_be_named() -> None:
    url = the_form()
    send(browser_of(build.mallory()), url, "quote", inputs__scene=a_picture("secret.xml"))
    answer = send(browser_of(build.alice()), url, "quote", **{"kept.scene": str(Artifact.objects.get().pk)})
    assert answer.status_code == 422
    assert "secret.xml" not in text_of(answer)


def test_limits_and_quota_are_said_at_the_file_and_nothing_is_kept(settings: Any) -> None:
    url = the_form()
    settings.MAX_ARTIFACT_BYTES = 4
    client = browser_of(build.alice())
    for limit, code in (("a file may have 4 bytes", 413), ("may keep 5 bytes", 413)):
        answer = send(client, url, "quote", inputs__scene=a_picture())
        scene = next(one for one in answer.context["form"].fields if one.name == "scene")
        assert (answer.status_code, limit in scene.error) == (code, True)
        settings.MAX_ARTIFACT_BYTES, settings.DEFAULT_QUOTA_BYTES = 100, 5
    assert not Blob.objects.exists()


def test_files_larger_than_memory_s_share_arrive_whole() -> None:
    content = bytes(range(256)) * 20_000  # 5 MB, twice what Django keeps in memory
    send(browser_of(build.alice()), the_form(), "quote", inputs__scene=a_picture("big.bin", content))
    assert Artifact.objects.get().blob.bytes == len(content)


def test_a_viewer_asks_for_quotes_but_neither_sends_files_nor_submits() -> None:
    url = the_form()
    viewer = browser_of(build.alice("viewer"))
    assert 'value="submit"' not in viewer.get(url).content.decode()
    for answer in (send(viewer, url, "submit"), send(viewer, url, "quote", inputs__scene=a_picture())):
        assert (answer.status_code, "this needs the scope" in text_of(answer)) == (403, True)
    assert not Task.objects.exists()
    assert not Blob.objects.exists()


def test_who_is_no_user_is_told_so() -> None:
    answer = send(browser_of(build.bob()), the_form(), "submit")
    assert (answer.status_code, "does not submit tasks" in text_of(answer)) == (403, True)


def test_capabilities_are_listed_once_they_are_published() -> None:
    build.a_pool()
    a_version(name="ready", summary="does it", fee={"per_unit": "0.25", "per_task": "0"})
    for state in ("draft", "deprecated", "withdrawn"):
        a_version(name=f"is-{state}", state=state)
    for person in (build.alice(), build.carol()):
        client = browser_of(person)
        page = text_of(client.get("/capabilities/"))
        assert "carols-programs/ready 1.0.0 does it" in page
        assert "0.25 per unit" in page
        assert "is-" not in page
        assert client.get("/capabilities/carols-programs/is-draft/").status_code == 404


def test_the_form_is_that_of_the_newest_published_version() -> None:
    build.a_pool()
    for number in ("1.9.0", "1.10.0"):
        version = a_version(name="noop", version=number)
    a_version(name="noop", version="2.0.0", state="draft")
    assert "1.10.0" in text_of(browser_of(build.carol()).get(url_of(version)))
