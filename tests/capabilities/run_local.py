"""Run a capability on this machine as an agent would: units, then merge, each in its own working folder.

    python tests/capabilities/run_local.py capabilities/render OUT --input frames=2 --file scene=house.obj

It follows docs/manifest.md and "what a program finds" in docs/protocol.md, without market, limits or sandbox.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from simpleeval import SimpleEval

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENTS = REPOSITORY / ".gridfare" / "test-envs"

Manifest = dict[str, Any]
Files = dict[str, list[tuple[str, Path]]]  # input → (name below in/<input>/, file)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "len": len,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": round,
    "abs": abs,
}


class UnitFailed(Exception):
    """A program ended with another exit code than 0, or without a required output."""

    def __init__(self, exit_code: int, stderr: str) -> None:
        super().__init__(f"exit code {exit_code}: {stderr.strip()}")
        self.exit_code, self.stderr = exit_code, stderr


@dataclass
class Stage:
    """What all units of a stage share."""

    name: str
    program: Path
    python: Path
    run: list[str]
    env: dict[str, str]
    outputs: list[dict[str, Any]]
    inputs: dict[str, Any]
    total: int
    files: dict[str, Path] = field(default_factory=dict)


@dataclass
class Result:
    """The folder with a task's results, its files' paths, and seconds by unit and of the merge."""

    folder: Path
    paths: list[str]
    unit_s: list[float]
    merge_s: float


def load_manifest(program: Path) -> Manifest:
    """The manifest of a capability's folder."""
    manifest: Manifest = yaml.safe_load((program / "manifest.yaml").read_text())
    return manifest


def evaluate(text: Any, names: dict[str, Any]) -> Any:
    """Value of an expression of docs/manifest.md; a number stands for itself."""
    return SimpleEval(names=names, functions=FUNCTIONS).eval(text) if isinstance(text, str) else text


def with_defaults(manifest: Manifest, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs and the defaults of those not given."""
    properties = manifest["inputs"]["properties"]
    return {name: part["default"] for name, part in properties.items() if "default" in part} | inputs


def expression_names(manifest: Manifest, inputs: dict[str, Any], files: Files) -> dict[str, Any]:
    """What an expression may name: the inputs and input_mib."""
    bytes_in = sum(path.stat().st_size for pairs in files.values() for _, path in pairs)
    return with_defaults(manifest, inputs) | {"input_mib": -(-bytes_in // 2**20)}


def unit_params(manifest: Manifest, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The params of every unit, in order."""
    split = manifest.get("split")
    if not split:
        yield {}
    elif split["by"] == "range":
        start, stop, step, chunk = (int(evaluate(split[key], names)) for key in ("start", "stop", "step", "chunk"))
        for value in range(start, stop, step * chunk):
            yield ({"value": value} if chunk == 1 else {"start": value, "stop": min(stop, value + step * chunk)})
    elif split["by"] == "list":
        yield from ({"item": item} for item in names[split["over"]])
    elif split["by"] == "matrix":
        axes = split["axes"]
        yield from (dict(zip(axes, point, strict=True)) for point in product(*(names[axis] for axis in axes.values())))
    else:
        raise ValueError(f"split by {split['by']} is not known here")


def environment(program: Path) -> Path:
    """The interpreter of a capability's environment, made once per requirements and Python version."""
    requirements = program / "requirements.txt"
    if not requirements.exists():
        return Path(sys.executable)
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = ENVIRONMENTS / digest
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes one makes it, and the others wait
        _make(folder, requirements)
    return folder / "bin" / "python"


def _make(folder: Path, requirements: Path) -> None:
    """Make an environment unless it is ready."""
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(requirements)], check=True)
        (folder / "ready").touch()


def command_line(stage: Stage, index: int) -> list[str]:
    """The words to run: {program} and {index} filled in, the first word looked up."""
    program = str(stage.program)
    words = [word.replace("{program}", program).replace("{index}", str(index)) for word in stage.run]
    if words[0] == "python":
        words = [str(stage.python), *words[1:]]
        if len(words) > 1 and (stage.program / words[1]).is_file():
            words[1] = str(stage.program / words[1])
    elif words[0].endswith(".py"):
        words = [str(stage.python), str(stage.program / words[0]), *words[1:]]
    elif "/" in words[0] and not words[0].startswith("/"):
        words[0] = str(stage.program / words[0])
    return words


def surroundings(stage: Stage, folder: Path) -> dict[str, str]:
    """The program's environment variables."""
    for name in ("home", "tmp"):
        (folder / f".{name}").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder / ".home"),
        "TMPDIR": str(folder / ".tmp"),
        "GRIDFARE_PROGRAM": str(stage.program),
        "PYTHONPATH": str(stage.program),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",  # as an agent says it to a unit of one core; threads that wait for each other spin
        **stage.env,
    }


