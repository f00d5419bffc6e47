"""A capability's manifest: read, checked, completed with its defaults. Pure; the format is docs/manifest.md.

What passes here can be planned, shown and run without another look: paths are safe, expressions read only
inputs that exist, and every test case of the manifest has been planned once.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import semantic_version
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from core.errors import Invalid
from marketplace.amounts import BOUNDS, INPUT_MIB, LIMITS, RESOURCES, amount
from marketplace.expressions import check_expression, names_in
from marketplace.inputs import (
    artifact_fields,
    check_inputs_schema,
    message_of,
    path_of,
    validate_inputs,
)
from marketplace.paths import safe_glob, safe_path
from marketplace.plain import check_plain
from marketplace.policies import parse_policy
from marketplace.splitting import plan_of
from marketplace.stages import check_stages
from marketplace.tariffs import counted_fees

__all__ = ["artifact_fields", "check_manifest", "digest_of", "load_manifest", "plan_test", "validate_inputs"]

MAX_TEXT_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 40
CODE: Final = "invalid_manifest"
PLACEHOLDER: Final = "00000000-0000-7000-8000-000000000000"
Manifest = dict[str, Any]

_RESOURCES: Final = {"cores": 1, "memory_mib": 512, "disk_mib": 1024}
_LIMITS: Final = {
    "run_s": 3600,
    "processes": 64,
    "file_mib": 1024,
    "output_mib": 1024,
    "log_kib": 1024,
    "grace_s": 5,
    "units": 100_000,
}


def load_manifest(text: str) -> Any:
    """The document of a YAML text, nothing beyond JSON in it. Raises Invalid `invalid_manifest`."""
    if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        raise Invalid(CODE, f"a manifest may have {MAX_TEXT_BYTES} bytes")
    try:
        _check_events(text)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid(CODE, f"is not YAML: {' '.join(str(error).split())[:300]}") from None


def _check_events(text: str) -> None:
    """Aliases multiply (a few lines become gigabytes) and nesting recurses: both are refused first."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid(CODE, "YAML aliases (*name) are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise Invalid(CODE, f"is nested deeper than {MAX_DEPTH} levels")


def check_manifest(document: Any) -> Manifest:
    """The manifest with its defaults, or Invalid; `field` is the dotted path inside the manifest.

    Codes: invalid_manifest, invalid_verify, unsafe_path, invalid_expression, amount_out_of_bounds, rate_invalid, and for test
    cases those of `validate_inputs` and `plan_of`.
    """
    check_plain(document, CODE, depth=MAX_DEPTH)
    error = best_match(_format().iter_errors(document))
    if error is not None:
        raise Invalid(CODE, message_of(error), field=path_of(error) or None)
    _check_version(document["version"])
    check_inputs_schema(document["inputs"])
    manifest = _completed(document)
    counted_fees(manifest["fee"])
    check_stages(manifest)
    if parse_policy(manifest["verify"]).compares and manifest.get("gang"):
        raise Invalid(CODE, "the results of a gang are not compared: it runs on one pool", field="gang")
    _check_sources(manifest)
    _check_paths(manifest)
    _check_expressions(manifest)
    _check_splits(manifest)
    _check_tests(manifest)
    return manifest


