"""The lock files, the client's package and the Makefile agree with each other."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = ["tools", "redis", "server", "agent", "local", "dev", "node"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text[text.index("\n") + 1 :])
    pinned = [entry for entry in entries if not entry.startswith("#")]
    assert pinned
    assert all(re.match(r"\S+==\S+", entry) and "--hash=sha256:" in entry for entry in pinned)
    assert not re.search(r"://|--(extra-)?index|--find-links|^-[if] ", text, re.MULTILINE)


def test_development_uses_the_versions_that_are_deployed() -> None:
    server, agent, local, dev = (versions(name) for name in ("server", "agent", "local", "dev"))
    assert server.items() | agent.items() <= local.items() <= dev.items()


def test_the_client_asks_for_the_same_packages_in_both_places() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [line for line in (REQUIREMENTS / "client.in").read_text().splitlines() if not line.startswith("#")]
    assert sorted(project["dependencies"]) == sorted(listed)


def test_the_client_needs_nothing_of_the_platform() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not {"django", "celery", "psycopg"} & set(project["dependencies"])
    assert project["scripts"] == {"gridfare": "gridfare.cli:app"}


def test_an_old_python_is_told_what_is_missing() -> None:
    program = "import runpy, sys; sys.version_info = (3, 9, 0); sys.argv = ['install.py', 'local']; "
    program += f"runpy.run_path({str(REQUIREMENTS / 'install.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Gridfare needs Python 3.11 or newer" in done.stderr


def test_the_quick_installer_goes_by_what_pip_is_configured_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("[global]\ncert = /ours.pem\nindex-url = https://files.example/simple\n")
    for name in ("PIP_CERT", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    settings = runpy.run_path(str(REQUIREMENTS / "install.py"))["_pip_settings"]
    assert settings().items() >= {"cert": "/ours.pem", "index-url": "https://files.example/simple"}.items()

    monkeypatch.setenv("PIP_INDEX_URL", "https://nearer.example/simple")
    assert settings()["index-url"] == "https://nearer.example/simple"


@pytest.mark.parametrize(("arguments", "last"), [(["ONCE=1"], "up --once"), ([], "up"), (["ONCE=0"], "up")])
def test_once_is_handed_on_by_make(arguments: list[str], last: str) -> None:
    bare = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "ONCE"}
    done = subprocess.run(
        ["make", "-n", "up", *arguments], cwd=ROOT, env=bare, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith(f"-m core.stack {last}")


def versions(name: str) -> dict[str, str]:
    """Package and marker → version, of one lock."""
    found = re.findall(
        r"^([a-z0-9._\[\],-]+)==(\S+)( ; [^\\\n]+)?", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE
    )
    return {f"{package}{marker.strip()}": version for package, version, marker in found}
