"""East data, west storage: packed the same everywhere, checked when it comes back."""

from __future__ import annotations

import json
import lzma
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.capabilities import run_local
from tests.capabilities.conftest import CAPABILITIES, Deliver

PHOTOS = {"photos/2024/a.jpg": b"\xff\xd8" * 3000, "photos/年.txt": "snow in Ningxia\n", "empty": b""}


def verify_again(stored: Path) -> subprocess.CompletedProcess[str]:
    """Run the verifying step on a folder that holds in/units/000000."""
    program = str(CAPABILITIES / "archive" / "verify.py")
    return subprocess.run([sys.executable, program], cwd=stored, capture_output=True, text=True, check=False)


def stored_copy(result: run_local.Result, folder: Path) -> Path:
    """A store's folder with the archive in it; returns the folder of archive and index."""
    target = folder / "in" / "units" / "000000"
    target.mkdir(parents=True)
    for name in ("archive.tar.xz", "index.json"):
        (target / name).write_bytes((result.folder / name).read_bytes())
    return target


def test_an_archive_gives_back_every_file_below_its_folder(deliver: Deliver, tmp_path: Path) -> None:
    result = deliver("archive", {}, files=PHOTOS)
    shutil.unpack_archive(result.folder / "archive.tar.xz", tmp_path / "out")
    restored = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*")}
    for name, data in PHOTOS.items():
        assert restored[name].read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert json.loads((result.folder / "verification.json").read_text())["files"] == len(PHOTOS)


def test_the_same_files_give_the_same_archive(deliver: Deliver) -> None:
    first = deliver("archive", {}, files=PHOTOS)
    second = deliver("archive", {}, files=dict(reversed(PHOTOS.items())))
    for name in ("archive.tar.xz", "index.json", "verification.json"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_a_flipped_byte_in_the_store_is_found(deliver: Deliver, tmp_path: Path) -> None:
    stored = stored_copy(deliver("archive", {}, files=PHOTOS), tmp_path)
    data = bytearray((stored / "archive.tar.xz").read_bytes())
    data[len(data) // 2] ^= 1
    (stored / "archive.tar.xz").write_bytes(data)
    done = verify_again(tmp_path)
    assert done.returncode == 1
    assert "did not verify" in done.stderr
    assert not (tmp_path / "verification.json").exists()


def test_an_archive_cut_short_is_found(deliver: Deliver, tmp_path: Path) -> None:
    stored = stored_copy(deliver("archive", {}, files=PHOTOS), tmp_path)
    data = (stored / "archive.tar.xz").read_bytes()
    (stored / "archive.tar.xz").write_bytes(data[: len(data) // 2])
    assert verify_again(tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["letter", "letter"], "the index does not"),
        (["letter", "../escape"], "the index does not"),
        ([], "lacks 1 files"),
    ],
)
def test_members_that_the_index_does_not_hold_are_found(deliver: Deliver, tmp_path: Path, names: list[str], said: str) -> None:
    stored = stored_copy(deliver("archive", {}, files={"letter": ""}), tmp_path)
    with lzma.open(stored / "archive.tar.xz", "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    done = verify_again(tmp_path)
    assert done.returncode == 1
    assert said in done.stderr


def test_nothing_to_archive_is_said_in_a_sentence(deliver: Deliver) -> None:
    with pytest.raises(run_local.UnitFailed) as failed:
        deliver("archive", {})
    assert failed.value.exit_code == 2
    assert "no files" in failed.value.stderr