@cache
def _format() -> Any:
    schema = json.loads(Path(__file__).with_name("manifest.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _check_version(text: str) -> None:
    try:
        semantic_version.Version(text)
    except ValueError:
        raise Invalid(CODE, f"{text!r} is no semantic version such as 1.0.0", field="version") from None


def _completed(document: Manifest) -> Manifest:
    """A copy with every optional part filled in. A unit may use the memory and disk reserved for it."""
    manifest = copy.deepcopy(document)
    manifest["resources"] = _RESOURCES | manifest.get("resources", {})
    reserved = {key: manifest["resources"][key] for key in ("memory_mib", "disk_mib")}
    manifest["limits"] = _LIMITS | reserved | manifest.get("limits", {})
    manifest["retry"] = {"max_attempts": 3, "window_s": 86_400, "capability_error": False} | manifest.get(
        "retry", {}
    )
    if "checkpoint" in manifest:
        manifest["checkpoint"] = {"every_s": 300} | manifest["checkpoint"]
    manifest["fee"] = {"per_unit": "0", "per_task": "0"} | manifest.get("fee", {})
    manifest["variants"] = [_completed_variant(variant) for variant in manifest.get("variants", [{}])]
    manifest["outputs"] = _completed_outputs(manifest.get("outputs", []))
    manifest["tests"] = [_completed_test(test) for test in manifest.get("tests", [])]
    _complete_stages(manifest)
    return {"description": "", "licence": "", "env": {}, "verify": "none"} | manifest


def _complete_stages(manifest: Manifest) -> None:
    split, merge = manifest.get("split"), manifest.get("merge")
    if split is not None:
        manifest["split"] = _completed_split(split)
    if "stages" in manifest:
        manifest["stages"] = [_completed_stage(stage) for stage in manifest["stages"]]
    if merge is not None:
        resources = _RESOURCES | merge.get("resources", {})
        outputs = _completed_outputs(merge["outputs"])
        optional = {"keep_units": False, "limits": {}, "demand": {"tflop": "0"}}
        manifest["merge"] = optional | merge | {"resources": resources, "outputs": outputs}


def _completed_split(split: dict[str, Any]) -> dict[str, Any]:
    defaults = {"range": {"start": "0", "step": "1", "chunk": "1"}, "one": {}, "matrix": {}, "parts": {}}
    return defaults.get(split["by"], {"chunk": "1"}) | split


def _completed_stage(stage: dict[str, Any]) -> dict[str, Any]:
    optional = {"keep": False, "accelerator": False, "limits": {}, "demand": {"tflop": "0"}}
    parts = {
        "split": _completed_split(stage.get("split", {"by": "one"})),
        "resources": _RESOURCES | stage.get("resources", {}),
        "outputs": _completed_outputs(stage["outputs"]),
    }
    return optional | stage | parts


def _completed_variant(variant: dict[str, Any]) -> dict[str, Any]:
    accelerator = variant.get("accelerator")
    filled = {"count": 1, "memory_mib": 0} | accelerator if accelerator else None
    return variant | {"instruction_set": variant.get("instruction_set", "any"), "accelerator": filled}


def _completed_outputs(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"required": True} | output for output in outputs]


def _completed_test(test: dict[str, Any]) -> dict[str, Any]:
    files = test.get("files", {})
    lists = {name: [value] if isinstance(value, str) else value for name, value in files.items()}
    return {"name": test["name"], "inputs": test["inputs"], "files": lists} | {
        "expect": {"files": test.get("expect", {}).get("files", [])}
    }


def _check_sources(manifest: Manifest) -> None:
    """`run` or `run_from`; and every `..._from` names an input."""
    if ("run" in manifest) == ("run_from" in manifest):
        raise Invalid(CODE, "needs either run or run_from", field="run")
    for key in ("run_from", "outputs_from", "env_from"):
        if key in manifest:
            _check_input_name(manifest, manifest[key], key)
    if "keep_units" in manifest and "stages" not in manifest:
        raise Invalid(CODE, "stands here only with stages; a merge has its own", field="keep_units")
    words_of = [("run", manifest.get("run")), ("merge.run", manifest.get("merge", {}).get("run"))]
    words_of += [(f"variants.{n}.run", one["run"]) for n, one in enumerate(manifest["variants"]) if "run" in one]
    if "run_from" in manifest and len(words_of) > 2:
        raise Invalid(CODE, "a variant's run and run_from exclude each other", field=f"{words_of[2][0]}")
    words_of += [(f"stages.{n}.run", stage["run"]) for n, stage in enumerate(manifest.get("stages", ()))]
    for field, words in words_of:
        if words is not None and not words[0].strip():
            raise Invalid(CODE, "must begin with a program", field=f"{field}.0")


def _check_input_name(manifest: Manifest, name: str, field: str) -> None:
    if name not in manifest["inputs"].get("properties", {}):
        raise Invalid(CODE, f"names {name!r}, which is no input", field=field)


def _check_paths(manifest: Manifest) -> None:
    stages = [
        ("outputs", manifest["outputs"]),
        ("merge.outputs", manifest.get("merge", {}).get("outputs", [])),
        *((f"stages.{n}.outputs", stage["outputs"]) for n, stage in enumerate(manifest.get("stages", ()))),
    ]
    _check_checkpoint(manifest.get("checkpoint", {}).get("paths", []))
    for field, outputs in stages:
        for index, output in enumerate(outputs):
            safe_glob(output["path"], field=f"{field}.{index}.path")
    for field, path in requirements_of(manifest).items():
        safe_path(path, field=field)
    for number, test in enumerate(manifest["tests"]):
        for name, paths in test["files"].items():
            for path in paths:
                safe_path(path, field=f"tests.{number}.files.{name}")
        for index, glob in enumerate(test["expect"]["files"]):
            safe_glob(glob, field=f"tests.{number}.expect.files.{index}")


def requirements_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Field → the file of requirements that it names: the manifest's, and those of variants with their own."""
    own = {f"variants.{n}.requirements": one.get("requirements") for n, one in enumerate(manifest["variants"])}
    named = {"requirements": manifest.get("requirements"), **own}
    return {field: path for field, path in named.items() if path is not None}


def _check_checkpoint(patterns: list[str]) -> None:
    for index, pattern in enumerate(patterns):
        safe_glob(pattern, field=f"checkpoint.paths.{index}")


def _expressions_of(manifest: Manifest) -> dict[str, tuple[Any, str | None]]:
    """Path of every expression -> (the expression, its key in BOUNDS or None)."""
    limits = manifest["limits"]
    found: dict[str, tuple[Any, str | None]] = {
        f"limits.{key}": (limits[key], key) for key in (*LIMITS, "units")
    }
    found |= {f"resources.{key}": (manifest["resources"][key], key) for key in RESOURCES}
    found |= _demand_of("demand", manifest["demand"])
    for number, variant in enumerate(manifest["variants"]):
        own = variant.get("resources", {})
        found |= {f"variants.{number}.resources.{key}": (value, key) for key, value in own.items()}
        found |= _demand_of(f"variants.{number}.demand", variant.get("demand", {}))
    found |= _split_expressions("split", manifest.get("split") or {})
    parts = {f"stages.{n}": stage for n, stage in enumerate(manifest.get("stages", ()))}
    if (merge := manifest.get("merge")) is not None:
        parts["merge"] = merge
    for at, part in parts.items():
        found |= {f"{at}.resources.{key}": (part["resources"][key], key) for key in RESOURCES}
        found |= {f"{at}.limits.{key}": (value, key) for key, value in part["limits"].items()}
        found |= _demand_of(f"{at}.demand", part["demand"]) | _split_expressions(f"{at}.split", part.get("split", {}))
    return found


def _split_expressions(at: str, split: Mapping[str, Any]) -> dict[str, tuple[Any, str | None]]:
    keys = {"start": None, "stop": None, "step": None, "chunk": None, "parts": "parts"}
    return {f"{at}.{key}": (split[key], bounded) for key, bounded in keys.items() if key in split}


def _demand_of(at: str, demand: Mapping[str, Any]) -> dict[str, tuple[Any, str | None]]:
    keys = (("tflop", None), ("bytes_out", "bytes_out"))
    return {f"{at}.{key}": (demand[key], bounded) for key, bounded in keys if key in demand}


def _check_expressions(manifest: Manifest) -> None:
    properties = manifest["inputs"].get("properties", {})
    if INPUT_MIB in properties:
        detail = f"{INPUT_MIB} is what expressions call the size of the input files"
        raise Invalid(CODE, detail, field=f"inputs.properties.{INPUT_MIB}")
    known = frozenset(properties) | {INPUT_MIB}
    for field, (expression, bounded) in _expressions_of(manifest).items():
        check_expression(expression, known, field=field)
        if bounded in BOUNDS and not names_in(expression):
            amount(str(bounded), expression, {}, field=field)


def _check_splits(manifest: Manifest) -> None:
    splits = [("split", manifest.get("split"))]
    splits += [(f"stages.{n}.split", stage["split"]) for n, stage in enumerate(manifest.get("stages", ()))]
    for at, split in splits:
        _check_split(manifest, split, at)


def _check_split(manifest: Manifest, split: Any, at: str) -> None:
    match split:
        case {"by": "list", "over": name}:
            _check_input_name(manifest, name, f"{at}.over")
        case {"by": "matrix", "axes": axes}:
            for axis, name in axes.items():
                _check_input_name(manifest, name, f"{at}.axes.{axis}")
        case {"by": "files", "over": name}:
            if (name, True) not in artifact_fields(manifest):
                raise Invalid(CODE, f"{name!r} is no input that is a list of artifacts", field=f"{at}.over")


def _check_tests(manifest: Manifest) -> None:
    names = [test["name"] for test in manifest["tests"]]
    if len(set(names)) < len(names):
        raise Invalid(CODE, "two test cases have the same name", field="tests")
    for number, test in enumerate(manifest["tests"]):
        _within(f"tests.{number}", lambda test=test: plan_test(manifest, test))  # type: ignore[misc]


def _within(prefix: str, check: Callable[[], Any]) -> None:
    try:
        check()
    except Invalid as error:
        field = f"{prefix}.{error.field or 'inputs'}"
        raise Invalid(error.code, error.detail, field=field, **error.data) from None


def plan_test(manifest: Manifest, test: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a test case, with placeholders for its files. Raises Invalid, `field` inside the test."""
    takes = dict(artifact_fields(manifest))
    for name, paths in test["files"].items():
        if name not in takes or (len(paths) > 1 and not takes[name]):
            raise Invalid(CODE, f"{name!r} is no input for {len(paths)} file(s)", field=f"files.{name}")
    given = {
        name: [PLACEHOLDER] * len(paths) if takes[name] else PLACEHOLDER
        for name, paths in test["files"].items()
    }
    inputs = validate_inputs(manifest, test["inputs"] | given)
    files = {name: [f"in/{name}/{path}" for path in paths] for name, paths in test["files"].items()}
    return plan_of(manifest, inputs, files)


def digest_of(manifest: Mapping[str, Any], program_sha: str | None) -> str:
    """SHA-256, hex, over the canonical JSON of the manifest and its program's digest: what a version *is*."""
    document = {"manifest": manifest, "program": program_sha}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def files_of_tests(manifest: Manifest) -> list[tuple[int, str, str]]:
    """(number of the test, input, path in the program) of every file of every test."""
    return [
        (number, name, path)
        for number, test in enumerate(manifest["tests"])
        for name, paths in test["files"].items()
        for path in paths
    ]
