"""`manage.py simulate` as a process of its own, with no database anywhere; and its pictures."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper

from scheduler.simulator import policy_named, simulate
from scheduler.simulator.plots import pictures
from scheduler.simulator.policies import cheapest_first
from tests.scheduler.simulator.values import a_need, a_park, a_trace
from tests.scheduler.values import a_class, a_market, a_pool

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "scheduler" / "simulator" / "examples"
NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
SVG = "{http://www.w3.org/2000/svg}"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=os.environ | NOWHERE, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(("trace", "pools"), [("cluster.swf", "cluster-pools.json"), ("market.json", "market-pools.json")])
def test_the_examples_are_simulated_without_a_database(tmp_path: Path, trace: str, pools: str) -> None:
    done = run(
        "simulate", str(EXAMPLES / trace), "--pools", str(EXAMPLES / pools), "--units-limit", "60",
        "--policy", "optimum", "cheapest_first", "optimum:objective=fastest,age_bound_s=600",
        "--plots", str(tmp_path), "--json", str(tmp_path / "out.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())["policies"]
    assert [one["policy"] for one in figures] == ["optimum", "cheapest_first", "optimum:objective=fastest,age_bound_s=600"]
    assert all(one["units"] in range(57, 61) and one["rounds"] > 0 for one in figures)
    for name in ("waiting", "utilisation", "queue"):
        picture = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert len(picture.findall(f"{SVG}polyline")) == 3
    assert "slowdown mean" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", "best"], "one of optimum, greedy"),
        (["--policy", "optimum:age_bound_s=-1"], "age_bound_s is a number of seconds"),
        (["--policy", "optimum:objective=love"], "neither objective="),
        (["--gap-s", "-1"], "no number from 0 on"),
        (["--units-limit", "0"], "no units are left"),
    ],
)
def test_a_wrong_option_is_an_error_in_words(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("simulate", str(EXAMPLES / "market.json"), "--pools", str(EXAMPLES / "market-pools.json"), *words)


def test_a_broken_file_is_an_error_in_words(tmp_path: Path) -> None:
    path = tmp_path / "cut.swf"
    path.write_text("1 2 3\n")
    with pytest.raises(CommandError, match="line 1: 18 fields"):
        call_command("simulate", str(path), "--pools", str(EXAMPLES / "market-pools.json"))


def test_the_command_opens_no_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("the simulator asked for a connection")

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", refuse)
    monkeypatch.setattr(BaseDatabaseWrapper, "connect", refuse)
    made = tmp_path / "made.swf"
    call_command("make_trace", str(made), "--jobs", "30", "--cores", "16")
    call_command("simulate", str(made), "--pools", str(EXAMPLES / "cluster-pools.json"), "--policy", "greedy")
    assert "30 units" in capsys.readouterr().out


def test_with_an_empty_environment_no_server_is_started(tmp_path: Path) -> None:
    data, made = tmp_path / "data", str(tmp_path / "made.swf")
    alone = {"GRIDFARE_DATA": str(data)}  # so that no server of this check-out, already running, is found instead
    for words in (
        ["make_trace", made, "--jobs", "5", "--cores", "8"],
        ["simulate", made, "--pools", str(EXAMPLES / "cluster-pools.json"), "--policy", "greedy"],
    ):
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert not data.exists()
    assert not [one.pid for one in psutil.process_iter(["cmdline"]) if str(data) in " ".join(one.info["cmdline"] or [])]


def test_a_trace_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="at least one job"):
        call_command("make_trace", str(tmp_path / "none.swf"), "--jobs", "0")


def test_pictures_can_be_drawn_of_units_that_never_start_and_of_names_with_signs() -> None:
    outcome = simulate(a_trace((0.0, 1.0, a_need(cores=9))), a_park(), policy_named("optimum"))
    outcome.policy = policy_named("optimum")
    for picture in pictures([outcome]).values():
        assert "nan" not in picture
        ElementTree.fromstring(picture)


def test_the_naive_baseline_takes_the_lowest_price_and_no_more_than_fits() -> None:
    pools = [a_pool(1, cores=2), a_pool(2, cores=4)]
    snapshot = a_market([a_class(waiting=5)], pools, {1: {"core_second": 0.0001}, 2: {"core_second": 0.001}})
    placed = {one.pool_id: one.units for one in cheapest_first(snapshot, random.Random(1))}
    assert placed == {1: 2, 2: 3}


def test_the_naive_baseline_places_whole_gangs() -> None:
    snapshot = a_market([a_class(waiting=6, gang=3)], [a_pool(1, cores=5)])
    assert [one.units for one in cheapest_first(snapshot, random.Random(1))] == [3]
