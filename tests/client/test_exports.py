"""The command for exports writes whole files or none."""

from __future__ import annotations

from pathlib import Path

from tests.client.conftest import Run
from tests.client.platform import Fault, Platform


def test_a_month_is_written_to_a_file(run: Run, platform: Platform, tmp_path: Path) -> None:
    platform.ledgers |= {"csv": b"BilledCost\r\n1.0\r\n", "parquet": b"PAR1"}
    file = tmp_path / "march"
    assert run("export", "focus", "2026-03", "-o", str(file), "--json").json == {"path": str(file), "bytes": 17, "format": "csv"}
    assert file.read_bytes() == b"BilledCost\r\n1.0\r\n"
    assert run("export", "focus", "2026-03", "-o", str(file), "--format", "parquet").code == 0
    assert file.read_bytes() == b"PAR1"


def test_a_month_that_is_cut_off_leaves_the_old_file(run: Run, platform: Platform, tmp_path: Path) -> None:
    platform.ledgers["csv"] = b"BilledCost\r\n" * 10
    platform.faults.append(Fault("/exports/focus", "cut", at=20))
    file = tmp_path / "march"
    file.write_bytes(b"old")
    assert run("export", "focus", "2026-03", "-o", str(file)).code == 5
    assert file.read_bytes() == b"old"
