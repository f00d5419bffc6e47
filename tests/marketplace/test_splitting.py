"""Decomposition: every part of the work in exactly one unit, computed from the index alone."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.splitting import plan_of, unit_files, unit_params
from tests.builders_capabilities import a_checked_manifest

ANYTHING = {"type": "object", "properties": {name: {} for name in ("start", "stop", "step", "chunk", "a", "b", "n")}}
FILES = {"type": "object", "properties": {
    "files": {"type": "array", "items": {"type": "string", "format": "artifact"}},
    "model": {"type": "string", "format": "artifact"},
}}  # fmt: skip


def manifest(split: dict[str, Any] | None, inputs: dict[str, Any] = ANYTHING, **parts: Any) -> dict[str, Any]:
    limits = {"units": 1_000_000}
    defaults = {"demand": {"tflop": 1}, "tests": [], "limits": limits} | parts
    return a_checked_manifest(split=split, inputs=inputs, **defaults)


RANGE = manifest({"by": "range", "start": "start", "stop": "stop", "step": "step", "chunk": "chunk"})


LIST = manifest({"by": "list", "over": "a", "chunk": "chunk"})
MATRIX = manifest({"by": "matrix", "axes": {"rate": "a", "depth": "b"}})
BY_FILES = {chunk: manifest({"by": "files", "over": "files", "chunk": chunk}, FILES) for chunk in range(1, 10)}


def params_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [unit_params(plan, index) for index in range(plan["units"])]


@settings(deadline=None)  # the machine may be busy
@given(
    start=st.integers(-1000, 1000),
    stop=st.integers(-1000, 1000),
    step=st.integers(-7, 7).filter(bool),
    chunk=st.integers(1, 50),
)
def test_a_range_is_covered_exactly_once(start: int, stop: int, step: int, chunk: int) -> None:
    inputs = {"start": start, "stop": stop, "step": step, "chunk": chunk}
    wanted = list(range(start, stop, step))
    if not wanted:
        with pytest.raises(Invalid, match="nothing to do"):
            plan_of(RANGE, inputs, {})
        return
    covered: list[int] = []
    for params in params_of(plan_of(RANGE, inputs, {})):
        if "value" in params:
            covered.append(params["value"])
        else:
            covered += range(params["start"], params["stop"], params.get("step", 1))
    assert covered == wanted


@settings(deadline=None)  # the machine may be busy
@given(items=st.lists(st.integers(), min_size=1, max_size=60), chunk=st.integers(1, 9))
def test_a_list_is_covered_exactly_once(items: list[int], chunk: int) -> None:
    plan = plan_of(LIST, {"a": items, "chunk": chunk}, {})
    covered = [item for params in params_of(plan) for item in params.get("items", [params.get("item")])]
    assert covered == items


@settings(deadline=None)  # the machine may be busy
@given(
    a=st.lists(st.integers(), min_size=1, max_size=8, unique=True),
    b=st.lists(st.text(), min_size=1, max_size=8, unique=True),
)
def test_a_matrix_is_covered_exactly_once(a: list[int], b: list[str]) -> None:
    plan = plan_of(MATRIX, {"a": a, "b": b}, {})
    pairs = [(params["rate"], params["depth"]) for params in params_of(plan)]
    assert plan["units"] == len(pairs) == len(set(pairs)) == len(a) * len(b)
    assert set(pairs) == {(x, y) for x in a for y in b}


@settings(deadline=None)  # the machine may be busy
@given(count=st.integers(1, 40), chunk=st.integers(1, 9))
def test_files_are_covered_exactly_once_and_other_inputs_reach_every_unit(count: int, chunk: int) -> None:
    paths = [f"in/files/{index}.csv" for index in range(count)]
    plan = plan_of(BY_FILES[chunk], {}, {"files": paths, "model": ["in/model/m"]})
    own = [unit_params(plan, index)["files"] for index in range(plan["units"])]
    assert [path for files in own for path in files] == paths
    assert all(unit_files(plan, index) == [*files, "in/model/m"] for index, files in enumerate(own))


def test_without_a_split_there_is_one_unit_with_every_file() -> None:
    plan = plan_of(manifest(None), {}, {})
    assert plan["units"] == 1
    assert unit_params(plan, 0) == {}
    assert unit_files(plan, 0) is None


def test_a_million_units_are_a_plan_of_a_few_hundred_bytes() -> None:
    plan = plan_of(RANGE, {"start": 0, "stop": 1_000_000, "step": 1, "chunk": 1}, {})
    assert plan["units"] == 1_000_000
    assert len(json.dumps(plan)) < 1500
    assert unit_params(plan, 999_999) == {"value": 999_999}


@pytest.mark.parametrize("index", [-1, 3, sys.maxsize])
def test_an_index_beyond_the_plan_is_an_error(index: int) -> None:
    plan = plan_of(RANGE, {"start": 0, "stop": 3, "step": 1, "chunk": 1}, {})
    with pytest.raises(IndexError):
        unit_params(plan, index)


@pytest.mark.parametrize(
    ("inputs", "code", "field"),
    [
        ({"stop": 1_000_001}, "too_many_units", "inputs.stop"),
        ({"stop": 0}, "no_units", "inputs.stop"),
        ({"stop": 10, "step": 0}, "invalid_split", "inputs.step"),
        ({"stop": 10, "chunk": 0}, "invalid_split", "inputs.chunk"),
        ({"stop": 10.5}, "invalid_split", "inputs.stop"),
        ({"stop": 2**60}, "invalid_split", "inputs.stop"),
        ({"stop": "ten"}, "invalid_expression", "inputs.stop"),
    ],
)
def test_a_range_that_cannot_be_split_names_the_input(inputs: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan_of(RANGE, {"start": 0, "step": 1, "chunk": 1} | inputs, {})
    assert (caught.value.code, caught.value.field) == (code, field)


def test_too_many_units_of_a_matrix_are_counted_without_being_made() -> None:
    many = list(range(100_000))
    with pytest.raises(Invalid) as caught:
        plan_of(manifest({"by": "matrix", "axes": {"x": "a", "y": "b"}}), {"a": many, "b": many}, {})
    assert caught.value.code == "too_many_units"
    assert caught.value.data == {"units": "10000000000", "limit": 1_000_000}


def test_the_limit_of_units_may_itself_be_an_expression() -> None:
    checked = manifest({"by": "range", "stop": "stop"}, limits={"units": "n * 2"})
    assert plan_of(checked, {"stop": 6, "n": 3}, {})["units"] == 6
    with pytest.raises(Invalid, match="allows 6"):
        plan_of(checked, {"stop": 7, "n": 3}, {})


def test_resources_and_limits_are_expressions_rounded_up_and_never_below_the_reservation() -> None:
    checked = manifest(None, resources={"memory_mib": "100 + n / 3"}, limits={"run_s": "n", "memory_mib": 10})
    plan = plan_of(checked, {"n": 10}, {})
    assert plan["need"] == {"cores": 1, "memory_mib": 104, "disk_mib": 1024, "accelerators": []}
    assert plan["limits"]["run_s"] == 10
    assert plan["limits"]["memory_mib"] == 104


def test_an_amount_beyond_every_machine_names_the_input() -> None:
    checked = manifest(None, resources={"cores": "n"})
    for cores in (0, -1, 10**9):
        with pytest.raises(Invalid) as caught:
            plan_of(checked, {"n": cores}, {})
        assert (caught.value.code, caught.value.field) == ("amount_out_of_bounds", "inputs.n")


def test_the_size_of_the_input_files_is_known_to_expressions() -> None:
    checked = manifest(None, resources={"disk_mib": "10 + input_mib"})
    assert plan_of(checked, {}, {}, input_bytes=3 * 1024 * 1024 + 1)["need"]["disk_mib"] == 14


def test_a_merge_inherits_the_limits_it_does_not_name() -> None:
    merge = {"run": ["python", "merge.py"], "outputs": [{"path": "all.mp4"}], "limits": {"run_s": 7}}
    plan = plan_of(manifest(None, merge=merge, limits={"run_s": 60, "log_kib": 9}), {}, {})
    assert plan["merge"] is True
    stage = plan["merge_stage"]
    assert (stage["limits"]["run_s"], stage["limits"]["log_kib"], stage["tflop"]) == (7, 9, "0")
    assert stage["outputs"] == [{"path": "all.mp4", "required": True}]


def test_the_generic_command_takes_words_outputs_and_environment_from_the_inputs() -> None:
    names = {"argv": {}, "outs": {}, "vars": {}}
    generic = manifest(
        None,
        {"type": "object", "properties": names},
        run=None,
        run_from="argv",
        outputs_from="outs",
        outputs=[],
        env_from="vars",
    )
    plan = plan_of(generic, {"argv": ["sh", "-c", "x"], "outs": ["a.txt", "a.txt"], "vars": {"A": "1"}}, {})
    assert plan["run"] == ["sh", "-c", "x"]
    assert plan["outputs"] == [{"path": "a.txt", "required": True}]
    assert plan["env"] == {"A": "1"}
    for inputs, field in [
        ({"argv": []}, "inputs.argv"),
        ({"argv": [""]}, "inputs.argv.0"),
        ({"argv": ["a"], "outs": ["../x"]}, "inputs.outs.0"),
        ({"argv": ["a"], "outs": ["ok", "/x"]}, "inputs.outs.1"),
        ({"argv": ["a"], "vars": {"A=B": "1"}}, "inputs.vars"),
    ]:
        with pytest.raises(Invalid) as caught:
            plan_of(generic, inputs, {})
        assert caught.value.field == field


@pytest.mark.parametrize("tflop", ["9" * 400, "1e300", "-1", "n * 10**300"])
def test_work_beyond_all_bounds_is_an_error_and_no_crash(tflop: str) -> None:
    with pytest.raises(Invalid) as caught:
        plan_of(manifest(None, demand={"tflop": tflop}, tests=[]), {"n": 10**300}, {})
    assert caught.value.code in ("amount_out_of_bounds", "invalid_expression")
