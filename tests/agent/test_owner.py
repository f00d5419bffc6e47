"""Machines that their owners use, too: when they work, and how fast they are free again."""

from __future__ import annotations

import json
import time
from collections.abc import Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridfare.agent import HomeError, set_idle
from gridfare.agent.commands import is_shared
from gridfare.agent.owner import (
    DAY_S,
    IdleRules,
    LinuxSenses,
    OwnLoad,
    RulesError,
    View,
    Watch,
    allowed_for_s,
    period_of,
)

from .conftest import Join, Spawn
from .platform import Platform, spec
from .programs import alive, marked, python

HERE, FREE = View(0.0, owner_is_here=True), View(None)


class Machine:
    """Senses and clocks that a test moves."""

    def __init__(self) -> None:
        self.touched, self.loaded, self.battery = 0, 0.0, False
        self.now, self.time = 1000.0, datetime(2030, 1, 1, 12, tzinfo=UTC)

    def marks(self) -> Hashable:
        return self.touched

    def load(self) -> float:
        return self.loaded

    def on_battery(self) -> bool:
        return self.battery

    def watch(self, **rules: Any) -> Watch:
        return Watch(IdleRules(**rules), self, lambda: self.now, lambda: self.time)


@pytest.fixture
def desk() -> Machine:
    return Machine()


def after(desk: Machine, watch: Watch, seconds: float, busy: float = 0) -> View:
    desk.now += seconds
    return watch.look(busy)


def test_work_begins_once_nobody_used_it_long_enough(desk: Machine) -> None:
    watch = desk.watch(min_idle_s=60)
    assert [after(desk, watch, step) for step in (0, 30, 29, 2)] == [HERE, HERE, HERE, FREE]
    desk.touched += 1
    assert [after(desk, watch, step) for step in (0.2, 59, 2)] == [HERE, HERE, FREE]


def test_the_first_look_counts_as_use_because_nobody_knows_what_was_before(desk: Machine) -> None:
    assert desk.watch(min_idle_s=0).look(0) == HERE


def test_others_load_is_use_and_our_own_is_not(desk: Machine) -> None:
    watch = desk.watch(min_idle_s=10, max_load=1.0)
    after(desk, watch, 0)
    assert after(desk, watch, 11) == FREE
    for _ in range(600):  # ours: the kernel's average climbs, and our count of it with it
        own = watch.own.value
        desk.loaded = own + 0.2
        assert after(desk, watch, 0.2, busy=8) == FREE
    assert watch.own.value > 6
    desk.loaded += 1.5
    assert after(desk, watch, 0.2, busy=8) == HERE


def test_any_load_is_fine_where_the_owner_says_so(desk: Machine) -> None:
    watch = desk.watch(min_idle_s=1, max_load=None)
    after(desk, watch, 0)
    desk.loaded = 99
    assert after(desk, watch, 2) == FREE


@pytest.mark.parametrize(("allowed", "view"), [(False, HERE), (True, FREE)])
def test_without_mains_only_where_the_owner_allows_it(desk: Machine, allowed: bool, view: View) -> None:
    watch = desk.watch(min_idle_s=1, on_battery=allowed)
    after(desk, watch, 0)
    desk.battery = True
    assert after(desk, watch, 2) == view


@pytest.mark.parametrize(
    ("at", "view"),
    [((21, 59), View(0.0)), ((22, 0), FREE), ((3, 0), FREE), ((6, 54), FREE), ((6, 56), View(240.0)), ((7, 0), View(0.0))],
)
def test_hours_are_the_owners_and_their_end_comes_with_notice(desk: Machine, at: tuple[int, int], view: View) -> None:
    watch = desk.watch(min_idle_s=1, hours=("22:00-07:00",), timezone="UTC")
    desk.time = datetime(2030, 1, 1, *at, tzinfo=UTC)
    after(desk, watch, 0)
    assert after(desk, watch, 2) == view