def run_unit(stage: Stage, index: int, params: dict[str, Any], folder: Path) -> list[str]:
    """Run one unit in an empty folder; returns its outputs' paths. Raises UnitFailed."""
    for path, source in stage.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    folder.mkdir(parents=True, exist_ok=True)
    task = {"task": "local", "stage": stage.name, "index": index, "total": stage.total, "params": params}
    (folder / "task.json").write_text(json.dumps({**task, "inputs": stage.inputs, "files": sorted(stage.files)}))
    done = subprocess.run(
        command_line(stage, index),
        cwd=folder,
        env=surroundings(stage, folder),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise UnitFailed(done.returncode, done.stderr)
    return collect(stage.outputs, folder)


def collect(outputs: list[dict[str, Any]], folder: Path) -> list[str]:
    """The files that the outputs' globs match. Raises UnitFailed when a required one has none."""
    found: set[str] = set()
    for output in outputs:
        paths = {path.relative_to(folder).as_posix() for path in folder.glob(output["path"]) if path.is_file()}
        if output.get("required") and not paths:
            raise UnitFailed(0, f"no file matches {output['path']}")
        found |= paths
    return sorted(found)


def unit_stage(program: Path, manifest: Manifest, inputs: dict[str, Any], files: Files, total: int) -> Stage:
    """The stage of the task's units."""
    names = expression_names(manifest, inputs, files)
    given = names.get(manifest.get("outputs_from", "")) or []
    return Stage(
        name="unit",
        program=program,
        python=environment(program),
        run=names[manifest["run_from"]] if "run_from" in manifest else manifest["run"],
        env={**manifest.get("env", {}), **(names.get(manifest.get("env_from", "")) or {})},
        outputs=[*manifest["outputs"], *({"path": path, "required": True} for path in given)],
        inputs=with_defaults(manifest, inputs),
        total=total,
        files={f"in/{name}/{file}": path for name, pairs in files.items() for file, path in pairs},
    )


def merge_stage(units: Stage, manifest: Manifest, done: list[tuple[dict[str, Any], list[str]]], work: Path) -> Stage:
    """The stage that joins the units' outputs."""
    merge = manifest["merge"]
    stored = {
        f"in/units/{index:06d}/{path}": work / f"{index:06d}" / path for index, (_, paths) in enumerate(done) for path in paths
    }
    listing = work / "units.json"
    lines = [{"index": index, "params": params, "files": paths} for index, (params, paths) in enumerate(done)]
    listing.write_text(json.dumps(lines))
    return Stage(
        name="merge",
        program=units.program,
        python=units.python,
        run=merge["run"],
        env=units.env,
        outputs=merge["outputs"],
        inputs=units.inputs,
        total=1,
        files={**units.files, **stored, "in/units.json": listing},
    )


def run_task(program: Path, inputs: dict[str, Any], files: Files, work: Path) -> Result:
    """Run a whole task below the empty folder `work`; the results are in its folder `result` or `merge`."""
    manifest = load_manifest(program)
    params = list(unit_params(manifest, expression_names(manifest, inputs, files)))
    units = unit_stage(program.resolve(), manifest, inputs, files, len(params))
    done, seconds = [], []
    for index, one in enumerate(params):
        begun = time.monotonic()
        done.append((one, run_unit(units, index, one, work / f"{index:06d}")))
        seconds.append(time.monotonic() - begun)
    if "merge" not in manifest:
        paths = [f"{index:06d}/{path}" for index, (_, found) in enumerate(done) for path in found]
        return Result(work, paths, seconds, 0.0)
    begun = time.monotonic()
    merged = run_unit(merge_stage(units, manifest, done, work), 0, {}, work / "merge")
    return Result(work / "merge", merged, seconds, time.monotonic() - begun)


def files_of_test(program: Path, test: dict[str, Any]) -> Files:
    """The files of a manifest's test, by input."""
    found: Files = {}
    for name, paths in test.get("files", {}).items():
        listed = [paths] if isinstance(paths, str) else paths
        found[name] = [(Path(path).name, program / path) for path in listed]
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=JSON")
    parser.add_argument("--file", action="append", default=[], metavar="NAME=PATH")
    given = parser.parse_args()
    inputs = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in given.input)}
    files: Files = {}
    for name, path in (pair.split("=", 1) for pair in given.file):
        files.setdefault(name, []).append((Path(path).name, Path(path)))
    result = run_task(given.program, inputs, files, given.work.resolve())
    print(f"units {sum(result.unit_s):.1f} s, slowest {max(result.unit_s):.1f} s, merge {result.merge_s:.1f} s")
    print("\n".join(str(result.folder / path) for path in result.paths))


if __name__ == "__main__":
    main()
