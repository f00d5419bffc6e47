"""`gridfare agent ...` hands its options on, and turns the agent's errors into exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridfare import agent
from tests.client.conftest import Run


def test_join_at_a_platform_that_knows_no_token(run: Run, url: str, tmp_path: Path) -> None:
    assert run("agent", "join", url, "token", "--home", str(tmp_path / "home")).code == 4
    assert run("agent", "join", "nonsense", "token", "--home", str(tmp_path / "home")).code == 2


def test_a_folder_that_never_joined_cannot_run_or_drain(run: Run, tmp_path: Path) -> None:
    assert run("agent", "run", "--home", str(tmp_path / "none")).code == 2
    assert run("agent", "drain", "--home", str(tmp_path / "none"), "--json").json["error"]["code"] == "agent_home"


def test_run_hands_every_option_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def fake_run(home: Path, **options: Any) -> int:
        seen.update(options, home=home)
        return 3

    monkeypatch.setattr(agent, "run", fake_run)
    words = ["--executor", "process", "--allow-untrusted", "--once-idle", "1m", "--stop-after", "2s"]
    done = run("agent", "run", "--home", str(tmp_path), *words, "--log-level", "DEBUG")
    assert done.code == 3
    assert seen == {
        "home": tmp_path,
        "executor": "process",
        "allow_untrusted": True,
        "once_idle_s": 60.0,
        "stop_s": 2.0,
        "log_level": "DEBUG",
    }


def test_the_self_test_reports_every_check(run: Run) -> None:
    done = run("agent", "selftest", "--benchmark-s", "0.01", "--json")
    assert {"python", "disk"} <= {each["code"] for each in done.json["results"]}
    assert done.json["benchmark"]["fp32_mflops"] > 0
    assert done.code == (1 if any(each["status"] == "fail" for each in done.json["results"]) else 0)


def test_sending_the_self_test_needs_a_home(run: Run) -> None:
    assert run("agent", "selftest", "--send").code == 2