def test_why_it_does_not_work_is_said_for_the_owner_who_wonders(desk: Machine) -> None:
    watch = desk.watch(min_idle_s=60, max_load=1.0, hours=("22:00-07:00",), timezone="UTC")
    desk.time = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert after(desk, watch, 0).why == "it is not known for how long it has been idle; it works 60 s after that"
    desk.touched += 1
    assert after(desk, watch, 1).why == "somebody used it; it works 60 s after that"
    desk.loaded = 2.5
    assert after(desk, watch, 1).why == "others' load was 2.5, and 1 is allowed; it works 60 s after that"
    desk.loaded = 0.0
    assert after(desk, watch, 61).why == "it works 22:00-07:00"
    desk.time = datetime(2030, 1, 1, 23, tzinfo=UTC)
    assert after(desk, watch, 1).why == ""


def test_hours_are_read_in_the_owners_time_zone(desk: Machine) -> None:
    watch = desk.watch(min_idle_s=1, hours=("22:00-07:00",), timezone="Asia/Shanghai")
    desk.time = datetime(2030, 1, 1, 15, tzinfo=UTC)  # 23:00 there
    after(desk, watch, 0)
    assert after(desk, watch, 2) == FREE


@pytest.mark.parametrize("jump", [-30 * DAY_S, 30 * DAY_S])
def test_a_wall_clock_that_jumps_makes_nobody_idle_and_nobody_busy(desk: Machine, jump: float) -> None:
    watch = desk.watch(min_idle_s=60)
    after(desk, watch, 0)
    desk.time = datetime.fromtimestamp(desk.time.timestamp() + jump, UTC)
    assert after(desk, watch, 30) == HERE
    assert after(desk, watch, 31) == FREE
    desk.time = datetime.fromtimestamp(desk.time.timestamp() - jump, UTC)
    assert after(desk, watch, 1) == FREE


periods = st.tuples(st.integers(0, 1439), st.integers(0, 1439)).filter(lambda p: p[0] != p[1])


def text_of(period: tuple[int, int]) -> str:
    return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in period)


@given(st.lists(periods, min_size=1, max_size=4), st.integers(0, 1439))
def test_allowed_time_ends_exactly_where_no_period_goes_on(given_periods: list[tuple[int, int]], minute: int) -> None:
    hours = tuple(text_of(period) for period in given_periods)
    inside = [any((m - s) % 1440 < (e - s) % 1440 for s, e in given_periods) for m in range(1440)]
    left = allowed_for_s(hours, minute * 60)
    expected = next((step for step in range(1440) if not inside[(minute + step) % 1440]), None)
    assert left == (None if expected is None else expected * 60)


@pytest.mark.parametrize("text", ["", "22-7", "25:00-07:00", "22:60-07:00", "22:00-22:00", "24:00-07:00", "22:00-24:01", "x"])
def test_periods_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RulesError):
        period_of(text)


@pytest.mark.parametrize(
    "rules", [{"hours": ["never"]}, {"timezone": "Mars/Olympus"}, {"timezone": "../../etc/passwd"}, {"min_idle_s": float("nan")},
              {"min_idle_s": -1}, {"max_load": float("nan")}, {"max_load": -1}]
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(RulesError):
        IdleRules.from_json(rules)


def test_own_load_follows_the_kernels_average() -> None:
    own = OwnLoad()
    for _ in range(60):
        own.feel(4.0, 1.0)
    assert own.value == pytest.approx(4 * (1 - 2.718281828**-1), rel=1e-3)


@pytest.mark.parametrize(
    ("pool", "shared"), [({"kind": "community", "tier": "cloud"}, True), ({"kind": "general", "tier": "end"}, True),
                         ({"kind": "general", "tier": "edge"}, False), ({}, False)]
)  # fmt: skip
def test_machines_of_people_are_lent_only_while_idle_unless_told_otherwise(pool: dict[str, str], shared: bool) -> None:
    assert is_shared(pool) == shared


def test_rules_are_kept_with_the_home_and_taken_away_again(platform: Platform, join: Join) -> None:
    home = join().home
    rules = IdleRules(("22:00-07:00",), "Asia/Shanghai", 0.5, 60, True, ("/tmp/here",))
    set_idle(home.path, rules)
    assert home.load_config().idle == rules
    set_idle(home.path, None)
    assert home.load_config().idle is None
    home.config.write_text(json.dumps(json.loads(home.config.read_text()) | {"idle": {"hours": ["never"]}}))
    with pytest.raises(HomeError):
        home.load_config()


def test_touching_a_presence_file_is_felt(tmp_path: Path) -> None:
    senses = LinuxSenses((str(tmp_path / "here"),))
    first = senses.marks()
    (tmp_path / "here").touch()
    assert senses.marks() != first
    assert isinstance(senses.on_battery(), bool)


def a_supply(folder: Path, name: str, kind: str, online: str | None = None) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "type").write_text(f"{kind}\n")
    if online is not None:
        (folder / name / "online").write_text(f"{online}\n")


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ([], False), ([("BAT0", "Battery", None)], False), ([("AC", "Mains", "0")], False),
        ([("BAT0", "Battery", None), ("AC", "Mains", "1")], False), ([("BAT0", "Battery", None), ("AC", "Mains", "0")], True),
        ([("BAT0", "Battery", None), ("AC", "Mains", "0"), ("ucsi", "USB", "1")], False),
    ],
)  # fmt: skip
def test_a_battery_without_mains_is_felt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supplies: list[tuple[str, str, str | None]], expected: bool
) -> None:
    for supply in supplies:
        a_supply(tmp_path, *supply)
    monkeypatch.setattr("gridfare.agent.owner.POWER", tmp_path)
    assert LinuxSenses().on_battery() is expected


