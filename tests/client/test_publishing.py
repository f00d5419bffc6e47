"""A folder becomes a capability."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from gridfare.client import Client
from gridfare.sdk import errors
from gridfare.sdk.packing import pack
from tests.client.conftest import Run
from tests.client.platform import Platform

MANIFEST = "gridfare: 1\nname: wordcount\nversion: 1.0.0\nsummary: Count words\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "wordcount"
    (made / "__pycache__").mkdir(parents=True)
    (made / "manifest.yaml").write_text(MANIFEST)
    (made / "count.py").write_text("print(1)\n")
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o777)
    (made / "__pycache__" / "count.pyc").write_bytes(b"cache")
    return made


def test_the_same_files_pack_to_the_same_bytes(folder: Path) -> None:
    first = pack(folder)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert pack(folder) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert {entry.name: entry.mode for entry in archive} == {
            "count.py": 0o644,
            "manifest.yaml": 0o644,
            "run.sh": 0o755,
        }


def test_publishing_waits_for_the_tests(platform: Platform, client: Client, folder: Path) -> None:
    seen: list[str] = []
    version = client.publish_capability(folder, on_change=lambda v: seen.append(v["state"]))
    assert (version["name"], version["version"], version["state"]) == ("acme/wordcount", "1.0.0", "published")
    assert seen[0] == "testing"


def test_publishing_twice_is_publishing_once(platform: Platform, client: Client, folder: Path) -> None:
    client.publish_capability(folder)
    platform.calls.clear()
    assert client.publish_capability(folder)["state"] == "published"
    assert not [call for call in platform.calls if call.endswith("/publish")]


def test_failed_tests_are_an_error_with_their_report(platform: Platform, client: Client, folder: Path) -> None:
    platform.verdict = "draft"
    with pytest.raises(errors.TestsFailed) as caught:
        client.publish_capability(folder)
    assert caught.value.report[0]["detail"] == "video.mp4 is missing"


def test_a_published_version_never_changes(client: Client, folder: Path) -> None:
    client.publish_capability(folder)
    (folder / "count.py").write_text("print(2)\n")
    with pytest.raises(errors.Conflict) as caught:
        client.publish_capability(folder)
    assert caught.value.field == "manifest.version"


def test_a_folder_without_manifest_is_refused_here(platform: Platform, client: Client, tmp_path: Path) -> None:
    with pytest.raises(errors.BadFile) as caught:
        client.publish_capability(tmp_path)
    assert caught.value.code == "no_manifest"
    assert platform.calls == []


def test_a_publisher_publishes_a_folder(run: Run, platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "manifest.yaml").write_text("gridfare: 1\nname: wordcount\nversion: 1.0.0\n")
    assert run("capability", "publish", str(tmp_path), "--draft", "--json").json["state"] == "draft"
    done = run("capability", "publish", str(tmp_path))
    assert (done.code, "acme/wordcount@1.0.0 is published" in done.out) == (0, True)
    assert run("capability", "deprecate", "acme/wordcount@1.0.0", "--json").json["state"] == "deprecated"
    assert run("capability", "withdraw", "acme/wordcount").code == 2
    assert "Pictures of the flight" in run("capability", "show", "gridfare/render").out


def test_failed_tests_of_a_capability_exit_1(run: Run, platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "manifest.yaml").write_text("gridfare: 1\nname: wordcount\nversion: 1.0.0\n")
    platform.verdict = "draft"
    done = run("capability", "publish", str(tmp_path))
    assert done.code == 1
    assert "one: failed video.mp4 is missing" in done.err
