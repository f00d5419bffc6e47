"""The ledger's commands: the chain, entries, exports, and a check that needs no platform."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from gridfare.ledger.hashing import GENESIS
from tests.client.conftest import Run
from tests.client.platform import Fault, Platform

HEAD = b'{"type":"ledger","format":"gridfare-ledger-1","organization":null}\n'


def empty_export() -> bytes:
    """What a platform that sealed nothing gives away."""
    end = {"type": "end", "seals": 0, "entries": 0, "hash": GENESIS.hex(), "sha256": sha256(HEAD).hexdigest()}
    return HEAD + json.dumps(end, separators=(",", ":")).encode() + b"\n"


def test_the_chain_and_the_own_entries_are_shown(run: Run) -> None:
    assert "b" * 64 in run("ledger", "proof").out
    assert run("ledger", "proof", "--json").json[0]["entries"] == 2
    assert "fee/a" in run("ledger", "entries").out
    assert run("ledger", "entries", "--json").json[0]["digest"] == "c" * 64


def test_an_export_is_printed_or_written_to_a_file(run: Run, platform: Platform, tmp_path: Path) -> None:
    platform.ledgers["ndjson"] = empty_export()
    assert run("ledger", "export").out.encode() == empty_export()
    file = tmp_path / "ledger.ndjson"
    done = run("ledger", "export", "--output", str(file), "--json")
    assert done.json == {"path": str(file), "bytes": len(empty_export()), "format": "ndjson"}
    assert file.read_bytes() == empty_export()
    platform.ledgers["hledger"] = b"; a journal\n"
    assert run("ledger", "export", "--format", "hledger").out == "; a journal\n"
    assert run("ledger", "export", "--json").code == 2
    assert run("ledger", "export", "--format", "papyrus").code == 2


def test_an_export_that_is_cut_off_leaves_the_old_file(run: Run, platform: Platform, tmp_path: Path) -> None:
    platform.ledgers["ndjson"] = empty_export()
    platform.faults.append(Fault("/ledger/export", "cut", at=20))
    file = tmp_path / "ledger.ndjson"
    file.write_bytes(b"old")
    assert run("ledger", "export", "--output", str(file)).code == 5
    assert file.read_bytes() == b"old"


def test_a_file_is_proved_without_a_platform(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFARE_URL", "http://127.0.0.1:1")
    file = tmp_path / "ledger.ndjson"
    file.write_bytes(empty_export())
    done = run("verify-ledger", str(file))
    assert (done.code, "proved: the whole ledger, 0 entries" in done.out) == (0, True)
    assert run("verify-ledger", str(file), "--json").json["proved"] is True
    assert run("verify-ledger", str(file), "--hash", "a" * 64).code == 1


def test_a_file_that_proves_nothing_fails_with_the_reason(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ledger.ndjson"
    file.write_bytes(HEAD)
    done = run("verify-ledger", str(file), "--json")
    assert (done.code, done.json["proved"]) == (1, False)
    assert "breaks off" in done.json["detail"]
    file.write_bytes(b"\xff\xfe not JSON")
    assert "line 1" in run("verify-ledger", str(file)).out
    assert run("verify-ledger", str(tmp_path / "absent")).code == 2
