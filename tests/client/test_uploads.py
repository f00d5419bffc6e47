"""Files on their way up."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridfare.client import Client
from gridfare.sdk import artifacts, errors
from tests.client.platform import Fault, Platform


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "CHUNK_BYTES", 1000)


def a_file(folder: Path, name: str = "scene.obj", size: int = 4500) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(index % 251 for index in range(size)))
    return path


def data_of(platform: Platform, artifact: str) -> bytes:
    data: bytes = platform.artifacts[artifact]["data"]
    return data


def test_a_file_arrives_in_chunks_and_progress_is_told(platform: Platform, client: Client, tmp_path: Path) -> None:
    path, seen = a_file(tmp_path), list[tuple[str, int, int]]()
    artifact = client.upload(path, progress=lambda *step: seen.append(step))
    assert data_of(platform, artifact) == path.read_bytes()
    assert sum(call.startswith("PATCH") for call in platform.calls) == 5
    assert seen[0] == ("scene.obj", 0, 4500)
    assert seen[-1] == ("scene.obj", 4500, 4500)


@pytest.mark.parametrize("fault", [Fault("PATCH", "cut", 6, at=300), Fault("PATCH", "drop", 3), Fault("PATCH", 503, 3)])
def test_a_broken_upload_goes_on_where_it_stopped(
    platform: Platform, client: Client, tmp_path: Path, fault: Fault
) -> None:
    path = a_file(tmp_path)
    platform.faults.append(fault)
    assert data_of(platform, client.upload(path)) == path.read_bytes()


def test_bytes_that_are_there_are_not_sent_again(platform: Platform, client: Client, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    first = client.upload(path)
    platform.calls.clear()
    assert client.upload(path) == first
    assert platform.calls == ["POST /api/v1/uploads"]


def test_an_empty_file_arrives(platform: Platform, client: Client, tmp_path: Path) -> None:
    assert data_of(platform, client.upload(a_file(tmp_path, size=0))) == b""


def test_a_platform_that_takes_nothing_ends_the_patience(platform: Platform, client: Client, tmp_path: Path) -> None:
    platform.faults.append(Fault("PATCH", "drop", 99))
    with pytest.raises(errors.Unreachable):
        client.upload(a_file(tmp_path))


def test_a_file_that_shrinks_on_the_way_is_an_error(platform: Platform, client: Client, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    with pytest.raises(errors.Corrupt):
        client.upload(path, progress=lambda name, done, total: path.write_bytes(b""))


def test_paths_among_the_inputs_become_artifacts(platform: Platform, client: Client, tmp_path: Path) -> None:
    one = a_file(tmp_path, size=10)
    folder = tmp_path / "photos"
    a_file(folder, "2024/a.jpg", 20)
    a_file(folder, "b.jpg", 30)
    task = client.submit("gridfare/archive", {"scene": one, "files": [folder, one], "level": 3, "deep": {"x": [one]}})
    names = [platform.artifacts[artifact]["name"] for artifact in task["inputs"]["files"]]
    assert names == ["2024/a.jpg", "b.jpg", "scene.obj"]
    assert task["inputs"]["scene"] == task["inputs"]["files"][2] == task["inputs"]["deep"]["x"][0]
    assert task["inputs"]["level"] == 3


def test_a_folder_alone_becomes_a_list(client: Client, tmp_path: Path) -> None:
    a_file(tmp_path / "one", size=5)
    assert len(client.submit("gridfare/archive", {"files": tmp_path / "one"})["inputs"]["files"]) == 1


def test_what_cannot_be_uploaded_is_said_before_anything_is_sent(
    platform: Platform, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "secrets").symlink_to("/etc/passwd")
    for path, code in [
        (tmp_path / "no", "no_such_file"),
        (tmp_path / "empty", "empty_folder"),
        (linked, "symbolic_link"),
    ]:
        with pytest.raises(errors.BadFile) as caught:
            client.submit("gridfare/archive", {"files": path})
        assert caught.value.code == code
    assert platform.calls == []
