"""The built-in capabilities keep to the manifest's format, and deliver what they are published with."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities import run_local
from tests.capabilities.conftest import CAPABILITIES

NAMES = ["archive", "command", "render", "train"]


def every_test() -> list[Any]:
    """All tests of all manifests."""
    manifests = {name: run_local.load_manifest(CAPABILITIES / name) for name in NAMES}
    return [
        pytest.param(name, test, id=f"{name}: {test['name']}") for name, manifest in manifests.items() for test in manifest["tests"]
    ]


def expressions(manifest: dict[str, Any]) -> list[Any]:
    """Every value of a manifest that may be an expression."""
    stages = [manifest, manifest.get("merge", {})]
    found = [value for stage in stages for key in ("resources", "limits") for value in stage.get(key, {}).values()]
    split = manifest.get("split", {})
    return [
        *found,
        manifest["demand"]["tflop"],
        *(split[key] for key in ("start", "stop", "chunk") if key in split),
    ]


@pytest.mark.parametrize(("name", "test"), every_test())
def test_a_published_test_delivers_what_it_expects(name: str, test: dict[str, Any], tmp_path: Path) -> None:
    program = CAPABILITIES / name
    files = run_local.files_of_test(program, test)
    result = run_local.run_task(program, test["inputs"], files, tmp_path / "units")
    for pattern in test["expect"]["files"]:
        assert any(Path(path).match(pattern) for path in result.paths), pattern


@pytest.mark.parametrize("name", NAMES)
def test_every_expression_is_a_number_above_zero_for_default_inputs(name: str) -> None:
    manifest = run_local.load_manifest(CAPABILITIES / name)
    names = run_local.expression_names(manifest, {}, {}) | {"input_mib": 3.5}
    values = [run_local.evaluate(text, names) for text in expressions(manifest)]
    assert all(isinstance(value, int | float) and value >= 0 for value in values)
    assert run_local.evaluate(manifest["demand"]["tflop"], names) > 0


@pytest.mark.parametrize("name", ["render", "train"])
def test_requirements_are_pinned_by_hash_and_name_no_host(name: str) -> None:
    text = (CAPABILITIES / name / "requirements.txt").read_text()
    packages = re.findall(r"^([a-z0-9-]+)==\S+", text, re.MULTILINE)
    wanted = re.findall(r"^[a-z0-9-]+", (CAPABILITIES / name / "requirements.in").read_text(), re.MULTILINE)
    assert set(wanted) <= set(packages)
    assert text.count("--hash=sha256:") >= len(packages)
    assert "http" not in text


@pytest.mark.parametrize(("name", "program"), [("render", "render.py"), ("train", "train.py")])
def test_a_program_and_its_manifest_agree_on_the_defaults(name: str, program: str) -> None:
    tree = ast.parse((CAPABILITIES / name / program).read_text())
    found = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "DEFAULTS"
        if node.value is not None
    )
    manifest = run_local.with_defaults(run_local.load_manifest(CAPABILITIES / name), {})
    assert found == {key: value for key, value in manifest.items() if key != "configurations"}
