"""A fake platform per test, a client with short patience, the command line with a home of its own. No Django."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gridfare.client import Client, Retry
from tests.client import routes_market, routes_money
from tests.client.platform import KEY, Platform, serving
from tests.typed import typed

ROUTES = (routes_market, routes_money)  # importing them adds what they answer
QUICK = Retry(tries=4, first_s=0.001, most_s=0.01, patience_s=0.5)


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def url(platform: Platform) -> Iterator[str]:
    with serving(platform) as address:
        yield address


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or changes the login of the person who runs it, nor waits as long as a person would."""
    for name in ("GRIDFARE_URL", "GRIDFARE_KEY", "GRIDFARE_PROFILE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRIDFARE_CONFIG", str(tmp_path / "home" / "config.toml"))
    monkeypatch.setattr("gridfare.sdk.tasks.POLL_FIRST_S", 0.005)
    monkeypatch.setattr("gridfare.client.Retry", lambda: QUICK)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, KEY, retry=QUICK) as made:
        yield made


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as alice: run("tasks", "--json")."""
    monkeypatch.setenv("GRIDFARE_URL", url)
    monkeypatch.setenv("GRIDFARE_KEY", KEY)

    def run_command(*words: str, given: str | None = None) -> Ran:
        done = typed(words, given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout, done.stderr)

    return run_command
