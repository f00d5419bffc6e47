"""`gridfare agent ...` hands its options on, and turns the agent's errors into exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridfare import agent
from gridfare.agent.home import AgentConfig
from gridfare.agent.home import Home as AgentHome
from gridfare.agent.notice import read_wish
from tests.client.conftest import Run


def test_join_at_a_platform_that_knows_no_token(run: Run, url: str, tmp_path: Path) -> None:
    assert run("agent", "join", url, "token", "--home", str(tmp_path / "home")).code == 4
    assert run("agent", "join", "nonsense", "token", "--home", str(tmp_path / "home")).code == 2


def test_a_folder_that_never_joined_cannot_run_or_drain(run: Run, tmp_path: Path) -> None:
    assert run("agent", "run", "--home", str(tmp_path / "none")).code == 2
    assert run("agent", "drain", "--home", str(tmp_path / "none"), "--json").json["error"]["code"] == "agent_home"


def test_a_folder_that_never_joined_has_nothing_to_reclaim(run: Run, tmp_path: Path) -> None:
    for command in ("reclaim", "give-back", "idle"):
        assert run("agent", command, "--home", str(tmp_path / "none")).code == 2


def test_an_owner_takes_the_machine_back_and_lends_it_again(run: Run, tmp_path: Path) -> None:
    home = a_home(tmp_path)
    assert "10 min" in run("agent", "reclaim", "--in", "10m", "--for", "1h", "--home", str(home.path)).out
    left = read_wish(home.reclaim)
    assert left is not None
    assert 590 < left <= 600
    assert run("agent", "give-back", "--home", str(home.path)).code == 0
    assert read_wish(home.reclaim) is None


def test_an_owner_sets_when_the_machine_may_work(run: Run, tmp_path: Path) -> None:
    home = a_home(tmp_path)
    words = ["--hours", "22:00-07:00", "--timezone", "Asia/Shanghai", "--max-load", "0.5", "--min-idle", "2m"]
    assert run("agent", "idle", *words, "--presence", "/tmp/here", "--home", str(home.path)).code == 0
    wanted = agent.IdleRules(("22:00-07:00",), "Asia/Shanghai", 0.5, 120.0, False, ("/tmp/here",))
    assert home.load_config().idle == wanted
    assert run("agent", "idle", "--hours", "never", "--home", str(home.path)).code == 2
    assert home.load_config().idle == wanted
    assert run("agent", "idle", "--off", "--home", str(home.path)).code == 0
    assert home.load_config().idle is None


def test_an_owner_offers_room_for_copies(run: Run, tmp_path: Path) -> None:
    home = a_home(tmp_path)
    assert "512 MiB" in run("agent", "store", "--mib", "512", "--home", str(home.path)).out
    assert home.load_config().store_mib == 512
    assert "no copies" in run("agent", "store", "--mib", "0", "--home", str(home.path)).out
    assert home.load_config().store_mib == 0
    assert run("agent", "store", "--mib", "5", "--home", str(tmp_path / "none")).code == 2


def a_home(tmp_path: Path) -> AgentHome:
    """The folder of an agent that has joined."""
    home = AgentHome(tmp_path / "home")
    home.create()
    home.save_config(AgentConfig("http://127.0.0.1:1", "id", "bob-1", "pool", 1, 1024, 1024, ("process",)))
    return home


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
