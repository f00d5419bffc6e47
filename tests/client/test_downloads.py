"""Result files on their way down."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridfare.client import Client
from gridfare.sdk import errors
from tests.client.platform import Fault, Platform

FILES = {
    "frames/0001.png": b"a" * 5000,
    "frames/0002.png": b"b" * 3000,
    "odd name #1?.txt": b"",
    "video.mp4": b"c" * 100,
}


def delivered(platform: Platform, client: Client, files: dict[str, bytes] | None = None) -> str:
    task = client.submit("gridfare/render")
    platform.deliver(task["id"], FILES if files is None else files)
    return task["id"]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_files_arrive_whole(platform: Platform, client: Client, tmp_path: Path) -> None:
    paths = client.download_results(delivered(platform, client), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == list(FILES)


def test_a_cut_download_goes_on_by_range(platform: Platform, client: Client, tmp_path: Path) -> None:
    task = delivered(platform, client)
    platform.faults.append(Fault("GET .*/frames/", "cut", times=5, at=700))
    client.download_results(task, tmp_path)
    assert contents(tmp_path) == FILES


@pytest.mark.parametrize("kind", [503, "drop", 429])
def test_a_busy_platform_is_asked_again(platform: Platform, client: Client, tmp_path: Path, kind: str | int) -> None:
    task = delivered(platform, client)
    platform.faults.append(Fault("GET .*/video", kind, times=3))
    client.download_results(task, tmp_path)
    assert contents(tmp_path) == FILES


def test_what_was_begun_is_continued_by_the_next_run(platform: Platform, client: Client, tmp_path: Path) -> None:
    task = delivered(platform, client, {"video.mp4": b"c" * 5000})
    platform.faults.append(Fault("GET .*/video", "cut", at=3000))
    platform.faults.append(Fault("GET .*/video", "drop", times=9))
    with pytest.raises(errors.Unreachable):
        client.download_results(task, tmp_path)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [3000]
    platform.faults.clear()
    client.download_results(task, tmp_path)
    assert contents(tmp_path) == {"video.mp4": b"c" * 5000}


def test_what_is_there_is_not_fetched_again(platform: Platform, client: Client, tmp_path: Path) -> None:
    task = delivered(platform, client)
    client.download_results(task, tmp_path)
    (tmp_path / "video.mp4").write_bytes(b"x" * 100)  # another file of the same size
    platform.calls.clear()
    client.download_results(task, tmp_path)
    assert [call for call in platform.calls if "/files/" in call] == [
        f"GET /api/v1/tasks/{task}/result/files/video.mp4"
    ]
    assert contents(tmp_path) == FILES


def test_wrong_bytes_are_fetched_once_more_and_then_refused(platform: Platform, client: Client, tmp_path: Path) -> None:
    task = delivered(platform, client, {"video.mp4": b"c" * 100})
    platform.faults.append(Fault("GET .*/video", "garble", times=1))
    client.download_results(task, tmp_path / "one")
    assert contents(tmp_path / "one") == {"video.mp4": b"c" * 100}
    platform.faults.append(Fault("GET .*/video", "garble", times=9))
    with pytest.raises(errors.Corrupt):
        client.download_results(task, tmp_path / "two")
    assert contents(tmp_path / "two") == {}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "a\nb", ""])
def test_a_name_that_could_leave_the_folder_is_refused(
    platform: Platform, client: Client, tmp_path: Path, name: str
) -> None:
    task = delivered(platform, client, {"good.txt": b"good", name: b"evil"})
    with pytest.raises(errors.BadFile) as caught:
        client.download_results(task, tmp_path / "out")
    assert caught.value.code == "unsafe_name"
    assert contents(tmp_path) == {}


def test_a_link_in_the_folder_carries_nothing_out_of_it(platform: Platform, client: Client, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "frames").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.BadFile):
        client.download_results(delivered(platform, client), tmp_path / "out")
    assert contents(tmp_path / "elsewhere") == {}


def test_a_task_without_a_result_says_so(client: Client, tmp_path: Path) -> None:
    with pytest.raises(errors.Conflict):
        client.download_results(client.submit("gridfare/render")["id"], tmp_path)
