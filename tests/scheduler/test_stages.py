"""Stages after stages: each begins when the one before is done, and finds what it left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marketplace import storage
from marketplace.models import CapabilityVersion, Task
from metering.models import UsageRecord
from metering.services import measure
from scheduler.models import Unit
from scheduler.queries import units_page
from scheduler.services import expanding
from scheduler.services.advancing import advance_task
from scheduler.services.drafting import Asker, Request
from scheduler.services.expanding import expand_task, need_of
from scheduler.services.expiring import sweep
from scheduler.services.explaining import explain_task
from scheduler.services.logs import read_logs
from scheduler.services.placing import run_round
from scheduler.services.quoting import quote_task
from scheduler.sql import rows
from scheduler.stores import store_bytes
from tests.builders import a_pool, alice
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of

pytestmark = pytest.mark.django_db


def a_stage(name: str, **parts: Any) -> dict[str, Any]:
    return {"name": name, "run": [name], "outputs": [{"path": "*.txt"}], **parts}


def a_film(**changes: Any) -> CapabilityVersion:
    """Frames, of which each four are denoised together, dealt in two parts, and put together."""
    stages = [
        a_stage("denoise", split={"by": "units", "over": "unit", "chunk": "4"}),
        a_stage("grade", split={"by": "parts", "over": "unit", "parts": "2"}),
        a_stage("film"),
    ]
    return a_version(**{"stages": stages, "outputs": [{"path": "*.txt"}]} | changes)


class Run:
    """A task and an agent that leaves one file for each unit, `<stage>-<index>.txt`."""

    def __init__(self, version: CapabilityVersion, count: int) -> None:
        self.agent = FakeAgent.of(a_pool(cores=64))
        self.task = a_task(version=version, inputs={"count": count})

    def lease(self) -> dict[str, Any]:
        """What the agent is told of everything that can run now."""
        run_round()
        return self.agent.beat(want=999).document()

    def finish(self, document: dict[str, Any]) -> None:
        reports = []
        for attempt, fence, spec, index, _, _ in document["leases"]:
            name = f"{document['specs'][spec]['stage']}-{index}.txt"
            store_bytes(name.encode())
            output = {"path": name, "sha256": sha_of(name.encode()), "media_type": "text/plain"}
            usage = {"wall_ms": 10, "core_ms": 10}
            reports.append({"attempt": attempt, "fence": fence, "outcome": "done", "usage": usage, "outputs": [output]})
        self.agent.report(*reports)

    def step(self) -> str | None:
        state = advance_task(self.task.pk)
        expand_task(self.task.pk)
        return state

    def stage(self) -> dict[str, Any]:
        document = self.lease()
        self.finish(document)
        self.step()
        return document


def files_of(document: dict[str, Any]) -> list[list[str]]:
    return [[file["path"] for file in files or ()] for *_, files in document["leases"]]


def result_of(task: Task) -> list[str]:
    task = Task.objects.select_related("result").get(pk=task.pk)
    return [file["path"] for file in json.loads(storage.read_bytes(task.result.manifest_id, 10**6))["files"]]


def test_each_stage_begins_when_the_one_before_is_done_and_finds_what_it_left() -> None:
    run = Run(a_film(), 6)
    assert (run.task.units_total, run.task.units_open, run.task.units_expanded) == (11, 6, 6)
    run.stage()

    denoise = run.lease()
    (spec,) = denoise["specs"].values()
    assert (spec["stage"], spec["total"], spec["run"], spec["files"]) == ("denoise", 2, ["denoise"], [])
    assert [params for *_, params, _ in denoise["leases"]] == [{"start": 0, "stop": 4}, {"start": 4, "stop": 6}]
    assert files_of(denoise) == [[f"in/units/{n:06d}/unit-{n}.txt" for n in part] for part in ((0, 1, 2, 3), (4, 5))]
    run.finish(denoise)
    run.step()

    grade = run.stage()
    assert files_of(grade) == [[f"in/units/{n:06d}/unit-{n}.txt" for n in part] for part in ((0, 2, 4), (1, 3, 5))]

    film = run.lease()
    (spec,) = film["specs"].values()
    paths = [file["path"] for file in spec["files"]]
    assert paths == ["in/units.json", "in/units/000000/grade-0.txt", "in/units/000001/grade-1.txt"]
    index = json.loads(storage.read_bytes(spec["files"][0]["sha256"], 10**6))
    assert index[1] == {"index": 1, "params": {"part": 1, "parts": 2}, "files": ["grade-1.txt"]}
    run.finish(film)
    assert run.step() == "delivered"
    assert result_of(run.task) == ["film-0.txt"]


def test_a_stage_does_not_begin_while_a_unit_of_the_one_before_is_not_done() -> None:
    run = Run(a_film(), 6)
    document = run.lease()
    run.finish(document | {"leases": document["leases"][:-1]})
    run.step()
    assert Unit.objects.filter(task=run.task, stage=1).count() == 0
    assert sweep() == {"expand": [], "advance": []}


def test_without_a_wake_the_sweep_opens_the_next_stage() -> None:
    run = Run(a_film(), 6)
    run.finish(run.lease())
    assert sweep()["advance"] == [run.task.pk]
    advance_task(run.task.pk)
    assert sweep() == {"expand": [run.task.pk], "advance": []}


def test_two_who_open_a_stage_open_it_once() -> None:
    run = Run(a_film(), 6)
    run.finish(run.lease())
    run.step()
    run.step()
    assert Unit.objects.filter(task=run.task, stage=1).count() == 2
    assert run.task.events.filter(kind="task.stage").count() == 1


def test_stages_that_are_kept_stand_in_the_result_below_their_names() -> None:
    stages = [
        a_stage("denoise", split={"by": "units", "over": "unit", "chunk": "2"}, keep=True),
        a_stage("film", split={"by": "parts", "over": "denoise", "parts": "2"}),
    ]
    run = Run(a_film(stages=stages, keep_units=True), 3)
    for _ in range(3):
        run.stage()
    assert sorted(result_of(run.task)) == [
        "denoise/000000/denoise-0.txt", "denoise/000001/denoise-1.txt", "film/000000/film-0.txt", "film/000001/film-1.txt",
        "units/000000/unit-0.txt", "units/000001/unit-1.txt", "units/000002/unit-2.txt",
    ]  # fmt: skip


def test_a_unit_that_fails_for_good_is_told_by_its_stages_name() -> None:
    run = Run(a_film(), 4)
    run.stage()
    run_round()
    run.agent.beat(want=9)
    run.agent.failed("capability_error", detail="no light")
    assert advance_task(run.task.pk) == "failed"
    run.task.refresh_from_db()
    assert run.task.reason == "denoise 0: no light"


def test_pages_and_logs_name_the_stages() -> None:
    run = Run(a_film(), 4)
    run.stage()
    run_round()
    assert {(row["stage"], row["part"]) for row in explain_task(run.task)["where"]} == {(0, "unit"), (1, "denoise")}
    listed = units_page(run.task, after=0, limit=99)
    assert (listed[-1]["stage"], listed[-1]["params"]) == ("denoise", {"start": 0, "stop": 4})
    assert read_logs(run.task.pk, after=0, limit=9, names=["unit", "denoise"])["chunks"] == []


def test_usage_knows_its_stage_so_that_the_fee_of_a_unit_is_for_the_first_stage_only() -> None:
    run = Run(a_film(), 4)
    for _ in range(4):
        run.stage()
    measure()
    stages = UsageRecord.objects.filter(task_id=run.task.pk).order_by("attempt_id").values_list("stage", flat=True)
    assert list(stages) == [0, 0, 0, 0, 1, 2, 2, 3]


def test_a_quote_counts_all_stages() -> None:
    a_pool()
    slow = {"demand": {"tflop": "0.125"}}
    quick = quote_task(Asker(alice().organization), Request(str(a_version(**slow)), {"count": 1})).options["fastest"]
    stages = [a_stage("again", split={"by": "units", "over": "unit"}, **slow), a_stage("more", **slow)]
    both = quote_task(Asker(alice().organization), Request(str(a_version(stages=stages, **slow)), {"count": 1})).options["fastest"]
    assert quick is not None
    assert both is not None
    assert both["seconds"] == pytest.approx(3 * quick["seconds"], rel=0.01)


def test_a_stage_reads_what_the_one_before_is_likely_to_leave() -> None:
    a_pool()
    demand = {"tflop": "1", "bytes_out": 1_000}
    task = a_task(version=a_film(demand=demand), inputs={"count": 8})
    assert [need_of(task, stage=n, inputs=[("0" * 64, 5)])["bytes_in"] for n in range(4)] == [5, 4_005, 4_005, 5]


def test_a_million_units_are_made_in_ten_statements_each_index_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements are looked at, not run: a million rows prove nothing more."""
    ranges: list[tuple[int, int, int]] = []

    def noted(sql: str, params: Any = ()) -> list[Any]:
        if sql == expanding._NEED:
            return rows(sql, params)
        assert sql == expanding._INSERT
        ranges.append((params["stage"], params["start"], params["stop"]))
        return []

    a_pool()
    axes = {"type": "array", "items": {"type": "integer"}}
    version = a_version(
        split={"by": "matrix", "axes": {"x": "a", "y": "b", "z": "a"}},
        inputs={"type": "object", "properties": {"a": axes, "b": axes}},
        tests=[],
        merge={"run": ["merge"], "outputs": []},
    )
    task = a_task(version=version, inputs={"a": list(range(100)), "b": list(range(100))}, expanded=False)
    monkeypatch.setattr(expanding, "rows", noted)
    assert expand_task(task.pk) == task.units_total == 1_000_001
    assert ranges[:-1] == [(0, start, start + 100_000) for start in range(0, 1_000_000, 100_000)]
    assert ranges[-1] == (1, 0, 1)
    assert len(json.dumps(task.plan)) < 5_000
