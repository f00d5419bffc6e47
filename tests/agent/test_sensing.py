"""What an agent feels of its machine, and when it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridfare.agent import sensing
from gridfare.agent.cache import Cache
from gridfare.agent.capacity import Capacity
from gridfare.agent.sensing import Begun, Energy, Meter, Sensing, busy_ms, large_blobs, temperature_c

from .conftest import Machine
from .platform import Platform, spec


def a_zone(folder: Path, name: str, energy: str, span: int = 1_000_000) -> Path:
    zone = folder / name
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "energy_uj").write_text(energy)
    (zone / "max_energy_range_uj").write_text(str(span))
    return zone


def a_sensing(tmp_path: Path) -> Sensing:
    (tmp_path / "cache").mkdir()
    return Sensing(tmp_path, Cache(tmp_path / "cache", 10**12), lambda: Capacity(4, 1000, 1000), Meter(tmp_path / "none"))


def test_energy_is_summed_over_packages_and_parts_of_them_are_not_counted_twice(tmp_path: Path) -> None:
    first, second = a_zone(tmp_path, "intel-rapl:0", "500000"), a_zone(tmp_path, "intel-rapl:1", "0")
    a_zone(tmp_path, "intel-rapl:0:0", "100")
    meter = Meter(tmp_path)
    assert meter.read() == 0.0
    (first / "energy_uj").write_text("700000")
    (second / "energy_uj").write_text("100000")
    assert meter.read() == pytest.approx(0.3)


def test_a_counter_that_wraps_around_goes_on(tmp_path: Path) -> None:
    zone = a_zone(tmp_path, "intel-rapl:0", "900000")
    meter = Meter(tmp_path)
    (zone / "energy_uj").write_text("100000")
    assert meter.read() == pytest.approx(0.2)


@pytest.mark.parametrize("text", ["", "nonsense"])
def test_counters_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    a_zone(tmp_path, "intel-rapl:0", text)
    assert Meter(tmp_path).read() is None
    assert Energy(Meter(tmp_path)).begin() is None
    assert Energy(Meter(tmp_path)).share(None, 1000) == 0


def test_an_attempt_gets_its_share_of_the_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = a_zone(tmp_path, "intel-rapl:0", "0", 10**12)
    energy = Energy(Meter(tmp_path))
    (zone / "energy_uj").write_text(str(80 * 10**6))
    monkeypatch.setattr(sensing, "busy_ms", lambda: 50_000)
    assert energy.share(Begun(0.0, 10_000), 10_000) == 20  # a quarter of 40 s of busy processors
    assert energy.share(Begun(0.0, 49_000), 10_000) == 80  # never more than all of it


def test_the_warmest_sane_zone_counts(tmp_path: Path) -> None:
    for number, text in enumerate(["45000", "61500", "-273000", "999999", "x"]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    assert temperature_c(tmp_path) == 61
    assert temperature_c(tmp_path / "none") is None


def test_only_large_whole_contents_are_told_largest_first(tmp_path: Path) -> None:
    for name, size in (("a" * 64, 200_000_000), ("b" * 64, 300_000_000), ("c" * 64, 5), ("d" * 64 + ".part", 400_000_000)):
        path = tmp_path / name[:2] / name
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as writing:
            writing.truncate(size)
    assert large_blobs(Cache(tmp_path, 10**12)) == [("b" * 64, 300_000_000), ("a" * 64, 200_000_000)]


def test_a_status_is_told_at_once_then_when_it_changed_then_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feel, now, load = a_sensing(tmp_path), [1000.0], [1.0]
    monkeypatch.setattr(sensing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sensing.os, "getloadavg", lambda: (load[0], 0, 0))
    monkeypatch.setattr(sensing, "memory_available_mib", lambda: 500)
    monkeypatch.setattr(sensing.shutil, "disk_usage", lambda path: type("U", (), {"free": 7 << 20})())
    first = feel.news()
    assert first == feel.news()  # nobody has heard it yet
    assert first is not None
    assert {name: first[name] for name in ("load1", "free_cores", "free_memory_mib", "free_disk_mib", "cache")} == {
        "load1": 1.0, "free_cores": 4, "free_memory_mib": 500, "free_disk_mib": 7, "cache": [],
    }  # fmt: skip
    feel.heard()
    now[0] += 10
    assert feel.news() is None
    load[0] = 2.0
    now[0] += 10
    changed = feel.news()
    assert changed is not None
    assert (changed["load1"], "cache" in changed) == (2.0, False)
    feel.heard()
    now[0] += 45
    again = feel.news()
    assert again is not None
    assert again["cache"] == []


def test_the_platform_hears_how_a_machine_feels(platform: Platform, machine: Machine) -> None:
    (attempt,) = platform.offer(spec(["/bin/true"]))
    platform.report_of(attempt)
    told = next(sync["status"] for sync in platform.syncs if "status" in sync)
    assert told["free_cores"] == 2
    assert told["cache"] == []
    assert told["load1"] >= 0
    assert busy_ms() > 0
