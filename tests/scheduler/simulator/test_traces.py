"""Traces and pools as files: what is read, what is refused, and how the refusal names the place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.simulator import BadFile, read_park, read_trace
from scheduler.simulator.generate import swf_lines
from scheduler.simulator.swf import read_swf, two_digits

JOB = "1 0 -1 60 4 -1 2048 4 300 1024 1 7 1 3 1 1 -1 -1"
EXAMPLES = Path(__file__).resolve().parents[3] / "scheduler" / "simulator" / "examples"


def swf(*lines: str) -> Any:
    return read_swf(Path("jobs.swf"), lines)


def test_a_job_becomes_a_unit_with_the_asked_time_as_its_estimate() -> None:
    trace = swf("; UnixStartTime: 1000", "", JOB)
    (unit,) = trace.units
    assert (unit.at, unit.run_s, trace.begins_at) == (0.0, 60.0, 1000.0)
    assert unit.document["need"] == {"cores": 4, "memory_mib": 4, "disk_mib": 0, "accelerators": []}
    assert float(unit.document["tflop"]) == pytest.approx(300 * 4 * 0.02)
    assert unit.document["organization"] == "user-7"


def test_unknown_fields_are_replaced_as_the_format_suggests() -> None:
    trace = swf("1 5 -1 60 4 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1")
    (unit,) = trace.units
    assert unit.document["need"]["cores"] == 4
    assert float(unit.document["tflop"]) == pytest.approx(60 * 4 * 0.02)
    assert unit.document["organization"] == "unknown"


def test_jobs_that_never_ran_and_partial_records_are_left_out_and_counted() -> None:
    never = JOB.replace(" 60 4 ", " -1 4 ").replace(" 1 7 ", " 5 7 ")
    partial = JOB.replace(" 1 7 ", " 3 7 ")
    nobody_knows = "9 0 -1 60 -1 -1 -1 -1 300 -1 1 7 1 3 1 1 -1 -1"
    trace = swf(JOB, never, partial, nobody_knows)
    assert len(trace.units) == 1
    assert trace.left_out == {"never ran": 1, "partial records": 1, "processors unknown": 1}


@pytest.mark.parametrize("status", [0, 1, 5, -1])
def test_a_job_that_ran_counts_however_it_ended(status: int) -> None:
    assert len(swf(JOB.replace(" 1 7 1 ", f" {status} 7 1 ")).units) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (JOB[:30], "line 2: 18 fields are a job, this line has 10"),
        (JOB + " 4", "this line has 19"),
        (JOB.replace("300", "many"), r"line 2: field 9 \(time asked for\): 'many' is no number"),
        (JOB.replace("300", "nan"), r"field 9 \(time asked for\): 'nan'"),
        (JOB.replace("300", "inf"), r"field 9 \(time asked for\): 'inf'"),
        (JOB.replace("300", "-7"), r"field 9 \(time asked for\): '-7'"),
        (JOB.replace("1 0 -1", "1 -1 -1"), r"line 2: field 2 \(submit time\)"),
        (JOB.replace("60", "9" * 400), r"field 4 \(run time\)"),
    ],
)
def test_a_cut_or_broken_line_is_named(line: str, said: str) -> None:
    with pytest.raises(BadFile, match=f"jobs.swf: .*{said}"):
        swf("; Computer: none", line)


def test_a_trace_without_jobs_is_refused() -> None:
    with pytest.raises(BadFile, match="no job that ran"):
        swf("; Computer: none")


@given(st.text(alphabet="0123456789 -;.eE\tnaif", max_size=200))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    refused = ""
    try:
        swf(JOB, text)
    except BadFile as error:
        refused = str(error)
    assert not refused or "jobs.swf: line 2" in refused


@given(st.floats(0.01, 1e9))
def test_rounding_to_two_digits_goes_up_by_a_tenth_at_most(value: float) -> None:
    assert value * (1 - 1e-6) <= two_digits(value) <= value * 1.1 + 1e-9


def test_a_compressed_trace_is_read_and_a_broken_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.swf.gz"
    path.write_bytes(gzip.compress(JOB.encode()))
    assert len(read_trace(path).units) == 1
    path.write_bytes(gzip.compress(JOB.encode() * 50)[:-20])
    with pytest.raises(BadFile, match="jobs.swf.gz"):
        read_trace(path)


@pytest.mark.parametrize(("data", "said"), [(b"; ok\n\xff\xfe\n", "line 2: not UTF-8"), (None, "No such file")])
def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "jobs.swf"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadFile, match=said):
        read_trace(path)


def test_generated_traces_are_read_and_the_same_seed_makes_the_same_one() -> None:
    lines = list(swf_lines(200, 64, seed=3))
    trace = read_swf(Path("made.swf"), lines)
    assert len(trace.units) == 200
    assert max(unit.document["need"]["cores"] for unit in trace.units) <= 64
    assert lines == list(swf_lines(200, 64, seed=3))
    assert lines != list(swf_lines(200, 64, seed=4))


# -- our own format ----------------------------------------------------------------------------------------------------


def a_class(**fields: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": "frames",
        "organization": "acme",
        "need": {"cores": 2},
        "run_s": 60,
        "arrivals": [[0, 3]],
    }
    return described | fields


def written(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def a_trace_file(folder: Path, *classes: dict[str, Any], **fields: Any) -> Path:
    return written(folder / "trace.json", {"format": "gridfare-trace-1", "classes": list(classes)} | fields)


def test_a_class_arrives_as_described_with_deadlines_from_its_arrival(tmp_path: Path) -> None:
    path = a_trace_file(
        tmp_path, a_class(arrivals=[[0, 1], [100, 2]], deadline_s=600, asked_s=90), begins_at="1970-01-01T00:00:00+00:00"
    )
    trace = read_trace(path)
    assert [(unit.at, unit.run_s, unit.document["deadline"]) for unit in trace.units] == [
        (0.0, 60.0, 600), (100.0, 60.0, 700), (100.0, 60.0, 700)
    ]  # fmt: skip
    assert float(trace.units[0].document["tflop"]) == pytest.approx(90 * 2 * 0.02)


def test_what_is_left_to_chance_follows_the_seed(tmp_path: Path) -> None:
    path = a_trace_file(
        tmp_path, a_class(run_s={"median": 60, "spread": 0.5}, arrivals={"per_hour": 60, "until_s": 7200, "units": 2})
    )
    first, same, other = read_trace(path, 1), read_trace(path, 1), read_trace(path, 2)
    assert first == same
    assert first != other
    assert 100 < len(first.units) < 500
    assert all(0 <= unit.at < 7200 and unit.run_s > 0 for unit in first.units)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"need": {"cores": 0}}, r"classes\[0\].need.cores: 0 is less than the minimum"),
        ({"run_s": -1}, r"classes\[0\].run_s"),
        ({"run_s": float("nan")}, "NaN is no number"),
        ({"objective": "best"}, r"classes\[0\].objective: 'best' is not one of"),
        ({"arrivals": [[0]]}, r"classes\[0\].arrivals"),
        ({"colour": "red"}, r"classes\[0\]: Additional properties"),
        ({"weights": {"love": 1}}, r"classes\[0\].weights"),
        ({"gang": 2, "arrivals": [[0, 3]]}, r"classes\[0\].arrivals: 3 units are no whole gangs of 2"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFile, match=f"trace.json: {said}"):
        read_trace(a_trace_file(tmp_path, a_class(**fields)))


@pytest.mark.parametrize(
    ("text", "said"),
    [("{\n 3", "line 2"), ("[]", r"\$: \[\] is not of type 'object'"), ("[" * 100_000, "nested too deeply")],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        read_trace(written(tmp_path / "trace.json", text))


def test_a_bad_moment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="begins_at"):
        read_trace(a_trace_file(tmp_path, a_class(), begins_at="yesterday"))


def test_the_first_units_never_cut_a_gang(tmp_path: Path) -> None:
    trace = read_trace(a_trace_file(tmp_path, a_class(gang=3, arrivals=[[0, 6]]), a_class(arrivals=[[1, 2]])))
    assert [len(trace.first(n).units) for n in range(10)] == [0, 0, 0, 3, 3, 3, 6, 7, 8, 8]


# -- pools -------------------------------------------------------------------------------------------------------------


def a_pool_entry(**fields: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "identifier": "plateau",
        "region": "ningxia",
        "cores": 8,
        "memory_mib": 4096,
        "core_gflops": 20,
        "prices": {"core_second": 0.0001},
    }
    return described | fields


def a_pools_file(folder: Path, *pools: dict[str, Any], **fields: Any) -> Path:
    return written(folder / "pools.json", {"format": "gridfare-pools-1", "pools": list(pools)} | fields)


def test_a_pool_with_a_count_is_so_many_pools(tmp_path: Path) -> None:
    park = read_park(a_pools_file(tmp_path, a_pool_entry(count=3), a_pool_entry(identifier="alone")))
    assert [pool.identifier for pool in park.pools] == ["alone", "plateau-001", "plateau-002", "plateau-003"]
    assert {pool.mflops for pool in park.pools} == {160_000}
    assert set(park.prices) == {pool.id for pool in park.pools}


def test_carbon_follows_the_hour_of_the_markets_clock(tmp_path: Path) -> None:
    by_hour = [0.5] + [1.0] * 23
    park = read_park(a_pools_file(tmp_path, a_pool_entry(), regions={"ningxia": {"carbon_g_per_kwh": 600, "by_hour": by_hour}}))
    assert park.carbon(16 * 3600.0) == {"ningxia": 300.0}  # 16:00 UTC is midnight
    assert park.carbon(17 * 3600.0) == {"ningxia": 600.0}


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        ([a_pool_entry(cores="many")], r"pools\[0\].cores: 'many' is not of type 'integer'"),
        ([a_pool_entry(prices={})], r"pools\[0\].prices"),
        ([a_pool_entry(prices={"smile": 1})], r"pools\[0\].prices"),
        ([a_pool_entry(core_gflops=0)], r"pools\[0\].core_gflops"),
        ([a_pool_entry(), a_pool_entry()], "two pools are named plateau"),
        ([], "pools"),
    ],
)
def test_pools_that_make_no_sense_are_named(tmp_path: Path, pools: list[Any], said: str) -> None:
    with pytest.raises(BadFile, match=f"pools.json: .*{said}|pools.json: {said}"):
        read_park(a_pools_file(tmp_path, *pools))


@pytest.mark.parametrize("name", ["cluster", "market"])
def test_the_examples_are_read(name: str) -> None:
    trace = read_trace(next(path for path in EXAMPLES.iterdir() if path.stem == name))
    park = read_park(EXAMPLES / f"{name}-pools.json")
    assert len(trace.units) >= 400
    assert park.pools
