"""The compose files describe the system that is there."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from core.embedded.postgres import ENCODING

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = ["setup", "web", "worker", "beat", "seed"]
AGENTS = ["agent-1", "agent-2", "agent-3"]
ONE_SHOT = {"setup", "seed"}


def compose(name: str = "docker-compose.yml") -> dict[str, Any]:
    """One compose file, as a container engine reads it."""
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return found


SERVICES = compose()["services"]
ALONE = compose("docker-compose.agent.yml")["services"]
EVERY = [*SERVICES.items(), *ALONE.items()]


def test_the_services_are_the_parts_of_the_architecture() -> None:
    assert set(SERVICES) == {"postgres", "redis", *PLATFORM, *AGENTS}
    assert set(ALONE) == {"agent"}


@pytest.mark.parametrize(("name", "service"), EVERY)
def test_an_image_is_pinned_to_a_version(name: str, service: dict[str, Any]) -> None:
    _, _, tag = service["image"].partition(":")
    assert tag
    assert tag != "latest"


def test_the_database_is_the_version_that_is_embedded() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    # Since version 18 the image keeps its data one folder deeper.
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split() == list(ENCODING)


@pytest.mark.parametrize(("name", "service"), [pair for pair in EVERY if pair[0] not in ONE_SHOT])
def test_what_keeps_running_is_watched_and_started_again(name: str, service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


@pytest.mark.parametrize(("name", "service"), SERVICES.items())
def test_a_service_waits_for_what_it_needs_by_a_condition_that_can_come_true(
    name: str, service: dict[str, Any]
) -> None:
    for needed, how in service.get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
        assert how == {"condition": expected}
        assert needed in SERVICES


@pytest.mark.parametrize(("name", "service"), EVERY)
def test_a_command_names_what_exists(name: str, service: dict[str, Any]) -> None:
    text = " ".join(service.get("command", []))
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for command in re.findall(r"manage\.py (\w+)", text):
        assert command in get_commands()
    for script in re.findall(r"docker/\w+", text):
        assert (ROOT / script).stat().st_mode & 0o111, script


@pytest.mark.parametrize("name", PLATFORM)
def test_the_platform_is_told_only_what_its_settings_read(name: str) -> None:
    read = set(re.findall(r'env(?:_bool|_int)?\("(\w+)"', (ROOT / "config" / "settings.py").read_text()))
    assert set(SERVICES[name]["environment"]) <= read


@pytest.mark.parametrize("service", [*(SERVICES[name] for name in AGENTS), ALONE["agent"]])
def test_an_agent_is_told_where_the_market_is_and_no_secret_of_the_platform(service: dict[str, Any]) -> None:
    read = set(re.findall(r"\b(GRIDFARE_\w+)", (ROOT / "docker" / "agent").read_text()))
    assert set(service["environment"]) <= read
    assert "GRIDFARE_URL" in service["environment"]


@pytest.mark.parametrize("service", [*(SERVICES[name] for name in AGENTS), ALONE["agent"]])
def test_an_agent_may_make_its_sandbox_and_has_no_other_right(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"} < set(service["security_opt"])


def test_web_and_worker_share_the_artifacts() -> None:
    for name in ("web", "worker", "seed"):
        assert "artifacts:/data/artifacts" in SERVICES[name]["volumes"]
        assert SERVICES[name]["environment"]["GRIDFARE_ARTIFACT_DIR"] == "/data/artifacts"


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.agent.yml"])
def test_every_volume_that_is_used_is_declared(file: str) -> None:
    found = compose(file)
    used = {volume.split(":")[0] for service in found["services"].values() for volume in service.get("volumes", [])}
    assert used == set(found["volumes"])


@pytest.mark.parametrize("name", PLATFORM)
def test_a_secret_comes_from_the_environment_and_has_no_default(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment["GRIDFARE_SECRET_KEY"].startswith("${GRIDFARE_SECRET_KEY:?")
    assert ":${POSTGRES_PASSWORD:?" in environment["DATABASE_URL"]


def test_only_the_web_server_is_published_and_only_to_this_machine_by_default() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["web"]
    assert SERVICES["web"]["ports"] == ["${GRIDFARE_PUBLISH:-127.0.0.1:8000}:8000"]


def test_the_image_runs_as_an_ordinary_user_from_pinned_packages() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER gridfare$", text, re.MULTILINE)
    assert "pip install --require-hashes -r /tmp/server.txt -r /tmp/agent.txt" in text
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", text, re.MULTILINE)


def test_the_image_has_the_agents_sandbox() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"apt-get install .*\bbubblewrap\b", text)


def test_everything_the_image_needs_passes_the_ignore_file() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    own = {app.split(".")[0] for app in settings.INSTALLED_APPS} & {path.name for path in ROOT.iterdir()}
    assert own >= {"billing", "index"}
    needed = own | {"config", "core", "gridfare", "capabilities", "docker", "manage.py", "requirements/server.txt"}
    assert needed | {"requirements/assets.py", "requirements/node.txt"} <= kept
