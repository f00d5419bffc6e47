"""POST /tasks and POST /quotes: what is accepted, what is refused with which words, and that nothing is half-written."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing.services import charge_task
from marketplace.models import Organization, Task
from marketplace.services.capabilities import withdraw
from metering.services import measure
from scheduler.api.serializers import ConstraintsIn
from scheduler.models import Unit
from scheduler.services import submitting
from scheduler.services.expanding import expand_task
from scheduler.services.placing import run_round
from tests import builders as build
from tests import builders_capabilities as capabilities
from tests.builders_http import nothing_written, problem_of
from tests.builders_tasks import FakeAgent, a_version, run_to_end

pytestmark = pytest.mark.django_db
URL = "/api/v1/tasks"
FILES = {
    "type": "object",
    "properties": {
        "scene": {"type": "string", "format": "artifact"},
        "files": {"type": "array", "items": {"type": "string", "format": "artifact"}},
    },
}
ONE_UNIT: dict[str, Any] = {"split": None, "inputs": FILES, "demand": {"tflop": "1"}}


def submit(client: Any, body: Any, key: str | None = None) -> Any:
    return client.post(URL, body, headers={} if key is None else {"Idempotency-Key": key})


@pytest.fixture
def alice() -> Any:
    return build.client_of(build.alice())


@pytest.fixture
def body() -> dict[str, Any]:
    """A task that the market takes: three units of a capability of carol's, a pool of bob's."""
    build.a_pool(rates={"core_second": "0.1"})
    return {"capability": str(a_version()), "inputs": {"count": 3}}


def test_an_accepted_task_is_answered_as_it_can_be_read(alice: Any, body: dict[str, Any]) -> None:
    deadline = (timezone.now() + timedelta(days=1)).isoformat()
    more = {"name": "a film", "labels": {"shot": "7"}, "objective": "fastest", "deadline": deadline}
    answer = submit(alice, body | more | {"constraints": {"regions": ["ningxia"], "max_price": "90.5"}})
    assert answer.status_code == 201
    task = answer.json()
    assert alice.get(answer["Location"]).json() == task
    assert (task["name"], task["labels"], task["objective"]) == ("a film", {"shot": "7"}, "fastest")
    assert task["constraints"] == {"regions": ["ningxia"], "max_price": "90.500000"}
    assert (task["state"], task["result"], task["cancel_requested"]) == ("queued", None, False)
    assert task["cost"] == {"amount": "0.000000", "currency": "CNY", "final": False}
    counts = {"units_total": 3, "units_done": 0, "units_running": 0, "units_waiting": 3, "fraction": 0.0}
    assert task["progress"] == counts


EACH: dict[str, Any] = {
    "regions": ["ningxia"], "providers": [], "exclude_providers": [], "max_price": "90.5", "min_trust": "0.5",
    "min_level": 0, "accept_unproven": True,
    "weights": {"price": 1, "hour": 5}, "network": {"from": "ningxia", "jitter_class": 3, "max_latency_s": 0.5},
}  # fmt: skip


def test_every_constraint_of_the_description_is_taken_and_placed_by(alice: Any, body: dict[str, Any]) -> None:
    assert set(EACH) == set(ConstraintsIn().get_fields())
    owners = {"providers": [build.bob().organization.slug], "exclude_providers": [build.mallory().organization.slug]}
    for name, value in (EACH | owners).items():
        answer = submit(alice, body | {"constraints": {name: value}})
        assert answer.status_code == 201, (name, answer.json())
        expand_task(answer.json()["id"])
        assert alice.post("/api/v1/quotes", body | {"constraints": {name: value}}).json()["feasible"] == 1, name
    run_round()
    assert set(Unit.objects.values_list("state", flat=True)) == {"placed"}


def test_the_same_key_and_body_is_the_same_task(alice: Any, body: dict[str, Any]) -> None:
    first, again = submit(alice, body, "k1"), submit(alice, body, "k1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert Task.objects.count() == 1
    assert submit(alice, body).json()["id"] != submit(alice, body).json()["id"]


def test_the_same_key_with_another_body_is_refused(alice: Any, body: dict[str, Any]) -> None:
    submit(alice, body, "k1")
    with nothing_written():
        answer = submit(alice, body | {"inputs": {"count": 4}}, "k1")
    assert problem_of(answer) == (422, "idempotency_mismatch", "Idempotency-Key")


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_has_bounds(alice: Any, body: dict[str, Any], key: str) -> None:
    with nothing_written():
        assert problem_of(submit(alice, body, key)) == (422, "invalid_idempotency_key", "Idempotency-Key")


def test_keys_of_two_organizations_do_not_meet(alice: Any, body: dict[str, Any]) -> None:
    mallory = build.client_of(build.mallory())
    assert [submit(one, body, "k1").status_code for one in (alice, mallory)] == [201, 201]


def test_a_replay_is_answered_though_the_market_has_changed(alice: Any, body: dict[str, Any]) -> None:
    first = submit(alice, body, "k1").json()
    withdraw(Task.objects.get().capability_version)
    again = submit(alice, body, "k1")
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert problem_of(submit(alice, body, "k2")) == (422, "unknown_capability", "capability")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("bodies", ["the same", "two"])
def test_of_two_requests_at_once_one_makes_the_task(
    body: dict[str, Any], bodies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, save, both = build.a_key(build.alice()), submitting.save_task, threading.Barrier(2)
    answers: list[Any] = []

    def save_when_both_are_here(draft: Any) -> Task:
        both.wait(20)  # each has looked for the key and found none
        return save(draft)

    def ask(count: int) -> None:
        client = build.client_of(None)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        answers.append(submit(client, body | {"inputs": {"count": count}}, "k1"))
        connection.close()

    monkeypatch.setattr(submitting, "save_task", save_when_both_are_here)
    threads = [threading.Thread(target=ask, args=[1 if bodies == "the same" else n]) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Task.objects.count() == 1
    assert sorted(answer.status_code for answer in answers) == ([200, 201] if bodies == "the same" else [201, 422])
    if bodies == "the same":
        assert len({answer.json()["id"] for answer in answers}) == 1


HOUR_AGO = "2020-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"capability": None}, "invalid_input", "capability"),
        ({"capability": "no slash"}, "invalid_input", "capability"),
        ({"capability": "carols-programs/unheard-of"}, "unknown_capability", "capability"),
        ({"capability": "carols-programs/draft"}, "unknown_capability", "capability"),
        ({"inputs": "text"}, "invalid_input", "inputs"),
        ({"inputs": {"count": 0}}, "invalid_inputs", "inputs.count"),
        ({"inputs": {"count": 1.5}}, "invalid_inputs", "inputs.count"),
        ({"inputs": {"count": 10**30}}, "invalid_inputs", "inputs.count"),
        ({"inputs": {"colour": "red"}}, "invalid_inputs", "inputs.colour"),
        ({"objective": "best"}, "invalid_input", "objective"),
        ({"deadline": HOUR_AGO}, "deadline_in_the_past", "deadline"),
        ({"deadline": "tomorrow"}, "invalid_input", "deadline"),
        ({"deadline": "9999-12-31T23:59:59Z"}, "invalid_input", "deadline"),
        ({"name": "n" * 201}, "invalid_input", "name"),
        ({"name": "a\x00b"}, "invalid_text", None),
        ({"labels": {"": "x"}}, "invalid_input", "labels"),
        ({"labels": {"a": {}}}, "invalid_input", "labels.a"),
        ({"labels": {str(n): "" for n in range(33)}}, "invalid_input", "labels"),
        ({"priority": 1}, "invalid_input", "priority"),
        ({"constraints": {"max_prize": "1"}}, "invalid_input", "constraints.max_prize"),
        ({"constraints": {"max_price": "-1"}}, "invalid_input", "constraints.max_price"),
        ({"constraints": {"max_price": "NaN"}}, "invalid_input", "constraints.max_price"),
        ({"constraints": {"max_price": "0.000001"}}, "price_cap_below_offers", "constraints.max_price"),
        ({"constraints": {"regions": ["atlantis"]}}, "unknown_region", "constraints.regions"),
        ({"constraints": {"regions": ["beijing"]}}, "region_without_pool", "constraints.regions"),
        ({"constraints": {"providers": ["nobody"]}}, "unknown_provider", "constraints.providers"),
        ({"constraints": {"providers": ["acme"]}}, "unknown_provider", "constraints.providers"),
        ({"constraints": {"providers": ["mallorys"]}}, "provider_without_pool", "constraints.providers"),
        ({"constraints": {"exclude_providers": ["bobs-pools"]}}, "provider_without_pool", "constraints.providers"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    alice: Any, body: dict[str, Any], change: dict[str, Any], code: str, field: str | None
) -> None:
    build.mallory()
    a_version(name="draft", state="draft")
    with nothing_written():
        for url in (URL, "/api/v1/quotes") if code in {"invalid_input", "invalid_inputs"} else (URL,):
            assert problem_of(alice.post(url, body | change)) == (422, code, field)


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "parse_error"),
        (b'{"inputs": NaN}', "application/json", 400, "parse_error"),
        (b"\xff", "application/json", 400, "parse_error"),
        (b"[" * 100_000, "application/json", 400, "parse_error"),
        (b"[]", "application/json", 422, "invalid_input"),
        (b"", "application/json", 422, "invalid_input"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_what_is_no_json_object_is_refused(alice: Any, raw: bytes, content_type: str, status: int, code: str) -> None:
    with nothing_written():
        answer = alice.generic("POST", URL, raw, content_type=content_type)
        assert problem_of(answer)[:2] == (status, code)


def test_a_body_beyond_every_bound_is_refused(alice: Any, body: dict[str, Any], settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
    with nothing_written():
        answer = submit(alice, body | {"labels": {"a": "x" * 10_000}})
    assert problem_of(answer) == (413, "body_too_large", None)


@pytest.mark.parametrize("whose", ["nobody's", "mallory's", "a deleted one"])
def test_an_artifact_that_is_not_there_names_the_input(alice: Any, body: dict[str, Any], whose: str) -> None:
    owner = build.mallory() if whose == "mallory's" else build.alice()
    artifact = capabilities.an_artifact(owner, b"scene")
    identity = str(artifact.pk) if whose != "nobody's" else "0" * 8 + "-0000" * 3 + "-" + "0" * 12
    if whose == "a deleted one":
        alice.delete(f"/api/v1/artifacts/{artifact.pk}")
    asked = {"capability": str(capabilities.a_version(**ONE_UNIT)), "inputs": {"scene": identity}}
    with nothing_written():
        assert problem_of(submit(alice, asked)) == (422, "unknown_artifact", "inputs.scene")


def test_two_files_that_would_be_one_are_refused(alice: Any, body: dict[str, Any]) -> None:
    files = [str(capabilities.an_artifact(build.alice(), data, "a.obj").pk) for data in (b"1", b"2")]
    asked = {"capability": str(capabilities.a_version(**ONE_UNIT)), "inputs": {"files": files}}
    with nothing_written():
        assert problem_of(submit(alice, asked)) == (422, "same_name_twice", "inputs.files")


def test_a_machine_that_nobody_has_is_refused_with_the_pools_counted(alice: Any, body: dict[str, Any]) -> None:
    asked = {"capability": str(a_version(resources={"cores": 64, "memory_mib": 64, "disk_mib": 64}))}
    with nothing_written():
        answer = submit(alice, asked)
    assert problem_of(answer) == (422, "no_pool_fits", "capability")
    assert answer.json()["excluded"] == {"cores": 1}
    quote = alice.post("/api/v1/quotes", asked).json()
    assert (quote["feasible"], quote["excluded"], quote["cheapest"], quote["fastest"]) == (0, {"cores": 1}, None, None)


def test_only_users_in_good_standing_who_may_write_submit(body: dict[str, Any]) -> None:
    viewer, bob = build.client_of(build.alice("viewer")), build.client_of(build.bob())
    with nothing_written():
        assert problem_of(submit(viewer, body))[:2] == (403, "scope_missing")
        assert problem_of(submit(bob, body))[:2] == (403, "not_a_user")
    alice = build.client_of(build.alice())
    Organization.objects.filter(slug="acme").update(suspended_at=timezone.now())
    with nothing_written():
        assert problem_of(submit(alice, body))[:2] == (403, "organization_suspended")


def test_a_quote_writes_nothing_and_is_what_submitting_costs(alice: Any) -> None:
    cheap = build.a_pool(basis="result", rates={"result": "0.25"})
    build.a_pool(basis="result", rates={"result": "0.75"}, region="beijing")
    version = a_version(fee={"per_unit": "0.05", "per_task": "1"})
    asked = {"capability": str(version), "inputs": {"count": 4}}
    with nothing_written():
        quote = alice.post("/api/v1/quotes", asked).json()
    assert (quote["units"], quote["tflop"], quote["feasible"]) == (4, "0.004", 2)
    assert Decimal(quote["cheapest"]["price"]) == 4 * Decimal("0.30") + 1
    assert quote["cheapest"]["pools"] == [{"pool": cheap.identifier, "region": "ningxia", "units": 4}]

    task = Task.objects.get(pk=submit(alice, asked).json()["id"])
    expand_task(task.pk)
    run_to_end(task, FakeAgent.of(cheap))
    measure()
    charge_task(task.pk)
    cost = alice.get(f"{URL}/{task.pk}").json()["cost"]
    assert cost == {"amount": quote["cheapest"]["price"], "currency": "CNY", "final": True}


def test_an_input_may_be_another_tasks_result_and_the_answer_says_that_it_waits(alice: Any, body: dict[str, Any]) -> None:
    needed = submit(alice, body).json()["id"]
    inputs = {"files": [{"task": needed, "path": "**/*.txt"}]}
    taker = {"capability": str(a_version(inputs=FILES, split={"by": "files", "over": "files"}, tests=[])), "inputs": inputs}
    first = submit(alice, taker, "once")
    assert first.status_code == 201
    assert submit(alice, taker, "once").json() == first.json()
    task = first.json()
    assert (task["state"], task["inputs"]) == ("queued", inputs)
    told = alice.get(f"{URL}/{task['id']}/explain").json()
    assert told["waiting"]["reason"] == "waiting_for_task"
    assert told["prediction"] is None


def test_a_strangers_task_is_no_input_and_nothing_is_written(alice: Any, body: dict[str, Any]) -> None:
    theirs = submit(build.client_of(build.mallory()), body).json()["id"]
    version = a_version(inputs=FILES, split={"by": "range", "stop": "1"}, tests=[])
    with nothing_written():
        answer = submit(alice, {"capability": str(version), "inputs": {"scene": {"task": theirs}}})
    assert problem_of(answer) == (422, "unknown_task", "inputs.scene.task")