def test_keys_and_mice_are_felt_by_their_interrupts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "interrupts"
    table.write_text("  1:  9  IO-APIC   1-edge  i8042\n 16:  5  IO-APIC  ehci\n")
    monkeypatch.setattr("gridfare.agent.owner.INTERRUPTS", table)
    first = LinuxSenses().marks()
    table.write_text("  1:  9  IO-APIC   1-edge  i8042\n 16:  7  IO-APIC  ehci\n")
    assert LinuxSenses().marks() == first
    table.write_text("  1: 10  IO-APIC   1-edge  i8042\n 16:  7  IO-APIC  ehci\n")
    assert LinuxSenses().marks() != first


SECOND = 1.0
BUSY = """
import subprocess, sys
here = subprocess.Popen([sys.executable, "-c", "while True: pass"])
away = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
print(here.pid, away.pid, flush=True)
while True: pass
"""


@pytest.mark.parametrize("executor", ["process", "sandbox"])
def test_the_machine_is_its_owners_within_a_second_and_the_work_goes_elsewhere(
    platform: Platform, join: Join, spawn: Spawn, tmp_path: Path, executor: str
) -> None:
    """A real agent with a program of three busy processes; the owner comes back, which a file tells."""
    desk = tmp_path / "owner"
    machine = join(idle=IdleRules(min_idle_s=1.0, max_load=None, presence=(str(desk),)))
    spawn(machine, "--executor", executor)
    (attempt,) = platform.offer(spec(python(BUSY)))
    platform.until(lambda: b"\n" in platform.log_of(attempt), 60)
    pids = marked("GRIDFARE_ATTEMPT", str(attempt))
    time.sleep(0.5)
    assert len([pid for pid in pids if alive(pid)]) >= 3
    began = time.monotonic()
    desk.touch()
    while any(alive(pid) for pid in pids) and time.monotonic() - began < 20:
        time.sleep(0.005)
    took = time.monotonic() - began
    assert took < SECOND, f"the owner waited {took:.2f} s"
    report = platform.report_of(attempt)
    assert (report["outcome"], report["reason_class"], report["code"]) == ("failed", "reclaimed", "owner_returned")
    last = platform.until(lambda: platform.syncs[-1] if platform.syncs[-1]["reclaim_in_s"] == 0 else None)
    assert (last["want"], last["draining"]) == (0, True)


def test_a_machine_in_use_takes_nothing_and_begins_when_it_is_idle(platform: Platform, join: Join, tmp_path: Path) -> None:
    desk = tmp_path / "owner"
    (attempt,) = platform.offer(spec(["/bin/true"]))
    machine = join(idle=IdleRules(min_idle_s=2.0, max_load=None, presence=(str(desk),))).start()
    ends = time.monotonic() + 3
    while time.monotonic() < ends:
        desk.touch()
        time.sleep(0.1)
    assert not platform.reports
    assert all(sync["want"] == 0 and sync["reclaim_in_s"] == 0 for sync in platform.syncs)
    assert platform.report_of(attempt)["outcome"] == "done"
    assert machine.loop.notice.left_s() is None
