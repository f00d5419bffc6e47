"""Environments are built once from pinned wheels, and never found half built."""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gridfare.agent import environments
from gridfare.agent.cache import digest_of
from gridfare.agent.environments import Environments, check_requirements
from gridfare.agent.family import Family
from gridfare.agent.model import Environment
from gridfare.agent.reasons import AttemptEnded

from .conftest import Machine
from .platform import Platform, spec
from .programs import python

WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = "Metadata-Version: 2.1\nName: sundial\nVersion: 1.0\n"


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pinned wheel in a folder that the user's pip is told of."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "sundial-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sundial.py", "hour = 12\n")
        archive.writestr("sundial-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("sundial-1.0.dist-info/METADATA", METADATA)
        archive.writestr("sundial-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"# made by hand\nsundial==1.0 \\\n    --hash=sha256:{digest}\n    # via nothing\n"


def environment(text: str) -> Environment:
    """Requirements as a spec names them."""
    return Environment(text, digest_of(text))


def using(folder: Path, work: Callable[[Environments], object]) -> object:
    """Run a coroutine function with environments below a folder."""

    folder.mkdir(exist_ok=True)

    async def inner() -> object:
        return await work(Environments(folder, Family(), "mark"))

    return asyncio.run(inner())


def test_two_attempts_share_one_environment_that_is_built_once(platform: Platform, machine: Machine, requirements: str) -> None:
    wanted = {"requirements": requirements, "sha256": digest_of(requirements)}
    code = "import sundial, sys; print(sundial.hour, sys.prefix)"
    attempts = platform.offer(spec(python(code), environment=wanted), count=3)
    said = set()
    for attempt in attempts:
        assert platform.report_of(attempt, 60)["outcome"] == "done"
        said.add(platform.log_of(attempt))
    (line,) = said
    built = [folder for folder in machine.home.environments.iterdir() if folder.is_dir()]
    assert line.decode().split() == ["12", str(built[0])]
    assert len(built) == 1


def test_an_environment_that_was_left_half_built_is_built_anew(tmp_path: Path, requirements: str) -> None:
    async def work(made: Environments) -> Path:
        path = await made.get(environment(requirements), print)
        (path / ".ready").unlink()
        (path / "bin" / "python").unlink()
        again = await made.get(environment(requirements), print)
        assert (again / "bin" / "python").exists()
        return again

    using(tmp_path / "environments", work)


def test_a_failed_build_is_remembered_for_a_while_and_tried_again_later(
    tmp_path: Path, requirements: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = requirements.replace("==1.0", "==2.0")
    steps = []

    async def work(made: Environments) -> None:
        install = made._install

        async def counted(*values: object) -> None:
            steps.append(1)
            await install(*values)

        made._install = counted
        for _ in range(2):
            with pytest.raises(AttemptEnded) as failure:
                await made.get(environment(wrong), lambda text: None)
            assert (failure.value.code, failure.value.reason_class) == ("environment_failed", "capability_error")
        assert len(steps) == 1
        monkeypatch.setattr(environments, "FORGET_FAILURE_S", 0.0)
        with pytest.raises(AttemptEnded):
            await made.get(environment(wrong), lambda text: None)
        assert len(steps) == 2
        assert not list((tmp_path / "environments").iterdir())

    using(tmp_path / "environments", work)


def test_a_wrong_hash_is_the_capabilitys_fault(tmp_path: Path, requirements: str) -> None:
    wrong = requirements[:-80] + requirements[-80:].replace("a", "b").replace("0", "1")

    async def work(made: Environments) -> None:
        with pytest.raises(AttemptEnded) as failure:
            await made.get(environment(wrong), lambda text: None)
        assert failure.value.reason_class == "capability_error", failure.value

    using(tmp_path / "environments", work)


@pytest.mark.parametrize(
    "line",
    [
        "sundial==1.0",
        "sundial>=1.0 --hash=sha256:" + "0" * 64,
        "--index-url http://evil.example/simple",
        "--extra-index-url=http://evil.example",
        "-r /etc/passwd",
        "-e .",
        "./local.whl --hash=sha256:" + "0" * 64,
        "sundial @ file:///etc/passwd",
        "sundial @ http://evil.example/a.whl --hash=sha256:" + "0" * 64,
        "git+https://evil.example/a",
        "sundial==1.0 --hash=sha256:" + "0" * 64 + " --config-settings=a=b",
        "sundial==1.0; python_version > '3' --index-url http://evil.example --hash=sha256:" + "0" * 64,
        "--no-binary :all:",
        "--trusted-host evil.example",
    ],
)
def test_requirements_that_are_more_than_pinned_names_are_refused(line: str) -> None:
    with pytest.raises(AttemptEnded, match="environment_failed"):
        check_requirements(line)


def test_pinned_requirements_with_extras_markers_and_several_hashes_are_accepted() -> None:
    digest = "--hash=sha256:" + "a" * 64
    check_requirements(
        f"numpy==1.26.4 \\\n  {digest} \\\n  {digest}\n"
        f"uvicorn[standard, http]==0.30.0 ; python_version >= '3.8' and sys_platform == 'linux' {digest}\n"
        f"# a comment\n\ntorch==2.3.0+cpu {digest}  # via nothing\n"
    )
