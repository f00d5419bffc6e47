"""The command for exports writes whole files or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridfare.client import Client
from gridfare.sdk.errors import Corrupt
from tests.client.conftest import Run
from tests.client.platform import Fault, Platform


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridfare.sdk.exports.POLL_FIRST_S", 0.001)


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


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("usage", "--party", "provider"), {"party": "provider"}),
        (("charges", "--from", "2026-03-01", "--to", "2026-04-01"), {"from": "2026-03-01", "to": "2026-04-01"}),
        (("statements", "--by", "month", "--format", "parquet"), {"group": "month", "format": "parquet"}),
        (("ledger", "--all", "--ascii"), {"party": "all", "ascii": True}),
        (("focus", "--from", "2026-03-01"), {"from": "2026-03-01"}),
        (("apel", "--site", "CN-NX-1"), {"site": "CN-NX-1"}),
    ],
)
def test_an_export_is_asked_for_waited_for_and_fetched(
    run: Run, platform: Platform, tmp_path: Path, words: tuple[str, ...], asked: dict[str, object]
) -> None:
    platform.ledgers["csv"] = b"a,b\r\n1,2\r\n"
    file = tmp_path / "out"
    done = run("export", *words, "-o", str(file))
    assert done.code == 0, done.err
    assert file.read_bytes() == platform.ledgers["csv"]
    assert f"2 rows of {words[0]}/1" in done.out
    assert "running: 100 of about 1000 rows" in done.err
    told = platform.answers["export"]
    assert isinstance(told, dict)
    assert {"kind": words[0]} | asked == {name: told.get(name) for name in ("kind", *asked)}


@pytest.mark.usefixtures("_quick")
def test_a_file_with_another_digest_or_an_export_that_failed_leaves_the_old_file(
    run: Run, platform: Platform, tmp_path: Path
) -> None:
    platform.ledgers["csv"] = b"a,b\r\n"
    file = tmp_path / "out"
    file.write_bytes(b"old")
    platform.faults.append(Fault("/exports/e1/file", "cut", at=2))
    assert run("export", "charges", "-o", str(file)).code == 5
    platform.states = ["failed"]
    failed = run("export", "charges", "-o", str(file))
    assert failed.code != 0
    assert "number_too_large" in failed.err
    assert file.read_bytes() == b"old"


@pytest.mark.usefixtures("_quick")
def test_exports_are_listed_and_fetched_later(run: Run, platform: Platform, tmp_path: Path, client: Client) -> None:
    platform.ledgers["csv"] = b"a,b\r\n"
    client.request_export("usage")
    assert "usage/1" in run("export", "list").out
    assert run("export", "fetch", "e1", "-o", str(tmp_path / "out"), "--json").json["rows"] == 2
    platform.ledgers["csv"] = b"a,c\r\n"
    with pytest.raises(Corrupt), (tmp_path / "out").open("wb") as target:
        client.download_export(target, client.export("e1") | {"sha256": "0" * 64})


def test_a_month_and_a_window_are_not_asked_for_at_once(run: Run, tmp_path: Path) -> None:
    assert run("export", "focus", "2026-03", "--from", "2026-03-01", "-o", str(tmp_path / "out")).code == 2


def test_an_organization_says_what_exports_call_it(run: Run, platform: Platform) -> None:
    platform.answers["PATCH /organization"] = {"slug": "acme", "ascii_name": "Ailisi Ltd"}
    assert "exports call acme: Ailisi Ltd" in run("export", "name", "Ailisi Ltd").out
