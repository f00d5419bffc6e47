"""What manifests may say of stages after the units, and what plans they make."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Invalid
from marketplace.manifest import check_manifest
from marketplace.splitting import plan_of, unit_params
from marketplace.stages import VALIDATES, borders, next_border, open_border, part_of, stage_name, stages_of, total_units
from tests.builders_tasks import a_manifest


def a_stage(name: str = "film", **parts: Any) -> dict[str, Any]:
    return {"name": name, "run": [name], "outputs": [{"path": f"{name}.txt"}], **parts}


def staged(*stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return a_manifest(stages=list(stages), **changes)


def refused(*stages: dict[str, Any], **changes: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        staged(*stages, **changes)
    return caught.value


FOUR = a_stage("denoise", split={"by": "units", "over": "unit", "chunk": "4"})
PARTS = a_stage("grade", split={"by": "parts", "over": "unit", "parts": "ceil(count / 2)"})


def test_stages_go_over_the_units_or_the_files_of_one_before() -> None:
    plan = plan_of(staged(FOUR, PARTS, a_stage()), {"count": 10}, {})
    assert [part["units"] for part in stages_of(plan)] == [10, 3, 5, 1]
    assert (borders(plan), total_units(plan), open_border(plan)) == ([10, 13, 18, 19], 19, 10)
    assert [next_border(plan, done) for done in (1, 10, 13, 18, 19)] == [10, 13, 18, 19, 19]
    assert [stage_name(plan, n) for n in range(4)] == ["unit", "denoise", "grade", "film"]
    denoise, grade, film = (part_of(plan, n) for n in (1, 2, 3))
    assert [tuple(unit_params(denoise, n).values()) for n in range(3)] == [(0, 4), (4, 8), (8, 10)]
    assert list(unit_params(denoise, 2)) == ["start", "stop"]
    assert unit_params(grade, 4) == {"part": 4, "parts": 5}
    assert unit_params(film, 0) == {}
    with pytest.raises(IndexError):
        unit_params(denoise, 3)


def test_a_stage_may_have_a_split_of_its_own() -> None:
    plan = plan_of(staged(a_stage(split={"by": "range", "stop": "count"})), {"count": 3}, {})
    assert [unit_params(part_of(plan, 1), n) for n in range(3)] == [{"value": 0}, {"value": 1}, {"value": 2}]


def test_a_stage_that_says_little_is_as_the_units_but_for_its_resources_and_work() -> None:
    plan = plan_of(staged(a_stage(), limits={"run_s": 60, "units": 9}), {"count": 3}, {})
    film = part_of(plan, 1)
    assert (film["tflop"], film["limits"]["run_s"], film["need"]["cores"], film["keep"]) == ("0", 60, 1, False)


def test_accelerators_are_for_the_stages_that_ask_for_them() -> None:
    gpu = [{"instruction_set": "any", "accelerator": {"model": "a100"}}]
    plan = plan_of(staged(a_stage(), a_stage("train", accelerator=True), variants=gpu), {"count": 3}, {})
    assert [len(part["need"]["accelerators"]) for part in stages_of(plan)] == [1, 0, 1]


def test_a_merge_and_a_task_without_stages_are_planned_as_ever() -> None:
    plain = plan_of(a_manifest(), {"count": 3}, {})
    assert "stages" not in plain
    assert (borders(plain), open_border(plain)) == ([3], None)
    merged = plan_of(a_manifest(merge={"run": ["m"], "outputs": []}), {"count": 3}, {})
    assert "stages" not in merged
    assert (borders(merged), [stage_name(merged, n) for n in (0, 1)]) == ([3, 4], ["unit", "merge"])


def test_a_checked_manifest_is_checked_again_to_the_same() -> None:
    manifest = staged(FOUR, PARTS, a_stage(), keep_units=True)
    assert check_manifest(manifest) == manifest


@pytest.mark.parametrize(
    ("stages", "field", "says"),
    [
        ([a_stage("a", split={"by": "units", "over": "a"})], "stages.0.split.over", "comes not before"),
        ([a_stage("a", split={"by": "units", "over": "b"}), a_stage("b")], "stages.0.split.over", "comes not before"),
        ([a_stage("a", split={"by": "parts", "over": "frames", "parts": "2"})], "stages.0.split.over", "no stage"),
        ([a_stage("a"), a_stage("a")], "stages.1.name", "taken"),
        ([a_stage("unit")], "stages.0.name", "taken"),
        ([a_stage("merge")], "stages.0.name", "taken"),
        ([a_stage("units")], "stages.0.name", "taken"),
        ([a_stage("validate")], "stages.0.name", "taken"),
        ([a_stage("a", split={"by": "list", "over": "nothing"})], "stages.0.split.over", "no input"),
        ([a_stage("a", outputs=[{"path": "../x"}])], "stages.0.outputs.0.path", ""),
        ([a_stage("a", run=[" "])], "stages.0.run.0", ""),
        ([a_stage("a", demand={"tflop": "nothing"})], "stages.0.demand.tflop", "no input"),
        ([a_stage("a", split={"by": "parts", "over": "unit", "parts": "0"})], "stages.0.split.parts", "1 to"),
        ([a_stage("a", split={"by": "parts", "over": "unit", "parts": "10**7"})], "stages.0.split.parts", "1 to"),
        ([a_stage("a", resources={"cores": 0})], "stages.0.resources.cores", ""),
        ([a_stage("A")], "stages.0.name", ""),
        ([a_stage("a", split={"by": "units", "over": "unit", "parts": "2"})], "stages.0.split.parts", ""),
        ([], "stages", ""),
    ],
)
def test_stages_that_cannot_be_are_refused_when_they_are_published(stages: list[Any], field: str, says: str) -> None:
    error = refused(*stages)
    assert error.field == field
    assert says in error.detail


def test_stages_and_a_merge_exclude_each_other() -> None:
    assert refused(a_stage(), merge={"run": ["m"], "outputs": []}).field == "merge"


def test_units_of_all_stages_count_against_one_limit() -> None:
    again = a_stage("again", split={"by": "units", "over": "unit"})
    with pytest.raises(Invalid) as caught:
        plan_of(staged(again, limits={"units": 10}), {"count": 6}, {})
    assert (caught.value.code, caught.value.data["units"]) == ("too_many_units", "12")
    more = a_stage("more", split={"by": "range", "stop": "count * 10 ** 9"})
    assert refused(more).field == "tests.0.inputs.count"  # the manifest's own test would overflow


def test_a_split_by_units_with_a_chunk_of_nothing_is_an_error_of_the_input_at_fault() -> None:
    none = a_stage("none", split={"by": "units", "over": "unit", "chunk": "count - 1"})
    assert refused(none).code == "invalid_split"


def test_validators_stand_beside_the_stages_and_count_among_none() -> None:
    checks = {"validator": {"run": ["check"], "run_s": 60}}
    plan = plan_of(a_manifest(stages=[a_stage("a")], verify=checks), {"count": 3}, {})
    assert (total_units(plan), borders(plan)) == (4, [3, 4])
    for stage, units in ((0, 3), (1, 1)):
        part = part_of(plan, VALIDATES + stage)
        assert (part["run"], part["units"], part["outputs"]) == (["check"], units, [{"path": "verdict.json", "required": True}])
        assert unit_params(part, units - 1) == {}
        assert stage_name(plan, VALIDATES + stage) == "validate"
