"""Manifests: what passes is complete and safe; what does not names the field at fault."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid
from marketplace import inputs
from marketplace.manifest import artifact_fields, check_manifest, digest_of, load_manifest, plan_test, validate_inputs
from tests.builders_capabilities import a_checked_manifest, a_manifest

ROOT = Path(__file__).resolve().parents[2]
ID = "01890f00-0000-7000-8000-000000000001"
MERGE = {"run": ["python", "merge.py"], "outputs": [{"path": "all.mp4"}]}


def refused(document: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_manifest(document)
    return caught.value


def changed(path: str, value: Any) -> dict[str, Any]:
    """The usual manifest with one value at a dotted path."""
    document = copy.deepcopy(a_manifest(merge=MERGE, env={}, limits={}, retry={}, fee={}, variants=[{}]))
    *above, last = path.split(".")
    at: Any = document
    for key in above:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return document


@pytest.mark.parametrize("name", ["render", "train", "archive", "command"])
def test_the_built_in_capabilities_pass(name: str) -> None:
    manifest = check_manifest(load_manifest((ROOT / "capabilities" / name / "manifest.yaml").read_text()))
    assert manifest["name"] == name
    for test in manifest["tests"]:
        assert plan_test(manifest, test)["units"] >= 1


def test_defaults_are_filled_in_and_checking_twice_changes_nothing() -> None:
    manifest = a_checked_manifest(merge=MERGE)
    assert manifest["retry"] == {"max_attempts": 3, "window_s": 86400, "capability_error": False}
    assert manifest["fee"] == {"per_unit": "0", "per_task": "0"}
    assert manifest["variants"] == [{"instruction_set": "any", "accelerator": None}]
    assert manifest["limits"]["memory_mib"] == 128
    assert manifest["split"] == {"by": "range", "start": "0", "stop": "frames", "step": "1", "chunk": "1"}
    assert manifest["merge"]["keep_units"] is False
    assert manifest["verify"] == "none"
    assert check_manifest(manifest) == manifest


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("gridfare", 2, "gridfare"),
        ("name", "Render", "name"),
        ("name", "../render", "name"),
        ("version", "1.0", "version"),
        ("version", "1.0.0/../../x", "version"),
        ("version", 1.0, "version"),
        ("surprise", 1, "surprise"),
        ("summary", "", "summary"),
        ("summary", "a\x00b", "summary"),
        ("summary", "\ud800", "summary"),
        ("run", [], "run"),
        ("run", [""], "run.0"),
        ("run", "python", "run"),
        ("run_from", "argv", "run"),
        ("outputs_from", "nothing", "outputs_from"),
        ("outputs.0.path", "../../etc/passwd", "outputs.0.path"),
        ("outputs.0.path", "/etc/passwd", "outputs.0.path"),
        ("outputs.0.path", "a\\b", "outputs.0.path"),
        ("outputs.0.surprise", 1, "outputs.0.surprise"),
        ("merge.outputs.0.path", "..", "merge.outputs.0.path"),
        ("merge.run", ["  "], "merge.run.0"),
        ("merge.resources.cores", "frames +", "merge.resources.cores"),
        ("merge.limits.units", 1, "merge.limits.units"),
        ("requirements", "/etc/requirements.txt", "requirements"),
        ("env", {"A=B": "1"}, "env"),
        ("env.A", 1, "env.A"),
        ("resources.cores", 0, "resources.cores"),
        ("resources.cores", 10**9, "resources.cores"),
        ("resources.cores", 1.5, "resources.cores"),
        ("resources.cores", "colour", "resources.cores"),
        ("resources.gpus", 1, "resources.gpus"),
        ("limits.run_s", -1, "limits.run_s"),
        ("limits.units", 10**9, "limits.units"),
        ("limits.surprise", 1, "limits.surprise"),
        ("demand.tflop", "import os", "demand.tflop"),
        ("demand.tflop", "x.__class__", "demand.tflop"),
        ("split.by", "magic", "split.by"),
        ("split.stop", None, "split.stop"),
        ("split.surprise", 1, "split.surprise"),
        ("split", {"by": "list"}, "split.over"),
        ("split", {"by": "list", "over": "nothing"}, "split.over"),
        ("split", {"by": "files", "over": "scene"}, "split.over"),
        ("split", {"by": "matrix", "axes": {"x": "nothing"}}, "split.axes.x"),
        ("split", {"by": "matrix", "axes": {}}, "split.axes"),
        ("retry.max_attempts", 0, "retry.max_attempts"),
        ("verify", "maybe", "verify"),
        ("verify", {"quorum": {"of": 3, "need": 1}}, "verify.quorum.need"),
        ("retry.deterministic", [0], "retry.deterministic.0"),
        ("fee.per_unit", "-1", "fee.per_unit"),
        ("fee.per_unit", 0.1, "fee.per_unit"),
        ("fee.per_unit", "1e5", "fee.per_unit"),
        ("fee.per_unit", {"price": "1"}, "fee.per_unit.model"),
        ("variants", [], "variants"),
        ("variants.0.instruction_set", "z80", "variants.0.instruction_set"),
        ("variants.0.accelerator", {"count": 1}, "variants.0.accelerator.model"),
        ("tests.0.inputs", {"frames": 0}, "tests.0.inputs.frames"),
        ("tests.0.inputs", {"colour": 1}, "tests.0.inputs.colour"),
        ("tests.0.files", {"scene": "../secret"}, "tests.0.files.scene"),
        ("tests.0.files", {"scene": ["a", "b"]}, "tests.0.files.scene"),
        ("tests.0.files", {"frames": "a"}, "tests.0.files.frames"),
        ("tests.0.expect.files", ["/x"], "tests.0.expect.files.0"),
        ("inputs.type", "array", "inputs.type"),
        ("inputs.properties.frames.type", "whole", "inputs.properties.frames.type"),
        ("inputs.properties.a-b", {}, "inputs.properties.a-b"),
        ("inputs.properties.input_mib", {}, "inputs.properties.input_mib"),
        ("inputs.properties.units", {"format": "artifact"}, "inputs.properties.units"),
        ("inputs.properties.x", {"pattern": "("}, "inputs.properties.x.pattern"),
        ("inputs.properties.x", {"$ref": "http://evil.example/schema"}, "inputs.properties.x.$ref"),
        ("inputs.properties.x", {"$ref": "file:///etc/passwd"}, "inputs.properties.x.$ref"),
        ("inputs.properties.x", {"$ref": "#/$defs/nothing"}, "inputs.properties.x.$ref"),
        ("inputs.properties.x", {"$id": "http://a.example"}, "inputs.properties.x.$id"),
        ("inputs.properties.x", {"patternProperties": {}}, "inputs.properties.x.patternProperties"),
        ("inputs.properties.x", {"properties": {"y": {"format": "artifact"}}}, "inputs.properties"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(path: str, value: Any, field: str) -> None:
    assert refused(changed(path, value)).field == field


@pytest.mark.parametrize(
    ("rate", "field"),
    [
        ({"model": "graduated", "tiers": []}, "tiers"),
        ({"model": "package", "size": "0", "price": "1"}, "size"),
        ({"model": "percentage", "percent": "5"}, "model"),
        ({"model": "dynamic"}, "model"),
        ({"model": "flat", "price": "1", "minimum": "3", "maximum": "2"}, "maximum"),
    ],
)
def test_a_fee_for_the_month_is_a_rate_and_what_is_wrong_in_it_is_named(rate: dict[str, Any], field: str) -> None:
    error = refused(changed("fee.per_unit", rate))
    assert (error.code, error.field) == ("rate_invalid", f"fee.per_unit.{field}")


def test_a_share_of_what_resources_cost_is_a_percentage_and_counted_by_no_quote() -> None:
    share = {"model": "percentage", "percent": "5"}
    manifest = check_manifest(changed("fee", {"share": share}))
    plan = plan_test(manifest, manifest["tests"][0])
    assert plan["fee"] == {"per_unit": "0", "per_task": "0", "by_month": {"share": share}}
    for wrong in ({"model": "flat", "price": "1"}, {"model": "percentage"}):
        assert refused(changed("fee", {"share": wrong})).code == "rate_invalid"
    assert refused(changed("fee", {"share": "0.05"})).field == "fee.share"


def test_quotes_count_a_fee_for_the_month_with_its_first_price_and_the_task_remembers_its_rate() -> None:
    rate = {"model": "volume", "tiers": [{"up_to": "100", "price": "0.02"}, {"price": "0.01"}]}
    manifest = check_manifest(changed("fee", {"per_unit": rate}))
    assert manifest["fee"] == {"per_unit": rate, "per_task": "0"}
    assert plan_test(manifest, manifest["tests"][0])["fee"] == {"per_unit": "0.02", "per_task": "0", "by_month": {"per_unit": rate}}


@pytest.mark.parametrize("document", [None, [], "text", 1, {}, {"gridfare": 1}])
def test_what_is_no_manifest_at_all_is_refused(document: Any) -> None:
    assert refused(document).code == "invalid_manifest"


def test_two_tests_of_one_name_are_refused() -> None:
    test = {"name": "same", "inputs": {}}
    assert refused(a_manifest(tests=[test, test])).field == "tests"


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: &x [1]\nb: *x",
        "!!python/object/apply:os.system ['true']",
        "[" * 2000,
        "{a: " * 500,
        "x" * 300_000,
        "a: \x01",
        "a: 1\n---\nb: 2",
        "? [1, 2]\n: 3",
    ],
)
def test_text_that_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        check_manifest(load_manifest(text))


@pytest.mark.parametrize(
    "text", ["2024-01-01", ".nan", ".inf", "!!binary aGk=", "!!set {a}", "99999999999999999999999"]
)
def test_values_that_json_does_not_have_are_refused_by_their_field(text: str) -> None:
    error = refused(load_manifest(f"gridfare: 1\nlicence: {text}"))
    assert error.field == "licence"


def test_nesting_without_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"not": deep}
    assert refused(a_manifest(inputs={"type": "object", "not": deep})).code == "invalid_manifest"


def test_inputs_get_their_defaults_and_are_not_changed_themselves() -> None:
    given: dict[str, Any] = {}
    assert validate_inputs(a_checked_manifest(), given) == {"frames": 24}
    assert given == {}


def test_defaults_reach_nested_objects() -> None:
    model = {"type": "object", "properties": {"depth": {"default": 3}}}
    manifest = a_checked_manifest(
        inputs={"type": "object", "properties": {"models": {"type": "array", "items": model}, "frames": {"default": 1}}}
    )
    filled = validate_inputs(manifest, {"models": [{}, {"depth": 1}]})
    assert filled == {"models": [{"depth": 3}, {"depth": 1}], "frames": 1}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"frames": "many"}, "inputs.frames"),
        ({"frames": 0}, "inputs.frames"),
        ({"frames": True}, "inputs.frames"),
        ({"colour": 1}, "inputs.colour"),
        ({"scene": "cube.obj"}, "inputs.scene"),
        ({"scene": ID.upper()}, "inputs.scene"),
        ({"scene": f"{{{ID}}}"}, "inputs.scene"),
        ({"files": [ID, "x"]}, "inputs.files.1"),
        ([], "inputs"),
        (None, "inputs"),
    ],
)
def test_inputs_that_break_the_schema_name_the_input(given: Any, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        validate_inputs(a_checked_manifest(), given)
    assert (caught.value.code, caught.value.field) == ("invalid_inputs", field)


def test_a_missing_input_is_named() -> None:
    manifest = a_checked_manifest(
        inputs={"type": "object", "required": ["frames"], "properties": {"frames": {}}}, tests=[], demand={"tflop": 1}
    )
    with pytest.raises(Invalid) as caught:
        validate_inputs(manifest, {})
    assert caught.value.field == "inputs.frames"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a|aa)+$"}, "a" * 200 + "!"),  # as many ways as a Fibonacci number has
        ({"$ref": "#/$defs/e0"}, [[]] * 3),
        ({"$ref": "#/properties/x"}, 1),
    ],
)
def test_a_schema_made_to_never_end_is_cut_off(
    schema: dict[str, Any], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SECONDS", 0.3)
    again = {f"e{n}": {"allOf": [{"$ref": f"#/$defs/e{n + 1}"}] * 4} for n in range(30)} | {"e30": {}}
    manifest = a_checked_manifest(
        inputs={"type": "object", "$defs": again, "properties": {"x": schema, "frames": {"default": 1}}}
    )
    with pytest.raises(Invalid, match="too long"):
        validate_inputs(manifest, {"x": value})


def test_equal_items_are_found_among_a_hundred_thousand() -> None:
    manifest = a_checked_manifest(
        inputs={"type": "object", "properties": {"x": {"uniqueItems": True}, "frames": {"default": 1}}}
    )
    items = [{"n": n} for n in range(100_000)]
    assert validate_inputs(manifest, {"x": items})["x"] == items
    with pytest.raises(Invalid, match="unique"):
        validate_inputs(manifest, {"x": [*items, {"n": 5.0}]})
    assert validate_inputs(manifest, {"x": [1, True, [1], [True], "1"]})


def test_more_inputs_than_anybody_should_send_are_refused() -> None:
    manifest = a_checked_manifest(inputs={"type": "object", "properties": {"frames": {"default": 1}}})
    with pytest.raises(Invalid, match="upload larger data"):
        validate_inputs(manifest, {"x": "a" * 5_000_000})


def test_inputs_that_take_artifacts_are_known() -> None:
    assert artifact_fields(a_checked_manifest()) == [("files", True), ("scene", False)]


def test_the_digest_is_of_the_content_not_of_its_order() -> None:
    manifest = a_checked_manifest()
    backwards = dict(reversed(manifest.items()))
    assert digest_of(manifest, None) == digest_of(backwards, None)
    assert digest_of(manifest, None) != digest_of(manifest, "0" * 64)
    assert digest_of(manifest, None) != digest_of(a_checked_manifest(version="1.0.1"), None)
