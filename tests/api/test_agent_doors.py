"""What an agent may not say at its doors: stale fences, others' attempts, odd counters, paths that lead elsewhere."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from marketplace.models import Agent, Pool, Task
from marketplace.stages import VALIDATES
from metering.models import UsageRecord
from metering.services import measure
from scheduler.models import Attempt, Unit
from scheduler.services.advancing import advance_task
from scheduler.services.expiring import expire_leases
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from tests import builders as build
from tests.builders_capabilities import a_version as a_version_with_files
from tests.builders_capabilities import an_artifact, sha256_of
from tests.builders_http import HttpAgent, nothing_written, problem_of, row_counts
from tests.builders_tasks import a_task, a_version
from tests.builders_trust import RIGHT, a_checked_version, agents_of, output_of, owners_pools

pytestmark = pytest.mark.usefixtures("agent_door")
DATA = b"an output"
OUTPUT = {"path": "out/a.txt", "bytes": len(DATA), "sha256": sha256_of(DATA), "media_type": "text/plain"}


@pytest.fixture
def pool() -> Pool:
    return build.a_pool()


def at_work(pool: Pool, *, count: int = 1, **version: Any) -> tuple[HttpAgent, Task]:
    """An agent that holds every unit of a task."""
    task = a_task(version=a_version(**version), inputs={"count": count})
    run_round()
    agent = HttpAgent.of(pool)
    assert len(agent.sync(want=count).json()["leases"]) == count
    return agent, task


def the_lease(agent: HttpAgent) -> tuple[int, int]:
    ((attempt, fence),) = agent.held.items()
    return attempt, fence


def test_work_is_handed_out_renewed_and_settled(pool: Pool) -> None:
    agent, task = at_work(pool, count=2)
    assert agent.sync().json()["leases"] == []
    assert Attempt.objects.filter(state="running").count() == 2
    answer = agent.done().json()
    assert (answer["accepted"], answer["refused"], answer["stop"]) == (1, [], [])
    advance_task(task.pk)
    task.refresh_from_db()
    assert task.state == "delivered"


def test_a_batch_whose_answer_was_lost_is_answered_again_and_counts_once(pool: Pool) -> None:
    agent, task = at_work(pool)
    attempt, fence = the_lease(agent)
    batch = agent.batch({"attempt": attempt, "fence": fence, "outcome": "done"})
    agent.held.clear()
    first = agent.sync(reports=batch).json()
    before = row_counts()
    again = agent.sync(reports=batch).json()
    assert first["accepted"] == again["accepted"] == 1
    assert row_counts() == before
    task.refresh_from_db()
    assert task.units_done == 1


def test_a_lease_whose_answer_was_lost_is_given_again(pool: Pool) -> None:
    agent, _ = at_work(pool)
    lease = the_lease(agent)
    agent.held.clear()
    (given,) = agent.sync().json()["leases"]
    assert tuple(given[:2]) == lease


@pytest.mark.parametrize("change", [{"fence": 2}, {"fence": 0}, {"attempt": 10**15}])
def test_a_report_with_a_stale_fence_is_refused_and_changes_nothing(pool: Pool, change: dict[str, int]) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    report = {"attempt": attempt, "fence": fence, "outcome": "done"} | change
    answer = agent.sync(reports=agent.batch(report)).json()
    assert answer["refused"] == [[report["attempt"], report["fence"], "stale_lease"]]
    assert Attempt.objects.get().state == "running"
    assert Unit.objects.get().state == "leased"


def test_a_report_after_the_lease_has_run_out_is_refused(pool: Pool) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    Agent.objects.update(lease_until="2020-01-01T00:00:00Z")
    expire_leases()
    assert agent.sync(phase="running").json()["stop"] == [[attempt, fence, "stale_lease"]]
    assert agent.done().json()["refused"] == [[attempt, fence, "stale_lease"]]
    assert Attempt.objects.get(pk=attempt).state == "lost"


def test_a_report_for_another_pools_attempt_is_refused(pool: Pool) -> None:
    agent, task = at_work(pool)
    thief = HttpAgent.of(build.a_pool(build.mallory()))
    attempt, fence = the_lease(agent)
    answer = thief.report({"attempt": attempt, "fence": fence, "outcome": "done"}).json()
    assert answer["refused"] == [[attempt, fence, "stale_lease"]]
    chunk = {"attempt": attempt, "fence": fence, "stream": "stdout", "offset": 0, "data": "aGk="}
    assert thief.logs(chunk).json() == {"acked": []}
    for method in ("GET", "HEAD", "PUT"):
        answer = thief.blob(method, attempt, fence, sha256_of(DATA), DATA if method == "PUT" else b"")
        assert answer.status_code == 409, method
    assert Attempt.objects.get().state == "leased"
    task.refresh_from_db()
    assert task.units_done == 0


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"attempt": -1}, "invalid_number", "reports.items.0.attempt"),
        ({"attempt": 1.5}, "invalid_number", "reports.items.0.attempt"),
        ({"attempt": True}, "invalid_number", "reports.items.0.attempt"),
        ({"attempt": 2**63}, "invalid_number", "reports.items.0.attempt"),
        ({"fence": "1"}, "invalid_number", "reports.items.0.fence"),
        ({"fence": 2**31}, "invalid_number", "reports.items.0.fence"),
        ({"outcome": "brilliant"}, "invalid_outcome", "reports.items.0.outcome"),
    ],
)
def test_a_report_that_makes_no_sense_is_named_and_nothing_of_its_batch_is_kept(
    pool: Pool, change: dict[str, Any], code: str, field: str
) -> None:
    agent, _ = at_work(pool, count=2)
    good, bad = ({"attempt": a, "fence": f, "outcome": "done"} for a, f in agent.held.items())
    with nothing_written():
        answer = agent.sync(reports=agent.batch(bad | change, good))
    assert problem_of(answer) == (422, code, field)
    assert Attempt.objects.filter(ended_at=None).count() == 2


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"digest": "0" * 64}, 422, "invalid_digest", "reports.digest"),
        ({"signature": base64.b64encode(b"0" * 64).decode()}, 422, "invalid_signature", "reports.signature"),
        ({"signature": "no base64"}, 422, "invalid_signature", "reports.signature"),
        ({"seq": 3}, 409, "broken_chain", None),
        ({"prev": "0" * 64}, 409, "broken_chain", None),
        ({"seq": -1}, 422, "invalid_number", "reports.seq"),
        ({"items": {}}, 422, "invalid_reports", "reports"),
        ({"items": [1]}, 422, "invalid_digest", "reports.digest"),
        ({"digest": None}, 422, "invalid_reports", "reports"),
    ],
)
def test_a_batch_that_does_not_hold_is_refused(
    pool: Pool, change: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    with nothing_written():
        answer = agent.sync(reports=agent.batch({"attempt": attempt, "fence": fence, "outcome": "done"}) | change)
    assert problem_of(answer) == (status, code, field)
    assert Attempt.objects.get().state in {"leased", "running"}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"session": "mine"}, "invalid_session", "session"),
        ({"want": -1}, "invalid_want", "want"),
        ({"want": 10**9}, "invalid_want", "want"),
        ({"want": True}, "invalid_want", "want"),
        ({"wait_s": -1}, "invalid_wait", "wait_s"),
        ({"wait_s": "long"}, "invalid_wait", "wait_s"),
        ({"executors": "all"}, "invalid_executors", "executors"),
        ({"executors": [1]}, "invalid_executors", "executors"),
        ({"held": {}}, "invalid_held", "held"),
        ({"held": [[1]]}, "invalid_held", "held.0"),
        ({"held": [[1, -1, "running"]]}, "invalid_held", "held.0"),
        ({"held": [[2**63, 1, "running"]]}, "invalid_held", "held.0"),
        ({"held": [[1, 1, "sleeping"]]}, "invalid_phase", "held.0"),
        ({"held": [[1, 1, ["running"]]]}, "invalid_phase", "held.0"),
    ],
)
def test_a_sync_that_makes_no_sense_names_the_field(pool: Pool, change: dict[str, Any], code: str, field: str) -> None:
    agent = HttpAgent.of(pool)
    with nothing_written():
        assert problem_of(agent.sync(**change)) == (422, code, field)


@pytest.mark.parametrize("body", [[], "text", 1, None])
@pytest.mark.parametrize("door", ["sync", "selftest", "logs"])
def test_a_body_that_is_no_object_is_refused(pool: Pool, door: str, body: Any) -> None:
    agent = HttpAgent.of(pool)
    with nothing_written():
        assert problem_of(agent.post(f"/agent/v1/{door}", body)) == (422, "invalid_body", None)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"NaN"])
@pytest.mark.parametrize("door", ["enrol", "sync", "selftest", "logs"])
def test_a_body_that_is_no_json_is_refused(pool: Pool, door: str, raw: bytes) -> None:
    agent = HttpAgent.of(pool)
    with nothing_written():
        assert problem_of(agent.send(f"/agent/v1/{door}", raw)) == (400, "parse_error", None)


def away(*_: Any) -> Any:
    """What every statement meets while PostgreSQL restarts."""
    raise OperationalError("the connection is lost")


@pytest.mark.parametrize("door", ["sync", "selftest", "logs", "probe", "checkpoints"])
def test_while_the_database_is_away_an_agent_is_told_to_ask_again(pool: Pool, door: str) -> None:
    agent = HttpAgent.of(pool)
    with connection.execute_wrapper(away):
        answer = agent.post(f"/agent/v1/{door}", {})
    assert (problem_of(answer), answer["Retry-After"]) == ((503, "database_away", None), "1")


def test_while_the_database_is_away_a_file_can_be_asked_for_again(pool: Pool) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    with connection.execute_wrapper(away):
        assert problem_of(agent.blob("PUT", attempt, fence, sha256_of(DATA), DATA))[:2] == (503, "database_away")


ABSURD = [-1, 2**62, 1e300, "many", True, None, [], {"a": 1}]


@pytest.mark.parametrize("value", ABSURD, ids=str)
def test_absurd_counters_do_no_harm_and_are_never_billed(pool: Pool, value: Any) -> None:
    agent, task = at_work(pool)
    names = ("wall_ms", "core_ms", "memory_mib_ms", "bytes_in", "bytes_out", "prepare_ms", "peak_memory_mib")
    attempt, fence = the_lease(agent)
    usage = dict.fromkeys(names, value) | {"accelerator_ms": {"a100": value}}
    answer = agent.report({"attempt": attempt, "fence": fence, "outcome": "done", "usage": usage, "exit_code": value})
    assert (answer.status_code, answer.json()["refused"]) == (200, [])
    advance_task(task.pk)
    measure()
    record = UsageRecord.objects.get()
    ended = Attempt.objects.get()
    assert ended.ended_at is not None
    held_ms = (ended.ended_at - ended.leased_at).total_seconds() * 1000 + 1
    assert 0 <= record.wall_ms <= held_ms
    assert 0 <= record.core_ms <= held_ms * pool.cores
    assert record.bytes_in >= 0
    assert record.bytes_out >= 0


@pytest.mark.parametrize(
    "path",
    [
        "../a.txt",
        "/etc/passwd",
        "out/../../a.txt",
        "out//a.txt",
        "out/./a.txt",
        "out\\..\\a.txt",
        "out/a\x00.txt",
        "",
        7,
        "x" * 301,
    ],
)
def test_an_output_that_leads_elsewhere_spoils_its_own_attempt_only(pool: Pool, path: Any) -> None:
    agent, _ = at_work(pool, count=2, outputs=[{"path": "out/*.txt"}])
    (bad, bad_fence), (good, good_fence) = agent.held.items()
    assert agent.put(good, DATA).status_code == 201
    items = [
        {"attempt": bad, "fence": bad_fence, "outcome": "done", "outputs": [OUTPUT | {"path": path}]},
        {"attempt": good, "fence": good_fence, "outcome": "done", "outputs": [OUTPUT]},
    ]
    answer = agent.report(*items)
    if isinstance(path, str) and "\x00" in path:
        assert problem_of(answer)[:2] == (422, "invalid_text")
        return
    assert answer.json()["refused"] == []
    spoilt = Attempt.objects.get(pk=bad)
    assert (spoilt.state, spoilt.reason_class, spoilt.code) == ("failed", "invalid_result", "unsafe_path")
    assert Attempt.objects.get(pk=good).state == "valid"


def test_a_glob_that_matches_nothing_is_no_result(pool: Pool) -> None:
    agent, _ = at_work(pool, outputs=[{"path": "out/*.png"}])
    attempt, _ = the_lease(agent)
    agent.put(attempt, DATA)
    agent.done([OUTPUT])
    ended = Attempt.objects.get(pk=attempt)
    assert (ended.state, ended.reason_class, ended.code) == ("failed", "invalid_result", "outputs_missing")


def test_an_output_that_was_never_uploaded_is_the_machines_fault(pool: Pool) -> None:
    agent, _ = at_work(pool, outputs=[{"path": "out/*.txt"}])
    attempt, _ = the_lease(agent)
    agent.done([OUTPUT | {"sha256": "0" * 64}])
    ended = Attempt.objects.get(pk=attempt)
    assert (ended.state, ended.reason_class, ended.code) == ("failed", "node_fault", "upload_failed")


def test_an_agent_reads_its_inputs_and_no_other_blob(pool: Pool) -> None:
    scene, secret = an_artifact(build.alice(), b"scene"), an_artifact(build.alice(), b"secret")
    files = {"type": "object", "properties": {"scene": {"type": "string", "format": "artifact"}}}
    version = a_version_with_files(split=None, inputs=files, demand={"tflop": "1"}, trusted=True)
    a_task(version=version, inputs={"scene": str(scene.pk)})
    run_round()
    agent = HttpAgent.of(pool)
    agent.sync(want=1)
    attempt, fence = the_lease(agent)
    read = agent.blob("GET", attempt, fence, scene.blob_id)
    assert (read.status_code, b"".join(read.streaming_content)) == (200, b"scene")
    part = agent.blob("GET", attempt, fence, scene.blob_id, Range="bytes=1-2")
    assert (part.status_code, b"".join(part.streaming_content)) == (206, b"ce")
    assert problem_of(agent.blob("GET", attempt, fence, secret.blob_id)) == (404, "not_found", None)
    assert problem_of(agent.blob("GET", attempt, fence + 1, scene.blob_id)) == (409, "stale_lease", None)
    for odd in ("..", "x" * 64, "A" * 64, "%2e%2e%2fsecret"):
        assert agent.blob("GET", attempt, fence, odd).status_code in {404, 422}, odd


def test_an_upload_goes_on_where_it_was_cut_and_keeps_no_other_bytes(pool: Pool) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    place = attempt, fence, sha256_of(DATA)
    assert agent.blob("PUT", *place, DATA[:4], **{"Content-Range": "bytes 0-3/9"}).status_code == 202
    told = agent.blob("HEAD", *place)
    assert (told["Upload-Offset"], told["Upload-Complete"]) == ("4", "?0")
    wrong = agent.blob("PUT", *place, DATA[6:], **{"Content-Range": "bytes 6-8/9"})
    assert (problem_of(wrong)[:2], wrong["Upload-Offset"]) == ((409, "offset_mismatch"), "4")
    other = agent.blob("PUT", attempt, fence, "0" * 64, b"other bytes")
    assert problem_of(other)[:2] == (422, "hash_mismatch")
    assert agent.blob("PUT", *place, DATA[4:], **{"Content-Range": "bytes 4-8/9"}).status_code == 201
    assert agent.blob("HEAD", *place)["Upload-Complete"] == "?1"
    assert agent.put(attempt, DATA).status_code == 200


@pytest.mark.parametrize("name", ["", "n" * 300, None, 5, {"a": 1}])
def test_an_odd_enrolment_leaves_the_token_unused(name: Any) -> None:
    pool = build.a_pool(state="registered")
    token = build.a_join_token(pool)
    agent = HttpAgent("new")
    answer = agent.enrol(token, name=name)
    if answer.status_code != 201:
        assert problem_of(answer)[:2] == (422, "enrolment_invalid")
        assert agent.enrol(token).status_code == 201
    assert Agent.objects.filter(pool=pool, retired_at=None).count() == 1


@pytest.mark.parametrize(("minutes", "uses", "code"), [(15, 2, "token_used"), (-1, 1, "token_expired")])
def test_a_join_token_is_good_once_and_for_a_while(minutes: int, uses: int, code: str) -> None:
    token = build.a_join_token(build.a_pool(state="registered"), minutes=minutes)
    for number in range(uses - 1):
        assert HttpAgent(f"agent {number}").enrol(token).status_code == 201
    with nothing_written():
        assert problem_of(HttpAgent("the last").enrol(token)) == (403, code, "token")


@pytest.mark.parametrize(
    "chunk",
    [
        {"attempt": -1},
        {"fence": "x"},
        {"stream": "stdin"},
        {"stream": ["stdout"]},
        {"offset": -1},
        {"offset": 2**63},
        {"data": "no base64!"},
        {"data": 7},
    ],
)
def test_a_log_chunk_that_makes_no_sense_is_named(pool: Pool, chunk: dict[str, Any]) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    good = {"attempt": attempt, "fence": fence, "stream": "stdout", "offset": 0, "data": "aGk="}
    with nothing_written():
        assert problem_of(agent.logs(good, good | chunk)) == (422, "invalid_chunk", "chunks.1")
    with nothing_written():
        assert problem_of(agent.post("/agent/v1/logs", {"chunks": {}})) == (422, "invalid_chunks", "chunks")


def test_a_validator_reads_the_results_that_it_judges_and_no_others() -> None:
    pools = owners_pools("bob", "erin")
    validator = {"validator": {"run": ["python", "{program}/check.py"]}}
    a_task(version=a_checked_version(validator), inputs={"count": 2})
    agents = agents_of(pools)
    run_round()
    first = next(name for name, agent in agents.items() if agent.beat(want=1).leased)
    agents[first].done(outputs=[output_of(RIGHT)])
    judge_units()
    run_round()
    (other,) = set(pools) - {first}
    judge = HttpAgent.of(pools[other])
    leases = judge.sync(want=5).json()["leases"]
    (lease,) = [lease for lease in leases if lease[2].endswith(f":{VALIDATES}")]
    (file,) = lease[5]
    assert file["path"] == "in/results/0/numbers.csv"
    assert b"".join(judge.blob("GET", lease[0], lease[1], file["sha256"]).streaming_content) == RIGHT
    foreign = output_of(b"somebody else's")["sha256"]
    assert problem_of(judge.blob("GET", lease[0], lease[1], foreign))[:2] == (404, "not_found")
    for unit in (lease for lease in leases if lease[2].endswith(":0")):
        assert judge.blob("GET", unit[0], unit[1], file["sha256"]).status_code == 404


@pytest.mark.parametrize("door", ["enrol", "selftest", "sync", "logs", "probe", "checkpoints"])
def test_an_agent_needs_no_cookie_and_doors_know_no_other_method(door: str) -> None:
    """Agents sign what they send: the browser's protection does not stand in their way."""
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post(f"/agent/v1/{door}", b"{}", content_type="application/json")
    assert answer["Content-Type"] == "application/problem+json"
    assert strict.get(f"/agent/v1/{door}").status_code == 405


def test_a_method_that_a_door_does_not_know_is_told(pool: Pool) -> None:
    agent, _ = at_work(pool)
    attempt, fence = the_lease(agent)
    for path in ("enrol", "selftest", "sync", "logs"):
        answer = agent.client.get(f"/agent/v1/{path}")
        assert problem_of(answer) == (405, "method_not_allowed", None), path
        assert answer["Allow"] == "POST"
    answer = agent.blob("DELETE", attempt, fence, "0" * 64)
    assert problem_of(answer) == (405, "method_not_allowed", None)
    assert answer["Allow"] == "GET, HEAD, PUT"


def test_a_body_beyond_every_bound_is_refused(pool: Pool, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    agent = HttpAgent.of(pool)
    for path in ("enrol", "selftest", "sync", "logs"):
        answer = agent.post(f"/agent/v1/{path}", {"x": "y" * 1000})
        assert problem_of(answer) == (413, "body_too_large", None), path
